//! `PIVOT`, `UNPIVOT` and `MATCH_RECOGNIZE`: tables made of another table's columns.

use std::rc::Rc;

use model::Ident;
use sqlparser::ast::{
    Expr, ExprWithAlias, Measure, OrderByExpr, PivotValueSource, RowsPerMatch, SymbolDefinition, TableAlias,
    TableFactor, Value,
};

use super::{
    Walk,
    expr::order,
    flow::Flow,
    relation::{Column, Part, Relation},
    scope::{Entry, Scope, Tables},
};

impl<'c> Walk<'c> {
    /// The columns of a reshaped table, and its alias. One may be reshaped again and again, so this goes from the inside
    /// out without recursion.
    pub(super) fn reshaped<'f>(
        &mut self,
        factor: &'f TableFactor,
        before: &mut Tables<'c>,
        outer: Option<&Scope<'_, 'c>>,
    ) -> (Relation<'c>, Option<&'f TableAlias>) {
        let mut steps = Vec::new();
        let mut at = factor;
        while let TableFactor::Pivot { table, .. }
        | TableFactor::Unpivot { table, .. }
        | TableFactor::MatchRecognize { table, .. } = at
        {
            steps.push(at);
            at = table;
        }
        // The innermost sees the tables before it, and is then taken out of scope again.
        let first = before.entries.len();
        let joined = before.using.len();
        let mut is_natural = std::mem::take(&mut before.is_natural);
        self.factor(at, before, outer);
        std::mem::swap(&mut before.is_natural, &mut is_natural);
        let mut inner = Tables {
            entries: before.entries.split_off(first),
            using: before.using.split_off(joined),
            is_natural,
            takes_any_qualifier: false,
        };
        for (depth, step) in steps.iter().rev().enumerate() {
            if self.is_spent() {
                return (Relation::unknown(), None);
            }
            let (relation, alias) = self.reshape(step, &inner, outer);
            if depth + 1 == steps.len() {
                return (relation, alias);
            }
            let entry = match alias {
                None => Entry { alias: None, tables: Vec::new(), relation: Rc::new(relation) },
                Some(alias) => {
                    let names = alias.columns.iter().map(|column| self.names.ident(&column.name)).collect();
                    let relation = Rc::new(relation.renamed(names, &mut self.bases));
                    Entry { alias: Some(self.names.ident(&alias.name)), tables: Vec::new(), relation }
                }
            };
            inner = Tables { entries: vec![entry], ..Tables::default() };
        }
        (Relation::unknown(), None)
    }

    fn reshape<'f>(
        &mut self,
        step: &'f TableFactor,
        inner: &Tables<'c>,
        outer: Option<&Scope<'_, 'c>>,
    ) -> (Relation<'c>, Option<&'f TableAlias>) {
        let scope = Scope::of(inner, outer);
        match step {
            TableFactor::Pivot {
                aggregate_functions,
                value_column,
                value_source,
                default_on_null,
                alias,
                ..
            } => {
                let mut cell = Flow::default();
                self.gather(aggregate_functions.iter().map(|function| &function.expr), &scope, &mut cell);
                self.gather(default_on_null, &scope, &mut cell);
                self.decide(value_column, &scope);
                self.gather(value_column, &scope, &mut cell);
                let used = self.used_names(aggregate_functions.iter().map(|f| &f.expr).chain(value_column));
                let mut relation = self.star(inner);
                self.leave_out(&mut relation, &used);
                let cells = self.cells(aggregate_functions, value_source, &cell.derived(), &scope);
                relation.append(cells);
                (relation, alias.as_ref())
            }
            TableFactor::Unpivot { value, name, columns, alias, .. } => {
                let mut flow = Flow::default();
                self.gather(columns.iter().map(|column| &column.expr), &scope, &mut flow);
                let used = self.used_names(columns.iter().map(|column| &column.expr));
                let mut relation = self.star(inner);
                self.leave_out(&mut relation, &used);
                let values = self.used_names(std::iter::once(value));
                relation.parts.push(Part::Column(Column::named(self.names.ident(name), Flow::default())));
                relation
                    .parts
                    .extend(values.into_iter().map(|name| Part::Column(Column::named(name, flow.clone()))));
                (relation, alias.as_ref())
            }
            TableFactor::MatchRecognize {
                partition_by,
                order_by,
                measures,
                rows_per_match,
                symbols,
                alias,
                ..
            } => {
                let relation = self.matched(
                    inner,
                    (partition_by, order_by),
                    measures,
                    rows_per_match.as_ref(),
                    symbols,
                    outer,
                );
                (relation, alias.as_ref())
            }
            _ => (Relation::unknown(), None),
        }
    }

    /// The columns that a pivot makes of values.
    fn cells(
        &mut self,
        functions: &[ExprWithAlias],
        values: &PivotValueSource,
        cell: &Flow,
        scope: &Scope<'_, 'c>,
    ) -> Relation<'c> {
        let mut cell = cell.clone();
        let list = match values {
            PivotValueSource::List(list) => list,
            PivotValueSource::Any(by) => {
                self.decide(order(by), scope);
                return Relation::anything(cell);
            }
            PivotValueSource::Subquery(query) => {
                self.subquery(query, scope, true, &mut cell);
                return Relation::anything(cell);
            }
        };
        // With several functions, or named ones, the names are made of both.
        if functions.len() > 1 || functions.iter().any(|function| function.alias.is_some()) {
            return Relation::columns(
                (0..functions.len() * list.len()).map(|_| Column::nameless(cell.clone())),
            );
        }
        Relation::columns(list.iter().map(|value| match (&value.alias, &value.expr) {
            (Some(alias), _) => Column::named(self.names.ident(alias), cell.clone()),
            (None, Expr::Value(text)) if matches!(text.value, Value::SingleQuotedString(_)) => {
                Column::named(Ident::exact(text.value.to_string()), cell.clone())
            }
            (None, _) => Column::nameless(cell.clone()),
        }))
    }

    /// The columns that expressions name outright.
    fn used_names<'e>(&self, exprs: impl Iterator<Item = &'e Expr>) -> Vec<Ident> {
        let mut names = Vec::new();
        for expr in exprs {
            super::each_column(expr, &mut |parts| {
                names.extend(parts.last().map(|last| self.names.ident(last)))
            });
        }
        names
    }

    fn matched(
        &mut self,
        inner: &Tables<'c>,
        (partition_by, order_by): (&[Expr], &[OrderByExpr]),
        measures: &[Measure],
        rows: Option<&RowsPerMatch>,
        symbols: &[SymbolDefinition],
        outer: Option<&Scope<'_, 'c>>,
    ) -> Relation<'c> {
        let entries = inner.entries.iter().map(|entry| Entry {
            alias: entry.alias.clone(),
            tables: entry.tables.clone(),
            relation: Rc::clone(&entry.relation),
        });
        let tables = Tables {
            entries: entries.collect(),
            using: inner.using.clone(),
            is_natural: inner.is_natural,
            takes_any_qualifier: true,
        };
        let scope = Scope::of(&tables, outer);
        let mut defined = Flow::default();
        self.gather(symbols.iter().map(|symbol| &symbol.definition), &scope, &mut defined);
        self.decides.absorb(&defined);
        self.decide(partition_by.iter().chain(order(order_by)), &scope);
        let mut relation = match rows {
            None | Some(RowsPerMatch::OneRow) => {
                let parts: Vec<Part<'c>> = partition_by
                    .iter()
                    .map(|expr| {
                        let name = match expr {
                            Expr::Identifier(ident) => Some(self.names.ident(ident)),
                            Expr::CompoundIdentifier(parts) => {
                                parts.last().map(|last| self.names.ident(last))
                            }
                            _ => None,
                        };
                        Part::Column(Column { name, ..Column::nameless(self.expression(expr, &scope)) })
                    })
                    .collect();
                Relation::of(parts)
            }
            Some(RowsPerMatch::AllRows(_)) => self.star(&tables),
        };
        let scope = Scope { windows: Some(&defined), ..scope };
        for measure in measures {
            let flow = self.expression(&measure.expr, &scope).derived();
            relation.parts.push(Part::Column(Column::named(self.names.ident(&measure.alias), flow)));
        }
        relation
    }
}
