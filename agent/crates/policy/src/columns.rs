//! The tagged columns of a statement: who may see them, who may decide on them, and who may put them elsewhere.
//!
//! A statement that only decides on a masked column (`WHERE ssn LIKE '1%'`) tells of it as surely as one that shows it, only
//! slower; and a copy is read by others, on other hosts, who know nothing of its tags.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::EntityUid;
use masking::Mask;
use model::{ColumnName, TableName};
use sql::{Access, Class, Container, Group, Landing, Output, Outputs, Sources, Statement};

use crate::{
    Beside, Policies,
    classification::{Lookout, TaggedPattern, stricter},
    entities::{Things, table_id},
    judge::{Judge, Question, shown},
    kept::Asked,
    plan::{Guard, Plan, Shows},
    statement::shows_rows,
};

/// Tagged columns, each as something that can be asked about.
pub(crate) struct Columns<T = ()> {
    /// Of the tables that are read or changed.
    in_tables: Vec<(Column, T)>,
    /// Every pattern, whatever the statement names.
    everywhere: Vec<(Column, T)>,
    /// What data took with it to anywhere.
    anywhere: Option<(Column, T)>,
    /// Whether it is worth asking who may see them.
    asks_unmask: bool,
    /// What is looked for in what is shown.
    lookouts: Arc<[Lookout]>,
}

/// One tagged column, or all that one pattern matches.
struct Column {
    table: Option<TableName>,
    tagged: Arc<TaggedPattern>,
    /// What people call it, and rules.
    id: String,
    /// Where there is something to ask.
    uid: Option<EntityUid>,
    is: Is,
}

/// What is done with a column.
#[derive(Clone, Copy, Default)]
struct Is {
    /// It may be shown, or moved.
    read: bool,
    /// It may be put where it has another name.
    moved: bool,
    /// It may decide.
    deciding: bool,
}

/// How much of a column may be seen.
#[derive(Clone)]
pub(crate) enum Sight {
    Plain,
    /// Under the mask that its tags ask for, or the one that the rules which let it be seen name.
    Masked(Option<Mask>),
}

/// Tagged columns after it was asked who may see them.
pub(crate) type Seen = Columns<Sight>;

impl Columns {
    pub(crate) fn of(
        policies: &Policies,
        statement: &Statement,
        asked: &Asked,
        things: &mut Things<'_>,
    ) -> Self {
        let (shows, moves) = (shows_rows(statement), statement.moves_data);
        let mut columns = Self {
            in_tables: Vec::new(),
            everywhere: Vec::new(),
            anywhere: None,
            asks_unmask: false,
            lookouts: if shows { Arc::clone(policies.classification.lookouts()) } else { [].into() },
        };
        let (who, beside) = (&asked.who, &asked.beside);
        // Where no rows are looked for, none are decided on.
        let decides = statement.decides_on != Sources::Nothing
            && (shows || moves || statement.class.group() == Group::Write);
        if !(shows || moves || decides || !statement.landings.is_empty()) {
            return columns;
        }
        let words = &policies.vocabulary;
        columns.asks_unmask =
            policies.slice(who.assurance, &words.unmask).is_some_and(|slice| slice.may_permit(who));
        for (table, is) in tables(statement, beside, shows) {
            let carried = beside.carried.iter().filter(|carried| carried.may_be_in(table));
            let carried = carried.map(|carried| Arc::new(carried.pattern(&policies.classification)));
            let patterns = policies.classification.columns().iter().cloned().chain(carried);
            for tagged in patterns.filter(|tagged| tagged.pattern.may_be_in(table)) {
                let deciding = decides && may_be_among(&statement.decides_on, table, &tagged);
                let id = format!("{}.{}", table_id(table), tagged.pattern.column_part());
                let moved = is.moved && leaves_its_tags(policies, statement, table, &tagged);
                columns.add_in_table(things, table, tagged, id, Is { deciding, moved, ..is });
            }
        }
        let reads_more = reads_more(statement, beside);
        let deciding = decides && reads_more && may_be_elsewhere(&statement.decides_on, beside);
        let lands_elsewhere = reads_more && may_land_from_elsewhere(statement, beside);
        let whole = |moved: bool| Is { read: shows, moved, deciding };
        for tagged in policies.classification.columns() {
            let is = whole(moves && (lands_elsewhere || is_in_container(statement, tagged)));
            let column = columns.whole(things, Arc::clone(tagged), is);
            columns.everywhere.push((column, ()));
        }
        if let Some(tagged) = beside.anywhere(&policies.classification) {
            let column = columns.whole(things, Arc::new(tagged), whole(moves && lands_elsewhere));
            columns.anywhere = Some((column, ()));
        }
        for action in [&words.unmask, &words.decide, &words.derive] {
            things.action(action);
        }
        columns
    }

    fn is_asked(&self, is: Is) -> bool {
        (self.asks_unmask && is.read) || is.moved || is.deciding
    }

    fn add_in_table(
        &mut self,
        things: &mut Things<'_>,
        table: &TableName,
        tagged: Arc<TaggedPattern>,
        id: String,
        is: Is,
    ) {
        if is.read || is.deciding {
            let uid = self.is_asked(is).then(|| things.column(&id, Some(table), &tagged.tags));
            self.in_tables.push((Column { table: Some(table.clone()), tagged, id, uid, is }, ()));
        }
    }

    /// What a pattern matches, wherever that is.
    fn whole(&self, things: &mut Things<'_>, tagged: Arc<TaggedPattern>, is: Is) -> Column {
        let id = tagged.pattern.as_str().to_owned();
        let table = tagged.pattern.exact_table();
        let uid = self.is_asked(is).then(|| things.column(&id, table.as_ref(), &tagged.tags));
        Column { table: None, tagged, id, uid, is }
    }

    pub(crate) fn len(&self) -> usize {
        self.in_tables.len() + self.everywhere.len()
    }

    /// Asks which of them may be seen.
    pub(crate) fn seen_by(self, judge: &Judge<'_>) -> Seen {
        let asks = self.asks_unmask;
        let look = |(column, ()): (Column, ())| {
            let sees = asks && (column.is.read || column.is.deciding);
            let sight = column.uid.as_ref().filter(|_| sees).map(|uid| sight(judge, uid));
            (column, sight.unwrap_or(Sight::Masked(None)))
        };
        Columns {
            in_tables: self.in_tables.into_iter().map(look).collect(),
            everywhere: self.everywhere.into_iter().map(look).collect(),
            anywhere: self.anywhere.map(look),
            asks_unmask: asks,
            lookouts: self.lookouts,
        }
    }
}

/// The tables whose columns may be read or moved or may decide, and what is done with them. What views show is read as
/// well.
fn tables<'t>(statement: &'t Statement, beside: &'t Beside, shows: bool) -> BTreeMap<&'t TableName, Is> {
    let moves = statement.moves_data;
    let mut tables: BTreeMap<&TableName, Is> = BTreeMap::new();
    let named = statement.tables.iter().map(|used| (&used.table, used.access));
    for (table, access) in named.chain(beside.reached.iter().map(|table| (table, Access::Read))) {
        let is = tables.entry(table).or_default();
        let moved = moves && matches!(access, Access::Read | Access::Alter);
        is.moved |= moved;
        is.read |= moved || (shows && access == Access::Read);
    }
    // What a row held before may go to another column of it. A row that is new, or comes out of a file, held nothing.
    let changes_rows = matches!(statement.class, Class::Update | Class::Merge);
    for table in
        statement.landings.iter().filter(|_| changes_rows).filter_map(|landing| landing.table.as_ref())
    {
        let is = tables.entry(table).or_default();
        (is.read, is.moved) = (true, true);
    }
    tables
}

/// Whether the statement reads more than can be told.
fn reads_more(statement: &Statement, beside: &Beside) -> bool {
    !statement.names_all_it_reads() || !beside.unresolved.is_empty()
}

fn sight(judge: &Judge<'_>, column: &EntityUid) -> Sight {
    let words = &judge.policies().vocabulary;
    let Some(rules) = judge.permitting(&words.unmask, column) else { return Sight::Masked(None) };
    let masks =
        rules.iter().map(|rule| judge.policies().rules.get(rule.as_str()).and_then(|rule| rule.mask.clone()));
    // A rule without a mask lets all be seen; of several masks none may show more than another does.
    match masks.collect::<Option<Vec<Mask>>>().and_then(|masks| masks.into_iter().reduce(stricter)) {
        Some(mask) => Sight::Masked(Some(mask)),
        None => Sight::Plain,
    }
}

/// Whether a tagged column of a table may be one of these.
fn may_be_among(sources: &Sources, table: &TableName, tagged: &TaggedPattern) -> bool {
    let is_one = |columns: &[ColumnName]| {
        columns.iter().any(|c| c.table == *table && tagged.pattern.matches_name(c.name.as_str()))
    };
    match sources {
        Sources::Nothing => false,
        Sources::Column(columns) | Sources::Derived(columns) => is_one(columns),
        Sources::Within { columns, tables } => tables.contains(table) || is_one(columns),
        Sources::Wildcard(tables) => tables.contains(table),
        Sources::Unknown => true,
    }
}

/// Whether one of these may be in a table that nobody knows, or that is not named.
fn may_be_elsewhere(sources: &Sources, beside: &Beside) -> bool {
    let of_columns = |columns: &[ColumnName]| columns.iter().any(|c| beside.unresolved.contains(&c.table));
    let of_tables = |tables: &[TableName]| tables.iter().any(|table| beside.unresolved.contains(table));
    match sources {
        Sources::Nothing => false,
        Sources::Column(columns) | Sources::Derived(columns) => of_columns(columns),
        Sources::Within { columns, tables } => of_columns(columns) || of_tables(tables),
        Sources::Wildcard(tables) => of_tables(tables),
        Sources::Unknown => true,
    }
}

/// What lands in tables and files, column by column; `None` where that is not told, or may be anything.
fn landing(statement: &Statement) -> Option<Vec<&Sources>> {
    if statement.landings.is_empty() {
        return None;
    }
    let mut sources = Vec::new();
    for landing in &statement.landings {
        match &landing.columns {
            Outputs::Known(outputs) => sources.extend(outputs.iter().map(|output| &output.sources)),
            Outputs::Unknown(_) => return None,
        }
    }
    Some(sources)
}

/// Whether a tagged column of a table may be put where it can be read without its tags.
fn leaves_its_tags(
    policies: &Policies,
    statement: &Statement,
    table: &TableName,
    tagged: &TaggedPattern,
) -> bool {
    if statement.landings.is_empty() {
        return true;
    }
    statement.landings.iter().any(|landing| {
        let Outputs::Known(outputs) = &landing.columns else { return true };
        let mut lands = outputs.iter().filter(|output| may_be_among(&output.sources, table, tagged));
        lands.any(|output| !stays_tagged(policies, statement, (table, tagged), landing, output))
    })
}

/// Whether a column that gets another name, itself or its table, and stays in its schema, has its tags under that name
/// as well. Those that a copy took along follow it ([`crate::carry`]); others are where a pattern says so.
fn stays_tagged(
    policies: &Policies,
    statement: &Statement,
    (table, tagged): (&TableName, &TaggedPattern),
    landing: &Landing,
    output: &Output,
) -> bool {
    let Some(target) = &landing.table else { return false };
    let is_near = (&target.database, &target.schema) == (&table.database, &table.schema);
    if statement.class != Class::Alter || !is_near || target.database.is_none() || target.schema.is_none() {
        return false;
    }
    let patterns = policies.classification.columns();
    if !patterns.iter().any(|pattern| pattern.pattern == tagged.pattern) {
        return true;
    }
    let has_name = |pattern: &TaggedPattern| match &output.name {
        Some(name) => pattern.pattern.matches_name(name.as_str()),
        // Each of them keeps its own.
        None => output.is_many && pattern.pattern.has_column_of(&tagged.pattern),
    };
    let there = patterns.iter().filter(|pattern| pattern.pattern.may_be_in(target) && has_name(pattern));
    let tags: BTreeSet<&String> = there.flat_map(|pattern| &pattern.tags).collect();
    tagged.tags.iter().all(|tag| tags.contains(tag))
}

/// Whether what lands may come from where nobody knows.
fn may_land_from_elsewhere(statement: &Statement, beside: &Beside) -> bool {
    landing(statement).is_none_or(|all| all.into_iter().any(|sources| may_be_elsewhere(sources, beside)))
}

/// Whether a column may be in a schema or database that the statement reads as a whole.
fn is_in_container(statement: &Statement, tagged: &TaggedPattern) -> bool {
    let may_hold = |container: &Container| match container {
        Container::Database(database) => tagged.pattern.may_be_in_schema(Some(database), None),
        Container::Schema { database, schema } => {
            tagged.pattern.may_be_in_schema(database.as_ref(), schema.as_ref())
        }
    };
    let read = statement.containers.iter().filter(|used| used.access == Access::Read);
    read.into_iter().any(|used| may_hold(&used.container))
}

impl Seen {
    /// What must be permitted besides seeing. Whoever sees a column as it is learns nothing by deciding on it; a copy is
    /// another matter.
    pub(crate) fn questions<'p>(&self, policies: &'p Policies) -> Vec<Question<'p>> {
        let words = &policies.vocabulary;
        let mut questions = Vec::new();
        for (column, sight) in self.in_tables.iter().chain(&self.everywhere).chain(&self.anywhere) {
            let mut ask = |action, what: &str| {
                let resource = column.uid.clone();
                let words = || format!("{what} column {}", shown(&column.id));
                questions.extend(resource.map(|resource| Question { action, resource, words: words() }));
            };
            if column.is.moved {
                ask(&words.derive, "deriving from");
            }
            if column.is.deciding && !matches!(sight, Sight::Plain) {
                ask(&words.decide, "deciding on");
            }
        }
        questions
    }

    /// What is owed for the result.
    pub(crate) fn into_plan(self, shows: Shows, statement: &Statement, beside: &Beside) -> Plan {
        let masked = |(column, sight): (Column, Sight)| match sight {
            Sight::Plain => None,
            Sight::Masked(mask) => column.is.read.then(|| under(column.tagged, mask)),
        };
        let guards = self.in_tables.into_iter().filter(|(column, _)| column.is.read);
        let guards = guards.filter_map(|(column, sight)| {
            let table = column.table?;
            Some(match sight {
                Sight::Plain => Guard { table, tagged: column.tagged, masked: false },
                Sight::Masked(mask) => Guard { table, tagged: under(column.tagged, mask), masked: true },
            })
        });
        Plan {
            shows,
            guards: guards.collect(),
            everywhere: self.everywhere.into_iter().filter_map(masked).collect(),
            anywhere: self.anywhere.and_then(masked),
            reads_more: reads_more(statement, beside),
            unresolved: Arc::clone(&beside.unresolved),
            lookouts: self.lookouts,
        }
    }
}

/// A tagged column under another mask than its own, where one is said.
fn under(tagged: Arc<TaggedPattern>, mask: Option<Mask>) -> Arc<TaggedPattern> {
    match mask {
        Some(mask) => Arc::new(TaggedPattern::clone(&tagged).under(Some(mask))),
        None => tagged,
    }
}
