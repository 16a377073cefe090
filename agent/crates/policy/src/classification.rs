//! `classification.toml`: which columns carry which tags, and how each tag is masked.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use masking::Mask;
use model::{Ident, TableName};
use serde::Deserialize;
use sql::{Container, Level, ObjectKind, ObjectPath, ObjectUse};
use toml::Spanned;

use crate::{
    Place, PolicyError, Problem, near,
    pattern::{ColumnPattern, NamePattern},
};

/// Patterns of columns, their tags and masks.
#[derive(Debug, Clone, Default)]
pub struct Classification {
    columns: Vec<Arc<TaggedPattern>>,
    masks: BTreeMap<String, Mask>,
    objects: Vec<TaggedObject>,
}

/// Objects of one kind, and the tags that they carry.
#[derive(Debug, Clone)]
struct TaggedObject {
    kind: String,
    name: NamePattern,
    tags: BTreeSet<String>,
}

/// A pattern with what it says of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaggedPattern {
    pub(crate) pattern: ColumnPattern,
    pub(crate) tags: BTreeSet<String>,
    /// The mask its tags ask for; `None` if none of them asks for any.
    pub(crate) mask: Option<Mask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    column: Vec<WrittenColumn>,
    #[serde(default)]
    object: Vec<WrittenObject>,
    #[serde(default)]
    tags: BTreeMap<String, WrittenTag>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenObject {
    kind: Spanned<String>,
    name: Spanned<String>,
    tags: Spanned<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    pattern: Spanned<String>,
    tags: Spanned<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTag {
    mask: WrittenMask,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a mask is \"null\", \"partial\", \"keep-domain\" or { keep-last = N }")]
enum WrittenMask {
    Named(NamedMask),
    Partial(PartialMask),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum NamedMask {
    Null,
    KeepDomain,
    /// The same as `{ keep-last = 4 }`.
    Partial,
}

/// How many characters of a text `"partial"` shows, as on the receipt of a card payment.
const PARTIAL_KEEP_LAST: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PartialMask {
    keep_last: usize,
}

impl Classification {
    /// Parses a classification file. `name` is what errors call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        let problem = |span: Option<Range<usize>>, message: String| Problem::Classification {
            place: Place::at(name, text, span.map_or(0, |span| span.start)),
            message,
        };
        let written: Written = toml::from_str(text)
            .map_err(|error| PolicyError::new(vec![problem(error.span(), error.message().to_owned())]))?;
        let mut problems = Vec::new();
        let mut columns = Vec::new();
        for column in &written.column {
            if column.tags.get_ref().is_empty() {
                problems
                    .push(problem(Some(column.tags.span()), "a column needs at least one tag".to_owned()));
            }
            match ColumnPattern::parse(column.pattern.get_ref()) {
                Ok(pattern) => {
                    let tags: BTreeSet<String> = column.tags.get_ref().iter().cloned().collect();
                    let mask = mask_of(&tags, &written.tags);
                    columns.push(Arc::new(TaggedPattern { pattern, tags, mask }));
                }
                Err(message) => problems.push(problem(Some(column.pattern.span()), message.to_owned())),
            }
        }
        let masks = written.tags.iter().map(|(tag, written)| (tag.clone(), mask_in(&written.mask))).collect();
        let mut objects = Vec::new();
        for object in &written.object {
            if object.tags.get_ref().is_empty() {
                problems
                    .push(problem(Some(object.tags.span()), "an object needs at least one tag".to_owned()));
            }
            match tagged_object(object) {
                Ok(object) => objects.push(object),
                Err((span, message)) => problems.push(problem(Some(span), message)),
            }
        }
        let carried =
            columns.iter().map(|column| &column.tags).chain(objects.iter().map(|object| &object.tags));
        let carried: BTreeSet<&str> = carried.flatten().map(String::as_str).collect();
        for tag in written.tags.keys().filter(|tag| !carried.contains(tag.as_str())) {
            if let Some(meant) = near::meant(tag, carried.iter().copied()) {
                let at = text.find(&format!("[tags.{tag}")).unwrap_or_default();
                let message = format!("nothing carries the tag {tag:?}; did you mean {meant:?}?");
                problems.push(problem(Some(at..at), message));
            }
        }
        if problems.is_empty() {
            Ok(Self { columns, objects, masks })
        } else {
            Err(PolicyError::new(problems))
        }
    }

    /// Columns that have tags for another reason than a pattern of the file.
    pub(crate) fn tagged(&self, parts: [Option<&str>; 4], tags: BTreeSet<String>) -> TaggedPattern {
        let mask = tags.iter().filter_map(|tag| self.masks.get(tag)).cloned().reduce(stricter);
        TaggedPattern { pattern: ColumnPattern::of(parts), tags, mask }
    }

    /// The tags of all patterns.
    pub(crate) fn all_tags(&self) -> BTreeSet<String> {
        self.columns.iter().flat_map(|tagged| tagged.tags.iter().cloned()).collect()
    }

    /// All patterns.
    pub(crate) fn columns(&self) -> &[Arc<TaggedPattern>] {
        &self.columns
    }

    /// Every tag that anything carries, or that has a mask.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter().flat_map(|column| &column.tags);
        columns.chain(self.objects.iter().flat_map(|object| &object.tags)).map(String::as_str)
    }

    /// The tags a table carries: its own, and those of every pattern that may match one of its columns.
    pub(crate) fn table_tags(&self, table: &TableName) -> BTreeSet<String> {
        let matching = self.columns.iter().filter(|tagged| tagged.pattern.may_be_in(table));
        let mut tags =
            self.named("table", &[table.database.as_ref(), table.schema.as_ref(), Some(&table.name)]);
        tags.extend(matching.flat_map(|tagged| tagged.tags.iter().cloned()));
        tags
    }

    /// The tags that a schema or database carries.
    pub(crate) fn container_tags(&self, container: &Container) -> BTreeSet<String> {
        match container {
            Container::Database(database) => self.named("database", &[Some(database)]),
            Container::Schema { database, schema } => {
                self.named("schema", &[database.as_ref(), schema.as_ref()])
            }
        }
    }

    /// The tags that another object carries.
    pub(crate) fn object_tags(&self, used: &ObjectUse) -> BTreeSet<String> {
        let ObjectPath { database, schema, name } = &used.name;
        let parts = [database.as_ref(), schema.as_ref(), Some(name)];
        let parts = match used.kind.level() {
            Level::Account => parts.get(2..),
            Level::Database => return self.named(used.kind.as_str(), &[database.as_ref(), Some(name)]),
            Level::Schema => parts.get(..),
        };
        self.named(used.kind.as_str(), parts.unwrap_or_default())
    }

    fn named(&self, kind: &str, parts: &[Option<&Ident>]) -> BTreeSet<String> {
        let matching = self.objects.iter().filter(|object| object.kind == kind && object.name.may_be(parts));
        matching.flat_map(|object| object.tags.iter().cloned()).collect()
    }
}

fn tagged_object(written: &WrittenObject) -> Result<TaggedObject, (Range<usize>, String)> {
    let kind = written.kind.get_ref();
    let parts = match kind.as_str() {
        "database" => 1,
        "schema" => 2,
        "table" => 3,
        _ => match ObjectKind::ALL.iter().find(|known| known.as_str() == kind).map(|kind| kind.level()) {
            Some(Level::Account) => 1,
            Some(Level::Database) => 2,
            Some(Level::Schema) => 3,
            None => {
                let known = ObjectKind::ALL.iter().map(|kind| kind.as_str());
                let known = known.chain(["database", "schema", "table"]);
                let meant = near::meant(kind, known)
                    .map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
                return Err((written.kind.span(), format!("{kind:?} is no kind of object{meant}")));
            }
        },
    };
    let name = NamePattern::parse(written.name.get_ref(), parts)
        .map_err(|message| (written.name.span(), message))?;
    Ok(TaggedObject { kind: kind.clone(), name, tags: written.tags.get_ref().iter().cloned().collect() })
}

/// A mask by its word, as annotations have it: `null`, `partial`, `keep-domain`, `keep-last:4`.
pub(crate) fn mask(word: &str) -> Option<Mask> {
    match word {
        "null" => Some(Mask::Null),
        "partial" => Some(Mask::Partial { keep_last: PARTIAL_KEEP_LAST }),
        "keep-domain" => Some(Mask::KeepDomain),
        _ => Some(Mask::Partial { keep_last: word.strip_prefix("keep-last:")?.parse().ok()? }),
    }
}

/// Tags without a mask of their own leave the mask to the others.
fn mask_of(tags: &BTreeSet<String>, masks: &BTreeMap<String, WrittenTag>) -> Option<Mask> {
    tags.iter().filter_map(|tag| masks.get(tag)).map(|tag| mask_in(&tag.mask)).reduce(stricter)
}

fn mask_in(written: &WrittenMask) -> Mask {
    match written {
        WrittenMask::Named(NamedMask::Null) => Mask::Null,
        WrittenMask::Named(NamedMask::KeepDomain) => Mask::KeepDomain,
        WrittenMask::Named(NamedMask::Partial) => Mask::Partial { keep_last: PARTIAL_KEEP_LAST },
        WrittenMask::Partial(PartialMask { keep_last }) => Mask::Partial { keep_last: *keep_last },
    }
}

/// The mask that shows no more than either.
pub(crate) fn stricter(a: Mask, b: Mask) -> Mask {
    match (a, b) {
        (Mask::Partial { keep_last: x }, Mask::Partial { keep_last: y }) => {
            Mask::Partial { keep_last: x.min(y) }
        }
        (a, b) if a == b => a,
        _ => Mask::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[column]]
pattern = "ANALYTICS.PUBLIC.CUSTOMERS.EMAIL"
tags = ["pii", "email"]

[[column]]
pattern = "*.*.*.SSN"
tags = ["pii", "ssn"]

[[column]]
pattern = "*.*.*.NOTE"
tags = ["pii"]

[[column]]
pattern = "*.*.*.BOTH"
tags = ["email", "ssn"]

[tags.email]
mask = "keep-domain"

[tags.ssn]
mask = { keep-last = 4 }
"#;

    #[test]
    fn tags_say_how_a_column_is_masked() {
        let classification = Classification::parse("c.toml", GOOD).unwrap();
        let masks: Vec<Option<Mask>> =
            classification.columns().iter().map(|tagged| tagged.mask.clone()).collect();
        assert_eq!(
            masks,
            [Some(Mask::KeepDomain), Some(Mask::Partial { keep_last: 4 }), None, Some(Mask::Null)]
        );
        assert!(Classification::parse("c.toml", "").unwrap().columns().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            (
                "[[column]]\npattern = \"A.B\"\ntags = [\"x\"]\n",
                "c.toml:2:11: a pattern has four parts: DATABASE.SCHEMA.TABLE.COLUMN, each may hold *",
            ),
            ("[[column]]\npattern = \"A.B.C.D\"\ntags = []\n", "c.toml:3:8: a column needs at least one tag"),
            (
                "[[columns]]\n",
                "c.toml:1:3: unknown field `columns`, expected one of `column`, `object`, `tags`",
            ),
            (
                "[tags.x]\nmask = \"nul\"\n",
                "c.toml:2:8: a mask is \"null\", \"partial\", \"keep-domain\" or { keep-last = N }",
            ),
            ("[tags.x]\n  mask =\n", "c.toml:2:9: "),
            (
                "[[column]]\npattern = \"*.*.*.E\"\ntags = [\"email\"]\n\n[tags.emial]\nmask = \"null\"\n",
                "c.toml:5:1: nothing carries the tag \"emial\"; did you mean \"email\"?",
            ),
            (
                "[[object]]\nkind = \"stages\"\nname = \"*.*.S\"\ntags = [\"x\"]\n",
                "c.toml:2:8: \"stages\" is no kind of object; did you mean \"stage\"?",
            ),
            (
                "[[object]]\nkind = \"schema\"\nname = \"S\"\ntags = [\"x\"]\n",
                "c.toml:3:8: a name of this kind has 2 parts, each may hold *",
            ),
        ] {
            let error = Classification::parse("c.toml", text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_stricter_mask_never_shows_more() {
        let partial = |keep_last| Mask::Partial { keep_last };
        assert_eq!(stricter(partial(4), partial(2)), partial(2));
        assert_eq!(stricter(partial(4), Mask::KeepDomain), Mask::Null);
        assert_eq!(stricter(Mask::Null, partial(4)), Mask::Null);
        assert_eq!(stricter(Mask::KeepDomain, Mask::KeepDomain), Mask::KeepDomain);
    }
}
