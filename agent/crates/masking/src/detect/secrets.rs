//! Keys and tokens, by the marks that their makers put on them.

use super::runs;

fn is_base64_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Three parts, of which the first two are objects: `{"` in base64 is `eyJ`.
pub(super) fn has_jwt(text: &str) -> bool {
    const OBJECT: &str = "eyJ";
    const PART_BYTES_MIN: usize = 10;
    runs(text, |byte| is_base64_url(byte) || byte == b'.').any(|(_, run)| {
        let parts: Vec<&str> = run.split('.').collect();
        parts.windows(3).any(|parts| {
            matches!(parts, [header, claims, signature] if header.starts_with(OBJECT) && claims.starts_with(OBJECT)
                && [header, claims, signature].iter().all(|part| part.len() >= PART_BYTES_MIN))
        })
    })
}

/// `-----BEGIN … PRIVATE KEY-----`, with any words between.
pub(super) fn has_private_key(text: &str) -> bool {
    const WORDS_BYTES_MAX: usize = 32;
    text.match_indices("-----BEGIN ").any(|(at, begin)| {
        let rest = text.as_bytes().get(at + begin.len()..).unwrap_or_default();
        let label = rest.iter().take(WORDS_BYTES_MAX);
        let length = label
            .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ')
            .count();
        let (label, after) = rest.split_at(length);
        label.ends_with(b"PRIVATE KEY") && after.starts_with(b"-----")
    })
}

/// The id of a key, or a secret behind its usual name.
pub(super) fn has_aws_key(text: &str) -> bool {
    const ID_BYTES: usize = 20;
    const SECRET_BYTES: usize = 40;
    let is_id = |run: &str| {
        run.len() == ID_BYTES
            && (run.starts_with("AKIA") || run.starts_with("ASIA"))
            && run.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
    };
    if runs(text, |byte| byte.is_ascii_alphanumeric()).any(|(_, run)| is_id(run)) {
        return true;
    }
    ["secret_access_key", "SecretAccessKey", "secretAccessKey", "SECRET_ACCESS_KEY"].into_iter().any(|name| {
        text.match_indices(name).any(|(at, name)| {
            let rest = text.as_bytes().get(at + name.len()..).unwrap_or_default();
            let between = rest.iter().take(8).take_while(|byte| b" \t\"'\\:=".contains(byte)).count();
            let rest = rest.get(between..).unwrap_or_default();
            between > 0
                && rest.iter().take(SECRET_BYTES + 1).take_while(|byte| is_base64(**byte)).count()
                    == SECRET_BYTES
        })
    })
}

/// A service account's file, whole or in another text, or an API key.
pub(super) fn has_gcp_key(text: &str) -> bool {
    const API_KEY_BYTES: usize = 39;
    let is_file =
        text.contains("service_account") && text.contains("private_key_id") && text.contains("PRIVATE KEY");
    is_file || runs(text, is_base64_url).any(|(_, run)| run.len() == API_KEY_BYTES && run.starts_with("AIza"))
}

/// `AccountKey=` and 64 bytes in base64.
pub(super) fn has_azure_key(text: &str) -> bool {
    const KEY_BYTES: usize = 86;
    text.match_indices("AccountKey=").any(|(at, name)| {
        let rest = text.as_bytes().get(at + name.len()..).unwrap_or_default();
        let length = rest.iter().take(KEY_BYTES + 1).take_while(|byte| is_base64(**byte)).count();
        length == KEY_BYTES && rest.get(length..).is_some_and(|rest| rest.starts_with(b"=="))
    })
}

/// `ver:3-hint:4711-` and the token itself, as sessions have it.
pub(super) fn has_snowflake_token(text: &str) -> bool {
    const TOKEN_BYTES_MIN: usize = 40;
    let digits = |bytes: &[u8]| bytes.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    text.match_indices("ver:").any(|(at, mark)| {
        let rest = text.as_bytes().get(at + mark.len()..).unwrap_or_default();
        let Some(hint) = rest.get(digits(rest)..).and_then(|rest| rest.strip_prefix(b"-hint:")) else {
            return false;
        };
        let Some(token) = hint.get(digits(hint)..).and_then(|rest| rest.strip_prefix(b"-")) else {
            return false;
        };
        digits(rest) > 0
            && digits(hint) > 0
            && token
                .iter()
                .take(TOKEN_BYTES_MIN)
                .take_while(|byte| is_base64(**byte) || **byte == b'-')
                .count()
                == TOKEN_BYTES_MIN
    })
}

/// `ghp_` and its like with 36 characters or more, or `github_pat_` with 82.
pub(super) fn has_github_token(text: &str) -> bool {
    runs(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_').any(|(_, run)| {
        let short =
            ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].into_iter().find_map(|mark| run.strip_prefix(mark));
        let is_short = short.is_some_and(|rest| (36..=255).contains(&rest.len()) && !rest.contains('_'));
        is_short || run.strip_prefix("github_pat_").is_some_and(|rest| rest.len() == 82)
    })
}
