//! What a name means at one place of a query: a column of a table in scope, an output named earlier, something of the
//! query around it. Where it may be several, it is all of them.

use std::rc::Rc;

use model::Ident;
use sqlparser::ast;

use super::{
    Walk,
    flow::{Flow, TableId},
    relation::{Column, Part, Relation, Rest, is_word, same_but_case},
};

/// One table of a `FROM` clause.
pub(super) struct Entry<'c> {
    /// The name it is known by.
    pub(super) alias: Option<Ident>,
    /// The tables it may be, if it is also known by their names.
    pub(super) tables: Vec<TableId>,
    pub(super) relation: Rc<Relation<'c>>,
}

/// The tables of a `FROM` clause.
#[derive(Default)]
pub(super) struct Tables<'c> {
    pub(super) entries: Vec<Entry<'c>>,
    /// Columns that were joined `USING`: one column, in both tables.
    pub(super) using: Vec<Ident>,
    /// Whether any column may be such a one.
    pub(super) is_natural: bool,
    /// Whether any qualifier means these tables: the symbols of `MATCH_RECOGNIZE`.
    pub(super) takes_any_qualifier: bool,
}

/// Outputs of a select list, where a name may mean one.
#[derive(Clone, Copy)]
pub(super) enum Aliases<'s> {
    None,
    /// Not yet known: that one was named is noted.
    Pending(Pending<'s>),
    Known(&'s [(Option<Ident>, Flow)]),
}

/// A select list that is being gone through.
#[derive(Clone, Copy)]
pub(super) struct Pending<'s> {
    pub(super) list: usize,
    pub(super) names: &'s [Option<Ident>],
    /// The entry that is looked at. It does not mean itself.
    pub(super) at: usize,
}

/// An entry of a select list was named by another.
#[derive(Clone, Copy)]
pub(super) struct Mention {
    pub(super) list: usize,
    pub(super) at: usize,
    /// Whether it was named where it decides.
    pub(super) decides: bool,
}

/// Everything in scope.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s, 'c> {
    pub(super) tables: &'s Tables<'c>,
    pub(super) aliases: Aliases<'s>,
    /// What can reach the windows that are defined by name.
    pub(super) windows: Option<&'s Flow>,
    pub(super) outer: Option<&'s Scope<'s, 'c>>,
}

/// A name was looked for.
#[derive(Default)]
struct Meaning {
    flow: Flow,
    is_found: bool,
    /// Whether it can mean nothing further out.
    is_certain: bool,
}

impl Meaning {
    fn may_be(&mut self, flow: &Flow) {
        self.flow.absorb(flow);
        self.is_found = true;
    }
}

impl<'s, 'c> Scope<'s, 'c> {
    pub(super) fn of(tables: &'s Tables<'c>, outer: Option<&'s Scope<'s, 'c>>) -> Self {
        Self { tables, aliases: Aliases::None, windows: None, outer }
    }
}

impl<'c> Walk<'c> {
    /// What an unqualified name can mean.
    pub(super) fn name(&mut self, scope: &Scope<'_, 'c>, name: &Ident) -> Flow {
        let mut meaning = Meaning::default();
        let mut at = Some(scope);
        let mut is_inner = false;
        while let Some(scope) = at {
            self.among_tables(scope.tables, name, &mut meaning);
            // In a select list a column that there is hides an entry of its name. Elsewhere either may be meant.
            if !meaning.is_certain || !matches!(scope.aliases, Aliases::Pending(_)) {
                self.among_aliases(scope.aliases, name, is_inner, &mut meaning);
            }
            is_inner = true;
            if meaning.is_certain {
                return meaning.flow;
            }
            at = scope.outer;
        }
        // What stands for a parameter of a lambda is what its call is given beside it.
        let is_known = meaning.is_found || is_pseudo_column(name) || self.parameters.contains(name);
        if is_known { meaning.flow } else { Flow::unknown() }
    }

    fn among_aliases(&mut self, aliases: Aliases<'_>, name: &Ident, is_inner: bool, meaning: &mut Meaning) {
        // A name that is made from an expression is no plain word.
        let fits = |alias: &Option<Ident>| match alias {
            Some(alias) => same_but_case(alias, name),
            None => !is_word(name),
        };
        match aliases {
            Aliases::None => {}
            Aliases::Pending(Pending { list, names, at: own }) => {
                self.spend(names.len());
                let decides = is_inner || self.deciding > 0;
                for (at, _) in names.iter().enumerate().filter(|(at, alias)| *at != own && fits(alias)) {
                    self.mentions.push(Mention { list, at, decides });
                    meaning.is_found = true;
                }
            }
            Aliases::Known(known) => {
                self.spend(known.len());
                for (_, flow) in known.iter().filter(|(alias, _)| fits(alias)) {
                    meaning.may_be(flow);
                }
            }
        }
    }

    /// A name that a table is known to have is that table's, because Snowflake refuses a name that two tables have.
    fn among_tables(&mut self, tables: &Tables<'c>, name: &Ident, meaning: &mut Meaning) {
        let is_joined = tables.is_natural || tables.using.iter().any(|joined| same_but_case(joined, name));
        let mut certain: Option<Flow> = None;
        let mut perhaps: Option<Flow> = None;
        for entry in &tables.entries {
            self.spend(entry.relation.parts.len());
            let found = entry.relation.find(name, &mut self.bases);
            if let Some(exact) = found.exact {
                certain.get_or_insert_default().absorb(&exact);
            }
            if let Some(maybe) = found.maybe {
                perhaps.get_or_insert_default().absorb(&maybe);
            }
        }
        if let Some(flow) = &certain {
            meaning.may_be(flow);
            meaning.is_certain = true;
            if !is_joined {
                return;
            }
        }
        if let Some(flow) = &perhaps {
            meaning.may_be(flow);
        }
        // The name of a table may stand for its whole row.
        for entry in
            tables.entries.iter().filter(|entry| entry.alias.as_ref().is_some_and(|a| same_but_case(a, name)))
        {
            let flow = entry.relation.everything(&mut self.bases);
            self.spend(flow.len());
            meaning.may_be(&flow.derived());
        }
    }

    /// What a name of several parts can mean: `t.a`, `s.t.a`, `t.v.field`. `None` if no table in scope is called so.
    pub(super) fn qualified(&mut self, scope: &Scope<'_, 'c>, parts: &[ast::Ident]) -> Option<Flow> {
        let parts: Vec<Ident> = parts.iter().map(|part| self.names.ident(part)).collect();
        let mut at = Some(scope);
        while let Some(scope) = at {
            let mut flow = None;
            for split in 1..parts.len().min(MAX_PARTS) {
                let (qualifier, rest) = parts.split_at(split);
                let Some(column) = rest.first() else { continue };
                for entry in self.called(scope.tables, qualifier) {
                    let found = self.column_of(&entry, column);
                    flow.get_or_insert_with(Flow::default).absorb(&found);
                }
            }
            if flow.is_some() {
                return flow;
            }
            at = scope.outer;
        }
        None
    }

    fn column_of(&mut self, relation: &Relation<'c>, column: &Ident) -> Flow {
        self.spend(relation.parts.len());
        if let Some(position) = position(column) {
            return relation.at(position, &mut self.bases);
        }
        let found = relation.find(column, &mut self.bases);
        match (found.exact, found.maybe) {
            (Some(exact), _) => exact,
            (None, Some(maybe)) => maybe,
            (None, None) if is_pseudo_column(column) => Flow::default(),
            (None, None) => Flow::unknown(),
        }
    }

    /// The tables of one `FROM` clause that are called so.
    pub(super) fn called(&self, tables: &Tables<'c>, qualifier: &[Ident]) -> Vec<Rc<Relation<'c>>> {
        let is_called = |entry: &&Entry<'c>| {
            if tables.takes_any_qualifier && qualifier.len() == 1 {
                return true;
            }
            match qualifier {
                [alias] => entry.alias.as_ref().is_some_and(|own| same_but_case(own, alias)),
                _ => entry.tables.iter().filter_map(|id| self.bases.name(*id)).any(|own| {
                    let own = [own.database.as_ref(), own.schema.as_ref(), Some(&own.name)];
                    let parts = qualifier.iter().rev().zip(own.into_iter().rev());
                    // A part that nobody named may be any.
                    parts.into_iter().all(|(part, own)| own.is_none_or(|own| same_but_case(own, part)))
                }),
            }
        };
        tables.entries.iter().filter(is_called).map(|entry| Rc::clone(&entry.relation)).collect()
    }

    /// What a column can be that is named by its position: `$1`.
    pub(super) fn position(&mut self, scope: &Scope<'_, 'c>, position: usize) -> Flow {
        let mut flow = Flow::default();
        for entry in &scope.tables.entries {
            self.spend(entry.relation.len());
            flow.absorb(&entry.relation.at(position, &mut self.bases));
        }
        if scope.tables.entries.is_empty() { Flow::unknown() } else { flow }
    }

    /// What `*` can be within an expression.
    pub(super) fn all_columns(&mut self, tables: &Tables<'c>) -> Flow {
        let mut flow = Flow::default();
        for entry in &tables.entries {
            self.spend(entry.relation.len());
            flow.absorb(&entry.relation.everything(&mut self.bases));
        }
        flow.derived()
    }

    /// The columns of all tables together: `*`.
    pub(super) fn star(&mut self, tables: &Tables<'c>) -> Relation<'c> {
        let mut all = Relation::default();
        if tables.using.is_empty() && !tables.is_natural {
            for entry in &tables.entries {
                self.spend(COPY * entry.relation.len());
                all.append(Relation::clone(&entry.relation));
            }
            return all;
        }
        let mut joined = Vec::new();
        for name in &tables.using {
            if !joined.iter().any(|column: &Column| column.name.as_ref() == Some(name)) {
                let mut meaning = Meaning::default();
                self.among_tables(tables, name, &mut meaning);
                joined.push(Column::named(name.clone(), meaning.flow));
            }
        }
        let is_leading = tables.entries.first().is_some_and(|entry| leads(&entry.relation, &tables.using));
        all.parts.extend(joined.into_iter().map(Part::Column));
        for entry in &tables.entries {
            self.spend(entry.relation.len() * (tables.using.len() + 1));
            let mut relation = Relation::clone(&entry.relation);
            self.leave_out(&mut relation, &tables.using);
            all.append(relation);
        }
        // Whether joined columns come first, or stand where the left table has them, is told nowhere.
        if !is_leading || tables.is_natural {
            all.shuffled_from = Some(0);
        }
        all
    }

    /// Takes the columns of these names out.
    pub(super) fn leave_out(&mut self, relation: &mut Relation<'c>, names: &[Ident]) {
        let parts = std::mem::take(&mut relation.parts);
        let shuffled_from = relation.shuffled_from;
        for (at, part) in parts.into_iter().enumerate() {
            // Pieces before the shuffled ones may become more or fewer.
            if shuffled_from == Some(at) {
                relation.shuffled_from = Some(relation.parts.len());
            }
            match part {
                Part::Column(column) if column.name.as_ref().is_some_and(|own| names.contains(own)) => {}
                Part::Table { table, columns } if columns.iter().any(|own| names.contains(own)) => {
                    for own in columns.iter().filter(|own| !names.contains(own)) {
                        let flow = self.bases.column(table, own);
                        let column = Column::named(own.clone(), flow);
                        relation.parts.push(Part::Column(column));
                    }
                }
                Part::Rest(rest) => {
                    let without = rest.without.iter().chain(names).cloned().collect();
                    relation.parts.push(Part::Rest(Rest { without, ..rest }));
                }
                part @ (Part::Column(_) | Part::Table { .. }) => relation.parts.push(part),
            }
        }
    }
}

/// How much more work it is to copy a column than to look at one.
const COPY: usize = 4;
/// Most parts of a name that are a qualifier, and one more.
const MAX_PARTS: usize = 4;

/// Whether a relation begins with columns of these names.
fn leads(relation: &Relation<'_>, names: &[Ident]) -> bool {
    let mut own = relation.parts.iter().flat_map(|part| match part {
        Part::Column(column) => vec![column.name.as_ref()],
        Part::Table { columns, .. } => columns.iter().map(Some).collect(),
        Part::Rest(_) => vec![None],
    });
    names.iter().all(|name| own.next() == Some(Some(name)))
}

/// The position, from 0, that a name like `$1` gives.
pub(super) fn position(name: &Ident) -> Option<usize> {
    name.as_str().strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Names that hold no data of a table: what Snowflake adds to a stream, a hierarchy or a staged file.
fn is_pseudo_column(name: &Ident) -> bool {
    let name = name.as_str();
    matches!(name, "LEVEL" | "CONNECT_BY_ISLEAF" | "CONNECT_BY_ISCYCLE")
        || ["METADATA$ACTION", "METADATA$ISUPDATE", "METADATA$ROW_ID"].contains(&name)
}
