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

mod detectors;
mod masks;

use self::{
    detectors::WrittenDetector,
    masks::{Masks, NamedMask, WrittenKey, WrittenMask},
};
pub(crate) use self::{
    detectors::{Lookout, watches},
    masks::{mask, stricter},
};
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
    /// How many masks it describes.
    described: usize,
    /// What is looked for where no tag tells of anything.
    lookouts: Arc<[Lookout]>,
    objects: Vec<TaggedObject>,
}

/// How much there is in a classification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classified {
    /// Patterns of columns.
    pub columns: usize,
    /// Patterns of objects.
    pub objects: usize,
    /// Masks that it describes.
    pub masks: usize,
    /// Keys that it names.
    pub keys: usize,
    /// Entries that say what is looked for.
    pub detectors: usize,
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
    #[serde(default)]
    detector: Vec<WrittenDetector>,
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
        let mut lookouts = Vec::new();
        for detector in &written.detector {
            match detector.read(&named) {
                Ok(lookout) => lookouts.push(lookout),
                Err(found) => wrong.push(found),
            }
        }
        let mut classification = Self {
            masks,
            key_files: named.key_files,
            described: written.masks.len(),
            lookouts: lookouts.into(),
            ..Self::default()
        };
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

    /// What is looked for where no tag tells of anything.
    pub(crate) fn lookouts(&self) -> &Arc<[Lookout]> {
        &self.lookouts
    }

    /// How much there is of everything in it.
    pub(crate) fn counts(&self) -> Classified {
        Classified {
            columns: self.columns.len(),
            objects: self.objects.len(),
            masks: self.described,
            keys: self.key_files.len(),
            detectors: self.lookouts.len(),
        }
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
mod tests;
