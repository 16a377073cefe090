//! Command lines without their secrets. They are evidence and end in the record, and people pass secrets as arguments.
//! The rules are blunt on purpose: a harmless word that is starred out costs little.

/// Arguments that are kept.
const ARGUMENTS_MAX: usize = 64;
/// Bytes that are kept of one argument.
const ARGUMENT_BYTES_MAX: usize = 512;
/// A run of letters and digits from this length on may be a key.
const TOKEN_BYTES_MIN: usize = 32;
/// The same, when it begins as tokens do.
const KNOWN_TOKEN_BYTES_MIN: usize = 12;
/// What stands where a secret was.
const STARS: &str = "***";

/// Beginnings of tokens: JWT, GitHub, GitLab, AWS, Slack, OpenAI and Anthropic, Snowflake sessions.
const TOKEN_PREFIXES: &[&str] = &[
    "eyJ",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "AKIA",
    "ASIA",
    "xox",
    "sk-",
    "ETMs",
];
/// Words that mark a name as that of a secret, when blanks and dashes are taken out of it.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "accountkey",
    "encryptionkey",
    "credential",
    "authorization",
    "bearer",
    "cookie",
    "connectionstring",
];
/// Whole names that mark a secret.
const SECRET_NAMES: &[&str] = &["pwd", "pass", "auth", "pat", "key", "jwt", "sig"];
/// Programs whose `-p` is a password, and not a port or a path.
const PASSWORD_P_PROGRAMS: &[&str] =
    &["mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump", "sshpass"];

/// The arguments of a NUL-separated command line, bounded, secrets replaced by `***`.
pub(crate) fn arguments(cmdline: &[u8]) -> Vec<String> {
    let whole = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    if whole.is_empty() {
        return Vec::new();
    }
    let mut kept = Vec::new();
    let mut hide_next = false;
    let mut program = String::new();
    for (position, argument) in whole.split(|byte| *byte == 0).take(ARGUMENTS_MAX).enumerate() {
        let argument = String::from_utf8_lossy(argument);
        if position == 0 {
            argument.rsplit('/').next().unwrap_or_default().clone_into(&mut program);
        }
        let hidden = if hide_next {
            STARS.to_owned()
        } else if position > 0
            && argument.starts_with("-p")
            && PASSWORD_P_PROGRAMS.contains(&program.as_str())
        {
            format!("-p{}", if argument.len() > 2 { STARS } else { "" })
        } else {
            text(&argument)
        };
        hide_next = !hide_next && position > 0 && announces_secret(&argument, &program);
        kept.push(bounded(&hidden));
    }
    kept
}

/// Whether the next argument is a secret: `--password`, `-p` of some programs, `-u` (curl's `user:password`).
fn announces_secret(argument: &str, program: &str) -> bool {
    if argument == "-p" {
        return PASSWORD_P_PROGRAMS.contains(&program);
    }
    if matches!(argument, "-u" | "--user" | "--proxy-user") {
        return program == "curl";
    }
    argument.starts_with('-') && !argument.contains(['=', ' ']) && is_secret_name(argument)
}

/// One text without the secrets in it.
fn text(argument: &str) -> String {
    let flat = argument.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    // `--password=…` and `PASSWORD=…` as a whole argument: all of the rest is the value.
    if let Some((name, _)) = flat.split_once('=')
        && !name.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
        && is_secret_name(name)
    {
        return format!("{name}={STARS}");
    }
    tokens(&user_info(&assignments(&flat)))
}

/// Hides the values of `name=value`, `name: value` and `"name": "value"` inside a text.
fn assignments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, sign_and_after) = rest.split_at(at);
        let (sign, after) = sign_and_after.split_at(1);
        out.push_str(before);
        out.push_str(sign);
        rest = after;
        let name = before.trim_end_matches([' ', '"', '\'', '\\']);
        let name = name
            .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
            .next()
            .unwrap_or_default();
        if !is_secret_name(name) || after.starts_with("//") {
            continue;
        }
        let blanks = after.len() - after.trim_start_matches(' ').len();
        let value = after.get(blanks..).unwrap_or_default();
        let end = value_end(name, value);
        if end > 0 {
            out.push_str(after.get(..blanks).unwrap_or_default());
            out.push_str(STARS);
            rest = value.get(end..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// Where a value ends: at its closing quote, or at the next separator. A header's value goes on over blanks.
fn value_end(name: &str, value: &str) -> usize {
    let escaped = value.strip_prefix('\\').unwrap_or(value);
    let quote = escaped.chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        let begin = value.len() - escaped.len() + 1;
        let inner = value.get(begin..).unwrap_or_default();
        return inner.find(quote).map_or(value.len(), |end| begin + end + 1);
    }
    let is_header = ["authorization", "cookie"].iter().any(|word| name.to_ascii_lowercase().contains(word));
    let is_end = |c: char| "\"'".contains(c) || (!is_header && (c.is_whitespace() || ";&|,)}".contains(c)));
    value.find(is_end).unwrap_or(value.len())
}

/// Hides `user:password@` in addresses.
fn user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        rest = after;
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(after.len());
        if let Some(host) = after.get(..end).and_then(|authority| authority.rfind('@')) {
            out.push_str(STARS);
            rest = after.get(host..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// Hides words that look like keys by themselves.
fn tokens(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_+=".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(is_part) {
        let (before, run) = rest.split_at(begin);
        let (word, after) = run.split_at(run.find(|c: char| !is_part(c)).unwrap_or(run.len()));
        out.push_str(before);
        if looks_like_key(word) {
            // A token may go on after a dot; its further parts need not look like keys.
            out.push_str(STARS);
            rest = after.trim_start_matches(|c| c == '.' || is_part(c));
        } else {
            out.push_str(word);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn looks_like_key(word: &str) -> bool {
    if word.len() >= KNOWN_TOKEN_BYTES_MIN && TOKEN_PREFIXES.iter().any(|prefix| word.starts_with(prefix)) {
        return true;
    }
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    let (digit, upper, lower) =
        (has(u8::is_ascii_digit), has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase));
    // Names are words with dashes between; keys have long pieces. A UUID is neither.
    let longest = word.split(['-', '_', '=']).map(str::len).max().unwrap_or_default();
    word.len() >= TOKEN_BYTES_MIN && digit && (upper && lower || (upper || lower) && longest >= 16)
}

fn is_secret_name(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase().replace(['-', '_', '.'], "");
    SECRET_NAMES.contains(&name.as_str()) || SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn bounded(text: &str) -> String {
    if text.len() <= ARGUMENT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", text.get(..text.floor_char_boundary(ARGUMENT_BYTES_MAX)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments are joined with `|` on both sides.
    fn redacted(joined: &str) -> String {
        arguments(format!("{}\0", joined.replace('|', "\0")).as_bytes()).join("|")
    }

    #[test]
    fn secrets_are_hidden() {
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw";
        let cases = [
            ("x|--password|hunter2|-v", "x|--password|***|-v"),
            ("x|--password=hunter 2;3", "x|--password=***"),
            ("x|--db-password|hunter2", "x|--db-password|***"),
            ("x|--api_key=abc", "x|--api_key=***"),
            ("env|SNOWFLAKE_PASSWORD=hunter2|python3", "env|SNOWFLAKE_PASSWORD=***|python3"),
            ("env|AWS_SECRET_ACCESS_KEY=a/b+c", "env|AWS_SECRET_ACCESS_KEY=***"),
            ("sh|-c|export PGPASSWORD=hunter2; psql", "sh|-c|export PGPASSWORD=***; psql"),
            ("sh|-c|A_TOKEN='a b' x", "sh|-c|A_TOKEN=***"),
            ("sh|-c|true; A_TOKEN='a b' x", "sh|-c|true; A_TOKEN=*** x"),
            (
                "python3|-c|connect(user='u', password='p,q', account=\"a\")",
                "python3|-c|connect(user='u', password=***, account=\"a\")",
            ),
            ("curl|-d|{\"password\": \"hunter2\", \"n\": 1}", "curl|-d|{\"password\": ***, \"n\": 1}"),
            ("curl|-H|Authorization: Bearer abc def", "curl|-H|Authorization: ***"),
            ("curl|-H|X-Api-Key: abc", "curl|-H|X-Api-Key: ***"),
            ("curl|-u|mona:hunter2|https://x/", "curl|-u|***|https://x/"),
            ("git|clone|https://mona:ghp_x@github.com/a/b", "git|clone|https://***@github.com/a/b"),
            ("x|postgres://u:p@ss@h/db?password=q&x=1", "x|postgres://***@h/db?password=***&x=1"),
            ("x|https://h/?token=abc&y=2", "x|https://h/?token=***&y=2"),
            ("mysql|-phunter2|-p|hunter2", "mysql|-p***|-p|***"),
            ("/usr/bin/sshpass|-p|hunter2|ssh|h", "/usr/bin/sshpass|-p|***|ssh|h"),
            ("x|ghp_0123456789abcdef", "x|***"),
            ("x|wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY1", "x|***"),
            ("x|0123456789abcdef0123456789abcdef01234567", "x|***"),
            ("x|--password|--password|after", "x|--password|***|after"),
        ];
        for (given, expected) in cases {
            assert_eq!(redacted(given), expected, "{given}");
        }
        let token = redacted(&format!("x|{jwt}, y"));
        assert_eq!(token, "x|***, y");
    }

    #[test]
    fn what_is_no_secret_is_kept() {
        for harmless in [
            "python3|-m|etl.load|--table|CUSTOMERS|--since=2024-01-01",
            "bash|-e|/opt/runner/_work/_temp/3f2504e0-4f89-11d3-9a0c-0305e82c3301.sh",
            "psql|-h|db.example.org|-p|5432",
            "mkdir|-p|/tmp/x",
            "git|clone|https://github.com/acme/etl.git",
            "x|mail@example.org|a=b|--author=Mona",
            "x|nightly-export-of-all-customers-for-2024-q4",
            "x|/usr/lib/python3.11/site-packages/snowflake/connector/connection.py",
            "x||y",
        ] {
            assert_eq!(redacted(harmless), harmless);
        }
        assert_eq!(arguments(b""), Vec::<String>::new());
        assert_eq!(arguments(b"\0"), Vec::<String>::new());
    }

    #[test]
    fn what_is_kept_is_bounded_and_printable() {
        let many = "x\0".repeat(ARGUMENTS_MAX + 5);
        assert_eq!(arguments(many.as_bytes()).len(), ARGUMENTS_MAX);
        let long = format!("x\0{}", "é ".repeat(ARGUMENT_BYTES_MAX));
        let kept = arguments(long.as_bytes());
        assert!(kept[1].len() <= ARGUMENT_BYTES_MAX + 3 && kept[1].ends_with('…'), "{}", kept[1]);
        assert_eq!(arguments(b"a\x1b[2Jb\nc\xff"), ["a [2Jb c\u{fffd}"]);
    }
}
