//! Tables by their names: common table expressions, tables of the catalog, and views, which are followed to what they
//! show.

use std::rc::Rc;

use model::Ident;
use sqlparser::{
    ast::{self, Query},
    dialect::SnowflakeDialect,
    parser::Parser,
};

use super::{
    Walk,
    flow::{Flow, TableId},
    relation::{Column, Part, Relation},
};
use crate::{
    SessionNames, Table, View, depth, lex, rewrite,
    script::{self, Role},
};

/// Most views within views that are followed.
const VIEWS_MAX: usize = 16;

impl<'c> Walk<'c> {
    /// The innermost common table expression of that name.
    pub(super) fn cte(&self, name: &Ident) -> Option<Rc<Relation<'c>>> {
        self.ctes.get(name)?.last().cloned()
    }

    /// A table that the catalog knows.
    pub(super) fn known(&mut self, id: TableId, table: &'c Table) -> Rc<Relation<'c>> {
        if let Some(relation) = self.stored.get(&id) {
            return Rc::clone(relation);
        }
        let relation = match &table.view {
            None => Relation::of(vec![Part::Table { table: id, columns: &table.columns }]),
            Some(view) => {
                // Whoever meets it again on the way has met a circle.
                let opaque = self.opaque_view(id, table);
                self.stored.insert(id, Rc::new(opaque));
                self.view(id, table, view)
            }
        };
        let relation = Rc::new(relation);
        self.stored.insert(id, Rc::clone(&relation));
        relation
    }

    /// A view's columns are its own, and what they show beside.
    fn view(&mut self, id: TableId, table: &'c Table, view: &'c View) -> Relation<'c> {
        if self.views >= VIEWS_MAX {
            return self.opaque_view(id, table);
        }
        let Some(query) = defining_query(&view.definition, &view.names) else {
            return self.opaque_view(id, table);
        };
        let outer_names = std::mem::replace(&mut self.names, &view.names);
        let outer_ctes = std::mem::take(&mut self.ctes);
        let outer_mentions = std::mem::take(&mut self.mentions);
        // What a view decides on is its owner's choice, and no question that this statement asks.
        let outer_decides = std::mem::take(&mut self.decides);
        self.views += 1;
        let shown = self.query(&query, None);
        self.views -= 1;
        self.names = outer_names;
        self.ctes = outer_ctes;
        self.mentions = outer_mentions;
        self.decides = outer_decides;
        let certain = shown.certain();
        let (columns, rest) = shown.split(certain, &mut self.bases);
        // Its query has other columns than it had, when they are not as many.
        if !rest.is_empty() && columns.len() >= table.columns.len()
            || rest.is_empty() && columns.len() != table.columns.len()
        {
            return self.opaque_view(id, table);
        }
        let beyond = Relation::of(rest).everything(&mut self.bases);
        let mut shown = columns.into_iter();
        let of_column = |name: &Ident| {
            let mut flow = self.bases.column(id, name);
            flow.absorb(shown.next().as_ref().map_or(&beyond, |column| &column.flow));
            Column::named(name.clone(), flow)
        };
        Relation::columns(table.columns.iter().map(of_column).collect::<Vec<_>>())
    }

    /// A view whose definition nobody here can follow.
    fn opaque_view(&mut self, id: TableId, table: &Table) -> Relation<'c> {
        let of_column = |name: &Ident| {
            let mut flow = self.bases.column(id, name);
            flow.absorb(&Flow::unknown());
            Column::named(name.clone(), flow)
        };
        Relation::columns(table.columns.iter().map(of_column).collect::<Vec<_>>())
    }
}

/// The query of a view, from itself or from the statement that made it.
fn defining_query(definition: &str, names: &SessionNames) -> Option<Box<Query>> {
    let mut units = script::split(lex::tokens(definition).ok()?).ok()?;
    let unit = units.pop().filter(|unit| units.is_empty() && unit.role == Role::Statement)?;
    depth::check(&lex::significant(&unit.tokens)).ok()?;
    let tokens = rewrite::rewrite(&unit.tokens, names, 0);
    let mut parser = parser().with_tokens_with_locations(tokens);
    let statement = parser.parse_statement().ok()?;
    match statement {
        ast::Statement::Query(query) => Some(query),
        ast::Statement::CreateView(view) => Some(view.query),
        // A dynamic table is one that is kept up to date.
        ast::Statement::CreateTable(table) => table.query,
        _ => None,
    }
}

fn parser() -> Parser<'static> {
    Parser::new(&SnowflakeDialect).with_recursion_limit(4 * depth::NESTING_MAX)
}
