//! Where the output columns of a query come from. Answers for one plain `SELECT` over tables and joins; for anything
//! else the answer is that nobody here knows, never a guess.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
};

use model::{ColumnName, Ident, TableName};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, Value, Visit, Visitor,
    WildcardAdditionalOptions,
};

use crate::{
    Output, Outputs, SessionNames, Sources,
    functions::{self, Reach},
};

/// Select lists longer than this, in which entries name each other, are not followed.
const ALIASES_FOLLOWED_MAX: usize = 256;

/// A table of the `FROM` clause: the name it is known by there, and the tables it may be.
struct Relation {
    alias: Ident,
    /// Whether the alias was written, which hides the table's own name.
    is_renamed: bool,
    tables: Vec<TableName>,
}

/// The outputs of a query.
pub(crate) fn outputs(query: &Query, names: &SessionNames) -> Outputs {
    match plain_select(query).and_then(|select| select_outputs(select, names)) {
        Ok(outputs) => Outputs::Known(outputs),
        Err(reason) => Outputs::Unknown(reason),
    }
}

/// Whether an expression can hold data of a table.
pub(crate) fn holds_data(expr: &Expr) -> bool {
    let seen = See::all(expr);
    seen.is_opaque || !seen.columns.is_empty()
}

fn plain_select(query: &Query) -> Result<&Select, &'static str> {
    if query.with.is_some() {
        return Err("it has a WITH clause");
    }
    match query.body.as_ref() {
        SetExpr::Select(select) => Ok(select),
        SetExpr::Query(inner) => plain_select(inner),
        SetExpr::SetOperation { .. } => Err("it is a set operation"),
        _ => Err("it is no plain SELECT"),
    }
}

fn select_outputs(select: &Select, names: &SessionNames) -> Result<Vec<Output>, &'static str> {
    if !select.lateral_views.is_empty() || select.value_table_mode.is_some() || select.exclude.is_some() {
        return Err("it has a form of SELECT that is not followed");
    }
    let mut relations = Vec::new();
    for from in &select.from {
        gather(from, names, &mut relations)?;
    }
    let scope = Scope { names, relations };
    let items: Vec<Item> = select.projection.iter().map(|item| scope.item(item)).collect::<Result<_, _>>()?;
    follow_aliases(items)
}

fn gather(from: &TableWithJoins, names: &SessionNames, into: &mut Vec<Relation>) -> Result<(), &'static str> {
    let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    for factor in factors {
        match factor {
            TableFactor::Table { name, alias, args: None, json_path: None, .. } => {
                let tables = names.tables(name).map_err(|_| "a table's name is computed")?;
                let own = tables.first().map(|t| t.name.clone()).ok_or("a table has no name")?;
                let (alias, is_renamed) = match alias {
                    Some(alias) if !alias.columns.is_empty() => return Err("an alias renames columns"),
                    Some(alias) => (names.ident(&alias.name), true),
                    None => (own, false),
                };
                into.push(Relation { alias, is_renamed, tables });
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                gather(table_with_joins, names, into)?
            }
            _ => return Err("it reads from more than tables"),
        }
    }
    Ok(())
}

struct Scope<'a> {
    names: &'a SessionNames,
    relations: Vec<Relation>,
}

/// An output, with the unqualified names in it, folded: each may also be the alias of another output.
struct Item {
    output: Output,
    mentions: HashSet<String>,
}

/// A name without its case. Whether case matters is up to parameters of the session; to ignore it can only find too
/// much.
fn folded(name: &Ident) -> String {
    name.as_str().to_uppercase()
}

impl Scope<'_> {
    fn item(&self, item: &SelectItem) -> Result<Item, &'static str> {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = match expr {
                    Expr::Identifier(ident) => Some(self.names.ident(ident)),
                    Expr::CompoundIdentifier(parts) => parts.last().map(|ident| self.names.ident(ident)),
                    _ => None,
                };
                Ok(self.expression(expr, name))
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                Ok(self.expression(expr, Some(self.names.ident(alias))))
            }
            SelectItem::Wildcard(options) => {
                keeps_names(options)?;
                Ok(wildcard(self.relations.iter().flat_map(|r| r.tables.clone()).collect()))
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                keeps_names(options)?;
                Ok(wildcard(self.qualified(name).ok_or("a wildcard's table is not in FROM")?))
            }
            SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                Err("an output has a form that is not followed")
            }
        }
    }

    fn expression(&self, expr: &Expr, name: Option<Ident>) -> Item {
        let seen = See::all(expr);
        let mut mentions = HashSet::new();
        let mut columns = BTreeSet::new();
        let mut is_opaque = seen.is_opaque;
        for parts in &seen.columns {
            let parts: Vec<Ident> = parts.iter().map(|ident| self.names.ident(ident)).collect();
            match self.column(&parts) {
                Some(found) => columns.extend(found),
                None => is_opaque = true,
            }
            if let [only] = parts.as_slice() {
                mentions.insert(folded(only));
                // A table's own name is no column, but an engine may take it for the whole row.
                is_opaque |= self.relations.iter().any(|relation| folded(&relation.alias) == folded(only));
            }
        }
        let columns: Vec<ColumnName> = columns.into_iter().collect();
        let sources = if is_opaque {
            Sources::Unknown
        } else if seen.columns.is_empty() {
            Sources::Nothing
        } else if is_plain(expr) {
            Sources::Column(columns)
        } else {
            Sources::Derived(columns)
        };
        Item { output: Output { name, sources }, mentions }
    }

    /// The columns that a name may mean; `None` if that cannot be told.
    fn column(&self, parts: &[Ident]) -> Option<Vec<ColumnName>> {
        let (name, qualifier) = parts.split_last()?;
        let tables: Vec<&TableName> = if qualifier.is_empty() {
            self.relations.iter().flat_map(|r| &r.tables).collect()
        } else {
            self.matching(qualifier).flat_map(|r| &r.tables).collect()
        };
        if tables.is_empty() {
            return None;
        }
        Some(
            tables.into_iter().map(|table| ColumnName { table: table.clone(), name: name.clone() }).collect(),
        )
    }

    fn qualified(&self, name: &ObjectName) -> Option<Vec<TableName>> {
        let parts: Vec<Ident> = self.names.parts(name).ok()?.into_iter().collect::<Option<_>>()?;
        let tables: Vec<TableName> = self.matching(&parts).flat_map(|r| r.tables.clone()).collect();
        if tables.is_empty() { None } else { Some(tables) }
    }

    /// The relations that a qualifier of one to three parts may mean.
    fn matching<'a>(&'a self, qualifier: &'a [Ident]) -> impl Iterator<Item = &'a Relation> {
        self.relations.iter().filter(move |relation| match qualifier {
            [alias] => relation.alias == *alias,
            [schema, name] => {
                !relation.is_renamed && relation.tables.iter().any(|t| fits(t, None, schema, name))
            }
            [database, schema, name] => {
                !relation.is_renamed && relation.tables.iter().any(|t| fits(t, Some(database), schema, name))
            }
            _ => false,
        })
    }
}

fn fits(table: &TableName, database: Option<&Ident>, schema: &Ident, name: &Ident) -> bool {
    // A part that the session does not name may be anything.
    let same = |known: &Option<Ident>, wanted: &Ident| known.as_ref().is_none_or(|known| known == wanted);
    table.name == *name && same(&table.schema, schema) && database.is_none_or(|d| same(&table.database, d))
}

fn wildcard(tables: Vec<TableName>) -> Item {
    Item { output: Output { name: None, sources: Sources::Wildcard(tables) }, mentions: HashSet::new() }
}

/// `EXCLUDE` and `ILIKE` leave columns out; the others give a column another name or content.
fn keeps_names(options: &WildcardAdditionalOptions) -> Result<(), &'static str> {
    let changes = options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_except.is_some()
        || options.opt_alias.is_some();
    if changes { Err("a wildcard renames or replaces columns") } else { Ok(()) }
}

fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_plain(inner),
        _ => false,
    }
}

/// Snowflake lets an output name another one of the same list. A name may mean a column or that output, so both count.
fn follow_aliases(mut items: Vec<Item>) -> Result<Vec<Output>, &'static str> {
    let by_alias = items.iter().enumerate().fold(HashMap::<_, Vec<usize>>::new(), |mut map, (i, item)| {
        if let Some(name) = &item.output.name {
            map.entry(folded(name)).or_default().push(i);
        }
        map
    });
    let edges: Vec<(usize, usize)> = items
        .iter()
        .enumerate()
        .flat_map(|(i, item)| {
            let named = item.mentions.iter().filter_map(|mention| by_alias.get(mention)).flatten();
            named.map(move |j| (i, *j)).filter(|(i, j)| i != j).collect::<Vec<_>>()
        })
        .collect();
    if edges.is_empty() {
        return Ok(items.into_iter().map(|item| item.output).collect());
    }
    if items.len() > ALIASES_FOLLOWED_MAX {
        return Err("its outputs name each other, and there are too many");
    }
    // Each round carries sources one step further; there are no more steps than outputs.
    for _ in 0..items.len() {
        let mut changed = false;
        for (to, from) in &edges {
            let Some(source) = items.get(*from).map(|item| item.output.sources.clone()) else { continue };
            let Some(target) = items.get_mut(*to) else { continue };
            let joined = join(&target.output.sources, source);
            changed |= joined != target.output.sources;
            target.output.sources = joined;
        }
        if !changed {
            break;
        }
    }
    Ok(items.into_iter().map(|item| item.output).collect())
}

fn join(a: &Sources, b: Sources) -> Sources {
    let union = |x: &[ColumnName], y: Vec<ColumnName>| -> Vec<ColumnName> {
        x.iter().cloned().chain(y).collect::<BTreeSet<_>>().into_iter().collect()
    };
    match (a, b) {
        (Sources::Unknown | Sources::Wildcard(_), _) | (_, Sources::Unknown | Sources::Wildcard(_)) => {
            Sources::Unknown
        }
        (a, Sources::Nothing) => a.clone(),
        (Sources::Nothing, b) => b,
        (Sources::Column(x), Sources::Column(y)) => Sources::Column(union(x, y)),
        (Sources::Column(x) | Sources::Derived(x), Sources::Column(y) | Sources::Derived(y)) => {
            Sources::Derived(union(x, y))
        }
    }
}

/// Everything in an expression that may be a column, and whether there is more than that.
#[derive(Default)]
struct See {
    columns: Vec<Vec<sqlparser::ast::Ident>>,
    is_opaque: bool,
}

impl See {
    fn all(expr: &Expr) -> Self {
        let mut seen = Self::default();
        seen.is_opaque = expr.visit(&mut seen).is_break();
        seen
    }
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
            Expr::Identifier(ident) => self.columns.push(vec![ident.clone()]),
            Expr::CompoundIdentifier(parts) => self.columns.push(parts.clone()),
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
