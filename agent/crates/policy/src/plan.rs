//! Which columns of a result are masked: decided with the statement, applied when the columns are known.

use std::{collections::BTreeSet, sync::Arc};

use masking::{Mask, Watch};
use model::{ColumnMeta, ColumnName, Ident, TableName};
use sql::{Facts, Output, Outputs, Sources};

use crate::classification::{Lookout, TaggedPattern, stricter, watches};

/// What is owed for a result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) shows: Shows,
    /// Tagged columns of the tables that the statement reads.
    pub(crate) guards: Vec<Guard>,
    /// Every pattern that may not be seen unmasked, whatever the statement names.
    pub(crate) everywhere: Vec<Arc<TaggedPattern>>,
    /// What may be in any column, because data took it there; where it may not be seen unmasked.
    pub(crate) anywhere: Option<Arc<TaggedPattern>>,
    /// Whether the statement reads more than the tables it names.
    pub(crate) reads_more: bool,
    /// Tables and views behind which there may be anything.
    pub(crate) unresolved: Arc<BTreeSet<TableName>>,
    /// What is looked for where no tag tells of anything.
    pub(crate) lookouts: Arc<[Lookout]>,
}

/// What the columns of a result are.
#[derive(Debug, Clone, Default)]
pub(crate) enum Shows {
    /// No rows of any table.
    #[default]
    Nothing,
    /// The outputs of one statement of a text: these facts, and its place among them.
    Outputs(Arc<Facts>, usize),
    /// Nobody can say of which statement.
    Unknown,
}

/// A tagged column of one table.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) table: TableName,
    pub(crate) tagged: Arc<TaggedPattern>,
    /// Whether it is masked: nothing permits to see it.
    pub(crate) masked: bool,
}

/// A mask with the tags it is owed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) mask: Mask,
    pub(crate) tags: BTreeSet<String>,
}

/// What is known of one column of the result.
enum Known {
    /// Masked.
    Owed(Owed),
    /// A tagged column that may be seen.
    Free,
    /// No tag was found by the way the text tells.
    Untagged,
}

impl Plan {
    /// What is owed for a result when nobody can say which of these statements it is of.
    pub(crate) fn all(plans: Vec<Self>) -> Self {
        let mut plans = plans.into_iter();
        let first = plans.next().unwrap_or_default();
        plans.fold(first, |mut all, plan| {
            if !matches!((&all.shows, plan.shows), (Shows::Nothing, Shows::Nothing)) {
                all.shows = Shows::Unknown;
            }
            all.guards.extend(plan.guards);
            for tagged in plan.everywhere {
                if !all.everywhere.iter().any(|known| Arc::ptr_eq(known, &tagged)) {
                    all.everywhere.push(tagged);
                }
            }
            all.anywhere = all.anywhere.or(plan.anywhere);
            all.reads_more |= plan.reads_more;
            if all.lookouts.is_empty() {
                all.lookouts = plan.lookouts;
            }
            all
        })
    }

    /// What it takes in memory, in bytes: about so much. Facts and patterns are shared.
    pub(crate) fn size(&self) -> usize {
        let guards = self.guards.iter().map(|guard| size_of::<Guard>() + of_table(&guard.table));
        size_of::<Self>() + guards.sum::<usize>() + self.everywhere.len() * size_of::<usize>()
    }

    /// Whether any column of a result could be masked.
    pub(crate) fn may_mask(&self) -> bool {
        !matches!(self.shows, Shows::Nothing)
            && (!self.everywhere.is_empty()
                || !self.lookouts.is_empty()
                || self.anywhere.is_some()
                || self.guards.iter().any(|guard| guard.masked))
    }

    /// The mask owed for each column.
    pub(crate) fn masks(&self, columns: &[ColumnMeta]) -> Vec<Option<Owed>> {
        let owed = |known| if let Known::Owed(owed) = known { Some(owed) } else { None };
        self.known(columns).into_iter().map(owed).collect()
    }

    /// What is looked for in each column. Nothing is where all of it is masked, or where it is tagged and may be seen.
    pub(crate) fn watches(&self, columns: &[ColumnMeta]) -> Vec<Vec<Watch>> {
        if self.lookouts.is_empty() {
            return vec![Vec::new(); columns.len()];
        }
        let of_column = |(known, column): (Known, &ColumnMeta)| match known {
            Known::Owed(Owed { mask: Mask::Within(_), .. }) | Known::Untagged => {
                watches(&self.lookouts, column)
            }
            Known::Owed(_) | Known::Free => Vec::new(),
        };
        self.known(columns).into_iter().zip(columns).map(of_column).collect()
    }

    fn known(&self, columns: &[ColumnMeta]) -> Vec<Known> {
        let outputs = match &self.shows {
            Shows::Nothing => return columns.iter().map(|_| Known::Free).collect(),
            Shows::Unknown => None,
            Shows::Outputs(facts, at) => {
                facts.statements().ok().and_then(|all| all.get(*at)).map(|statement| &statement.outputs)
            }
        };
        let aligned = match outputs {
            Some(Outputs::Known(outputs)) => align(outputs, columns),
            Some(Outputs::Unknown(_)) | None => None,
        };
        let of_column = |(at, column): (usize, &ColumnMeta)| {
            let known = match aligned.as_ref().and_then(|aligned| aligned.get(at)) {
                Some(entries) => {
                    entries.iter().map(|output| self.output(output, column)).fold(Known::Untagged, worse)
                }
                None => self.unknown(),
            };
            // The server says where a column comes from, too. Where it says something else, both count.
            let known = match self.by_table(column) {
                Some(told) => worse(known, told),
                None => known,
            };
            match known {
                Known::Untagged => self.by_name(column).map_or(Known::Untagged, Known::Owed),
                known => known,
            }
        };
        columns.iter().enumerate().map(of_column).collect()
    }

    fn output(&self, output: &Output, column: &ColumnMeta) -> Known {
        match &output.sources {
            Sources::Nothing => Known::Untagged,
            Sources::Column(columns) => columns.iter().map(|c| self.column(c)).fold(Known::Untagged, worse),
            Sources::Derived(columns) => {
                let worst = columns.iter().map(|c| self.column(c)).fold(Known::Untagged, worse);
                // What an expression makes of a value cannot be masked in part.
                match worst {
                    Known::Owed(owed) => Known::Owed(Owed { mask: Mask::Null, ..owed }),
                    other => other,
                }
            }
            Sources::Wildcard(tables) => {
                let name = Ident::exact(column.name.clone());
                let of_table =
                    |table: &TableName| self.column(&ColumnName { table: table.clone(), name: name.clone() });
                tables.iter().map(of_table).fold(Known::Untagged, worse)
            }
            Sources::Within { columns, tables } => {
                let of_columns = columns.iter().map(|column| self.column(column));
                let worst = of_columns.chain(tables.iter().map(|table| self.any_of(table)));
                match worst.fold(Known::Untagged, worse) {
                    Known::Owed(owed) => Known::Owed(Owed { mask: Mask::Null, ..owed }),
                    other => other,
                }
            }
            Sources::Unknown => self.unknown(),
        }
    }

    /// Any column of a table, whatever it is called.
    fn any_of(&self, table: &TableName) -> Known {
        let guards = self.guards.iter().filter(|guard| guard.table == *table);
        let found = match owed(guards.clone().filter(|guard| guard.masked).map(|guard| guard.tagged.as_ref()))
        {
            Some(owed) => Known::Owed(owed),
            None if guards.count() == 0 => Known::Untagged,
            None => Known::Free,
        };
        if self.unresolved.contains(table) { worse(found, self.unknown()) } else { found }
    }

    /// The tags of all that can reach a column that is filled, whether they may be seen or not; `None` if it may be
    /// anything.
    pub(crate) fn tags(&self, sources: &Sources) -> Option<BTreeSet<String>> {
        let of_table = |table: &TableName, column: Option<&Ident>| {
            let fits = |guard: &&Guard| {
                let is_named = |name: &Ident| guard.tagged.pattern.matches_name(name.as_str());
                guard.table == *table && column.is_none_or(is_named)
            };
            let tags = self.guards.iter().filter(fits).flat_map(|guard| guard.tagged.tags.iter().cloned());
            (!self.unresolved.contains(table)).then(|| tags.collect::<BTreeSet<_>>())
        };
        let of_columns = |columns: &[ColumnName]| -> Option<Vec<BTreeSet<String>>> {
            columns.iter().map(|column| of_table(&column.table, Some(&column.name))).collect()
        };
        let of_tables = |tables: &[TableName]| -> Option<Vec<BTreeSet<String>>> {
            tables.iter().map(|table| of_table(table, None)).collect()
        };
        let tags = match sources {
            Sources::Nothing => Vec::new(),
            Sources::Column(columns) | Sources::Derived(columns) => of_columns(columns)?,
            Sources::Within { columns, tables } => {
                let mut tags = of_columns(columns)?;
                tags.extend(of_tables(tables)?);
                tags
            }
            Sources::Wildcard(tables) => of_tables(tables)?,
            Sources::Unknown => return None,
        };
        Some(tags.into_iter().flatten().collect())
    }

    /// One column of a table: the tags of all patterns that match it count together.
    fn column(&self, column: &ColumnName) -> Known {
        let matching: Vec<&Guard> = self
            .guards
            .iter()
            .filter(|guard| {
                guard.table == column.table && guard.tagged.pattern.matches_name(column.name.as_str())
            })
            .collect();
        let found =
            match owed(matching.iter().filter(|guard| guard.masked).map(|guard| guard.tagged.as_ref())) {
                Some(owed) => Known::Owed(owed),
                None if matching.is_empty() => Known::Untagged,
                None => Known::Free,
            };
        if self.unresolved.contains(&column.table) { worse(found, self.unknown()) } else { found }
    }

    /// A column by the table that the server says it comes from, if it says so and the statement reads that table.
    fn by_table(&self, column: &ColumnMeta) -> Option<Known> {
        let part = |text: &str| (!text.is_empty()).then(|| Ident::exact(text));
        let (database, schema) = (Some(part(&column.database)?), Some(part(&column.schema)?));
        let table = TableName { database, schema, name: part(&column.table)? };
        let is_read = self.guards.iter().any(|guard| guard.table == table);
        is_read.then(|| self.column(&ColumnName { table, name: Ident::exact(column.name.clone()) }))
    }

    /// A column that may hold anything the statement reads.
    fn unknown(&self) -> Known {
        let named = self.guards.iter().filter(|guard| guard.masked).map(|guard| guard.tagged.as_ref());
        let unnamed =
            self.everywhere.iter().chain(&self.anywhere).filter(|_| self.reads_more).map(Arc::as_ref);
        match owed(named.chain(unnamed)) {
            Some(owed) => Known::Owed(Owed { mask: Mask::Null, ..owed }),
            None => Known::Untagged,
        }
    }

    /// The second net: what the server calls a column. It catches tagged columns that came by a way the text does not
    /// tell, such as a view. A source that the server does not name may be any.
    fn by_name(&self, column: &ColumnMeta) -> Option<Owed> {
        let part = |text: &str| (!text.is_empty()).then(|| Ident::exact(text));
        let (database, schema) = (part(&column.database), part(&column.schema));
        let fits = |tagged: &&Arc<TaggedPattern>| {
            let pattern = &tagged.pattern;
            let in_table = match part(&column.table) {
                Some(name) => {
                    pattern.may_be_in(&TableName { database: database.clone(), schema: schema.clone(), name })
                }
                None => pattern.may_be_in_schema(database.as_ref(), schema.as_ref()),
            };
            in_table && pattern.matches_name(&column.name)
        };
        owed(self.everywhere.iter().filter(fits).map(Arc::as_ref))
    }
}

/// What its names take.
fn of_table(table: &TableName) -> usize {
    let part = |part: &Option<Ident>| part.as_ref().map_or(0, |part| part.as_str().len());
    part(&table.database) + part(&table.schema) + table.name.as_str().len()
}

/// For each column of the result the entries of the select list that it may be; `None` if they do not fit each other.
fn align<'o>(outputs: &'o [Output], columns: &[ColumnMeta]) -> Option<Vec<Vec<&'o Output>>> {
    let is_wildcard = |output: &Output| output.is_many;
    let first = outputs.iter().position(is_wildcard);
    let last = outputs.iter().rposition(is_wildcard);
    let (Some(first), Some(last)) = (first, last) else {
        return (outputs.len() == columns.len()).then(|| outputs.iter().map(|output| vec![output]).collect());
    };
    let before = outputs.get(..first)?;
    let middle = outputs.get(first..=last)?;
    let after = outputs.get(last + 1..)?;
    let spread = columns.len().checked_sub(before.len() + after.len())?;
    let between = columns.get(before.len()..before.len() + spread)?;
    // With several wildcards nobody here knows where one ends and the next begins.
    let may_be = |column: &ColumnMeta| -> Vec<&'o Output> {
        let named = |output: &&Output| {
            is_wildcard(output)
                || output.name.as_ref().is_none_or(|name| name.as_str().eq_ignore_ascii_case(&column.name))
        };
        middle.iter().filter(named).collect()
    };
    let single = |outputs: &'o [Output]| outputs.iter().map(|output| vec![output]);
    Some(single(before).chain(between.iter().map(may_be)).chain(single(after)).collect())
}

fn owed<'t>(patterns: impl Iterator<Item = &'t TaggedPattern>) -> Option<Owed> {
    let mut patterns = patterns.peekable();
    patterns.peek()?;
    let both = |a: Option<Mask>, b: Option<Mask>| match (a, b) {
        (Some(a), Some(b)) => Some(stricter(a, b)),
        (a, b) => a.or(b),
    };
    let (mut whole, mut parts, mut tags) = (None, None, BTreeSet::new());
    for tagged in patterns {
        tags.extend(tagged.tags.iter().cloned());
        let mask = tagged.mask.clone();
        match tagged.pattern.path() {
            None => whole = Some(both(whole.flatten(), mask)),
            Some(_) => parts = both(parts, mask),
        }
    }
    // A column whose own tags name no mask is NULL, whatever the masks of its parts are.
    let whole = whole.map(|mask| mask.unwrap_or(Mask::Null));
    Some(Owed { mask: both(whole, parts).unwrap_or(Mask::Null), tags })
}

fn worse(a: Known, b: Known) -> Known {
    match (a, b) {
        (Known::Owed(a), Known::Owed(b)) => Known::Owed(Owed {
            mask: stricter(a.mask, b.mask),
            tags: a.tags.into_iter().chain(b.tags).collect(),
        }),
        (Known::Owed(owed), _) | (_, Known::Owed(owed)) => Known::Owed(owed),
        (Known::Free, Known::Free) => Known::Free,
        // One of two sources may be seen and the other is not known: the name decides.
        (Known::Free, Known::Untagged) | (Known::Untagged, Known::Free) => Known::Free,
        (Known::Untagged, Known::Untagged) => Known::Untagged,
    }
}
