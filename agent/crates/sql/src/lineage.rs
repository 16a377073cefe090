//! Where the columns of a result, or of a changed table, come from.
//!
//! The tree is walked query by query. Each `FROM` clause gives a list of tables, each of those a list of columns
//! ([`relation`]), each column what can reach it ([`flow`]). A name is looked for where Snowflake would look, and where
//! it may mean several things it means all of them ([`scope`]). What is not followed is unknown: of one column where
//! that is sure, else of all. Work is counted, and what takes too much of it is unknown as well.

mod calls;
mod expr;
mod filled;
mod flow;
mod from;
mod holds;
mod like;
mod query;
mod relation;
mod reshape;
mod scope;
mod select;
mod tables;
mod writes;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    rc::Rc,
};

use model::{Ident, TableName};
use sqlparser::ast::{Expr, Statement, Visit, Visitor};

pub(crate) use self::holds::holds_data;
use self::{
    flow::{Bases, Flow, TableId},
    relation::{Part, Relation},
    scope::Mention,
};
use crate::{Catalog, Landing, Output, Outputs, SessionNames, Sources, reach};

/// How much work is done for one statement: about as many steps as names are compared and sets are joined.
const WORK_MAX: usize = 2_000_000;

/// What was found out about one statement.
pub(crate) struct Lineage {
    /// Columns of its result.
    pub(crate) outputs: Outputs,
    /// Columns that it fills.
    pub(crate) landings: Vec<Landing>,
    /// Columns that decide.
    pub(crate) decides_on: Sources,
    /// What the catalog lacked.
    pub(crate) wants: BTreeSet<TableName>,
}

/// Follows a statement. What earlier statements of the same text have filled tables with is in them by then.
pub(crate) fn follow(
    statement: &Statement,
    names: &SessionNames,
    catalog: &Catalog,
    filled: &[Landing],
) -> Lineage {
    let mut walk = Walk::new(names, catalog, filled);
    let mut landings = Vec::new();
    let mut outputs = Outputs::Known(Vec::new());
    match statement {
        Statement::Query(query) => match reach::changed_by(query) {
            Some(change) => {
                let _names = query.with.as_ref().map(|with| walk.with(with, None));
                landings = walk.writes(change);
            }
            None => {
                let relation = walk.query(query, None);
                outputs = walk.outputs(relation);
            }
        },
        _ => landings = walk.writes(statement),
    }
    if walk.is_spent() {
        outputs = Outputs::Unknown("it is too large to be followed");
        for landing in &mut landings {
            landing.columns = outputs.clone();
        }
        walk.decides = Flow::unknown();
    }
    let decides_on = walk.bases.sources(&std::mem::take(&mut walk.decides).derived());
    Lineage { outputs, landings, decides_on, wants: walk.wants }
}

/// The walk over one statement.
struct Walk<'c> {
    names: &'c SessionNames,
    catalog: &'c Catalog,
    /// What was put into tables before, by the same text.
    filled: &'c [Landing],
    bases: Bases,
    /// What decides, so far.
    decides: Flow,
    /// Common table expressions in scope, by name, the innermost last.
    ctes: HashMap<Ident, Vec<Rc<Relation<'c>>>>,
    /// Tables of the catalog that were looked at.
    stored: HashMap<TableId, Rc<Relation<'c>>>,
    /// Entries of select lists that were named.
    mentions: Vec<Mention>,
    /// Within how many expressions that decide the walk is.
    deciding: usize,
    /// How many select lists there were.
    selects: usize,
    /// How many queries and views are around this one.
    queries: usize,
    views: usize,
    /// Whether calls of aggregates are left out, for `GROUP BY ALL`.
    skips_aggregates: bool,
    /// Names of lambda parameters.
    parameters: HashSet<Ident>,
    /// What a `WITH` calls the columns of the query that is gone through next.
    given: Vec<Ident>,
    work_left: usize,
    wants: BTreeSet<TableName>,
}

impl<'c> Walk<'c> {
    fn new(names: &'c SessionNames, catalog: &'c Catalog, filled: &'c [Landing]) -> Self {
        Self {
            names,
            catalog,
            filled,
            bases: Bases::default(),
            decides: Flow::default(),
            ctes: HashMap::new(),
            stored: HashMap::new(),
            mentions: Vec::new(),
            deciding: 0,
            selects: 0,
            queries: 0,
            views: 0,
            skips_aggregates: false,
            parameters: HashSet::new(),
            given: Vec::new(),
            work_left: WORK_MAX,
            wants: BTreeSet::new(),
        }
    }

    fn spend(&mut self, work: usize) {
        self.work_left = self.work_left.saturating_sub(work);
    }

    fn is_spent(&self) -> bool {
        self.work_left == 0
    }

    /// A list of columns as the world outside sees it.
    fn outputs(&mut self, relation: Relation<'c>) -> Outputs {
        let mut parts = relation.parts;
        if let Some(from) = relation.shuffled_from {
            self.spread(&mut parts, from);
        }
        let mut outputs = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Column(column) => outputs.push(Output {
                    name: column.name,
                    sources: self.bases.sources(&column.flow),
                    is_many: false,
                }),
                Part::Table { table, columns } => {
                    self.spend(columns.len());
                    for name in columns {
                        let flow = self.bases.column(table, name);
                        let sources = self.bases.sources(&flow);
                        outputs.push(Output { name: Some(name.clone()), sources, is_many: false });
                    }
                }
                Part::Rest(rest) => {
                    let sources = if rest.flow.is_nothing() && !rest.tables.is_empty() {
                        Sources::Wildcard(self.bases.names(&rest.tables))
                    } else {
                        let mut flow = rest.flow;
                        rest.tables.iter().for_each(|table| flow.absorb(&Flow::whole(*table)));
                        self.bases.sources(&flow)
                    };
                    outputs.push(Output { name: None, sources, is_many: true });
                }
            }
        }
        Outputs::Known(outputs)
    }

    /// Pieces whose order is not known. With a wildcard among them they stand between two of those, which says that they
    /// can be anywhere between; without one each may be any of the others.
    fn spread(&mut self, parts: &mut Vec<Part<'c>>, from: usize) {
        let region = parts.split_off(from.min(parts.len()));
        let first_rest = region.iter().find(|part| matches!(part, Part::Rest(_))).cloned();
        match first_rest {
            Some(rest) => {
                let begins = matches!(region.first(), Some(Part::Rest(_)));
                let ends = matches!(region.last(), Some(Part::Rest(_)));
                parts.extend((!begins).then(|| rest.clone()));
                parts.extend(region);
                parts.extend((!ends).then_some(rest));
            }
            None => {
                let region = Relation::of(region);
                let flow = region.everything(&mut self.bases);
                let count = region.certain();
                let (columns, _) = region.split(count, &mut self.bases);
                parts.extend(columns.into_iter().map(|mut column| {
                    column.flow.absorb(&flow);
                    Part::Column(column)
                }));
            }
        }
    }
}

/// Calls for each column that an expression names, outside of queries in it.
fn each_column(expr: &Expr, call: &mut dyn FnMut(&[sqlparser::ast::Ident])) {
    struct Columns<'f>(&'f mut dyn FnMut(&[sqlparser::ast::Ident]));
    impl Visitor for Columns<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &sqlparser::ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(ident) => (self.0)(std::slice::from_ref(ident)),
                Expr::CompoundIdentifier(parts) => (self.0)(parts),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    // That a query ends the search is no matter: what it names is not meant.
    let _ended = expr.visit(&mut Columns(call));
}
