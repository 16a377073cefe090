//! `[[detector]]`: what is looked for in texts that no tag told of.

use masking::{Detector, Mask, Watch};
use model::{ColumnMeta, Ident, TableName};
use serde::Deserialize;
use toml::Spanned;

use super::{
    Wrong,
    masks::{Masks, NamedMask},
};
use crate::{near, pattern::ColumnPattern};

/// How many cells of a column are looked at where nothing else is said and nothing is masked.
const CELLS_MAX: u64 = 1_000_000;

/// The word for every kind.
const ALL: &str = "all";

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenDetector {
    find: Spanned<Vec<Spanned<String>>>,
    columns: Option<Spanned<String>>,
    sample: Option<Spanned<u64>>,
    cells: Option<Spanned<u64>>,
    mask: Option<Spanned<NamedMask>>,
}

/// What is looked for in some columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookout {
    find: Vec<Detector>,
    /// All, if there is none.
    columns: Option<ColumnPattern>,
    every: u64,
    cells_max: u64,
    mask: Option<Mask>,
}

impl WrittenDetector {
    pub(super) fn read(&self, masks: &Masks) -> Result<Lookout, Wrong> {
        let mut find = Vec::new();
        for word in self.find.get_ref() {
            match word.get_ref().as_str() {
                ALL => find.extend(Detector::ALL),
                text => find.push(detector(text).ok_or_else(|| unknown(word))?),
            }
        }
        if find.is_empty() {
            return Err((self.find.span(), "a detector needs something to find".to_owned()));
        }
        let columns = match &self.columns {
            None => None,
            Some(written) => {
                let pattern =
                    ColumnPattern::parse(written.get_ref()).map_err(|message| (written.span(), message))?;
                if pattern.path().is_some() {
                    let message = "a detector looks at whole columns; leave the path out".to_owned();
                    return Err((written.span(), message));
                }
                Some(pattern)
            }
        };
        let mask = match &self.mask {
            None => None,
            Some(named) => Some(masks.named(named.get_ref()).map_err(|message| (named.span(), message))?),
        };
        let every = self.sample.as_ref().map_or(1, |sample| *sample.get_ref());
        if let (Some(sample), Some(_), 2..) = (&self.sample, &mask, every) {
            let message =
                "what is masked is looked for in every row; leave sample out, or the mask".to_owned();
            return Err((sample.span(), message));
        }
        let usual = if mask.is_some() { u64::MAX } else { CELLS_MAX };
        let cells_max = self.cells.as_ref().map_or(usual, |cells| *cells.get_ref());
        Ok(Lookout { find, columns, every, cells_max, mask })
    }
}

fn detector(word: &str) -> Option<Detector> {
    Detector::ALL.into_iter().find(|detector| detector.as_str() == word)
}

fn unknown(word: &Spanned<String>) -> Wrong {
    let known = || Detector::ALL.into_iter().map(Detector::as_str).chain([ALL]);
    let meant = match near::meant(word.get_ref(), known()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
    };
    (word.span(), format!("{:?} is nothing that is looked for; {meant}", word.get_ref()))
}

/// What is looked for in a column: for each kind as the first that speaks of it there says.
pub(crate) fn watches(lookouts: &[Lookout], column: &ColumnMeta) -> Vec<Watch> {
    let mut watches: Vec<Watch> = Vec::new();
    for lookout in lookouts.iter().filter(|lookout| lookout.speaks_of(column)) {
        for detector in &lookout.find {
            if !watches.iter().any(|watch| watch.detector == *detector) {
                let Lookout { every, cells_max, mask, .. } = lookout;
                let mask = mask.clone();
                watches.push(Watch { detector: *detector, every: *every, cells_max: *cells_max, mask });
            }
        }
    }
    watches.retain(|watch| watch.every > 0 && watch.cells_max > 0);
    watches
}

impl Lookout {
    /// Where the server does not say where a column comes from, it may come from anywhere.
    fn speaks_of(&self, column: &ColumnMeta) -> bool {
        let Some(pattern) = &self.columns else { return true };
        let part = |text: &str| (!text.is_empty()).then(|| Ident::exact(text));
        let (database, schema) = (part(&column.database), part(&column.schema));
        let is_there = match part(&column.table) {
            Some(name) => pattern.may_be_in(&TableName { database, schema, name }),
            None => pattern.may_be_in_schema(database.as_ref(), schema.as_ref()),
        };
        is_there && pattern.matches_name(&column.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Classification;

    fn column(name: &str, table: &str) -> ColumnMeta {
        ColumnMeta {
            name: name.to_owned(),
            database: "D".to_owned(),
            schema: "S".to_owned(),
            table: table.to_owned(),
            type_name: "text".to_owned(),
            nullable: true,
        }
    }

    #[test]
    fn the_first_that_speaks_of_a_column_says_how_it_is_watched() {
        let text = r#"
[[detector]]
find = ["email"]
columns = "*.*.LOGS.AUTHOR"
sample = 0
[[detector]]
find = ["email", "card"]
columns = "*.*.LOGS.*"
mask = "partial"
[[detector]]
find = ["all"]
sample = 10
cells = 500
"#;
        let classification = Classification::parse("c.toml", text).unwrap();
        let of = |name, table| watches(classification.lookouts(), &column(name, table));
        let by =
            |watches: &[Watch], detector| watches.iter().find(|watch| watch.detector == detector).cloned();
        let line = of("LINE", "LOGS");
        assert_eq!(line.len(), Detector::ALL.len());
        let partial = Some(Mask::Partial { keep_last: 4 });
        let masked = Watch { detector: Detector::Card, every: 1, cells_max: u64::MAX, mask: partial };
        assert_eq!(by(&line, Detector::Card), Some(masked));
        let told = Watch { detector: Detector::Jwt, every: 10, cells_max: 500, mask: None };
        assert_eq!(by(&line, Detector::Jwt), Some(told));
        assert_eq!(by(&of("AUTHOR", "LOGS"), Detector::Email), None, "it is switched off there");
        assert_eq!(by(&of("X", "OTHER"), Detector::Email).unwrap().mask, None);
        assert!(by(&of("LINE", ""), Detector::Email).unwrap().mask.is_some(), "it may be of that table");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            (
                "find = [\"emial\"]",
                "c.toml:2:9: \"emial\" is nothing that is looked for; did you mean \"email\"?",
            ),
            (
                "find = [\"names\"]",
                "c.toml:2:9: \"names\" is nothing that is looked for; there are email, ssn, card",
            ),
            ("find = []", "c.toml:2:8: a detector needs something to find"),
            ("find = [\"all\"]\ncolumns = \"A.B\"", "c.toml:3:11: a pattern has four parts"),
            ("find = [\"all\"]\ncolumns = \"A.B.C.D:e\"", "c.toml:3:11: a detector looks at whole columns"),
            ("find = [\"all\"]\nmask = \"nul\"", "c.toml:3:8: \"nul\" is no mask; did you mean \"null\"?"),
            (
                "find = [\"all\"]\nsample = 2\nmask = \"null\"",
                "c.toml:3:10: what is masked is looked for in every row; leave sample out, or the mask",
            ),
            ("find = [\"all\"]\nsampel = 2", "c.toml:3:1: unknown field `sampel`"),
        ] {
            let error =
                Classification::parse("c.toml", &format!("[[detector]]\n{text}\n")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
