//! Whether an expression can hold data at all: what a variable is set to, what a row is changed to.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Value, Visit, Visitor,
};

use crate::functions::{self, Reach};

/// Whether an expression can hold data of a table.
pub(crate) fn holds_data(expr: &Expr) -> bool {
    let mut seen = See::default();
    let is_opaque = expr.visit(&mut seen).is_break();
    is_opaque || seen.names_column
}

/// Everything in an expression that may be a column, and whether there is more than that.
#[derive(Default)]
struct See {
    names_column: bool,
}

impl Visitor for See {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            // `t.$1` is a column by position, too; no column's name begins with `$` unless it is quoted.
            Expr::Identifier(ident) if is_position(ident) => return ControlFlow::Break(()),
            Expr::CompoundIdentifier(parts) if parts.iter().any(is_position) => return ControlFlow::Break(()),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.names_column = true,
            Expr::Function(call) if !works_on_arguments(call) => return ControlFlow::Break(()),
            // `$1` is a column by position; `$name` is a variable, and those hold constants only.
            Expr::Value(value) => {
                if let Value::Placeholder(text) = &value.value
                    && text
                        .strip_prefix('$')
                        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                {
                    return ControlFlow::Break(());
                }
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) | Expr::MatchAgainst { .. } => {
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_position(ident: &sqlparser::ast::Ident) -> bool {
    ident.quote_style.is_none() && ident.value.starts_with('$')
}

/// Whether a call's result comes from the columns that its arguments name. `OBJECT_CONSTRUCT(*)` names none; `COUNT(*)`
/// needs none.
fn works_on_arguments(call: &Function) -> bool {
    let FunctionArguments::List(list) = &call.args else {
        return functions::reach(&call.name) == Reach::Arguments;
    };
    let counts = call.name.to_string().eq_ignore_ascii_case("count");
    let is_named = |arg: &FunctionArg| {
        let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) =
            arg;
        match arg {
            FunctionArgExpr::Expr(_) => true,
            FunctionArgExpr::Wildcard => counts,
            FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::WildcardWithOptions(_) => false,
        }
    };
    functions::reach(&call.name) == Reach::Arguments && list.args.iter().all(is_named)
}
