//! What earlier statements of the same text have put into tables. No catalog knows of it yet, and no tag has followed it.

use std::rc::Rc;

use model::Ident;

use super::{
    Walk,
    flow::{Flow, TableId},
    relation::{Column, Part, Relation, Rest},
};
use crate::{Landing, Output, Outputs, Sources};

/// What was put into one table.
#[derive(Default)]
struct Filled {
    named: Vec<(Ident, Flow)>,
    /// What any column of it may have got.
    any: Flow,
    /// Tables whose columns it may have got under their own names.
    copied: Vec<TableId>,
    /// Whether `named`, in its order, is all that it has.
    is_all: bool,
}

impl<'c> Walk<'c> {
    /// The columns of a table that has one of these names, with what was put into it before.
    pub(super) fn with_filled(&mut self, relation: Rc<Relation<'c>>, ids: &[TableId]) -> Rc<Relation<'c>> {
        let filled = self.filled;
        let mut found = Filled::default();
        let mut is_touched = false;
        for landing in filled {
            // One whose table has no name here may have gone into any.
            let is_it = landing
                .table
                .as_ref()
                .is_none_or(|table| ids.iter().any(|id| self.bases.name(*id) == Some(table)));
            if is_it {
                is_touched = true;
                self.add_landing(landing, &mut found);
            }
        }
        if !is_touched {
            return relation;
        }
        self.spend(relation.len() * (found.named.len() + 1));
        let id = ids.first().copied();
        if let (true, Some(id)) = (found.is_all && ids.len() == 1, id) {
            return Rc::new(self.made(id, &found));
        }
        let mut parts = Vec::new();
        for part in &relation.parts {
            self.refill(part, &found, &mut parts);
        }
        let is_open = !relation.is_closed();
        let shuffled_from = relation.shuffled_from.or(is_open.then_some(0));
        Rc::new(Relation { parts, shuffled_from })
    }

    /// A table that the text itself has made.
    fn made(&mut self, id: TableId, found: &Filled) -> Relation<'c> {
        let columns: Vec<Column> = found
            .named
            .iter()
            .map(|(name, flow)| {
                let mut own = self.bases.column(id, name);
                own.absorb(flow);
                own.absorb(&found.any);
                Column::named(name.clone(), own)
            })
            .collect();
        Relation::columns(columns)
    }

    fn refill(&mut self, part: &Part<'c>, found: &Filled, parts: &mut Vec<Part<'c>>) {
        let more = |name: Option<&Ident>| {
            let mut flow = found.any.clone();
            let same = found.named.iter().filter(|(own, _)| name.is_none_or(|name| own == name));
            same.for_each(|(_, more)| flow.absorb(more));
            flow
        };
        match part {
            Part::Column(column) => {
                let mut column = column.clone();
                column.flow.absorb(&more(column.name.as_ref()));
                self.absorb_copied(&mut column.flow, column.name.as_ref(), found);
                parts.push(Part::Column(column));
            }
            Part::Table { table, columns } => {
                for name in *columns {
                    let mut flow = self.bases.column(*table, name);
                    flow.absorb(&more(Some(name)));
                    self.absorb_copied(&mut flow, Some(name), found);
                    parts.push(Part::Column(Column::named(name.clone(), flow)));
                }
            }
            Part::Rest(rest) => {
                let mut rest = rest.clone();
                rest.flow.absorb(&found.any);
                for (name, _) in &found.named {
                    let mut flow = rest.flow.clone();
                    flow.absorb(&more(Some(name)));
                    for table in &rest.tables {
                        flow.absorb(&self.bases.column(*table, name));
                    }
                    self.absorb_copied(&mut flow, Some(name), found);
                    parts.push(Part::Column(Column::named(name.clone(), flow)));
                }
                let without =
                    rest.without.iter().cloned().chain(found.named.iter().map(|(name, _)| name.clone()));
                let tables: Vec<TableId> = rest.tables.iter().chain(&found.copied).copied().collect();
                parts.push(Part::Rest(Rest {
                    without: without.collect(),
                    flow: rest.flow,
                    ..Rest::of(&tables)
                }));
            }
        }
    }

    fn absorb_copied(&mut self, flow: &mut Flow, name: Option<&Ident>, found: &Filled) {
        for table in &found.copied {
            match name {
                Some(name) => flow.absorb(&self.bases.column(*table, name)),
                None => flow.absorb(&Flow::whole(*table)),
            }
        }
    }

    fn add_landing(&mut self, landing: &Landing, found: &mut Filled) {
        let Outputs::Known(columns) = &landing.columns else {
            found.any.absorb(&Flow::unknown());
            return;
        };
        // A table that is made anew holds nothing of before.
        if landing.is_new && landing.table.is_some() {
            *found = Filled { any: std::mem::take(&mut found.any), is_all: true, ..Filled::default() };
        }
        for column in columns {
            self.add_column(column, landing, found);
        }
    }

    fn add_column(&mut self, column: &Output, landing: &Landing, found: &mut Filled) {
        let flow = self.flow_of(&column.sources);
        match (&column.name, &column.sources) {
            (Some(name), _) if landing.table.is_some() && !landing.is_by_position => {
                match found.named.iter_mut().find(|(own, _)| own == name) {
                    Some((_, own)) => own.absorb(&flow),
                    None => {
                        // Only what makes the table says which columns it has.
                        found.is_all &= landing.is_new;
                        found.named.push((name.clone(), flow));
                    }
                }
            }
            (None, Sources::Wildcard(tables)) if landing.is_new => {
                found.is_all = false;
                found.copied.extend(tables.iter().map(|table| self.bases.table(table)));
            }
            _ => {
                found.is_all &= !landing.is_new;
                found.any.absorb(&flow);
            }
        }
    }

    /// A set that was told before, in this statement's numbers.
    fn flow_of(&mut self, sources: &Sources) -> Flow {
        let mut flow = Flow::default();
        let (columns, tables): (&[_], &[_]) = match sources {
            Sources::Nothing => (&[], &[]),
            Sources::Column(columns) | Sources::Derived(columns) => (columns, &[]),
            Sources::Wildcard(tables) => (&[], tables),
            Sources::Within { columns, tables } => (columns, tables),
            Sources::Unknown => return Flow::unknown(),
        };
        self.spend(columns.len() + tables.len());
        for column in columns {
            let table = self.bases.table(&column.table);
            flow.absorb(&self.bases.column(table, &column.name));
        }
        for table in tables {
            let table = self.bases.table(table);
            flow.absorb(&Flow::whole(table));
        }
        if matches!(sources, Sources::Column(_)) { flow } else { flow.derived() }
    }
}
