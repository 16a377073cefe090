//! A directory that speaks SCIM 2.0 (RFC 7643, RFC 7644): its users, page by page, and which of them are not active.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Uri;
use identity::{Departed, IssuerFault};
use model::Secret;
use serde_json::{Map, Value};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    StatusError, Teller, file, kept,
    list::{self, Entry, HandleKind, Handles, List},
};
use crate::https::HttpsClient;

/// Users asked for at a time. A directory may give fewer (RFC 7644 part 3.4.2.4).
const PAGE_USERS: usize = 200;
/// One page; a user is seldom more than a few KiB.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// A directory with more is to be asked with a filter.
const USERS_MAX: usize = 200_000;

/// One directory.
#[derive(Debug, Clone)]
pub struct ScimConfig {
    /// What `/Users` is appended to: `https://idp.example.com/scim/v2`.
    pub url: String,
    /// A file with the bearer token, read anew for each round.
    pub token_file: PathBuf,
    /// How often it is asked.
    pub every: Duration,
    /// A filter (RFC 7644 part 3.4.2.2), such as `active eq false`; none: all users are read.
    pub filter: Option<String>,
    /// Which attributes of a user are whose names.
    pub handles: Vec<(HandleKind, Vec<AttributePath>)>,
    /// How the directory is authenticated.
    pub tls: Arc<rustls::ClientConfig>,
    /// How long one answer may take.
    pub deadline: Duration,
    /// Where what it told is kept.
    pub keep: PathBuf,
}

/// Where in a user a name is: `userName`, `emails.value`, or with the URN of a schema before it
/// (RFC 7644 part 3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributePath {
    schema: Option<String>,
    attribute: String,
    inner: Option<String>,
}

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no attribute; write it like userName, emails.value or urn:acme:scim:User:githubLogin")]
pub struct AttributePathError(String);

impl AttributePath {
    /// Reads one.
    ///
    /// # Errors
    /// When it is of another form.
    pub fn parse(text: &str) -> Result<Self, AttributePathError> {
        let error = || AttributePathError(text.chars().take(80).collect());
        let (schema, rest) = match text.rsplit_once(':') {
            Some((schema, rest)) if schema.to_ascii_lowercase().starts_with("urn:") => {
                (Some(schema.to_owned()), rest)
            }
            Some(_) => return Err(error()),
            None => (None, text),
        };
        let (attribute, inner) = match rest.split_once('.') {
            Some((attribute, inner)) => (attribute, Some(inner)),
            None => (rest, None),
        };
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"$-_".contains(&byte))
        };
        if !is_name(attribute) || !inner.is_none_or(is_name) {
            return Err(error());
        }
        Ok(Self { schema, attribute: attribute.to_owned(), inner: inner.map(str::to_owned) })
    }

    /// The names that a user has there.
    fn names(&self, user: &Map<String, Value>) -> Vec<String> {
        let within = match &self.schema {
            None => Some(user),
            Some(schema) => member(user, schema).and_then(Value::as_object),
        };
        let Some(value) = within.and_then(|within| member(within, &self.attribute)) else {
            return Vec::new();
        };
        let values = match value {
            Value::Array(several) => several.iter().collect(),
            one => vec![one],
        };
        let text = |value: &Value| {
            let value = match (value, &self.inner) {
                (Value::Object(parts), inner) => member(parts, inner.as_deref().unwrap_or("value"))?,
                (value, None) => value,
                (_, Some(_)) => return None,
            };
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        values.into_iter().filter_map(text).collect()
    }
}

/// Names of attributes are the same in upper and lower case (RFC 7643 part 2.1).
fn member<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    of.get(name)
        .or_else(|| of.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// Why a directory could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScimFault {
    #[error("its token file: {0}")]
    Token(file::FileError),
    #[error("{0}")]
    Asked(#[from] IssuerFault),
    #[error("its answer is not a list of users: {0}")]
    Shape(&'static str),
    #[error("it has more than {USERS_MAX} users; set a filter")]
    TooMany,
    #[error("{0}")]
    List(#[from] list::ListError),
}

/// A directory that is asked.
pub(super) struct Directory {
    config: ScimConfig,
    users: Uri,
    client: HttpsClient,
}

impl Directory {
    pub(super) fn new(config: ScimConfig) -> Result<Self, StatusError> {
        let bad = || StatusError::ScimUrl(config.url.clone());
        let users =
            format!("{}/Users", config.url.trim_end_matches('/')).parse::<Uri>().map_err(|_| bad())?;
        let is_plain = users.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if users.scheme_str() != Some("https") || !is_plain || users.query().is_some() {
            return Err(bad());
        }
        let token = |error| StatusError::ScimToken { path: config.token_file.clone(), error };
        file::secret(&config.token_file).map_err(token)?;
        let client = HttpsClient::new(config.tls.clone(), config.deadline);
        Ok(Self { config, users, client })
    }

    pub(super) fn name(&self) -> String {
        format!("the directory {}", self.users.host().unwrap_or_default())
    }

    /// Asks for the first time. Without an answer, what it told last is in force, and as old as it is.
    pub(super) async fn begin(&mut self, teller: &Teller) {
        match self.ask().await {
            Ok(departed) => teller.read(Some(departed)),
            Err(fault) => {
                if let Some((departed, age)) = kept::read(&self.config.keep, &self.config.url) {
                    teller.read_at(Some(departed), Instant::now().checked_sub(age));
                }
                teller.failed(&fault);
            }
        }
    }

    pub(super) async fn keep_asking(self, teller: Teller) {
        while teller.is_heard() {
            sleep(self.config.every).await;
            match self.ask().await {
                Ok(departed) => teller.read(Some(departed)),
                Err(fault) => teller.failed(&fault),
            }
        }
    }

    /// Who is not active.
    async fn ask(&self) -> Result<Departed, ScimFault> {
        let path = self.config.token_file.clone();
        let token = spawn_blocking(move || file::secret(&path)).await;
        let token =
            token.map_err(|_| ScimFault::Shape("the token was not read"))?.map_err(ScimFault::Token)?;
        let mut entries = Vec::new();
        let (mut seen, mut expected) = (0, None);
        loop {
            let page = self.page(&token, seen + 1).await?;
            if *expected.get_or_insert(page.total) != page.total {
                // Somebody was added or removed meanwhile, so that somebody else may be on neither page.
                return Err(ScimFault::Shape("the number of users changed between two pages"));
            }
            if page.total > USERS_MAX {
                return Err(ScimFault::TooMany);
            }
            seen += page.users.len();
            let gone = page.users.iter().filter_map(Value::as_object).filter(|user| is_inactive(user));
            entries.extend(gone.filter_map(|user| self.entry(user)));
            if seen >= page.total {
                break;
            }
            if page.users.is_empty() {
                return Err(ScimFault::Shape("a page is empty before all users were told"));
            }
        }
        let departed = list::departed(List { deactivated: entries.clone() })?;
        let (keep, url) = (self.config.keep.clone(), self.config.url.clone());
        let kept = spawn_blocking(move || kept::write(&keep, &url, &entries)).await;
        if let Ok(Err(error)) = kept {
            tracing::error!(path = %self.config.keep.display(), %error, "what the directory told cannot be kept");
        }
        Ok(departed)
    }

    async fn page(&self, token: &Secret<String>, start: usize) -> Result<Page, ScimFault> {
        let mut query = format!("startIndex={start}&count={PAGE_USERS}");
        if let Some(filter) = &self.config.filter {
            query += &format!("&filter={}", percent_encoded(filter));
        }
        let mut parts = self.users.clone().into_parts();
        let path = format!("{}?{query}", self.users.path());
        parts.path_and_query = path.parse().ok();
        let url = Uri::from_parts(parts).map_err(|_| ScimFault::Shape("the filter cannot be asked"))?;
        let body = self.client.get(&url, Some(token), PAGE_BYTES_MAX).await?;
        Page::read(&body)
    }

    /// A user as an entry of the list; none for one without any name that is looked for.
    fn entry(&self, user: &Map<String, Value>) -> Option<Entry> {
        let mut entry = Entry::default();
        let mut by_provider = BTreeMap::<String, Vec<String>>::new();
        for (kind, paths) in &self.config.handles {
            let names = paths.iter().flat_map(|path| path.names(user));
            match kind {
                HandleKind::SnowflakeUser => entry.snowflake_users.extend(names),
                HandleKind::Anywhere => by_provider.entry("any".to_owned()).or_default().extend(names),
                HandleKind::At(provider) => by_provider.entry(provider.clone()).or_default().extend(names),
            }
        }
        by_provider.retain(|_, names| !names.is_empty());
        let id = ["displayName", "userName", "id"].iter().find_map(|name| member(user, name)?.as_str());
        entry.name = id.unwrap_or_default().to_owned();
        entry.handles = by_provider.into_iter().map(|(key, names)| (key, Handles::Several(names))).collect();
        if entry.handles.is_empty() && entry.snowflake_users.is_empty() {
            tracing::warn!(
                user = entry.name,
                "a deactivated user of the directory has none of the names that are looked for"
            );
            return None;
        }
        Some(entry)
    }
}

/// A filter as part of a query (RFC 3986 part 2.1).
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encoded = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect()
}

/// A user that does not say is active: `active` may be left out (RFC 7643 part 4.1.1). Some directories say it as text.
fn is_inactive(user: &Map<String, Value>) -> bool {
    match member(user, "active") {
        Some(Value::Bool(active)) => !active,
        Some(Value::String(active)) => active.eq_ignore_ascii_case("false"),
        _ => false,
    }
}

/// One answer (RFC 7644 part 3.4.2).
struct Page {
    total: usize,
    users: Vec<Value>,
}

impl Page {
    fn read(body: &[u8]) -> Result<Self, ScimFault> {
        let whole: Value = serde_json::from_slice(body).map_err(|_| ScimFault::Shape("it is not JSON"))?;
        let whole = whole.as_object().ok_or(ScimFault::Shape("it is not an object"))?;
        let total = member(whole, "totalResults").and_then(Value::as_u64);
        let total = total.and_then(|total| usize::try_from(total).ok());
        let total = total.ok_or(ScimFault::Shape("totalResults is missing"))?;
        let users = match member(whole, "Resources") {
            Some(Value::Array(users)) => users.clone(),
            None if total == 0 => Vec::new(),
            _ => return Err(ScimFault::Shape("Resources is missing")),
        };
        Ok(Self { total, users })
    }
}

#[cfg(test)]
mod tests;
