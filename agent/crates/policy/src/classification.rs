//! `classification.toml`: which columns carry which tags, and how each tag is masked.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use masking::{Key, Mask};
use model::{Ident, TableName};
use serde::Deserialize;
use sql::{Container, Level, ObjectKind, ObjectPath, ObjectUse};
use toml::Spanned;

mod masks;

use self::masks::{Masks, NamedMask, WrittenKey, WrittenMask};
pub(crate) use self::masks::{mask, stricter};
use crate::{
    Place, PolicyError, Problem, near,
    pattern::{ColumnPattern, NamePattern},
};

/// Patterns of columns, their tags and masks.
#[derive(Debug, Clone, Default)]
pub struct Classification {
    columns: Vec<Arc<TaggedPattern>>,
    /// The masks of tags.
    masks: BTreeMap<String, Mask>,
    /// Where each key is that a mask may need.
    key_files: BTreeMap<String, String>,
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

impl TaggedPattern {
    /// The same columns under another mask. A path has it inside their documents; where none is said, what it leads to is
    /// NULL.
    pub(crate) fn under(mut self, mask: Option<Mask>) -> Self {
        self.mask = match self.pattern.path() {
            None => mask,
            Some(path) => Some(Mask::Within([(path.clone(), mask.unwrap_or(Mask::Null))].into())),
        };
        self
    }
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
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, WrittenKey>,
    #[serde(default)]
    masks: BTreeMap<Spanned<String>, WrittenMask>,
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
    mask: Spanned<NamedMask>,
}

/// What is wrong, and where in the text.
type Wrong = (Range<usize>, String);

impl Classification {
    /// Parses a classification file. `name` is what errors call it. Of keys nothing but the names is known then: it can be
    /// looked at, and rows cannot be masked with a key.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        Self::parse_with(name, text, &BTreeMap::new())
    }

    /// The same, with keys by their names.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with(name: &str, text: &str, keys: &BTreeMap<String, Key>) -> Result<Self, PolicyError> {
        let problem = |span: Option<Range<usize>>, message: String| Problem::Classification {
            place: Place::at(name, text, span.map_or(0, |span| span.start)),
            message,
        };
        let written: Written = toml::from_str(text)
            .map_err(|error| PolicyError::new(vec![problem(error.span(), error.message().to_owned())]))?;
        let mut wrong = Vec::new();
        let classification = Self::read(&written, keys, &mut wrong);
        wrong.extend(classification.uncarried(&written, text));
        if wrong.is_empty() {
            return Ok(classification);
        }
        let problems = wrong.into_iter().map(|(span, message)| problem(Some(span), message));
        Err(PolicyError::new(problems.collect()))
    }

    fn read(written: &Written, keys: &BTreeMap<String, Key>, wrong: &mut Vec<Wrong>) -> Self {
        let named = Masks::read(&written.masks, &written.keys, keys, wrong);
        let mut masks = BTreeMap::new();
        for (tag, written) in &written.tags {
            match named.named(written.mask.get_ref()) {
                Ok(mask) => drop(masks.insert(tag.clone(), mask)),
                Err(message) => wrong.push((written.mask.span(), message)),
            }
        }
        let mut classification = Self { masks, key_files: named.key_files, ..Self::default() };
        for column in &written.column {
            if column.tags.get_ref().is_empty() {
                wrong.push((column.tags.span(), "a column needs at least one tag".to_owned()));
            }
            match ColumnPattern::parse(column.pattern.get_ref()) {
                Ok(pattern) => {
                    let tags: BTreeSet<String> = column.tags.get_ref().iter().cloned().collect();
                    let mask = classification.mask_of(&tags);
                    let tagged = TaggedPattern { pattern, tags, mask: None };
                    classification.columns.push(Arc::new(tagged.under(mask)));
                }
                Err(message) => wrong.push((column.pattern.span(), message)),
            }
        }
        for object in &written.object {
            if object.tags.get_ref().is_empty() {
                wrong.push((object.tags.span(), "an object needs at least one tag".to_owned()));
            }
            match tagged_object(object) {
                Ok(object) => classification.objects.push(object),
                Err(found) => wrong.push(found),
            }
        }
        classification
    }

    /// Tags that have a mask, are on nothing, and look like one that is.
    fn uncarried(&self, written: &Written, text: &str) -> Vec<Wrong> {
        let carried: BTreeSet<&str> = self.tags().collect();
        let lost = written.tags.keys().filter(|tag| !carried.contains(tag.as_str()));
        let wrong = lost.filter_map(|tag| {
            let meant = near::meant(tag, carried.iter().copied())?;
            let at = text.find(&format!("[tags.{tag}")).unwrap_or_default();
            Some((at..at, format!("nothing carries the tag {tag:?}; did you mean {meant:?}?")))
        });
        wrong.collect()
    }

    /// The keys that it names, each with the file that it is in.
    pub fn key_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.key_files.iter().map(|(name, file)| (name.as_str(), file.as_str()))
    }

    /// The mask of a set of tags. Those without one of their own leave it to the others.
    fn mask_of(&self, tags: &BTreeSet<String>) -> Option<Mask> {
        tags.iter().filter_map(|tag| self.masks.get(tag)).cloned().reduce(stricter)
    }

    /// Columns that have tags for another reason than a pattern of the file.
    pub(crate) fn tagged(&self, parts: [Option<&str>; 4], tags: BTreeSet<String>) -> TaggedPattern {
        let mask = self.mask_of(&tags);
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

fn tagged_object(written: &WrittenObject) -> Result<TaggedObject, Wrong> {
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

#[cfg(test)]
mod tests {
    use masking::{Format, Unit};

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
                "c.toml:1:3: unknown field `columns`, expected one of `column`, `object`, `tags`, `keys`, `masks`",
            ),
            ("[tags.x]\nmask = \"nul\"\n", "c.toml:2:8: \"nul\" is no mask; did you mean \"null\"?"),
            ("[tags.x]\nmask = 4\n", "c.toml:2:8: a mask is the name of one, or { keep-last = N }"),
            (
                "[tags.x]\nmask = \"hash\"\n",
                "c.toml:2:8: \"hash\" needs a description: put kind = \"hash\" under [masks.NAME]",
            ),
            (
                "[tags.x]\nmask = \"anything\"\n",
                "c.toml:2:8: \"anything\" is no mask: it is \"null\", \"partial\", \"keep-domain\", { keep-last = N } or the",
            ),
            (
                "[masks.null]\nkind = \"null\"\n",
                "c.toml:1:8: \"null\" is a mask that every classification has",
            ),
            (
                "[masks.m]\nkind = \"hush\"\n",
                "c.toml:2:8: \"hush\" is no kind of a mask; did you mean \"hash\"?",
            ),
            (
                "[masks.m]\nkind = \"hash\"\n",
                "c.toml:2:8: a mask of kind \"hash\" needs a key: key = \"NAME\", and [keys.NAME] with its file",
            ),
            (
                "[keys.shop]\nfile = \"/k\"\n[masks.m]\nkind = \"hash\"\nkey = \"shob\"\n",
                "c.toml:5:7: there is no key \"shob\"; did you mean \"shop\"?",
            ),
            (
                "[masks.m]\nkind = \"hash\"\nkey = \"k\"\n",
                "c.toml:3:7: there is no key \"k\"; say under [keys.k] where its file is",
            ),
            ("[keys.k]\nfile = \"k\"\n", "c.toml:2:8: \"k\" must be an absolute path"),
            (
                "[keys.\"a b\"]\nfile = \"/k\"\n",
                "c.toml:1:7: the name of a key is up to 32 letters, digits, '-' and '_'",
            ),
            (
                "[masks.m]\nkind = \"null\"\nkeep-last = 4\n",
                "c.toml:3:13: a mask of kind \"null\" has no \"keep-last\"",
            ),
            (
                "[masks.m]\nkind = \"token\"\nformat = \"phone\"\nkeep-issuer = true\n",
                "c.toml:4:15: a mask of kind \"phone\" has no \"keep-issuer\"",
            ),
            (
                "[masks.m]\nkind = \"token\"\nformat = \"phon\"\n",
                "c.toml:3:10: \"phon\" is no format of a mask; did you mean \"phone\"?",
            ),
            (
                "[masks.m]\nkind = \"date\"\n",
                "c.toml:2:8: a mask of kind \"date\" needs unit = \"year\" or \"month\"",
            ),
            (
                "[masks.m]\nkind = \"date\"\nunit = \"week\"\n",
                "c.toml:3:8: \"week\" is no unit of a mask; it is one of year, month",
            ),
            (
                "[masks.m]\nkind = \"fixed\"\n",
                "c.toml:2:8: a mask of kind \"fixed\" needs text = \"REDACTED\"",
            ),
            ("[masks.m]\nkind = \"null\"\nkeeplast = 4\n", "c.toml:3:1: unknown field `keeplast`"),
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
    fn masks_are_described_once_and_named_by_tags() {
        let text = r#"
[keys.shop]
file = "/etc/snowfence/keys/shop"
[masks.customer]
kind = "hash"
key = "shop"
retype = true
[masks.born]
kind = "date"
unit = "year"
[masks.card]
kind = "token"
format = "card"
keep-issuer = true
key = "shop"
[masks.gone]
kind = "fixed"
text = "REDACTED"
[masks.mail]
kind = "token"
format = "email"
key = "shop"
[[column]]
pattern = "*.*.*.A"
tags = ["a", "b", "c", "d", "e"]
[tags]
a = { mask = "customer" }
b = { mask = "born" }
c = { mask = "card" }
d = { mask = "gone" }
e = { mask = "mail" }
"#;
        let key = Key::new("shop", &[1; 32]).unwrap();
        let keys = BTreeMap::from([("shop".to_owned(), key.clone())]);
        let classification = Classification::parse_with("c.toml", text, &keys).unwrap();
        let mask = |tag: &str| classification.mask_of(&BTreeSet::from([tag.to_owned()])).unwrap();
        assert_eq!(mask("a"), Mask::Retyped(Arc::new(Mask::Hash(key.clone()))));
        assert_eq!(mask("b"), Mask::Date(Unit::Year));
        assert_eq!(mask("c"), Mask::Token(Format::Card { keep_issuer: true }, key.clone()));
        assert_eq!(mask("d"), Mask::Fixed("REDACTED".into()));
        assert_eq!(mask("e"), Mask::Token(Format::Email { keep_domain: false }, key));
        assert_eq!(classification.key_files().collect::<Vec<_>>(), [("shop", "/etc/snowfence/keys/shop")]);
        assert!(Classification::parse("c.toml", text).is_ok(), "without the keys it can be looked at");
    }
}
