//! Calls of functions within expressions: what their arguments name, and whether that is all they can reach.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    ListAggOnOverflow, ObjectName, ObjectNamePart, WindowType,
};

use super::{
    Walk,
    expr::{Work, order},
    flow::Flow,
    scope::Scope,
};
use crate::{
    Routine,
    functions::{self, Reach},
};

pub(super) fn call<'e, 'c>(
    walk: &mut Walk<'c>,
    call: &'e Function,
    scope: &Scope<'_, 'c>,
    work: &mut Work<'e>,
    into: &mut Flow,
) {
    let name = plain_name(&call.name);
    if walk.skips_aggregates && call.over.is_none() && is_aggregate(&name) {
        return;
    }
    // These are known only where patterns are matched.
    let is_of_match =
        scope.tables.takes_any_qualifier && matches!(name.as_str(), "FIRST" | "LAST" | "PREV" | "NEXT");
    if !is_of_match && !walk.reaches_arguments_only(&call.name) {
        into.absorb(&Flow::unknown());
    }
    for arguments in [&call.parameters, &call.args] {
        walk.arguments(arguments, &name, scope, work, into);
    }
    let mut decides = Flow::default();
    walk.deciding += 1;
    walk.gather(order(&call.within_group).chain(call.filter.as_deref()), scope, &mut decides);
    walk.deciding -= 1;
    if let Some(over) = &call.over {
        match over {
            WindowType::WindowSpec(spec) => walk.window(spec, scope, &mut decides),
            WindowType::NamedWindow(_) => decides.absorb(scope.windows.unwrap_or(&Flow::unknown())),
        }
    }
    // Which pattern matched says what its definition found.
    if name == "CLASSIFIER" {
        decides.absorb(scope.windows.unwrap_or(&Flow::default()));
    }
    walk.decides.absorb(&decides);
    into.absorb(&decides);
}

impl<'c> Walk<'c> {
    /// Whether a call reaches nothing but what it is given.
    pub(super) fn reaches_arguments_only(&self, name: &ObjectName) -> bool {
        match functions::reach(name) {
            Reach::Arguments => true,
            Reach::Elsewhere(_) => false,
            Reach::Unknown(_) => self.reads_nothing(name),
        }
    }

    /// Whether the catalog says so of somebody's own function.
    pub(super) fn reads_nothing(&self, name: &ObjectName) -> bool {
        let Ok(candidates) = self.names.tables(name) else { return false };
        let known = |name| matches!(self.catalog.routine(name), Some(Routine::ReadsNothing));
        candidates.iter().all(known)
    }

    fn arguments<'e>(
        &mut self,
        arguments: &'e FunctionArguments,
        name: &str,
        scope: &Scope<'_, 'c>,
        work: &mut Work<'e>,
        into: &mut Flow,
    ) {
        let list = match arguments {
            FunctionArguments::None => return,
            FunctionArguments::Subquery(query) => return self.subquery(query, scope, true, into),
            FunctionArguments::List(list) => list,
        };
        for (at, argument) in list.args.iter().enumerate() {
            if !is_date_part(name, at, argument) {
                self.argument(argument, name, scope, work, into);
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::Where(expr) | FunctionArgumentClause::Limit(expr) => work.push(expr),
                FunctionArgumentClause::Having(bound) => work.push(&bound.1),
                FunctionArgumentClause::OrderBy(by) => work.extend(order(by)),
                FunctionArgumentClause::OnOverflow(ListAggOnOverflow::Truncate { filler, .. }) => {
                    work.extend(filler.as_deref());
                }
                FunctionArgumentClause::OnOverflow(ListAggOnOverflow::Error)
                | FunctionArgumentClause::IgnoreOrRespectNulls(_)
                | FunctionArgumentClause::Separator(_)
                | FunctionArgumentClause::JsonNullClause(_)
                | FunctionArgumentClause::JsonReturningClause(_) => {}
            }
        }
    }

    fn argument<'e>(
        &mut self,
        argument: &'e FunctionArg,
        name: &str,
        scope: &Scope<'_, 'c>,
        work: &mut Work<'e>,
        into: &mut Flow,
    ) {
        let value = match argument {
            FunctionArg::Named { arg, .. } | FunctionArg::Unnamed(arg) => arg,
            FunctionArg::ExprNamed { name, arg, .. } => {
                work.push(name);
                arg
            }
        };
        match value {
            FunctionArgExpr::Expr(expr) => work.push(expr),
            // How many rows there are is in no column.
            FunctionArgExpr::Wildcard if name == "COUNT" => {}
            FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_) => {
                into.absorb(&self.all_columns(scope.tables));
            }
            FunctionArgExpr::QualifiedWildcard(name) => {
                let flow = self.rows_of(name, scope);
                into.absorb(&flow);
            }
        }
    }

    /// What `t.*` can be within an expression.
    pub(super) fn rows_of(&mut self, name: &ObjectName, scope: &Scope<'_, 'c>) -> Flow {
        let Ok(parts) = self.names.parts(name) else { return Flow::unknown() };
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let mut at = Some(scope);
        while let Some(scope) = at {
            let relations = self.called(scope.tables, &parts);
            if !relations.is_empty() {
                let mut flow = Flow::default();
                for relation in relations {
                    self.spend(relation.len());
                    flow.absorb(&relation.everything(&mut self.bases));
                }
                return flow.derived();
            }
            at = scope.outer;
        }
        Flow::unknown()
    }
}

/// The name of a function that has one part, upper case; empty for others.
pub(super) fn plain_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => ident.value.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// Whether an argument is the name of a unit of time rather than of a column.
/// Source: Snowflake documentation, "Supported date and time parts".
fn is_date_part(function: &str, at: usize, argument: &FunctionArg) -> bool {
    let place = match function {
        "DATEADD" | "DATEDIFF" | "DATE_PART" | "DATE_TRUNC" | "TIMEADD" | "TIMEDIFF" | "TIMESTAMPADD"
        | "TIMESTAMPDIFF" => 0,
        "LAST_DAY" => 1,
        _ => return false,
    };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) = argument else { return false };
    at == place
        && ident.quote_style.is_none()
        && DATE_PARTS.iter().any(|part| ident.value.eq_ignore_ascii_case(part))
}

#[rustfmt::skip]
const DATE_PARTS: &[&str] = &[
    "YEAR", "Y", "YY", "YYY", "YYYY", "YR", "YEARS", "YRS", "MONTH", "MM", "MON", "MONS", "MONTHS", "DAY", "D", "DD",
    "DAYS", "DAYOFMONTH", "DAYOFWEEK", "WEEKDAY", "DOW", "DW", "DAYOFWEEKISO", "WEEKDAY_ISO", "DOW_ISO", "DW_ISO",
    "DAYOFYEAR", "YEARDAY", "DOY", "DY", "WEEK", "W", "WK", "WEEKOFYEAR", "WOY", "WY", "WEEKISO", "WEEK_ISO",
    "WEEKOFYEARISO", "WEEKOFYEAR_ISO", "QUARTER", "Q", "QTR", "QTRS", "QUARTERS", "YEAROFWEEK", "YEAROFWEEKISO",
    "HOUR", "H", "HH", "HR", "HOURS", "HRS", "MINUTE", "M", "MI", "MIN", "MINUTES", "MINS", "SECOND", "S", "SEC",
    "SECONDS", "SECS", "MILLISECOND", "MS", "MSEC", "MILLISECONDS", "MICROSECOND", "US", "USEC", "MICROSECONDS",
    "NANOSECOND", "NS", "NSEC", "NANOSEC", "NSECOND", "NANOSECONDS", "NANOSECS", "NSECONDS", "EPOCH",
    "EPOCH_SECOND", "EPOCH_SECONDS", "EPOCH_MILLISECOND", "EPOCH_MILLISECONDS", "EPOCH_MICROSECOND",
    "EPOCH_MICROSECONDS", "EPOCH_NANOSECOND", "EPOCH_NANOSECONDS", "TIMEZONE_HOUR", "TZH", "TIMEZONE_MINUTE", "TZM",
];

/// Whether a function makes one value of a group of rows: what is in it, `GROUP BY ALL` does not group by.
fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "ANY_VALUE"
            | "APPROX_COUNT_DISTINCT"
            | "APPROX_PERCENTILE"
            | "ARRAY_AGG"
            | "ARRAYAGG"
            | "AVG"
            | "BITAND_AGG"
            | "BITOR_AGG"
            | "BOOLAND_AGG"
            | "BOOLOR_AGG"
            | "COUNT"
            | "COUNT_IF"
            | "HASH_AGG"
            | "HLL"
            | "LISTAGG"
            | "MAX"
            | "MAX_BY"
            | "MEDIAN"
            | "MIN"
            | "MIN_BY"
            | "MODE"
            | "OBJECT_AGG"
            | "PERCENTILE_CONT"
            | "PERCENTILE_DISC"
            | "STDDEV"
            | "STDDEV_POP"
            | "STDDEV_SAMP"
            | "SUM"
            | "VARIANCE"
            | "VAR_POP"
            | "VAR_SAMP"
    )
}
