//! A parsed statement to facts. Only the statements listed here are known; all others are opaque.

use sqlparser::ast::{
    self, AlterTable, AlterTableOperation, CopyIntoSnowflakeKind, CreateTable, CreateTableLikeKind, Delete,
    FromTable, Insert, Merge, ObjectName, Set, TableFactor, TableObject, TableWithJoins, Update,
};

use crate::{
    Access, Catalog, Class, Elsewhere, Landing, Opaque, Outputs, SessionNames, Statement, lineage,
    plain::{self, uses},
    reach::{self, Reached},
};

/// Reads a parsed statement.
pub(crate) fn read(
    parsed: &ast::Statement,
    names: &SessionNames,
    catalog: &Catalog,
    filled: &[Landing],
    names_stage: bool,
) -> Result<Statement, Opaque> {
    let reader = Reader { names, reached: reach::reached(parsed, names)? };
    let mut statement = reader.statement(parsed)?;
    let followed = lineage::follow(parsed, names, catalog, filled);
    if statement.class == Class::Select {
        statement.outputs = followed.outputs;
    }
    statement.landings = followed.landings;
    statement.decides_on = followed.decides_on;
    statement.wants = followed.wants;
    let copies = matches!(statement.class, Class::CopyLoad | Class::CopyUnload);
    if names_stage && !copies {
        statement.elsewhere.push(Elsewhere::Stage);
    }
    statement.elsewhere.sort();
    statement.elsewhere.dedup();
    statement.tables.sort();
    statement.tables.dedup();
    Ok(statement)
}

struct Reader<'a> {
    names: &'a SessionNames,
    reached: Reached,
}

/// What a statement changes, beside what it reads.
struct Effects<'a> {
    class: Class,
    verb: &'static str,
    /// Tables it changes.
    targets: Vec<(&'a ObjectName, Access)>,
    /// Tables it reads that the walk over the tree does not see as such.
    sources: Vec<&'a ObjectName>,
    moves: Moves,
}

/// When a statement puts data where it can be read under another name.
#[derive(PartialEq)]
enum Moves {
    Never,
    /// If it reads any table.
    Read,
    /// In any case, its target included.
    Always,
}

impl<'a> Effects<'a> {
    fn new(class: Class, verb: &'static str) -> Self {
        Self { class, verb, targets: Vec::new(), sources: Vec::new(), moves: Moves::Never }
    }

    fn on(mut self, table: &'a ObjectName, access: Access) -> Self {
        self.targets.push((table, access));
        self
    }

    fn reads(mut self, table: Option<&'a ObjectName>) -> Self {
        self.sources.extend(table);
        self
    }

    fn moving(mut self, moves: Moves) -> Self {
        self.moves = moves;
        self
    }
}

impl Reader<'_> {
    fn statement(self, parsed: &ast::Statement) -> Result<Statement, Opaque> {
        match parsed {
            ast::Statement::Query(query) => {
                let effects = match reach::changed_by(query) {
                    Some(change) => self.rows(change).ok_or_else(|| form(change))?,
                    None => Effects::new(Class::Select, "SELECT"),
                };
                self.facts(effects)
            }
            ast::Statement::Call(call) => {
                let mut statement = self.facts(Effects::new(Class::Call, "CALL"))?;
                statement.functions.push(call.name.to_string());
                statement.outputs = Outputs::Unknown("a procedure returns what it likes");
                Ok(statement)
            }
            ast::Statement::Set(set) => self.set(set),
            ast::Statement::CopyIntoSnowflake { .. } => {
                let effects = self.copy(parsed)?;
                self.facts(effects)
            }
            _ => {
                let effects =
                    self.rows(parsed).or_else(|| self.definition(parsed)).ok_or_else(|| form(parsed))?;
                self.facts(effects)
            }
        }
    }

    /// Statements that change rows, and transactions.
    fn rows<'s>(&self, parsed: &'s ast::Statement) -> Option<Effects<'s>> {
        match parsed {
            ast::Statement::Insert(insert) => insert_effects(insert),
            ast::Statement::Update(update) => update_effects(update),
            ast::Statement::Delete(delete) => delete_effects(delete),
            ast::Statement::Merge(merge) => merge_effects(merge),
            ast::Statement::Truncate(truncate) => {
                let effects = Effects::new(Class::Truncate, "TRUNCATE");
                Some(truncate.table_names.iter().fold(effects, |e, t| e.on(&t.name, Access::Write)))
            }
            ast::Statement::StartTransaction { statements, exception: None, .. } if statements.is_empty() => {
                Some(Effects::new(Class::Transaction, "BEGIN"))
            }
            ast::Statement::Commit { .. } => Some(Effects::new(Class::Transaction, "COMMIT")),
            ast::Statement::Rollback { .. } => Some(Effects::new(Class::Transaction, "ROLLBACK")),
            _ => None,
        }
    }

    /// Statements that change what exists in a database.
    fn definition<'s>(&self, parsed: &'s ast::Statement) -> Option<Effects<'s>> {
        let create = || Effects::new(Class::Create, "CREATE");
        Some(match parsed {
            ast::Statement::CreateTable(table) => create_table_effects(table)?,
            ast::Statement::CreateView(view) if view.to.is_none() => {
                create().on(&view.name, Access::Create).moving(Moves::Read)
            }
            ast::Statement::AlterTable(alter) => alter_table_effects(alter),
            ast::Statement::AlterView { name, .. } => {
                Effects::new(Class::Alter, "ALTER").on(name, Access::Alter).moving(Moves::Read)
            }
            _ => return None,
        })
    }

    /// A variable may hold constants; data in it would be read later by a name that is no table.
    fn set(self, set: &Set) -> Result<Statement, Opaque> {
        if !matches!(set, Set::SingleAssignment { .. } | Set::ParenthesizedAssignments { .. }) {
            return Err(Opaque::Form("SET".to_owned()));
        }
        let values = match set {
            Set::SingleAssignment { values, .. } | Set::ParenthesizedAssignments { values, .. } => {
                values.as_slice()
            }
            _ => &[],
        };
        // A bare name is no constant, either: who puts it in the place of the variable reads a column.
        let holds_data = self.reached.has_query
            || !self.reached.tables.is_empty()
            || !self.reached.functions.is_empty()
            || values.iter().any(lineage::holds_data);
        let mut statement = self.facts(Effects::new(Class::Set, "SET"))?;
        if holds_data {
            statement.elsewhere.push(Elsewhere::VariableHoldsData);
        }
        Ok(statement)
    }

    fn copy<'s>(&self, parsed: &'s ast::Statement) -> Result<Effects<'s>, Opaque> {
        let ast::Statement::CopyIntoSnowflake {
            kind,
            into,
            from_obj,
            from_query,
            copy_options,
            validation_mode,
            ..
        } = parsed
        else {
            return Err(form(parsed));
        };
        // Validation returns rows of the files.
        if validation_mode.is_some()
            || copy_options
                .options
                .iter()
                .any(|option| option.option_name.eq_ignore_ascii_case("VALIDATION_MODE"))
        {
            return Err(form(parsed));
        }
        let is_location = |name: &ObjectName| {
            name.0
                .iter()
                .filter_map(|part| part.as_ident())
                .any(|i| i.value.starts_with('@') || i.quote_style == Some('\''))
        };
        let unloads = *kind == CopyIntoSnowflakeKind::Location || is_location(into);
        let from_location = from_obj.as_ref().is_some_and(is_location);
        match (unloads, from_obj, from_query) {
            (true, Some(table), None) if !from_location => {
                Ok(Effects::new(Class::CopyUnload, "COPY INTO location")
                    .reads(Some(table))
                    .moving(Moves::Always))
            }
            (true, None, Some(_)) => {
                Ok(Effects::new(Class::CopyUnload, "COPY INTO location").moving(Moves::Always))
            }
            (false, Some(_), None) if from_location => {
                Ok(Effects::new(Class::CopyLoad, "COPY INTO").on(into, Access::Write))
            }
            _ => Err(form(parsed)),
        }
    }

    fn facts(mut self, effects: Effects<'_>) -> Result<Statement, Opaque> {
        let mut statement = plain::bare(effects.class, &[], 0);
        effects.verb.clone_into(&mut statement.verb);
        for (name, access) in effects.targets {
            match self.names.table(name) {
                Ok(table) => {
                    self.reached.forget_one(&table);
                    statement.tables.extend(uses(vec![table.clone()], access));
                    if effects.moves == Moves::Always && access != Access::Create {
                        statement.tables.extend(uses(vec![table], Access::Read));
                    }
                }
                Err(unnamed) => plain::note(&mut statement, unnamed)?,
            }
        }
        for name in effects.sources {
            match self.names.tables(name) {
                Ok(tables) => self.reached.tables.push(tables),
                Err(unnamed) => plain::note(&mut statement, unnamed)?,
            }
        }
        let reads = !self.reached.tables.is_empty() || !self.reached.functions.is_empty();
        statement.moves_data = match effects.moves {
            Moves::Never => false,
            Moves::Read => reads,
            Moves::Always => true,
        };
        statement
            .tables
            .extend(self.reached.tables.into_iter().flat_map(|tables| uses(tables, Access::Read)));
        statement.functions.extend(self.reached.functions);
        statement.elsewhere.extend(self.reached.elsewhere);
        Ok(statement)
    }
}

fn insert_effects(insert: &Insert) -> Option<Effects<'_>> {
    let plain = insert.or.is_none()
        && !insert.replace_into
        && insert.returning.is_none()
        && insert.output.is_none()
        && insert.on.is_none();
    let TableObject::TableName(table) = &insert.table else {
        return None;
    };
    let when = insert.multi_table_when_clauses.iter().flat_map(|when| &when.into_clauses);
    let multi = insert
        .multi_table_into_clauses
        .iter()
        .chain(when)
        .chain(insert.multi_table_else_clause.iter().flatten());
    let mut targets: Vec<&ObjectName> = multi.map(|into| &into.table_name).collect();
    if targets.is_empty() {
        targets.push(table);
    }
    let effects = Effects::new(Class::Insert, "INSERT").moving(Moves::Read);
    plain.then(|| targets.into_iter().fold(effects, |e, name| e.on(name, Access::Write)))
}

fn update_effects(update: &Update) -> Option<Effects<'_>> {
    let name = only_table(&update.table)?;
    if update.returning.is_some() || update.output.is_some() {
        return None;
    }
    // Constants move nothing; anything else may copy one column into another.
    let copies = update.assignments.iter().any(|assignment| lineage::holds_data(&assignment.value));
    let moves = if copies { Moves::Always } else { Moves::Never };
    Some(Effects::new(Class::Update, "UPDATE").on(name, Access::Write).moving(moves))
}

fn delete_effects(delete: &Delete) -> Option<Effects<'_>> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [table] = from.as_slice() else {
        return None;
    };
    if !delete.tables.is_empty() || delete.returning.is_some() || delete.output.is_some() {
        return None;
    }
    Some(Effects::new(Class::Delete, "DELETE").on(only_table(table)?, Access::Write))
}

fn merge_effects(merge: &Merge) -> Option<Effects<'_>> {
    let TableFactor::Table { name, args: None, .. } = &merge.table else {
        return None;
    };
    let effects = Effects::new(Class::Merge, "MERGE").on(name, Access::Write).moving(Moves::Always);
    merge.output.is_none().then_some(effects)
}

fn create_table_effects(table: &CreateTable) -> Option<Effects<'_>> {
    if table.inherits.is_some() || table.partition_of.is_some() {
        return None;
    }
    let like = table.like.as_ref().map(|like| match like {
        CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like) => &like.name,
    });
    let effects = Effects::new(Class::Create, "CREATE").on(&table.name, Access::Create);
    // An empty table of the same shape holds nothing.
    let moves = if table.query.is_some() || table.clone.is_some() { Moves::Read } else { Moves::Never };
    Some(effects.reads(like).reads(table.clone.as_ref()).moving(moves))
}

fn alter_table_effects(alter: &AlterTable) -> Effects<'_> {
    use AlterTableOperation as Op;
    let mut effects = Effects::new(Class::Alter, "ALTER").on(&alter.name, Access::Alter);
    for operation in &alter.operations {
        match operation {
            Op::AddColumn { .. }
            | Op::DropColumn { .. }
            | Op::AddConstraint { .. }
            | Op::DropConstraint { .. }
            | Op::DropPrimaryKey { .. }
            | Op::ClusterBy { .. }
            | Op::DropClusteringKey
            | Op::SuspendRecluster
            | Op::ResumeRecluster
            | Op::Refresh { .. }
            | Op::Suspend
            | Op::Resume => {}
            Op::SwapWith { table_name } => {
                effects = effects.on(table_name, Access::Alter).moving(Moves::Always);
            }
            Op::RenameTable {
                table_name: ast::RenameTableNameKind::As(name) | ast::RenameTableNameKind::To(name),
            } => {
                effects = effects.on(name, Access::Create).moving(Moves::Always);
            }
            // Renaming a column, changing its type, …: the tags of the old definition may not fit the new one.
            _ => effects = effects.moving(Moves::Always),
        }
    }
    effects
}

fn only_table(table: &TableWithJoins) -> Option<&ObjectName> {
    match &table.relation {
        TableFactor::Table { name, args: None, .. } if table.joins.is_empty() => Some(name),
        _ => None,
    }
}

fn form(parsed: &ast::Statement) -> Opaque {
    // The variant's name, never its content.
    let debug = match parsed {
        ast::Statement::CopyIntoSnowflake { .. } => "COPY INTO",
        ast::Statement::Insert(_) => "INSERT",
        ast::Statement::Update(_) => "UPDATE",
        ast::Statement::Delete(_) => "DELETE",
        ast::Statement::Merge(_) => "MERGE",
        ast::Statement::CreateTable(_) => "CREATE TABLE",
        ast::Statement::CreateView(_) => "CREATE VIEW",
        _ => "statement",
    };
    Opaque::Form(debug.to_owned())
}
