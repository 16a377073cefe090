//! Values that show up where no tag told of them: what each looks like.
//!
//! Every matcher goes over a text once, looks at a bounded stretch around what it stops at, and answers whether there is such a
//! value. What is found is a kind and a count, never the value.

mod numbers;
mod secrets;

use crate::text::is_domain;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detector {
    /// An e-mail address.
    Email,
    /// A social security number of the United States, in groups.
    Ssn,
    /// A payment card number: an issuer's first digits, and a right check digit.
    Card,
    /// An international bank account number (ISO 13616): a country's length, and right check digits.
    Iban,
    /// A telephone number with its country code (E.164).
    Phone,
    /// A JSON web token. Snowflake's programmatic access tokens have this form.
    Jwt,
    /// A private key in PEM.
    PrivateKey,
    /// An access key of Amazon Web Services, or the secret beside one.
    AwsKey,
    /// A service account's key file, or an API key, of Google Cloud.
    GcpKey,
    /// A storage account's key of Azure.
    AzureKey,
    /// A session or master token of Snowflake.
    SnowflakeToken,
    /// A token of GitHub.
    GithubToken,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Email,
        Self::Ssn,
        Self::Card,
        Self::Iban,
        Self::Phone,
        Self::Jwt,
        Self::PrivateKey,
        Self::AwsKey,
        Self::GcpKey,
        Self::AzureKey,
        Self::SnowflakeToken,
        Self::GithubToken,
    ];

    /// The word used in configuration, records and output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Ssn => "ssn",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Phone => "phone",
            Self::Jwt => "jwt",
            Self::PrivateKey => "private-key",
            Self::AwsKey => "aws-key",
            Self::GcpKey => "gcp-key",
            Self::AzureKey => "azure-key",
            Self::SnowflakeToken => "snowflake-token",
            Self::GithubToken => "github-token",
        }
    }

    /// Whether there is one in a text.
    pub(crate) fn finds(self, text: &str) -> bool {
        match self {
            Self::Email => has_email(text),
            Self::Ssn => numbers::has_ssn(text),
            Self::Card => numbers::has_card(text),
            Self::Iban => numbers::has_iban(text),
            Self::Phone => numbers::has_phone(text),
            Self::Jwt => secrets::has_jwt(text),
            Self::PrivateKey => secrets::has_private_key(text),
            Self::AwsKey => secrets::has_aws_key(text),
            Self::GcpKey => secrets::has_gcp_key(text),
            Self::AzureKey => secrets::has_azure_key(text),
            Self::SnowflakeToken => secrets::has_snowflake_token(text),
            Self::GithubToken => secrets::has_github_token(text),
        }
    }
}

/// The longest domain name.
const DOMAIN_BYTES_MAX: usize = 253;

fn has_email(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.match_indices('@').any(|(at, _)| {
        let before = bytes.get(..at).and_then(<[u8]>::last).copied();
        let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-%".contains(&byte);
        if !before.is_some_and(is_local) {
            return false;
        }
        let after = bytes.get(at + 1..).unwrap_or_default();
        let in_domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        let length = after.iter().take(DOMAIN_BYTES_MAX + 1).take_while(|byte| in_domain(byte)).count();
        let domain = text.get(at + 1..at + 1 + length).unwrap_or_default();
        // The end of a sentence is no part of it.
        is_domain(domain.trim_end_matches(['.', '-']))
    })
}

/// The runs of bytes of one sort, each with the byte before it.
fn runs(text: &str, is_in: impl Fn(u8) -> bool) -> impl Iterator<Item = (Option<u8>, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..)?;
        let start = at + rest.iter().position(|byte| is_in(*byte))?;
        let length = bytes.get(start..)?.iter().take_while(|byte| is_in(**byte)).count();
        at = start + length;
        Some((start.checked_sub(1).and_then(|before| bytes.get(before).copied()), text.get(start..at)?))
    })
}

#[cfg(test)]
mod tests;
