//! Statements that fill tables: which column is filled from where.

use std::rc::Rc;

use model::{ColumnName, Ident, TableName};
use sqlparser::ast::{
    AlterTable, AlterTableOperation, Assignment, AssignmentTarget, CopyIntoSnowflakeKind, CreateTable,
    CreateView, Delete, Expr, FromTable, Insert, Merge, MergeAction, MergeInsertKind, MergeUpdateKind,
    MultiTableInsertIntoClause, MultiTableInsertValue, ObjectName, RenameTableNameKind, Statement,
    TableObject, Update, UpdateTableFromKind,
};

use super::{
    Walk,
    flow::Flow,
    relation::{Column, Part, Relation},
    scope::{Entry, Scope, Tables},
};
use crate::{Landing, Output, Outputs, Sources, catalog::Known};

impl<'c> Walk<'c> {
    /// The columns that a statement other than a query fills; and what it decides on.
    pub(super) fn writes(&mut self, statement: &Statement) -> Vec<Landing> {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(merge),
            Statement::CreateTable(table) => self.create_table(table),
            Statement::CreateView(view) => self.create_view(view),
            Statement::AlterTable(alter) => self.alter_table(alter).unwrap_or_default(),
            Statement::CopyIntoSnowflake { .. } => self.copy(statement),
            // They fill nothing with what they read.
            _ => Vec::new(),
        }
    }

    /// The table that a statement changes, and its columns in order where the text itself or the catalog tells them.
    fn target(&mut self, name: &ObjectName) -> (Option<TableName>, Option<Vec<Ident>>) {
        let name = self.constant_name(name).unwrap_or_else(|| name.clone());
        let Ok(table) = self.names.table(&name) else { return (None, None) };
        let made =
            self.filled.iter().rev().find(|landing| landing.is_new && landing.table.as_ref() == Some(&table));
        if let Some(made) = made {
            return (Some(table), made.names());
        }
        let columns = match self.catalog.entry(&table) {
            Known::Table(known) => Some(known.columns.clone()),
            Known::Missing => None,
            Known::Unknown => {
                self.wants.insert(table.clone());
                None
            }
        };
        (Some(table), columns)
    }

    /// Rows that go into columns in order: those named by the statement, else those of the table, else those that the
    /// rows call them.
    fn land(&mut self, table: Option<TableName>, names: Vec<Ident>, rows: Relation<'c>) -> Landing {
        let named = names.len();
        let mut rows = rows.renamed(names, &mut self.bases);
        // Rows of more columns than there are to fill are refused.
        if named > 0 {
            rows.parts.truncate(named);
        }
        Landing { table, columns: self.outputs(rows), is_new: false, is_by_position: false }
    }

    fn idents(&self, names: &[ObjectName]) -> Vec<Ident> {
        names
            .iter()
            .map(|name| {
                let last =
                    self.names.parts(name).ok().and_then(|parts| parts.into_iter().next_back().flatten());
                last.unwrap_or_else(|| Ident::exact(name.to_string()))
            })
            .collect()
    }

    fn insert(&mut self, insert: &Insert) -> Vec<Landing> {
        let rows = match &insert.source {
            Some(query) => self.query(query, None),
            None => Relation::unknown(),
        };
        let when = insert.multi_table_when_clauses.iter().flat_map(|when| &when.into_clauses);
        let clauses: Vec<&MultiTableInsertIntoClause> = insert
            .multi_table_into_clauses
            .iter()
            .chain(when)
            .chain(insert.multi_table_else_clause.iter().flatten())
            .collect();
        if !clauses.is_empty() {
            let conditions = insert.multi_table_when_clauses.iter().map(|when| &when.condition);
            return self.insert_many(&clauses, conditions, rows);
        }
        let TableObject::TableName(name) = &insert.table else {
            return vec![self.land(None, Vec::new(), Relation::unknown())];
        };
        let (table, known) = self.target(name);
        let named = self.idents(&insert.columns);
        let is_by_position = named.is_empty() && known.is_none();
        let names = if named.is_empty() { in_order(known, &rows) } else { named };
        vec![Landing { is_by_position, ..self.land(table, names, rows) }]
    }

    fn insert_many<'e>(
        &mut self,
        clauses: &[&MultiTableInsertIntoClause],
        conditions: impl Iterator<Item = &'e Expr>,
        rows: Relation<'c>,
    ) -> Vec<Landing> {
        let tables = Tables {
            entries: vec![Entry { alias: None, tables: Vec::new(), relation: Rc::new(rows) }],
            ..Tables::default()
        };
        let scope = Scope::of(&tables, None);
        self.decide(conditions, &scope);
        let mut landings = Vec::new();
        for clause in clauses {
            let rows = match &clause.values {
                None => self.star(&tables),
                Some(values) => {
                    let columns: Vec<Column> = values
                        .values
                        .iter()
                        .map(|value| {
                            let flow = match value {
                                MultiTableInsertValue::Expr(expr) => self.expression(expr, &scope),
                                MultiTableInsertValue::Default => Flow::default(),
                            };
                            Column::nameless(flow)
                        })
                        .collect();
                    Relation::columns(columns)
                }
            };
            let (table, known) = self.target(&clause.table_name);
            let named: Vec<Ident> = clause.columns.iter().map(|column| self.names.ident(column)).collect();
            let is_by_position = named.is_empty() && known.is_none();
            let names = if named.is_empty() { in_order(known, &rows) } else { named };
            landings.push(Landing { is_by_position, ..self.land(table, names, rows) });
        }
        landings
    }

    fn update(&mut self, update: &Update) -> Vec<Landing> {
        let mut tables = Tables::default();
        // Tables of FROM are in scope beside the one that is changed.
        self.joined(&update.table, &mut tables, None);
        if let Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) = &update.from
        {
            for item in from {
                self.joined(item, &mut tables, None);
            }
        }
        let scope = Scope::of(&tables, None);
        self.decide(&update.selection, &scope);
        let mut columns = Vec::new();
        for assignment in &update.assignments {
            self.assign(assignment, &scope, &mut columns);
        }
        let table = match &update.table.relation {
            sqlparser::ast::TableFactor::Table { name, .. } => self.names.table(name).ok(),
            _ => None,
        };
        vec![self.land(table, Vec::new(), Relation::columns(columns))]
    }

    fn assign(&mut self, assignment: &Assignment, scope: &Scope<'_, 'c>, columns: &mut Vec<Column>) {
        let flow = self.expression(&assignment.value, scope);
        let names = match &assignment.target {
            AssignmentTarget::ColumnName(name) => self.idents(std::slice::from_ref(name)),
            AssignmentTarget::Tuple(names) => self.idents(names),
        };
        for name in names {
            add(columns, name, &flow);
        }
    }

    fn delete(&mut self, delete: &Delete) -> Vec<Landing> {
        let mut tables = Tables::default();
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        for item in from.iter().chain(delete.using.iter().flatten()) {
            self.joined(item, &mut tables, None);
        }
        self.decide(&delete.selection, &Scope::of(&tables, None));
        Vec::new()
    }

    fn merge(&mut self, merge: &Merge) -> Vec<Landing> {
        let mut tables = Tables::default();
        self.factor(&merge.table, &mut tables, None);
        self.factor(&merge.source, &mut tables, None);
        let scope = Scope::of(&tables, None);
        self.decide([merge.on.as_ref()], &scope);
        let (table, known) = match &merge.table {
            sqlparser::ast::TableFactor::Table { name, .. } => self.target(name),
            _ => (None, None),
        };
        let mut columns = Vec::new();
        for clause in &merge.clauses {
            self.decide(&clause.predicate, &scope);
            match &clause.action {
                MergeAction::Insert(insert) => {
                    self.decide(&insert.insert_predicate, &scope);
                    let MergeInsertKind::Values(values) = &insert.kind else {
                        return vec![self.merge_by_name(table, &tables)];
                    };
                    let names = match insert.columns.as_slice() {
                        [] => known.clone().unwrap_or_default(),
                        named => self.idents(named),
                    };
                    for row in &values.rows {
                        self.merge_row(&row.content, &names, &scope, &mut columns);
                    }
                }
                MergeAction::Update(update) => {
                    self.decide(update.update_predicate.iter().chain(&update.delete_predicate), &scope);
                    match &update.kind {
                        MergeUpdateKind::Set(assignments) => {
                            for assignment in assignments {
                                self.assign(assignment, &scope, &mut columns);
                            }
                        }
                        MergeUpdateKind::Wildcard => return vec![self.merge_by_name(table, &tables)],
                    }
                }
                MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => {}
            }
        }
        vec![self.land(table, Vec::new(), Relation::columns(columns))]
    }

    fn merge_row(&mut self, row: &[Expr], names: &[Ident], scope: &Scope<'_, 'c>, columns: &mut Vec<Column>) {
        for (at, value) in row.iter().enumerate() {
            let flow = self.expression(value, scope);
            match names.get(at) {
                Some(name) => add(columns, name.clone(), &flow),
                None => columns.push(Column::nameless(flow)),
            }
        }
    }

    /// A merge that fills columns nobody here can name: each may get anything of either side.
    fn merge_by_name(&mut self, table: Option<TableName>, tables: &Tables<'c>) -> Landing {
        let flow = self.all_columns(tables);
        let columns = self.outputs(Relation::anything(flow));
        Landing { table, columns, is_new: false, is_by_position: false }
    }

    fn create_table(&mut self, create: &CreateTable) -> Vec<Landing> {
        let table = self.names.table(&create.name).ok();
        if let Some(source) = &create.clone {
            let (relation, _) = self.named_table(source);
            let landing = self.land(table, Vec::new(), Relation::clone(&relation));
            return vec![Landing { is_new: !create.if_not_exists, ..landing }];
        }
        let Some(query) = &create.query else { return Vec::new() };
        let rows = self.query(query, None);
        let names = create.columns.iter().map(|column| self.names.ident(&column.name)).collect();
        vec![Landing { is_new: !create.if_not_exists, ..self.land(table, names, rows) }]
    }

    fn create_view(&mut self, view: &CreateView) -> Vec<Landing> {
        let table = self.names.table(&view.name).ok();
        let rows = self.query(&view.query, None);
        let names = view.columns.iter().map(|column| self.names.ident(&column.name)).collect();
        vec![Landing { is_new: !view.if_not_exists, ..self.land(table, names, rows) }]
    }

    /// What a table holds is under another name then. `None` for other changes, and where a name is computed.
    fn alter_table(&mut self, alter: &AlterTable) -> Option<Vec<Landing>> {
        let table = self.names.table(&alter.name).ok()?;
        let [operation] = alter.operations.as_slice() else { return None };
        match operation {
            AlterTableOperation::RenameTable {
                table_name: RenameTableNameKind::As(name) | RenameTableNameKind::To(name),
            } => Some(vec![self.put_whole(&table, self.names.table(name).ok()?)]),
            AlterTableOperation::SwapWith { table_name } => {
                let other = self.names.table(table_name).ok()?;
                Some(vec![self.put_whole(&table, other.clone()), self.put_whole(&other, table)])
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                let [old, new] = [old_column_name, new_column_name].map(|name| self.names.ident(name));
                let sources = Sources::Column(vec![ColumnName { table: table.clone(), name: old }]);
                let column = Output { name: Some(new), sources, is_many: false };
                let columns = Outputs::Known(vec![column]);
                Some(vec![Landing { table: Some(table), columns, is_new: false, is_by_position: false }])
            }
            _ => None,
        }
    }

    /// All of a table, under another name. Its own patterns speak of its columns, so nobody is asked what they are.
    fn put_whole(&mut self, table: &TableName, to: TableName) -> Landing {
        let wanted = self.wants.clone();
        let (relation, _) = self.stored(std::slice::from_ref(table));
        self.wants = wanted;
        Landing { is_new: true, ..self.land(Some(to), Vec::new(), Relation::clone(&relation)) }
    }

    fn copy(&mut self, statement: &Statement) -> Vec<Landing> {
        let Statement::CopyIntoSnowflake {
            kind,
            into,
            into_columns,
            from_obj,
            from_query,
            from_transformations,
            ..
        } = statement
        else {
            return Vec::new();
        };
        if let (CopyIntoSnowflakeKind::Table, Some(_)) = (kind, from_obj) {
            let (table, known) = self.target(into);
            let names: Vec<Ident> = match into_columns {
                Some(columns) => columns.iter().map(|column| self.names.ident(column)).collect(),
                None => known.unwrap_or_default(),
            };
            // What is in a file, nobody here knows.
            let filled = from_transformations.as_ref().map_or(names.len(), Vec::len);
            let rows = if names.is_empty() {
                Relation::unknown()
            } else {
                let column = |name| Part::Column(Column::named(name, Flow::unknown()));
                Relation::of(names.into_iter().take(filled).map(column).collect())
            };
            return vec![self.land(table, Vec::new(), rows)];
        }
        let rows = match (from_obj, from_query) {
            (_, Some(query)) => self.query(query, None),
            (Some(name), None) => Relation::clone(&self.named_table(name).0),
            (None, None) => return Vec::new(),
        };
        vec![self.land(None, Vec::new(), rows)]
    }
}

/// The columns that rows fill when none are named. A column beyond those that the catalog knows is none.
fn in_order(known: Option<Vec<Ident>>, rows: &Relation<'_>) -> Vec<Ident> {
    let mut known = known.unwrap_or_default();
    known.truncate(rows.count().unwrap_or(known.len()));
    known
}

/// Adds to a column what can reach it.
fn add(columns: &mut Vec<Column>, name: Ident, flow: &Flow) {
    match columns.iter_mut().find(|column| column.name.as_ref() == Some(&name)) {
        Some(column) => column.flow.absorb(flow),
        None => columns.push(Column::named(name, flow.clone())),
    }
}
