//! What can reach one value: a set of columns, kept as numbers so that sets are cheap to join.

use std::collections::{BTreeSet, HashMap};

use model::{ColumnName, Ident, TableName};

use crate::Sources;

/// The number of a table.
pub(super) type TableId = u32;
/// The number of a column.
pub(super) type ColumnId = u32;

/// The tables and columns met so far, each with its number.
#[derive(Default)]
pub(super) struct Bases {
    tables: Vec<Base>,
    by_name: HashMap<TableName, TableId>,
    columns: Vec<(TableId, Ident)>,
}

struct Base {
    name: TableName,
    columns: HashMap<Ident, ColumnId>,
}

impl Bases {
    pub(super) fn table(&mut self, name: &TableName) -> TableId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = number(self.tables.len());
        self.tables.push(Base { name: name.clone(), columns: HashMap::new() });
        self.by_name.insert(name.clone(), id);
        id
    }

    pub(super) fn column(&mut self, table: TableId, name: &Ident) -> Flow {
        let next = number(self.columns.len());
        let Some(base) = self.tables.get_mut(table as usize) else { return Flow::unknown() };
        let id = match base.columns.get(name) {
            Some(id) => *id,
            None => {
                base.columns.insert(name.clone(), next);
                self.columns.push((table, name.clone()));
                next
            }
        };
        Flow { columns: Ids::one(id), ..Flow::default() }
    }

    pub(super) fn name(&self, table: TableId) -> Option<&TableName> {
        self.tables.get(table as usize).map(|base| &base.name)
    }

    /// A set as the world outside sees it.
    pub(super) fn sources(&self, flow: &Flow) -> Sources {
        if flow.is_unknown {
            return Sources::Unknown;
        }
        // In order of names, so that answers do not depend on the way.
        let mut columns: Vec<ColumnName> =
            flow.columns.as_slice().iter().filter_map(|id| self.full(*id)).collect();
        columns.sort_unstable();
        let tables = self.names(flow.wholes.as_slice());
        match (columns.is_empty(), tables.is_empty()) {
            (_, false) => Sources::Within { columns, tables },
            (true, true) => Sources::Nothing,
            (false, true) if flow.is_derived => Sources::Derived(columns),
            (false, true) => Sources::Column(columns),
        }
    }

    pub(super) fn names(&self, tables: &[TableId]) -> Vec<TableName> {
        let names: BTreeSet<TableName> = tables.iter().filter_map(|id| self.name(*id)).cloned().collect();
        names.into_iter().collect()
    }

    fn full(&self, column: ColumnId) -> Option<ColumnName> {
        let (table, name) = self.columns.get(column as usize)?;
        Some(ColumnName { table: self.name(*table)?.clone(), name: name.clone() })
    }
}

/// There are fewer names than bytes in a text and a catalog.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What can reach one value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flow {
    columns: Ids,
    /// Tables any of whose columns can.
    wholes: Ids,
    /// Whether anything can.
    is_unknown: bool,
    /// Whether it is more than one of these columns, unchanged.
    is_derived: bool,
}

impl Flow {
    pub(super) fn unknown() -> Self {
        Self { is_unknown: true, is_derived: true, ..Self::default() }
    }

    pub(super) fn whole(table: TableId) -> Self {
        Self { wholes: Ids::one(table), is_derived: true, ..Self::default() }
    }

    pub(super) fn derived(mut self) -> Self {
        self.is_derived = !self.is_nothing();
        self
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.columns.as_slice().is_empty() && self.wholes.as_slice().is_empty() && !self.is_unknown
    }

    pub(super) fn wholes(&self) -> &[TableId] {
        self.wholes.as_slice()
    }

    /// How much work it is to join it to another.
    pub(super) fn len(&self) -> usize {
        self.columns.as_slice().len() + self.wholes.as_slice().len() + 1
    }

    /// Adds what can reach another value.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.columns.absorb(&other.columns);
        self.wholes.absorb(&other.wholes);
        self.is_unknown |= other.is_unknown;
        self.is_derived |= other.is_derived;
    }
}

/// A set of numbers, in order. Most hold one or two, and those need no place on the heap.
#[derive(Debug, Clone)]
enum Ids {
    Few(usize, [u32; FEW]),
    Many(Vec<u32>),
}

/// How many a set holds in place.
const FEW: usize = 4;

impl Default for Ids {
    fn default() -> Self {
        Self::Few(0, [0; FEW])
    }
}

impl PartialEq for Ids {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Ids {}

impl Ids {
    fn one(id: u32) -> Self {
        let mut few = [0; FEW];
        few.fill(id);
        Self::Few(1, few)
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::Few(count, few) => few.get(..*count).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }

    fn absorb(&mut self, other: &Self) {
        let from = other.as_slice();
        if from.is_empty() {
            return;
        }
        if self.as_slice().is_empty() {
            self.clone_from(other);
            return;
        }
        if let Self::Many(many) = self {
            return merge(many, from);
        }
        for id in from {
            self.insert(*id);
        }
    }

    fn insert(&mut self, id: u32) {
        let Err(at) = self.as_slice().binary_search(&id) else { return };
        match self {
            Self::Few(count, few) if *count < FEW => {
                *count += 1;
                if let Some(moved) = few.get_mut(at..*count) {
                    moved.rotate_right(1);
                    moved.iter_mut().take(1).for_each(|first| *first = id);
                }
            }
            Self::Few(..) => {
                let mut many = self.as_slice().to_vec();
                many.insert(at, id);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.insert(at, id),
        }
    }
}

/// Adds the members of one ordered set to another.
pub(super) fn merge(into: &mut Vec<u32>, from: &[u32]) {
    match from {
        [] => {}
        [one] => {
            if let Err(at) = into.binary_search(one) {
                into.insert(at, *one);
            }
        }
        _ if into.is_empty() => into.extend_from_slice(from),
        _ => {
            into.extend_from_slice(from);
            into.sort_unstable();
            into.dedup();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_stay_ordered_and_without_repetition() {
        let mut set = vec![2, 5];
        for from in [&[3][..], &[3], &[], &[1, 5, 9]] {
            merge(&mut set, from);
        }
        assert_eq!(set, [1, 2, 3, 5, 9]);
    }

    #[test]
    fn a_set_holds_the_same_in_place_and_on_the_heap() {
        let mut set = Ids::default();
        let mut expected = Vec::new();
        for id in [5, 1, 5, 9, 3, 7, 2, 7, 0, 8] {
            set.absorb(&Ids::one(id));
            merge(&mut expected, &[id]);
            assert_eq!(set.as_slice(), expected);
        }
        let mut few = Ids::one(4);
        few.absorb(&set);
        merge(&mut expected, &[4]);
        assert_eq!(few, Ids::Many(expected));
    }

    #[test]
    fn what_is_joined_to_a_constant_is_still_unchanged() {
        let mut bases = Bases::default();
        let table = bases.table(&TableName { database: None, schema: None, name: Ident::unquoted("t") });
        let mut flow = bases.column(table, &Ident::unquoted("a"));
        flow.absorb(&Flow::default().derived());
        assert!(matches!(bases.sources(&flow), Sources::Column(columns) if columns.len() == 1));
        flow.absorb(&Flow::whole(table));
        assert!(matches!(bases.sources(&flow), Sources::Within { .. }));
        flow.absorb(&Flow::unknown());
        assert_eq!(bases.sources(&flow), Sources::Unknown);
    }
}
