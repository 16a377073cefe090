//! The columns of a table, a subquery or a join, in order, as far as they are known.

use model::Ident;

use super::flow::{Bases, Flow, TableId, merge};

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// `None` where Snowflake makes a name from the expression.
    pub(super) name: Option<Ident>,
    /// Whether a name that is made could be a plain word: `(a)`, `CURRENT_DATE`.
    pub(super) may_be_word: bool,
    pub(super) flow: Flow,
}

impl Column {
    pub(super) fn named(name: Ident, flow: Flow) -> Self {
        Self { name: Some(name), may_be_word: false, flow }
    }

    /// One whose name nobody here can say.
    pub(super) fn nameless(flow: Flow) -> Self {
        Self { name: None, may_be_word: true, flow }
    }
}

/// Any number of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rest {
    /// Each of these may have a column of a name; it is then one of them.
    pub(super) tables: Vec<TableId>,
    /// Names that are not among them.
    pub(super) without: Vec<Ident>,
    /// What can reach any of them beside.
    pub(super) flow: Flow,
}

/// A piece of the list of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part<'c> {
    Column(Column),
    /// All columns of a table that the catalog knows.
    Table {
        table: TableId,
        columns: &'c [Ident],
    },
    Rest(Rest),
}

/// The list of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Relation<'c> {
    pub(super) parts: Vec<Part<'c>>,
    /// From this part on the order is not known.
    pub(super) shuffled_from: Option<usize>,
}

/// What a name can mean in a relation.
#[derive(Default)]
pub(super) struct Found {
    /// The column of exactly that name.
    pub(super) exact: Option<Flow>,
    /// What else it could be.
    pub(super) maybe: Option<Flow>,
}

impl Found {
    fn exactly(&mut self, flow: &Flow) {
        self.exact.get_or_insert_default().absorb(flow);
    }

    fn perhaps(&mut self, flow: &Flow) {
        self.maybe.get_or_insert_default().absorb(flow);
    }
}

impl<'c> Relation<'c> {
    pub(super) fn of(parts: Vec<Part<'c>>) -> Self {
        Self { parts, shuffled_from: None }
    }

    pub(super) fn columns(columns: impl IntoIterator<Item = Column>) -> Self {
        Self::of(columns.into_iter().map(Part::Column).collect())
    }

    /// Any number of columns of any names, all reached by the same.
    pub(super) fn anything(flow: Flow) -> Self {
        Self::of(vec![Part::Rest(Rest { flow: flow.derived(), ..Rest::default() })])
    }

    pub(super) fn unknown() -> Self {
        Self::anything(Flow::unknown())
    }

    /// What the work of going through it is measured by.
    pub(super) fn len(&self) -> usize {
        let of_part = |part: &Part<'_>| match part {
            Part::Column(column) => column.flow.len(),
            Part::Table { columns, .. } => columns.len(),
            Part::Rest(rest) => rest.flow.len() + rest.tables.len() + rest.without.len(),
        };
        self.parts.iter().map(of_part).sum::<usize>() + 1
    }

    pub(super) fn is_closed(&self) -> bool {
        self.count().is_some()
    }

    /// How many columns there are, if that is known.
    pub(super) fn count(&self) -> Option<usize> {
        closed_count(&self.parts)
    }

    /// What a name can mean.
    pub(super) fn find(&self, name: &Ident, bases: &mut Bases) -> Found {
        let mut found = Found::default();
        for part in &self.parts {
            match part {
                Part::Column(column) => match &column.name {
                    Some(own) if own == name => found.exactly(&column.flow),
                    Some(own) if same_but_case(own, name) => found.perhaps(&column.flow),
                    None if column.may_be_word || !is_word(name) => found.perhaps(&column.flow),
                    Some(_) | None => {}
                },
                Part::Table { table, columns } => {
                    for own in *columns {
                        if own == name {
                            found.exactly(&bases.column(*table, own));
                        } else if same_but_case(own, name) {
                            found.perhaps(&bases.column(*table, own));
                        }
                    }
                }
                Part::Rest(rest) if rest.without.contains(name) => {}
                Part::Rest(rest) => {
                    found.perhaps(&rest.flow);
                    for table in &rest.tables {
                        found.perhaps(&bases.column(*table, name));
                    }
                }
            }
        }
        found
    }

    /// What can reach any of its columns.
    pub(super) fn everything(&self, bases: &mut Bases) -> Flow {
        everything(&self.parts, bases)
    }

    /// How many of its first columns are each known by position.
    pub(super) fn certain(&self) -> usize {
        let mut count = 0;
        for (at, part) in self.parts.iter().enumerate() {
            if self.shuffled_from.is_some_and(|from| at >= from) {
                break;
            }
            match part {
                Part::Column(_) => count += 1,
                Part::Table { columns, .. } => count += columns.len(),
                Part::Rest(_) => break,
            }
        }
        count
    }

    /// Its columns one by one, as far as they are known by position, and the pieces after them.
    pub(super) fn split(self, at: usize, bases: &mut Bases) -> (Vec<Column>, Vec<Part<'c>>) {
        let mut before = Vec::new();
        let mut after = Vec::new();
        for part in self.parts {
            let open = after.is_empty();
            match part {
                Part::Column(column) if open && before.len() < at => before.push(column),
                Part::Table { table, columns } if open && before.len() < at => {
                    let (taken, left) = columns.split_at(columns.len().min(at - before.len()));
                    before.extend(
                        taken.iter().map(|name| Column::named(name.clone(), bases.column(table, name))),
                    );
                    if !left.is_empty() {
                        after.push(Part::Table { table, columns: left });
                    }
                }
                other => after.push(other),
            }
        }
        (before, after)
    }

    /// The same columns under other names: `AS t (a, b)`, `WITH t (a, b)`. Those beyond the list keep theirs.
    pub(super) fn renamed(self, names: Vec<Ident>, bases: &mut Bases) -> Self {
        if names.is_empty() {
            return self;
        }
        let certain = self.certain().min(names.len());
        let (mut columns, rest) = self.split(certain, bases);
        let mut names = names.into_iter();
        for (column, name) in columns.iter_mut().zip(names.by_ref()) {
            column.name = Some(name);
        }
        let left: Vec<Ident> = names.collect();
        let mut relation = Self::columns(columns);
        if left.is_empty() {
            relation.parts.extend(rest);
            return relation;
        }
        // Which of the rest a name stands for is not known.
        let flow = if rest.is_empty() { Flow::unknown() } else { everything(&rest, bases) };
        let is_all = !rest.is_empty() && closed_count(&rest).is_some_and(|count| count <= left.len());
        relation.parts.extend(left.into_iter().map(|name| Part::Column(Column::named(name, flow.clone()))));
        if !rest.is_empty() && !is_all {
            relation.parts.extend(Self::anything(flow).parts);
        }
        relation
    }

    /// Rows of both, column by column: what a set operation makes.
    pub(super) fn stacked(self, other: Self, bases: &mut Bases) -> Self {
        let is_shuffled = self.shuffled_from.is_some();
        let certain = self.certain().min(other.certain());
        let (mut columns, mut rest) = self.split(certain, bases);
        let (others, other_rest) = other.split(certain, bases);
        for (column, other) in columns.iter_mut().zip(&others) {
            column.flow.absorb(&other.flow);
        }
        if !other_rest.is_empty() {
            let flow = everything(&other_rest, bases);
            if rest.is_empty() {
                return Self::columns(columns.into_iter().map(|mut column| {
                    column.flow.absorb(&flow);
                    column
                }));
            }
            rest = rest.into_iter().flat_map(|part| reached_too(part, &flow, bases)).collect();
        }
        let shuffled_from = (is_shuffled && !rest.is_empty()).then_some(columns.len());
        let mut relation = Self::columns(columns);
        relation.parts.extend(rest);
        Self { shuffled_from, ..relation }
    }

    /// Rows of both, name by name.
    pub(super) fn stacked_by_name(self, other: Self, bases: &mut Bases) -> Self {
        if !self.is_closed() || !other.is_closed() {
            return self.stacked_open(other, bases);
        }
        let (mut columns, _) = self.split(usize::MAX, bases);
        let (others, _) = other.split(usize::MAX, bases);
        for other in others {
            let own = columns.iter_mut().find(|column| match (&column.name, &other.name) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            });
            match own {
                Some(column) => column.flow.absorb(&other.flow),
                None => columns.push(other),
            }
        }
        let is_nameless = columns.iter().any(|column| column.name.is_none());
        let mut relation = Self::columns(columns);
        // A name that is made from the text may be one of the other side.
        if is_nameless {
            relation = Self::anything(relation.everything(bases));
        }
        relation
    }

    fn stacked_open(mut self, other: Self, bases: &mut Bases) -> Self {
        let is_nameless = |parts: &[Part<'_>]| {
            parts.iter().any(|part| matches!(part, Part::Column(column) if column.name.is_none()))
        };
        if is_nameless(&self.parts) || is_nameless(&other.parts) {
            let mut flow = self.everything(bases);
            flow.absorb(&other.everything(bases));
            return Self::anything(flow);
        }
        // A column that both have is found in both.
        let names: Vec<Ident> = self.column_names().chain(other.column_names()).collect();
        let mut merged = Vec::new();
        for name in names {
            let mut flow = Flow::default();
            for side in [&self, &other] {
                let found = side.find(&name, bases);
                for part in [found.exact, found.maybe].into_iter().flatten() {
                    flow.absorb(&part);
                }
            }
            if !merged.iter().any(|column: &Column| column.name.as_ref() == Some(&name)) {
                merged.push(Column::named(name, flow));
            }
        }
        let rests: Vec<Part<'c>> =
            self.parts.drain(..).chain(other.parts).filter(|part| matches!(part, Part::Rest(_))).collect();
        let mut relation = Self::columns(merged);
        relation.parts.extend(rests);
        Self { shuffled_from: Some(0), ..relation }
    }

    pub(super) fn column_names(&self) -> impl Iterator<Item = Ident> + use<'_, 'c> {
        self.parts.iter().flat_map(|part| match part {
            Part::Column(column) => column.name.iter().cloned().collect::<Vec<_>>(),
            Part::Table { columns, .. } => columns.to_vec(),
            Part::Rest(_) => Vec::new(),
        })
    }

    /// Appends the columns of another.
    pub(super) fn append(&mut self, other: Self) {
        if let (None, Some(from)) = (self.shuffled_from, other.shuffled_from) {
            self.shuffled_from = Some(self.parts.len() + from);
        }
        self.parts.extend(other.parts);
    }

    /// What the column at a position, from 0, can be.
    pub(super) fn at(&self, position: usize, bases: &mut Bases) -> Flow {
        let certain = self.certain();
        let (columns, rest) = self.clone().split(certain, bases);
        match columns.get(position) {
            Some(column) => column.flow.clone(),
            None if rest.is_empty() => Flow::unknown(),
            None => everything(&rest, bases),
        }
    }
}

/// How many columns there are, if that is known.
fn closed_count(parts: &[Part<'_>]) -> Option<usize> {
    let of_part = |part: &Part<'_>| match part {
        Part::Column(_) => Some(1),
        Part::Table { columns, .. } => Some(columns.len()),
        Part::Rest(_) => None,
    };
    parts.iter().map(of_part).sum()
}

fn everything(parts: &[Part<'_>], bases: &mut Bases) -> Flow {
    let mut flow = Flow::default();
    for part in parts {
        match part {
            Part::Column(column) => flow.absorb(&column.flow),
            Part::Table { table, columns } => {
                for name in *columns {
                    flow.absorb(&bases.column(*table, name));
                }
            }
            Part::Rest(rest) => {
                flow.absorb(&rest.flow);
                for table in &rest.tables {
                    flow.absorb(&Flow::whole(*table));
                }
            }
        }
    }
    flow
}

/// The same piece, which something else can reach, too.
fn reached_too<'c>(part: Part<'c>, flow: &Flow, bases: &mut Bases) -> Vec<Part<'c>> {
    match part {
        Part::Column(mut column) => {
            column.flow.absorb(flow);
            vec![Part::Column(column)]
        }
        Part::Table { table, columns } => {
            let of_column = |name: &Ident| {
                let mut own = bases.column(table, name);
                own.absorb(flow);
                Part::Column(Column::named(name.clone(), own))
            };
            columns.iter().map(of_column).collect()
        }
        Part::Rest(mut rest) => {
            rest.flow.absorb(flow);
            vec![Part::Rest(rest)]
        }
    }
}

impl Rest {
    /// All columns of these tables.
    pub(super) fn of(tables: &[TableId]) -> Self {
        let mut ordered = Vec::new();
        merge(&mut ordered, tables);
        ordered.sort_unstable();
        Self { tables: ordered, ..Self::default() }
    }
}

/// Whether two names differ in nothing but case. Whether case matters is up to parameters of the session; to ignore it
/// can only find too much.
pub(super) fn same_but_case(a: &Ident, b: &Ident) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    a.eq_ignore_ascii_case(b) || (!(a.is_ascii() && b.is_ascii()) && a.to_uppercase() == b.to_uppercase())
}

/// Whether a name is none that Snowflake makes of an expression's text: that is upper case, and has more than words in it.
pub(super) fn is_word(name: &Ident) -> bool {
    let name = name.as_str();
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    name.chars().all(|c| is_plain(c) || c == ' ')
        && (!name.contains(' ') || name.contains(char::is_lowercase))
}
