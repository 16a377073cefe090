//! What is known beside a statement's facts: tags that data took with it to another place, tables that are read through
//! views, and names behind which there may be anything.

use std::{collections::BTreeSet, sync::Arc};

use model::{Ident, TableName};

use crate::{
    carry::STAGES,
    classification::{Classification, TaggedPattern},
};

/// What a statement is judged by beside its facts. Nothing of it makes a mask less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Beside {
    /// Tables that are read without being named: views show them.
    pub reached: Arc<BTreeSet<TableName>>,
    /// Of the tables and views that are read, those of which nobody knows what they show.
    pub unresolved: Arc<BTreeSet<TableName>>,
    /// Tags that tagged data took with it to any of the tables that are read.
    pub carried: Vec<Carried>,
    /// All tags that tagged data took with it to anywhere in the account.
    pub carried_anywhere: BTreeSet<String>,
}

/// Columns that hold what tagged columns held. A part that is `None` may be any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Carried {
    /// The database.
    pub database: Option<Ident>,
    /// The schema.
    pub schema: Option<Ident>,
    /// The table or view.
    pub table: Option<Ident>,
    /// The column.
    pub column: Option<Ident>,
    /// The tags of all that may be in it. Never empty.
    pub tags: BTreeSet<String>,
}

impl Carried {
    /// Whether it may speak of a column of this table.
    #[must_use]
    pub fn may_be_in(&self, table: &TableName) -> bool {
        let fits = |part: &Option<Ident>, of_table: Option<&Ident>| {
            part.as_ref().is_none_or(|part| of_table.is_none_or(|name| is_one(part, name)))
        };
        fits(&self.database, table.database.as_ref())
            && fits(&self.schema, table.schema.as_ref())
            && fits(&self.table, Some(&table.name))
    }

    /// As a classification would say it.
    pub(crate) fn pattern(&self, classification: &Classification) -> TaggedPattern {
        let parts = [&self.database, &self.schema, &self.table, &self.column];
        classification.tagged(parts.map(|part| part.as_ref().map(Ident::as_str)), self.tags.clone())
    }
}

impl Beside {
    /// The tags of what went into files of stages.
    pub(crate) fn staged(&self) -> BTreeSet<String> {
        let is_staged =
            |carried: &&Carried| carried.table.as_ref().is_some_and(|table| table.as_str() == STAGES);
        self.carried.iter().filter(is_staged).flat_map(|carried| carried.tags.iter().cloned()).collect()
    }

    /// What may be anywhere, as a classification would say it.
    pub(crate) fn anywhere(&self, classification: &Classification) -> Option<TaggedPattern> {
        let tags = &self.carried_anywhere;
        (!tags.is_empty()).then(|| classification.tagged([None; 4], tags.clone()))
    }

    pub(crate) fn size(&self) -> usize {
        let parts = |carried: &Carried| {
            let names = [&carried.database, &carried.schema, &carried.table, &carried.column];
            let names: usize = names.into_iter().flatten().map(|part| part.as_str().len()).sum();
            size_of::<Carried>()
                + names
                + carried.tags.iter().map(|tag| tag.len() + size_of::<String>()).sum::<usize>()
        };
        let tables = (self.reached.len() + self.unresolved.len()) * size_of::<TableName>();
        tables + self.carried.iter().map(parts).sum::<usize>()
    }
}

/// Patterns match without regard to case, and so does this.
fn is_one(a: &Ident, b: &Ident) -> bool {
    a == b || a.as_str().to_uppercase() == b.as_str().to_uppercase()
}
