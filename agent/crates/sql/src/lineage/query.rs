//! A query: its `WITH`, its body, and what orders and cuts it.

use std::rc::Rc;

use model::Ident;
use sqlparser::ast::{Cte, Query, Select, SetExpr, SetOperator, SetQuantifier, With};

use super::{
    Walk,
    flow::Flow,
    relation::{Column, Part, Relation, Rest},
    scope::{Aliases, Scope, Tables},
};

/// Most queries within queries that are followed.
const QUERIES_MAX: usize = 64;
/// Most rounds of a recursive query. Each can carry what reaches one column to another.
const ROUNDS_MAX: usize = 12;

impl<'c> Walk<'c> {
    /// The columns of a query.
    pub(super) fn query(&mut self, query: &Query, outer: Option<&Scope<'_, 'c>>) -> Relation<'c> {
        if self.queries >= QUERIES_MAX || self.is_spent() || !query.pipe_operators.is_empty() {
            self.decides.absorb(&Flow::unknown());
            return Relation::unknown();
        }
        self.queries += 1;
        // They are the names of its own columns, and of none of those that its `WITH` has.
        let given = std::mem::take(&mut self.given);
        let entered = query.with.as_ref().map_or_else(Vec::new, |with| self.with(with, outer));
        self.given = given;
        let relation = self.body_of(query, outer);
        for name in entered {
            if let Some(stack) = self.ctes.get_mut(&name) {
                stack.pop();
            }
        }
        self.queries -= 1;
        relation
    }

    fn body_of(&mut self, query: &Query, outer: Option<&Scope<'_, 'c>>) -> Relation<'c> {
        let relation = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, query.order_by.as_ref(), outer),
            body => {
                let relation = self.body(body, outer);
                if let Some(order_by) = &query.order_by {
                    let tables = Tables {
                        entries: vec![super::scope::Entry {
                            alias: None,
                            tables: Vec::new(),
                            relation: Rc::new(relation.clone()),
                        }],
                        ..Tables::default()
                    };
                    let outputs = relation.everything(&mut self.bases);
                    self.order_by(order_by, &outputs, &Scope::of(&tables, outer));
                }
                relation
            }
        };
        let nothing = Tables::default();
        let scope = Scope::of(&nothing, outer);
        if let Some(limit) = &query.limit_clause {
            self.limit(limit, &scope);
        }
        self.decide(query.fetch.iter().filter_map(|fetch| fetch.quantity.as_ref()), &scope);
        relation
    }

    /// A body that may be a chain of set operations, thousands long.
    fn body(&mut self, body: &SetExpr, outer: Option<&Scope<'_, 'c>>) -> Relation<'c> {
        let mut steps = Vec::new();
        let mut at = body;
        while let SetExpr::SetOperation { left, op, set_quantifier, right } = at {
            steps.push((*op, *set_quantifier, right));
            at = left;
        }
        let mut relation = self.single(at, outer);
        for (op, quantifier, right) in steps.into_iter().rev() {
            let right = match right.as_ref() {
                SetExpr::SetOperation { .. } => self.body(right, outer),
                single => self.single(single, outer),
            };
            self.spend(relation.len() + right.len());
            // These show a row because of what is in the other side.
            if matches!(op, SetOperator::Except | SetOperator::Intersect | SetOperator::Minus) {
                let mut flow = relation.everything(&mut self.bases);
                flow.absorb(&right.everything(&mut self.bases));
                self.decides.absorb(&flow);
            }
            relation = match quantifier {
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
                    relation.stacked_by_name(right, &mut self.bases)
                }
                SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None => {
                    relation.stacked(right, &mut self.bases)
                }
            };
        }
        relation
    }

    fn single(&mut self, body: &SetExpr, outer: Option<&Scope<'_, 'c>>) -> Relation<'c> {
        match body {
            SetExpr::Select(select) => self.select(select, None, outer),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::Values(values) => {
                let nothing = Tables::default();
                let scope = Scope::of(&nothing, outer);
                let mut columns: Vec<Flow> = Vec::new();
                for row in &values.rows {
                    for (at, expr) in row.content.iter().enumerate() {
                        let flow = self.expression(expr, &scope);
                        match columns.get_mut(at) {
                            Some(column) => column.absorb(&flow),
                            None => columns.push(flow),
                        }
                    }
                }
                let numbered = columns.into_iter().zip(1..);
                Relation::columns(
                    numbered.map(|(flow, n)| Column::named(Ident::exact(format!("COLUMN{n}")), flow)),
                )
            }
            SetExpr::SetOperation { .. } => self.body(body, outer),
            SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => {
                self.decides.absorb(&Flow::unknown());
                Relation::unknown()
            }
        }
    }

    /// Puts the expressions of a `WITH` into scope, and tells their names.
    pub(super) fn with(&mut self, with: &With, outer: Option<&Scope<'_, 'c>>) -> Vec<Ident> {
        let mut entered = Vec::with_capacity(with.cte_tables.len());
        for cte in &with.cte_tables {
            let name = self.names.ident(&cte.alias.name);
            let columns: Vec<Ident> =
                cte.alias.columns.iter().map(|column| self.names.ident(&column.name)).collect();
            let relation = match recursive_parts(cte, &name, self) {
                Some((anchor, step)) => {
                    self.recursive(&name, &columns, (anchor, step, with.recursive), outer)
                }
                None => {
                    // Its clauses may name what it shows by the names that it is given here.
                    self.given.clone_from(&columns);
                    let rows = self.query(&cte.query, outer);
                    self.given.clear();
                    rows.renamed(columns, &mut self.bases)
                }
            };
            self.ctes.entry(name.clone()).or_default().push(Rc::new(relation));
            entered.push(name);
        }
        entered
    }

    /// A query that reads its own rows: gone through until nothing more is found.
    fn recursive(
        &mut self,
        name: &Ident,
        columns: &[Ident],
        (anchor, step, is_marked): (&SetExpr, &SetExpr, bool),
        outer: Option<&Scope<'_, 'c>>,
    ) -> Relation<'c> {
        let mut relation = self.single(anchor, outer).renamed(columns.to_vec(), &mut self.bases);
        // Without the keyword its name may as well be that of a table.
        let table = (!is_marked).then(|| self.table_named(name));
        for _ in 0..ROUNDS_MAX {
            let mut own = relation.clone();
            if let Some(table) = &table {
                own = Relation::columns([]);
                own.parts.extend(relation.parts.iter().map(|part| self.or_table(part, table)));
                own.parts.push(Part::Rest(table.clone()));
                own.shuffled_from = relation.shuffled_from;
            }
            self.ctes.entry(name.clone()).or_default().push(Rc::new(own));
            let rows = self.body(step, outer);
            if let Some(stack) = self.ctes.get_mut(name) {
                stack.pop();
            }
            self.spend(relation.len() + rows.len());
            let next = relation.clone().stacked(rows, &mut self.bases);
            if next == relation {
                return relation;
            }
            relation = next;
            if self.is_spent() {
                break;
            }
        }
        Relation::unknown()
    }

    /// A table that is not known to be there.
    fn table_named(&mut self, name: &Ident) -> Rest {
        let object =
            sqlparser::ast::ObjectName::from(vec![sqlparser::ast::Ident::with_quote('"', name.as_str())]);
        let candidates = self.names.tables(&object).unwrap_or_default();
        let ids: Vec<_> = candidates.iter().map(|candidate| self.bases.table(candidate)).collect();
        Rest::of(&ids)
    }

    fn or_table(&mut self, part: &Part<'c>, table: &Rest) -> Part<'c> {
        match part {
            Part::Column(column) if column.name.is_some() => {
                let mut column = column.clone();
                for (id, name) in table.tables.iter().zip(column.name.iter().cycle()) {
                    column.flow.absorb(&self.bases.column(*id, name));
                }
                Part::Column(column)
            }
            other => other.clone(),
        }
    }

    /// The rows of a select list's tables, decided by its clauses.
    pub(super) fn clauses(
        &mut self,
        select: &Select,
        scope: &Scope<'_, 'c>,
        outputs: &[(Option<Ident>, Flow)],
    ) {
        use sqlparser::ast::{ConnectByKind, GroupByExpr, GroupByWithModifier};
        let conditions =
            select.prewhere.iter().chain(&select.selection).chain(&select.having).chain(&select.qualify);
        self.decide(conditions, scope);
        for clause in &select.connect_by {
            match clause {
                ConnectByKind::ConnectBy { relationships, .. } => self.decide(relationships, scope),
                ConnectByKind::StartWith { condition, .. } => self.decide([condition.as_ref()], scope),
            }
        }
        let modifiers = match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) => {
                self.decide(exprs, scope);
                self.decide_by_position(exprs.iter().filter_map(number), outputs);
                modifiers
            }
            GroupByExpr::All(modifiers) => {
                self.group_by_all(select, scope);
                modifiers
            }
        };
        for modifier in modifiers {
            if let GroupByWithModifier::GroupingSets(expr) = modifier {
                self.decide([expr], scope);
            }
        }
        self.decide(select.cluster_by.iter().chain(&select.distribute_by), scope);
        self.decide(super::expr::order(&select.sort_by), scope);
    }

    /// Columns of the select list by number. A wildcard among them is one entry here, and may be many there.
    fn decide_by_position(
        &mut self,
        numbers: impl Iterator<Item = usize>,
        outputs: &[(Option<Ident>, Flow)],
    ) {
        let only_columns = outputs.iter().all(|(name, flow)| name.is_some() || flow.wholes().is_empty());
        for number in numbers {
            match number.checked_sub(1).and_then(|at| outputs.get(at)) {
                Some((_, flow)) if only_columns => self.decides.absorb(flow),
                _ => outputs.iter().for_each(|(_, flow)| self.decides.absorb(flow)),
            }
        }
    }

    /// Grouped is by what is outside of every aggregate.
    fn group_by_all(&mut self, select: &Select, scope: &Scope<'_, 'c>) {
        use sqlparser::ast::SelectItem;
        let scope = Scope { aliases: Aliases::None, ..*scope };
        self.skips_aggregates = true;
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr)
                | SelectItem::ExprWithAlias { expr, .. }
                | SelectItem::ExprWithAliases { expr, .. } => self.decide([expr], &scope),
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                    let flow = self.all_columns(scope.tables);
                    self.decides.absorb(&flow);
                }
            }
        }
        self.skips_aggregates = false;
    }
}

fn number(expr: &sqlparser::ast::Expr) -> Option<usize> {
    match expr {
        sqlparser::ast::Expr::Value(value) => match &value.value {
            sqlparser::ast::Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The two parts of an expression that names itself: what it begins with, and what follows from it. Only a set operation
/// can; in anything else its name is that of a table.
fn recursive_parts<'q>(cte: &'q Cte, name: &Ident, walk: &Walk<'_>) -> Option<(&'q SetExpr, &'q SetExpr)> {
    let mut body = cte.query.body.as_ref();
    while let SetExpr::Query(inner) = body {
        body = &inner.body;
    }
    let SetExpr::SetOperation { left, right, .. } = body else { return None };
    let in_left = names_table(left, name, walk);
    let in_right = names_table(right, name, walk);
    match (left.as_ref(), in_left, in_right) {
        (_, false, false) => None,
        (_, false, true) => Some((left, right)),
        // Nobody here knows which of its parts begins.
        (_, true, _) => Some((first(body), body)),
    }
}

fn first(mut body: &SetExpr) -> &SetExpr {
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    body
}

/// Whether a body reads a table of that name.
fn names_table(body: &SetExpr, name: &Ident, walk: &Walk<'_>) -> bool {
    use std::ops::ControlFlow;

    use sqlparser::ast::{ObjectName, Visit, Visitor};
    struct Look<'a, 'c>(&'a Ident, &'a Walk<'c>);
    impl Visitor for Look<'_, '_> {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let is_it = match relation.0.as_slice() {
                [part] => part.as_ident().is_some_and(|ident| self.1.names.ident(ident) == *self.0),
                _ => false,
            };
            if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    body.visit(&mut Look(name, walk)).is_break()
}
