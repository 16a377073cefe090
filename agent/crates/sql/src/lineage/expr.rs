//! What can reach the value of an expression: all the columns in it, whatever part they play there. Gone through with a
//! list of what is still to be seen rather than by recursion, because a chain of operators may be thousands long.

use sqlparser::ast::{
    AccessExpr, Expr, Function, Ident, JsonPathElem, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query,
    Select, Subscript, Value, ValueWithSpan, WindowFrameBound, WindowSpec,
};

use super::{
    Walk, calls,
    flow::Flow,
    scope::{Scope, position},
};

/// Expressions that are still to be seen.
pub(super) type Work<'e> = Vec<&'e Expr>;

impl<'c> Walk<'c> {
    /// What can reach an expression. One column alone is passed on unchanged.
    pub(super) fn expression(&mut self, expr: &Expr, scope: &Scope<'_, 'c>) -> Flow {
        let mut flow = Flow::default();
        self.gather([expr], scope, &mut flow);
        if is_column(expr) { flow } else { flow.derived() }
    }

    /// Adds what can reach any of several expressions.
    pub(super) fn gather<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        scope: &Scope<'_, 'c>,
        into: &mut Flow,
    ) {
        let mut work: Work<'e> = exprs.into_iter().collect();
        while let Some(expr) = work.pop() {
            self.spend(1);
            if self.is_spent() {
                into.absorb(&Flow::unknown());
                return;
            }
            self.see(expr, scope, &mut work, into);
        }
    }

    /// The columns of expressions decide about rows.
    pub(super) fn decide<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>, scope: &Scope<'_, 'c>) {
        let mut flow = Flow::default();
        self.gather(exprs, scope, &mut flow);
        self.decides.absorb(&flow);
    }

    fn see<'e>(&mut self, expr: &'e Expr, scope: &Scope<'_, 'c>, work: &mut Work<'e>, into: &mut Flow) {
        match expr {
            Expr::Identifier(ident) => self.identifier(ident, scope, into),
            Expr::CompoundIdentifier(parts) => self.compound(parts, scope, into),
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.field_access(root, access_chain, scope, work, into);
            }
            Expr::JsonAccess { value, path } => {
                work.push(value);
                work.extend(path.path.iter().filter_map(|element| match element {
                    JsonPathElem::Dot { .. } => None,
                    JsonPathElem::Bracket { key } | JsonPathElem::ColonBracket { key } => Some(key),
                }));
            }
            Expr::Value(value) => self.value(value, scope, into),
            Expr::Function(call) => self.call(call, scope, work, into),
            Expr::Subquery(query) => self.subquery(query, scope, false, into),
            Expr::Exists { subquery, .. } => self.subquery(subquery, scope, true, into),
            Expr::InSubquery { expr, subquery, .. } => {
                work.push(expr);
                self.subquery(subquery, scope, true, into);
            }
            Expr::Lambda(lambda) => {
                self.parameters
                    .extend(lambda.params.iter().map(|parameter| self.names.ident(&parameter.name)));
                work.push(&lambda.body);
            }
            Expr::Wildcard(_) => into.absorb(&self.all_columns(scope.tables)),
            Expr::QualifiedWildcard(name, _) => {
                let flow = self.rows_of(name, scope);
                into.absorb(&flow);
            }
            // Not Snowflake's, and nobody here knows what its columns are.
            Expr::MatchAgainst { .. } | Expr::MemberOf(_) => into.absorb(&Flow::unknown()),
            _ => parts(expr, work),
        }
    }

    fn identifier(&mut self, ident: &Ident, scope: &Scope<'_, 'c>, into: &mut Flow) {
        let name = self.names.ident(ident);
        let flow = match position(&name) {
            Some(at) if ident.quote_style.is_none() => self.position(scope, at),
            _ => self.name(scope, &name),
        };
        self.spend(flow.len());
        into.absorb(&flow);
    }

    fn compound(&mut self, parts: &[Ident], scope: &Scope<'_, 'c>, into: &mut Flow) {
        let flow = match self.qualified(scope, parts) {
            Some(flow) => flow,
            // The next number of a sequence.
            None if parts.last().is_some_and(|last| last.value.eq_ignore_ascii_case("NEXTVAL")) => {
                Flow::default()
            }
            None => Flow::unknown(),
        };
        self.spend(flow.len());
        into.absorb(&flow);
    }

    /// `t.v[0].name`, `v[0]['x']`: the parser keeps a qualifier and a field alike.
    fn field_access<'e>(
        &mut self,
        root: &'e Expr,
        chain: &'e [AccessExpr],
        scope: &Scope<'_, 'c>,
        work: &mut Work<'e>,
        into: &mut Flow,
    ) {
        let mut rest = chain;
        match root {
            Expr::Identifier(first) => {
                let mut names = vec![first.clone()];
                while let [AccessExpr::Dot(Expr::Identifier(ident)), more @ ..] = rest {
                    names.push(ident.clone());
                    rest = more;
                }
                match (names.len() > 1).then(|| self.qualified(scope, &names)).flatten() {
                    Some(flow) => into.absorb(&flow),
                    None => self.identifier(first, scope, into),
                }
            }
            _ => work.push(root),
        }
        for access in rest {
            match access {
                // The name of a field.
                AccessExpr::Dot(Expr::Identifier(_) | Expr::Value(_)) => {}
                AccessExpr::Dot(other) => work.push(other),
                AccessExpr::Subscript(Subscript::Index { index }) => work.push(index),
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                    work.extend([lower_bound, upper_bound, stride].into_iter().flatten());
                }
            }
        }
    }

    /// `$1` is a column by its position; `$name` is a variable, and those hold constants only; a bound value is the
    /// client's own. `:name` is a variable of a script, which may hold what was read before.
    fn value(&mut self, value: &ValueWithSpan, scope: &Scope<'_, 'c>, into: &mut Flow) {
        let Value::Placeholder(text) = &value.value else { return };
        let begins_with_digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
        if let Some(rest) = text.strip_prefix('$') {
            if begins_with_digit(rest) {
                let at = rest.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                let flow = at.map_or_else(Flow::unknown, |at| self.position(scope, at));
                into.absorb(&flow);
            }
        } else if let Some(rest) = text.strip_prefix(':') {
            if !begins_with_digit(rest) {
                into.absorb(&Flow::unknown());
            }
        } else if text != "?" {
            into.absorb(&Flow::unknown());
        }
    }

    /// A query within an expression. Where its value only says whether there are rows, what decides about them is in it.
    pub(super) fn subquery(
        &mut self,
        query: &Query,
        scope: &Scope<'_, 'c>,
        tells_rows: bool,
        into: &mut Flow,
    ) {
        let outside = std::mem::take(&mut self.decides);
        let relation = self.query(query, Some(scope));
        let inside = std::mem::replace(&mut self.decides, outside);
        self.decides.absorb(&inside);
        self.spend(relation.len());
        into.absorb(&relation.everything(&mut self.bases));
        if tells_rows {
            into.absorb(&inside);
        }
    }

    /// What partitions and orders a window; it decides, and shows in what is computed over it.
    pub(super) fn window(&mut self, spec: &WindowSpec, scope: &Scope<'_, 'c>, into: &mut Flow) {
        let mut flow = Flow::default();
        let bounds =
            spec.window_frame.iter().flat_map(|frame| [Some(&frame.start_bound), frame.end_bound.as_ref()]);
        let bounds = bounds.flatten().filter_map(|bound| match bound {
            WindowFrameBound::CurrentRow => None,
            WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => by.as_deref(),
        });
        let exprs = spec.partition_by.iter().chain(order(&spec.order_by)).chain(bounds);
        self.deciding += 1;
        self.gather(exprs, scope, &mut flow);
        self.deciding -= 1;
        if spec.window_name.is_some() {
            flow.absorb(scope.windows.unwrap_or(&Flow::unknown()));
        }
        self.decides.absorb(&flow);
        into.absorb(&flow);
    }

    /// `ORDER BY` of a query. A number there is the position of an output, which shows anyway.
    pub(super) fn order_by(&mut self, order_by: &OrderBy, outputs: &Flow, scope: &Scope<'_, 'c>) {
        match &order_by.kind {
            OrderByKind::All(_) => self.decides.absorb(outputs),
            // The parser takes `ALL` for a name here.
            OrderByKind::Expressions(exprs) if is_all(exprs) => self.decides.absorb(outputs),
            OrderByKind::Expressions(exprs) => {
                if exprs.iter().any(|by| is_number(&by.expr)) {
                    self.decides.absorb(outputs);
                }
                self.decide(order(exprs), scope);
            }
        }
        let filled = order_by.interpolate.iter().flat_map(|list| list.exprs.iter().flatten());
        self.decide(filled.filter_map(|fill| fill.expr.as_ref()), scope);
    }

    pub(super) fn limit(&mut self, limit: &LimitClause, scope: &Scope<'_, 'c>) {
        match limit {
            LimitClause::LimitOffset { limit, offset, limit_by } => {
                self.decide(limit.iter().chain(offset.iter().map(|o| &o.value)).chain(limit_by), scope);
            }
            LimitClause::OffsetCommaLimit { offset, limit } => self.decide([offset, limit], scope),
        }
    }

    pub(super) fn named_windows(&mut self, select: &Select, scope: &Scope<'_, 'c>) -> Flow {
        use sqlparser::ast::NamedWindowExpr;
        let mut flow = Flow::default();
        for definition in &select.named_window {
            match &definition.1 {
                // One of the others.
                NamedWindowExpr::NamedWindow(_) => {}
                NamedWindowExpr::WindowSpec(spec) => {
                    let own = WindowSpec { window_name: None, ..spec.clone() };
                    self.window(&own, scope, &mut flow);
                }
            }
        }
        flow
    }

    fn call<'e>(&mut self, call: &'e Function, scope: &Scope<'_, 'c>, work: &mut Work<'e>, into: &mut Flow) {
        calls::call(self, call, scope, work, into);
    }
}

/// What is ordered by.
pub(super) fn order(by: &[OrderByExpr]) -> impl Iterator<Item = &Expr> {
    by.iter().flat_map(|by| {
        let fill = by.with_fill.iter().flat_map(|fill| [&fill.from, &fill.to, &fill.step]);
        std::iter::once(&by.expr).chain(fill.filter_map(Option::as_ref))
    })
}

fn is_all(exprs: &[OrderByExpr]) -> bool {
    let [OrderByExpr { expr: Expr::Identifier(ident), .. }] = exprs else { return false };
    ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("ALL")
}

fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}

/// Whether an expression is a column and nothing more.
pub(super) fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Value(value) => matches!(&value.value, Value::Placeholder(_)),
        Expr::Nested(inner) => is_column(inner),
        _ => false,
    }
}

/// The parts of an expression that names nothing itself.
fn parts<'e>(expr: &'e Expr, work: &mut Work<'e>) {
    match expr {
        Expr::IsFalse(e)
        | Expr::IsNotFalse(e)
        | Expr::IsTrue(e)
        | Expr::IsNotTrue(e)
        | Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsUnknown(e)
        | Expr::IsNotUnknown(e)
        | Expr::Nested(e)
        | Expr::OuterJoin(e)
        | Expr::Prior(e)
        | Expr::IsJson { expr: e, .. }
        | Expr::IsNormalized { expr: e, .. }
        | Expr::UnaryOp { expr: e, .. }
        | Expr::Cast { expr: e, .. }
        | Expr::Extract { expr: e, .. }
        | Expr::Ceil { expr: e, .. }
        | Expr::Floor { expr: e, .. }
        | Expr::Collate { expr: e, .. }
        | Expr::Prefixed { value: e, .. }
        | Expr::Named { expr: e, .. } => work.push(e),
        Expr::Interval(interval) => work.push(&interval.value),
        Expr::IsDistinctFrom(a, b)
        | Expr::IsNotDistinctFrom(a, b)
        | Expr::BinaryOp { left: a, right: b, .. }
        | Expr::AnyOp { left: a, right: b, .. }
        | Expr::AllOp { left: a, right: b, .. }
        | Expr::InUnnest { expr: a, array_expr: b, .. }
        | Expr::RLike { expr: a, pattern: b, .. }
        | Expr::AtTimeZone { timestamp: a, time_zone: b }
        | Expr::Position { expr: a, r#in: b } => work.extend([a.as_ref(), b]),
        Expr::Like { expr: a, pattern: b, escape_char: c, .. }
        | Expr::ILike { expr: a, pattern: b, escape_char: c, .. }
        | Expr::SimilarTo { expr: a, pattern: b, escape_char: c, .. } => {
            work.extend([a.as_ref(), b]);
            work.extend(c.as_deref());
        }
        Expr::Between { expr, low, high, .. } => work.extend([expr.as_ref(), low, high]),
        Expr::InList { expr, list, .. } => {
            work.push(expr);
            work.extend(list);
        }
        Expr::Convert { expr, styles, .. } => {
            work.push(expr);
            work.extend(styles);
        }
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            work.push(expr);
            work.extend([substring_from, substring_for].into_iter().filter_map(Option::as_deref));
        }
        Expr::Trim { expr, trim_what, trim_characters, .. } => {
            work.push(expr);
            work.extend(trim_what.as_deref());
            work.extend(trim_characters.iter().flatten());
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            work.extend([expr.as_ref(), overlay_what, overlay_from]);
            work.extend(overlay_for.as_deref());
        }
        _ => lists(expr, work),
    }
}

/// The parts of an expression that is made of lists of others.
fn lists<'e>(expr: &'e Expr, work: &mut Work<'e>) {
    match expr {
        Expr::Case { operand, conditions, else_result, .. } => {
            work.extend(operand.as_deref());
            work.extend(conditions.iter().flat_map(|when| [&when.condition, &when.result]));
            work.extend(else_result.as_deref());
        }
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
            work.extend(sets.iter().flatten())
        }
        Expr::Tuple(list) | Expr::Struct { values: list, .. } => work.extend(list),
        Expr::Dictionary(fields) => work.extend(fields.iter().map(|field| field.value.as_ref())),
        Expr::Map(map) => {
            work.extend(map.entries.iter().flat_map(|entry| [entry.key.as_ref(), &entry.value]))
        }
        Expr::Array(array) => work.extend(&array.elem),
        _ => nothing(expr),
    }
}

/// What has no parts, and what was seen before: all kinds by name, so that a new one is not passed over.
fn nothing(expr: &Expr) {
    match expr {
        Expr::TypedString(_) => {}
        // Seen in `see`, each in its own way.
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::CompoundFieldAccess { .. }
        | Expr::JsonAccess { .. }
        | Expr::Value(_)
        | Expr::Function(_)
        | Expr::Subquery(_)
        | Expr::Exists { .. }
        | Expr::InSubquery { .. }
        | Expr::Wildcard(_)
        | Expr::QualifiedWildcard(..)
        | Expr::MatchAgainst { .. }
        | Expr::MemberOf(_)
        | Expr::Lambda(_) => {}
        // Taken apart in `lists` and `parts`.
        Expr::Case { .. }
        | Expr::GroupingSets(_)
        | Expr::Cube(_)
        | Expr::Rollup(_)
        | Expr::Tuple(_)
        | Expr::Struct { .. }
        | Expr::Dictionary(_)
        | Expr::Map(_)
        | Expr::Array(_) => {}
        Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::Nested(_)
        | Expr::OuterJoin(_)
        | Expr::Prior(_)
        | Expr::IsJson { .. }
        | Expr::IsNormalized { .. }
        | Expr::UnaryOp { .. }
        | Expr::Cast { .. }
        | Expr::Extract { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Collate { .. }
        | Expr::Prefixed { .. }
        | Expr::Named { .. }
        | Expr::Interval(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::BinaryOp { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. }
        | Expr::InUnnest { .. }
        | Expr::RLike { .. }
        | Expr::AtTimeZone { .. }
        | Expr::Position { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::SimilarTo { .. }
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::Convert { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Overlay { .. } => {}
    }
}
