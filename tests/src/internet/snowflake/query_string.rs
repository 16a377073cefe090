//! Query strings: the few parameters that mean something to the servers here.

use hyper::Uri;

/// The value of a parameter, decoded; `None` where it is absent or empty.
pub(in crate::internet) fn value(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).find(|value| !value.is_empty())
}

/// Path and query of a login. A session that names a database but no schema starts in `PUBLIC`, as Snowflake's do.
pub(super) fn with_default_schema(uri: &Uri) -> String {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if value(uri, "databaseName").is_some() && value(uri, "schemaName").is_none() {
        // The first of two equal parameters may be empty (one driver sends all four, always), so ours goes alone.
        let others =
            uri.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("schemaName="));
        let others: Vec<_> = others.chain(["schemaName=PUBLIC"]).collect();
        return format!("{}?{}", uri.path(), others.join("&"));
    }
    target.to_owned()
}

/// Percent encoding of everything that is no letter or digit.
pub(super) fn encode(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}

/// Percent and plus decoding. What is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, escaped.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_empty_ones_are_absent() {
        let uri: Uri = "/x?a=1&b=&a=2&c=%22My+role%22&d=100%&e".parse().unwrap();
        for (name, expected) in [
            ("a", Some("1")),
            ("b", None),
            ("c", Some("\"My role\"")),
            ("d", Some("100%")),
            ("e", None),
            ("f", None),
        ] {
            assert_eq!(value(&uri, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["A", "My \"db\" & é", "100%+1"] {
            let uri: Uri = format!("/x?a={}", encode(text)).parse().unwrap();
            assert_eq!(value(&uri, "a").as_deref(), Some(text));
        }
    }

    #[test]
    fn a_login_with_a_database_has_a_schema() {
        for (sent, passed) in [
            ("/l?databaseName=D", "/l?databaseName=D&schemaName=PUBLIC"),
            ("/l?databaseName=D&schemaName=&warehouse=W", "/l?databaseName=D&warehouse=W&schemaName=PUBLIC"),
            ("/l?databaseName=D&schemaName=S", "/l?databaseName=D&schemaName=S"),
            ("/l?databaseName=&schemaName=", "/l?databaseName=&schemaName="),
            ("/l", "/l"),
        ] {
            assert_eq!(with_default_schema(&sent.parse().unwrap()), passed);
        }
    }
}
