//! The tables of a `FROM` clause: what columns each of them has, and what can reach them.

use std::rc::Rc;

use model::{Ident, TableName};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint, JoinOperator, ObjectName,
    TableAlias, TableFactor, TableVersion, TableWithJoins, Value,
};

use super::{
    Walk,
    calls::plain_name,
    flow::{Flow, TableId},
    relation::{Column, Part, Relation, Rest},
    scope::{Entry, Scope, Tables},
};
use crate::{
    catalog::Known,
    names::{Unnamed, written},
};

impl<'c> Walk<'c> {
    /// All tables of a `FROM` clause. Conditions of joins decide.
    pub(super) fn from(&mut self, from: &[TableWithJoins], outer: Option<&Scope<'_, 'c>>) -> Tables<'c> {
        let mut tables = Tables::default();
        for item in from {
            self.joined(item, &mut tables, outer);
        }
        tables
    }

    pub(super) fn joined(
        &mut self,
        item: &TableWithJoins,
        tables: &mut Tables<'c>,
        outer: Option<&Scope<'_, 'c>>,
    ) {
        self.factor(&item.relation, tables, outer);
        for join in &item.joins {
            let before = tables.entries.len();
            self.factor(&join.relation, tables, outer);
            self.join(join, before, tables, outer);
        }
    }

    fn join(&mut self, join: &Join, before: usize, tables: &mut Tables<'c>, outer: Option<&Scope<'_, 'c>>) {
        let Some(constraint) = constraint(&join.join_operator) else {
            // Which columns there are after it, nobody here knows.
            self.decides.absorb(&Flow::unknown());
            let relation = Rc::new(Relation::unknown());
            tables.entries.push(Entry { alias: None, tables: Vec::new(), relation });
            return;
        };
        if let JoinOperator::AsOf { match_condition, .. } = &join.join_operator {
            self.decide([match_condition], &Scope::of(tables, outer));
        }
        match constraint {
            JoinConstraint::None => {}
            JoinConstraint::On(condition) => self.decide([condition], &Scope::of(tables, outer)),
            JoinConstraint::Using(columns) => {
                for column in columns {
                    match self
                        .names
                        .parts(column)
                        .ok()
                        .and_then(|parts| parts.into_iter().next_back().flatten())
                    {
                        Some(name) => self.join_using(name, tables, outer),
                        None => self.decides.absorb(&Flow::unknown()),
                    }
                }
            }
            JoinConstraint::Natural => self.join_natural(before, tables, outer),
        }
    }

    fn join_using(&mut self, name: Ident, tables: &mut Tables<'c>, outer: Option<&Scope<'_, 'c>>) {
        if !tables.using.contains(&name) {
            tables.using.push(name.clone());
        }
        let flow = self.name(&Scope::of(tables, outer), &name);
        self.decides.absorb(&flow);
    }

    /// Joined are the columns that both sides have. Where one side is not known, that may be any.
    fn join_natural(&mut self, before: usize, tables: &mut Tables<'c>, outer: Option<&Scope<'_, 'c>>) {
        if !tables.entries.iter().all(|entry| entry.relation.is_closed()) {
            tables.is_natural = true;
            let flow = self.all_columns(tables);
            self.decides.absorb(&flow);
            return;
        }
        let (left, right) = tables.entries.split_at(before);
        let names = |entries: &[Entry<'c>]| -> Vec<Ident> {
            entries.iter().flat_map(|entry| entry.relation.column_names()).collect()
        };
        let (left, right) = (names(left), names(right));
        self.spend(left.len() * right.len() / 16);
        for name in left {
            if right.contains(&name) {
                self.join_using(name, tables, outer);
            }
        }
    }

    pub(super) fn factor(
        &mut self,
        factor: &TableFactor,
        tables: &mut Tables<'c>,
        outer: Option<&Scope<'_, 'c>>,
    ) {
        self.spend(1);
        match factor {
            TableFactor::Table { name, alias, args: None, json_path: None, version, .. } => {
                self.travel(version.as_ref(), &Scope::of(tables, outer));
                let (relation, ids) = self.named_table(name);
                let own = if alias.is_none() { self.last_part(name) } else { None };
                self.enter(relation, ids, own, alias.as_ref(), tables);
            }
            TableFactor::Table { name, alias, args: Some(args), json_path: None, .. } => {
                let relation = self.table_call(name, &args.args, &Scope::of(tables, outer));
                let own = self.last_part(name);
                self.enter(Rc::new(relation), Vec::new(), own, alias.as_ref(), tables);
            }
            TableFactor::Function { name, args, alias, .. } => {
                let relation = self.table_call(name, args, &Scope::of(tables, outer));
                let own = self.last_part(name);
                self.enter(Rc::new(relation), Vec::new(), own, alias.as_ref(), tables);
            }
            TableFactor::TableFunction { expr, alias } => {
                let (relation, ids, own) = self.table_expression(expr, &Scope::of(tables, outer));
                self.enter(relation, ids, own, alias.as_ref(), tables);
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let relation = if *lateral {
                    self.query(subquery, Some(&Scope::of(tables, outer)))
                } else {
                    self.query(subquery, outer)
                };
                self.enter(Rc::new(relation), Vec::new(), None, alias.as_ref(), tables);
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.joined(table_with_joins, tables, outer);
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let mut inner = Tables::default();
                self.joined(table_with_joins, &mut inner, outer);
                let relation = self.star(&inner);
                self.enter(Rc::new(relation), Vec::new(), None, alias.as_ref(), tables);
            }
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } | TableFactor::MatchRecognize { .. } => {
                let (relation, alias) = self.reshaped(factor, tables, outer);
                self.enter(Rc::new(relation), Vec::new(), None, alias, tables);
            }
            // Snowflake has them not, or tells of what they read elsewhere.
            TableFactor::Table { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::JsonTable { alias, .. }
            | TableFactor::OpenJsonTable { alias, .. }
            | TableFactor::XmlTable { alias, .. }
            | TableFactor::SemanticView { alias, .. } => {
                self.decides.absorb(&Flow::unknown());
                self.enter(Rc::new(Relation::unknown()), Vec::new(), None, alias.as_ref(), tables);
            }
            TableFactor::UnpivotExpr { .. } => {
                self.decides.absorb(&Flow::unknown());
                self.enter(Rc::new(Relation::unknown()), Vec::new(), None, None, tables);
            }
        }
    }

    /// Puts a table into scope under its alias, or else its own name.
    fn enter(
        &mut self,
        relation: Rc<Relation<'c>>,
        ids: Vec<TableId>,
        own: Option<Ident>,
        alias: Option<&TableAlias>,
        tables: &mut Tables<'c>,
    ) {
        let Some(alias) = alias else {
            tables.entries.push(Entry { alias: own, tables: ids, relation });
            return;
        };
        let columns: Vec<Ident> = alias.columns.iter().map(|column| self.names.ident(&column.name)).collect();
        let relation = if columns.is_empty() {
            relation
        } else {
            self.spend(relation.len() + columns.len());
            Rc::new(Relation::clone(&relation).renamed(columns, &mut self.bases))
        };
        tables.entries.push(Entry {
            alias: Some(self.names.ident(&alias.name)),
            tables: Vec::new(),
            relation,
        });
    }

    fn last_part(&self, name: &ObjectName) -> Option<Ident> {
        self.names.parts(name).ok()?.into_iter().next_back().flatten()
    }

    /// A table by its name: a CTE, or what the catalog knows, or any column that is asked for.
    pub(super) fn named_table(&mut self, name: &ObjectName) -> (Rc<Relation<'c>>, Vec<TableId>) {
        if let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident()
            && let Some(cte) = self.cte(&self.names.ident(ident))
        {
            return (cte, Vec::new());
        }
        match self.names.tables(name) {
            Ok(candidates) => self.stored(&candidates),
            Err(Unnamed::Elsewhere(_)) => match self.constant_name(name) {
                Some(name) => self.named_table(&name),
                None => (Rc::new(Relation::unknown()), Vec::new()),
            },
            Err(Unnamed::Opaque(_)) => (Rc::new(Relation::unknown()), Vec::new()),
        }
    }

    /// A table that is stored under the first of these names that there is.
    pub(super) fn stored(&mut self, candidates: &[TableName]) -> (Rc<Relation<'c>>, Vec<TableId>) {
        let is_made =
            |name: &TableName| self.filled.iter().any(|l| l.is_new && l.table.as_ref() == Some(name));
        // What the text has made is where it was made.
        let candidates = match candidates {
            [first, ..] if is_made(first) => std::slice::from_ref(first),
            all => all,
        };
        let (relation, ids) = self.before_this_text(candidates);
        (self.with_filled(relation, &ids), ids)
    }

    fn before_this_text(&mut self, candidates: &[TableName]) -> (Rc<Relation<'c>>, Vec<TableId>) {
        let catalog = self.catalog;
        let mut unknown = Vec::new();
        for name in candidates {
            let id = self.bases.table(name);
            match catalog.entry(name) {
                Known::Table(table) if unknown.is_empty() => {
                    return (self.known(id, table), vec![id]);
                }
                Known::Missing => {}
                Known::Table(_) => unknown.push(id),
                Known::Unknown => {
                    self.wants.insert(name.clone());
                    unknown.push(id);
                }
            }
        }
        if unknown.is_empty() {
            // The catalog may have been asked too early.
            unknown.extend(candidates.iter().map(|name| self.bases.table(name)));
        }
        let relation = Relation::of(vec![Part::Rest(Rest::of(&unknown))]);
        (Rc::new(relation), unknown)
    }

    /// `AT (…)`, `BEFORE (…)`, `CHANGES (…)` after a table.
    fn travel(&mut self, version: Option<&TableVersion>, scope: &Scope<'_, 'c>) {
        let calls = match version {
            None => return,
            Some(
                TableVersion::ForSystemTimeAsOf(expr)
                | TableVersion::TimestampAsOf(expr)
                | TableVersion::VersionAsOf(expr)
                | TableVersion::Function(expr),
            ) => vec![expr],
            Some(TableVersion::Changes { changes, at, end }) => {
                [changes, at].into_iter().chain(end).collect()
            }
        };
        // They look like calls, and are none; what they are given is constant, unless a query is in it.
        for call in calls {
            if let Expr::Function(call) = call
                && let FunctionArguments::List(list) = &call.args
            {
                let flow = self.arguments_of(&list.args, scope, true);
                self.decides.absorb(&flow);
            } else {
                self.decide([call], scope);
            }
        }
    }

    /// `TABLE(f(…))`, `TABLE('t')`.
    fn table_expression(
        &mut self,
        expr: &Expr,
        scope: &Scope<'_, 'c>,
    ) -> (Rc<Relation<'c>>, Vec<TableId>, Option<Ident>) {
        match expr {
            Expr::Function(call) => {
                let relation = match &call.args {
                    FunctionArguments::List(list) if call.over.is_none() => {
                        self.table_call(&call.name, &list.args, scope)
                    }
                    FunctionArguments::List(_) | FunctionArguments::None | FunctionArguments::Subquery(_) => {
                        Relation::unknown()
                    }
                };
                (Rc::new(relation), Vec::new(), self.last_part(&call.name))
            }
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => match written(text) {
                    Some(name) => {
                        let (relation, ids) = self.named_table(&name);
                        (relation, ids, self.last_part(&name))
                    }
                    None => (Rc::new(Relation::unknown()), Vec::new(), None),
                },
                _ => (Rc::new(Relation::unknown()), Vec::new(), None),
            },
            _ => (Rc::new(Relation::unknown()), Vec::new(), None),
        }
    }

    /// The name in `IDENTIFIER('…')`, if it is a constant.
    pub(super) fn constant_name(&self, name: &ObjectName) -> Option<ObjectName> {
        let [sqlparser::ast::ObjectNamePart::Function(call)] = name.0.as_slice() else { return None };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = call.args.as_slice() else {
            return None;
        };
        match &value.value {
            Value::SingleQuotedString(text) if call.name.value.eq_ignore_ascii_case("IDENTIFIER") => {
                written(text)
            }
            _ => None,
        }
    }

    /// A call in the place of a table. It may name columns of the tables before it.
    fn table_call(&mut self, name: &ObjectName, args: &[FunctionArg], scope: &Scope<'_, 'c>) -> Relation<'c> {
        if let Some(constant) = self.identifier_call(name, args) {
            return Relation::clone(&self.named_table(&constant).0);
        }
        let flow = self.arguments_of(args, scope, false).derived();
        let column = |name: &str, flow: &Flow| Column::named(Ident::unquoted(name), flow.clone());
        let upper = match name.0.as_slice() {
            [part] if part.as_ident().is_some_and(|ident| ident.quote_style.is_none()) => plain_name(name),
            _ => String::new(),
        };
        match upper.as_str() {
            "FLATTEN" => Relation::columns(
                std::iter::once(column("SEQ", &Flow::default()))
                    .chain(["KEY", "PATH", "INDEX", "VALUE", "THIS"].map(|name| column(name, &flow))),
            ),
            "SPLIT_TO_TABLE" | "STRTOK_SPLIT_TO_TABLE" => Relation::columns(
                std::iter::once(column("SEQ", &Flow::default()))
                    .chain(["INDEX", "VALUE"].map(|name| column(name, &flow))),
            ),
            "GENERATOR" => Relation::default(),
            _ if self.reads_nothing(name) => Relation::anything(flow),
            _ => Relation::unknown(),
        }
    }

    /// `IDENTIFIER('t')` where the parser takes it for a call.
    fn identifier_call(&self, name: &ObjectName, args: &[FunctionArg]) -> Option<ObjectName> {
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = args else { return None };
        match &value.value {
            Value::SingleQuotedString(text) if plain_name(name) == "IDENTIFIER" => written(text),
            _ => None,
        }
    }

    /// What can reach any of the arguments. Names that are no columns, as in `AT (STREAM => s)`, are left out on demand.
    fn arguments_of(&mut self, args: &[FunctionArg], scope: &Scope<'_, 'c>, may_be_words: bool) -> Flow {
        let mut flow = Flow::default();
        for arg in args {
            let (FunctionArg::Named { arg, .. }
            | FunctionArg::ExprNamed { arg, .. }
            | FunctionArg::Unnamed(arg)) = arg;
            match arg {
                FunctionArgExpr::Expr(Expr::Identifier(_)) if may_be_words => {}
                FunctionArgExpr::Expr(expr) => self.gather([expr], scope, &mut flow),
                FunctionArgExpr::Wildcard
                | FunctionArgExpr::WildcardWithOptions(_)
                | FunctionArgExpr::QualifiedWildcard(_) => flow.absorb(&Flow::unknown()),
            }
        }
        flow
    }
}

/// What joins the rows of two tables; `None` for joins that are not Snowflake's.
fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator as J;
    match operator {
        J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint)
        | J::CrossJoin(constraint)
        | J::AsOf { constraint, .. } => Some(constraint),
        J::Semi(_)
        | J::LeftSemi(_)
        | J::RightSemi(_)
        | J::Anti(_)
        | J::LeftAnti(_)
        | J::RightAnti(_)
        | J::CrossApply
        | J::OuterApply
        | J::StraightJoin(_)
        | J::ArrayJoin
        | J::LeftArrayJoin
        | J::InnerArrayJoin => None,
    }
}

/// The conditions of all joins of a `FROM` clause.
pub(super) fn conditions(from: &[TableWithJoins]) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut left: Vec<&TableWithJoins> = from.iter().collect();
    while let Some(item) = left.pop() {
        let factors = std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation));
        left.extend(factors.filter_map(|factor| match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => Some(table_with_joins.as_ref()),
            _ => None,
        }));
        for join in &item.joins {
            if let Some(JoinConstraint::On(condition)) = constraint(&join.join_operator) {
                found.push(condition);
            }
            if let JoinOperator::AsOf { match_condition, .. } = &join.join_operator {
                found.push(match_condition);
            }
        }
    }
    found
}
