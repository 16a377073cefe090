//! Patterns of column names: `ANALYTICS.*.CUSTOMERS.SSN`.
//!
//! They match without regard to case, which can only match too much: whether a quoted name folds depends on a session
//! parameter, and a result's own column names are not always folded.

use std::borrow::Cow;

use masking::JsonPath;
use model::{Ident, TableName};

/// A pattern of four parts, each with any number of `*`; behind them there may be a path into the column's documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnPattern {
    database: Glob,
    schema: Glob,
    table: Glob,
    column: Glob,
    path: Option<JsonPath>,
    written: String,
}

impl ColumnPattern {
    /// Parses `DB.SCHEMA.TABLE.COLUMN`, and `DB.SCHEMA.TABLE.COLUMN:path.to[0].x`. A part in double quotes may hold dots and
    /// colons.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (names, path) = split_path(text);
        let parts = split(names)?;
        let [database, schema, table, column] = parts.as_slice() else {
            return Err("a pattern has four parts: DATABASE.SCHEMA.TABLE.COLUMN, each may hold *".to_owned());
        };
        Ok(Self {
            database: Glob::new(database),
            schema: Glob::new(schema),
            table: Glob::new(table),
            column: Glob::new(column),
            path: path.map(JsonPath::parse).transpose().map_err(|error| error.to_string())?,
            written: text.to_owned(),
        })
    }

    /// A pattern of parts that are names; `None` is any.
    pub(crate) fn of(parts: [Option<&str>; 4]) -> Self {
        let [database, schema, table, column] = parts.map(|part| part.unwrap_or("*"));
        Self {
            database: Glob::new(database),
            schema: Glob::new(schema),
            table: Glob::new(table),
            column: Glob::new(column),
            path: None,
            written: format!("{database}.{schema}.{table}.{column}"),
        }
    }

    /// The column it names, if its last part holds no `*`.
    pub(crate) fn exact_column(&self) -> Option<Ident> {
        (!self.column.0.contains('*')).then(|| Ident::exact(self.column.0.clone()))
    }

    /// Whether a table may have a column of this pattern. A part that is not known may be anything.
    pub(crate) fn may_be_in(&self, table: &TableName) -> bool {
        self.may_be_in_schema(table.database.as_ref(), table.schema.as_ref())
            && self.table.matches(table.name.as_str())
    }

    /// Whether a schema, or a database if `schema` is `None`, may hold a column of this pattern.
    pub(crate) fn may_be_in_schema(&self, database: Option<&Ident>, schema: Option<&Ident>) -> bool {
        let may = |glob: &Glob, part: Option<&Ident>| part.is_none_or(|part| glob.matches(part.as_str()));
        may(&self.database, database) && may(&self.schema, schema)
    }

    /// Whether a column of this name may be meant, whatever its table.
    pub(crate) fn matches_name(&self, name: &str) -> bool {
        self.column.matches(name)
    }

    /// Whether its column's part is that of another pattern, with its path.
    pub(crate) fn has_column_of(&self, other: &Self) -> bool {
        self.column == other.column && self.path == other.path
    }

    /// The column's part, with its path, for a name that stands for all it matches.
    pub(crate) fn column_part(&self) -> Cow<'_, str> {
        match &self.path {
            None => Cow::Borrowed(&self.column.0),
            Some(path) => Cow::Owned(format!("{}:{}", self.column.0, path.as_str())),
        }
    }

    /// What of the column's documents is meant; all of the column, if there is no path.
    pub(crate) fn path(&self) -> Option<&JsonPath> {
        self.path.as_ref()
    }

    /// The table it names, if its first three parts hold no `*`.
    pub(crate) fn exact_table(&self) -> Option<TableName> {
        let exact = |glob: &Glob| (!glob.0.contains('*')).then(|| Ident::exact(glob.0.clone()));
        Some(TableName {
            database: Some(exact(&self.database)?),
            schema: Some(exact(&self.schema)?),
            name: exact(&self.table)?,
        })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.written
    }
}

/// A pattern of an object's name, in as many parts as its kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern(Vec<Glob>);

impl NamePattern {
    pub(crate) fn parse(text: &str, parts: usize) -> Result<Self, String> {
        let globs: Vec<Glob> = split(text)?.iter().map(|part| Glob::new(part)).collect();
        if globs.len() != parts {
            return Err(format!("a name of this kind has {parts} parts, each may hold *"));
        }
        Ok(Self(globs))
    }

    /// Whether it may be this name. A part that is not known may be anything.
    pub(crate) fn may_be(&self, parts: &[Option<&Ident>]) -> bool {
        self.0.len() == parts.len()
            && self
                .0
                .iter()
                .zip(parts)
                .all(|(glob, part)| part.is_none_or(|part| glob.matches(part.as_str())))
    }
}

/// What is before the first colon outside of quotes, and what is after it.
fn split_path(text: &str) -> (&str, Option<&str>) {
    let mut is_quoted = false;
    let colon = text.find(|c| {
        is_quoted ^= c == '"';
        c == ':' && !is_quoted
    });
    match colon {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

pub(crate) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => {
                if let Some(part) = parts.last_mut() {
                    if quoted { part.push(c) } else { part.extend(c.to_uppercase()) }
                }
            }
        }
    }
    if quoted {
        return Err("a quote in the pattern does not end");
    }
    if parts.iter().any(String::is_empty) {
        return Err("a part of the pattern is empty; write * for any");
    }
    Ok(parts)
}

/// A text in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(String);

impl Glob {
    fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn matches(&self, text: &str) -> bool {
        let text = text.to_uppercase();
        let glob = self.0.to_uppercase();
        let mut pieces = glob.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = pieces.next_back() else {
            return rest.is_empty();
        };
        for piece in pieces {
            match rest.find(piece) {
                Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names_in_any_case() {
        for (glob, yes, no) in [
            ("SSN", &["SSN", "ssn"][..], &["SSN2", "XSSN", ""][..]),
            ("*", &["", "anything"], &[]),
            ("*MAIL*", &["EMAIL", "mail", "E_MAIL_2"], &["MAI", "MA.IL"]),
            ("A*B*C", &["ABC", "AxxBxxC", "ABBC"], &["AB", "ACB", "ABCD"]),
            ("A*A", &["AA", "ABA"], &["A"]),
        ] {
            let glob = Glob::new(glob);
            assert!(yes.iter().all(|text| glob.matches(text)), "{glob:?}");
            assert!(!no.iter().any(|text| glob.matches(text)), "{glob:?}");
        }
    }

    #[test]
    fn patterns_have_four_parts() {
        assert!(ColumnPattern::parse("a.\"b.c\".*.d").is_ok());
        for bad in ["", "a", "a.b.c", "a.b.c.d.e", "a..c.d", "a.b.c.\"d", "a.b.c."] {
            assert!(ColumnPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn behind_a_colon_there_is_a_path() {
        let pattern = ColumnPattern::parse("A.B.C.\"x:y\":who.\"e:mail\"[0]").unwrap();
        assert!(pattern.matches_name("x:y"));
        assert_eq!(pattern.path().unwrap().as_str(), "who.\"e:mail\"[0]");
        assert_eq!(pattern.column_part(), "x:y:who.\"e:mail\"[0]");
        assert_eq!(ColumnPattern::parse("A.B.C.D").unwrap().path(), None);
        for bad in ["A.B.C.D:", "A.B.C.D:a..b", "A.B.C:D", "A.B.C.D:a[x]"] {
            assert!(ColumnPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_known_may_match() {
        let pattern = ColumnPattern::parse("D.S.T.C").unwrap();
        let table = |database: Option<&str>, schema: Option<&str>, name: &str| TableName {
            database: database.map(Ident::exact),
            schema: schema.map(Ident::exact),
            name: Ident::exact(name),
        };
        assert!(pattern.may_be_in(&table(Some("D"), Some("s"), "T")));
        assert!(pattern.may_be_in(&table(None, None, "T")));
        assert!(!pattern.may_be_in(&table(None, Some("X"), "T")));
        assert!(!pattern.may_be_in(&table(Some("D"), Some("S"), "U")));
        assert!(pattern.may_be_in_schema(Some(&Ident::exact("D")), None));
        assert!(!pattern.may_be_in_schema(Some(&Ident::exact("E")), None));
    }
}
