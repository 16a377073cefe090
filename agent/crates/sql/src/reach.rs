//! Walks a parsed statement and gathers everything it can reach: tables, own functions, ways to elsewhere.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    rc::Rc,
};

use model::{Ident, TableName};
use sqlparser::ast::{
    self, Expr, Function, ObjectName, Query, SetExpr, TableFactor, TableVersion, Visit, Visitor,
};

use crate::{
    Elsewhere, Opaque, SessionNames,
    functions::{self, Reach},
    names::Unnamed,
};

/// What was found.
#[derive(Default)]
pub(crate) struct Reached {
    /// One entry per place in the text that names a table: the tables it may mean, the likeliest first.
    pub(crate) tables: Vec<Vec<TableName>>,
    pub(crate) functions: BTreeSet<String>,
    pub(crate) elsewhere: BTreeSet<Elsewhere>,
    /// Whether there is a query in it.
    pub(crate) has_query: bool,
}

impl Reached {
    /// Takes out one place that names `target`, which the statement changes rather than reads.
    pub(crate) fn forget_one(&mut self, target: &TableName) {
        if let Some(at) = self.tables.iter().position(|tables| tables.first() == Some(target)) {
            self.tables.swap_remove(at);
        }
    }
}

/// Gathers what `node` reaches.
pub(crate) fn reached(node: &impl Visit, names: &SessionNames) -> Result<Reached, Opaque> {
    let mut walk = Walk {
        names,
        found: Reached::default(),
        scopes: Vec::new(),
        scopes_of_ctes: HashMap::new(),
        no_tables: HashSet::new(),
        table_calls: HashSet::new(),
        is_within: false,
    };
    match node.visit(&mut walk) {
        ControlFlow::Continue(()) => Ok(walk.found),
        ControlFlow::Break(opaque) => Err(*opaque),
    }
}

/// The CTE names a query can see: some of one `WITH`, then those of the queries around it. Kept as a chain, so that
/// thousands of CTEs cost no more than their number.
struct Scope {
    outer: Option<Rc<Scope>>,
    /// Name to position in its `WITH`.
    ctes: Rc<HashMap<Ident, usize>>,
    /// How many of them can be seen: a CTE sees those before it. Not itself, although a recursive one does: its name
    /// may just as well be that of a table, and is listed as one.
    seen: usize,
}

struct Walk<'a> {
    names: &'a SessionNames,
    found: Reached,
    scopes: Vec<Option<Rc<Scope>>>,
    /// By the address of a CTE's query, before the walk gets there.
    scopes_of_ctes: HashMap<usize, Rc<Scope>>,
    /// Addresses of names that are functions in the place of a table.
    no_tables: HashSet<usize>,
    /// Addresses of calls that were judged as table functions.
    table_calls: HashSet<usize>,
    /// Whether the walk is past the outermost query.
    is_within: bool,
}

/// Addresses only serve to recognise a node within one walk; nothing is read through them.
fn address<T>(node: &T) -> usize {
    std::ptr::from_ref(node).addr()
}

impl Walk<'_> {
    fn hides(&self, name: &Ident) -> bool {
        let mut scope = self.scopes.last().and_then(Option::as_ref);
        while let Some(current) = scope {
            if current.ctes.get(name).is_some_and(|position| *position < current.seen) {
                return true;
            }
            scope = current.outer.as_ref();
        }
        false
    }

    fn enter(&mut self, query: &Query) {
        let outer = self
            .scopes_of_ctes
            .remove(&address(query))
            .or_else(|| self.scopes.last().and_then(Option::clone));
        let Some(with) = &query.with else {
            self.scopes.push(outer);
            return;
        };
        let mut ctes = HashMap::new();
        for (position, cte) in with.cte_tables.iter().enumerate() {
            ctes.entry(self.names.ident(&cte.alias.name)).or_insert(position);
        }
        let ctes = Rc::new(ctes);
        for (position, cte) in with.cte_tables.iter().enumerate() {
            let scope = Scope { outer: outer.clone(), ctes: Rc::clone(&ctes), seen: position };
            self.scopes_of_ctes.insert(address(cte.query.as_ref()), Rc::new(scope));
        }
        self.scopes.push(Some(Rc::new(Scope { outer, ctes, seen: with.cte_tables.len() })));
    }

    fn note(&mut self, reach: Reach) {
        match reach {
            Reach::Arguments => {}
            Reach::Unknown(function) => {
                self.found.functions.insert(function);
            }
            Reach::Elsewhere(elsewhere) => {
                self.found.elsewhere.insert(elsewhere);
            }
        }
    }

    /// `AT (…)`, `BEFORE (…)` and `CHANGES (…)` after a table look like calls, and are none.
    fn travel(&mut self, version: Option<&TableVersion>) {
        let calls = match version {
            Some(TableVersion::Function(call)) => [Some(call), None, None],
            Some(TableVersion::Changes { changes, at, end }) => [Some(changes), Some(at), end.as_ref()],
            _ => [None, None, None],
        };
        for call in calls.into_iter().flatten() {
            if let Expr::Function(call) = call {
                self.table_calls.insert(address(call));
            }
        }
    }

    fn call_as_table(&mut self, call: &Function) {
        self.table_calls.insert(address(call));
        self.note(functions::table_reach(&call.name));
    }
}

impl Visitor for Walk<'_> {
    type Break = Box<Opaque>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.found.has_query = true;
        self.enter(query);
        let is_change = !std::mem::replace(&mut self.is_within, true) && changed_by(query).is_some();
        if !query.pipe_operators.is_empty() || !(is_change || body_is_read(&query.body)) {
            return ControlFlow::Break(Box::new(Opaque::Form("query".to_owned())));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Self::Break> {
        // A multi-table INSERT has an empty name in the place of its single target.
        if name.0.is_empty() || self.no_tables.contains(&address(name)) {
            return ControlFlow::Continue(());
        }
        match self.names.tables(name) {
            Ok(tables) => {
                let is_cte = name.0.len() == 1 && tables.first().is_some_and(|table| self.hides(&table.name));
                if !is_cte {
                    self.found.tables.push(tables);
                }
            }
            Err(Unnamed::Elsewhere(elsewhere)) => {
                self.found.elsewhere.insert(elsewhere);
            }
            Err(Unnamed::Opaque(opaque)) => return ControlFlow::Break(Box::new(opaque)),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { name, args, version, .. } => {
                if args.is_some() {
                    self.no_tables.insert(address(name));
                    let reach = functions::table_reach(name);
                    // Some readers take `t (…)` for a table with hints; whoever is right, it is refused.
                    if matches!(reach, Reach::Elsewhere(Elsewhere::TableFunction(_)))
                        && let Ok(tables) = self.names.tables(name)
                    {
                        self.found.tables.push(tables);
                    }
                    self.note(reach);
                }
                self.travel(version.as_ref());
            }
            TableFactor::SemanticView { name, .. } => match self.names.tables(name) {
                Ok(tables) => self.found.tables.push(tables),
                Err(Unnamed::Elsewhere(elsewhere)) => {
                    self.found.elsewhere.insert(elsewhere);
                }
                Err(Unnamed::Opaque(opaque)) => return ControlFlow::Break(Box::new(opaque)),
            },
            TableFactor::Function { name, .. } => self.note(functions::table_reach(name)),
            TableFactor::TableFunction { expr: Expr::Function(call), .. } => self.call_as_table(call),
            TableFactor::TableFunction { .. } => {
                self.note(Reach::Elsewhere(Elsewhere::TableFunction("TABLE(…)".to_owned())));
            }
            TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::MatchRecognize { .. } => {}
            TableFactor::UNNEST { .. }
            | TableFactor::UnpivotExpr { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::XmlTable { .. } => {
                return ControlFlow::Break(Box::new(Opaque::Form("FROM".to_owned())));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if let Expr::Function(call) = expr
            && !self.table_calls.contains(&address(call))
        {
            let ends_own =
                self.names.number.is_some_and(|session| functions::ends_statements_of(call, session));
            self.note(if ends_own { Reach::Arguments } else { functions::reach(&call.name) });
        }
        ControlFlow::Continue(())
    }
}

/// The statement behind `WITH …` that changes rows; `None` if it is a query. Snowflake has a `WITH` of its own within such a
/// statement, others have it before. Where one of its names is that of the table that is changed, nobody can say what is meant.
pub(crate) fn changed_by(query: &Query) -> Option<&ast::Statement> {
    let (SetExpr::Insert(change)
    | SetExpr::Update(change)
    | SetExpr::Delete(change)
    | SetExpr::Merge(change)) = query.body.as_ref()
    else {
        return None;
    };
    let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| &cte.alias.name.value);
    let target = match change {
        ast::Statement::Insert(insert) => match &insert.table {
            ast::TableObject::TableName(name) => Some(name),
            _ => None,
        },
        ast::Statement::Update(update) => table_of(&update.table.relation),
        ast::Statement::Merge(merge) => table_of(&merge.table),
        ast::Statement::Delete(delete) => {
            let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
            from.first().and_then(|from| table_of(&from.relation))
        }
        _ => None,
    };
    let target = target?.0.last()?.as_ident()?;
    let is_hidden = names.into_iter().any(|name| name.eq_ignore_ascii_case(&target.value));
    (!is_hidden).then_some(change)
}

fn table_of(factor: &TableFactor) -> Option<&ObjectName> {
    match factor {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}

/// Whether a query's body is made of what the walk sees. `TABLE t` hides its table from it.
fn body_is_read(body: &SetExpr) -> bool {
    let mut bodies = vec![body];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::Select(select) if select.into.is_some() => return false,
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
            SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_ref(), right.as_ref()]),
            SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => {
                return false;
            }
        }
    }
    true
}
