//! `classification.toml`: which columns carry which tags, and how each tag is masked.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use masking::Mask;
use model::TableName;
use serde::Deserialize;
use toml::Spanned;

use crate::{Place, PolicyError, Problem, pattern::ColumnPattern};

/// Patterns of columns, their tags and masks.
#[derive(Debug, Clone, Default)]
pub struct Classification {
    columns: Vec<Arc<TaggedPattern>>,
    masks: BTreeMap<String, Mask>,
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
    tags: BTreeMap<String, WrittenTag>,
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
        if problems.is_empty() { Ok(Self { columns, masks }) } else { Err(PolicyError::new(problems)) }
    }

    /// Columns that have tags for another reason than a pattern of the file.
    pub(crate) fn tagged(&self, parts: [Option<&str>; 4], tags: BTreeSet<String>) -> TaggedPattern {
        let mask = tags.iter().filter_map(|tag| self.masks.get(tag)).copied().reduce(stricter);
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

    /// The tags a table carries: those of every pattern that may match one of its columns.
    pub(crate) fn table_tags(&self, table: &TableName) -> BTreeSet<String> {
        let matching = self.columns.iter().filter(|tagged| tagged.pattern.may_be_in(table));
        matching.flat_map(|tagged| tagged.tags.iter().cloned()).collect()
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
        let masks: Vec<Option<Mask>> = classification.columns().iter().map(|tagged| tagged.mask).collect();
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
            ("[[columns]]\n", "c.toml:1:3: unknown field `columns`, expected `column` or `tags`"),
            (
                "[tags.x]\nmask = \"nul\"\n",
                "c.toml:2:8: a mask is \"null\", \"partial\", \"keep-domain\" or { keep-last = N }",
            ),
            ("[tags.x]\n  mask =\n", "c.toml:2:9: "),
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
