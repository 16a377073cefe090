//! Queries made of parts whose sources are known: what is found must be what was put in.

use std::collections::BTreeSet;

use super::{catalog, followed};
use crate::Catalog;

/// A source of numbers that is the same every time.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// A column with what can reach it, and a query that has such columns.
#[derive(Clone)]
struct Made {
    name: String,
    sources: BTreeSet<String>,
}

struct Query {
    text: String,
    columns: Vec<Made>,
    decides: BTreeSet<String>,
}

/// Makes queries.
struct Maker {
    dice: Dice,
    /// So that no two names are the same.
    names: usize,
}

impl Maker {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("N{}", self.names)
    }

    fn table(&mut self) -> Query {
        let (name, columns) =
            [("t", "ID A B C SSN V"), ("u", "ID X Y SSN"), ("emp", "ID BOSS NAME PAY")][self.dice.roll(3)];
        let made = columns.split(' ').map(|column| Made {
            name: column.to_owned(),
            sources: BTreeSet::from([format!("{}.{column}", name.to_uppercase())]),
        });
        Query { text: name.to_owned(), columns: made.collect(), decides: BTreeSet::new() }
    }

    /// Something that can stand after `FROM`.
    fn relation(&mut self, depth: usize) -> Query {
        if depth == 0 || self.dice.roll(4) == 0 {
            return self.table();
        }
        let query = self.query(depth - 1);
        Query { text: format!("({})", query.text), ..query }
    }

    /// An expression over columns that are known under a qualifier.
    fn expression(
        &mut self,
        scope: &[(String, Made)],
        depth: usize,
        decides: &mut BTreeSet<String>,
    ) -> (String, BTreeSet<String>) {
        let one = |maker: &mut Self| {
            let (qualifier, column) = &scope[maker.dice.roll(scope.len())];
            (format!("{qualifier}.{}", column.name), column.sources.clone())
        };
        let (a, mut sources) = one(self);
        let (b, more) = one(self);
        let text = match self.dice.roll(if depth == 0 { 9 } else { 12 }) {
            0..=2 => return (a, sources),
            3 => format!("upper({a} || {b})"),
            4 => format!("case when {a} > 1 then {b} else 'x' end"),
            5 => format!("coalesce({a}, {b}::string)"),
            6 => format!("iff({a} in (1, 2), {b}, null)"),
            7 => format!("{{'k': {a}, 'l': [{b}]}}"),
            8 => {
                decides.extend(more.clone());
                format!("max({a}) over (partition by {b})")
            }
            9 => {
                let inner = self.query(depth - 1);
                decides.extend(inner.decides);
                sources.extend(inner.columns[0].sources.clone());
                format!("concat({a}, {b}, (select max(z.{}) from ({}) z))", inner.columns[0].name, inner.text)
            }
            10 => format!("try_cast({a} as int) + length(trim({b}))"),
            _ => format!("object_construct('a', {a}, 'b', {b}):a::string"),
        };
        sources.extend(more);
        (text, sources)
    }

    fn select(&mut self, depth: usize) -> Query {
        let mut from = Vec::new();
        let mut scope: Vec<(String, Made)> = Vec::new();
        let mut decides = BTreeSet::new();
        for _ in 0..=self.dice.roll(2) {
            let alias = self.name();
            let relation = self.relation(depth);
            decides.extend(relation.decides);
            scope.extend(relation.columns.into_iter().map(|column| (alias.clone(), column)));
            from.push(format!("{} as {alias}", relation.text));
        }
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for _ in 0..=self.dice.roll(4) {
            let (text, sources) = self.expression(&scope, depth, &mut decides);
            let name = self.name();
            items.push(format!("{text} as {name}"));
            columns.push(Made { name, sources });
        }
        if self.dice.roll(3) == 0 {
            // An output that names an earlier one.
            let earlier = columns[self.dice.roll(columns.len())].clone();
            let name = self.name();
            items.push(format!("lower({}) as {name}", earlier.name));
            columns.push(Made { name, ..earlier });
        }
        let mut text = format!("select {} from {}", items.join(", "), from.join(", "));
        if self.dice.roll(2) == 0 {
            let (condition, sources) = self.expression(&scope, 0, &mut decides);
            decides.extend(sources);
            text.push_str(&format!(" {} {condition} = 1", ["where", "qualify"][self.dice.roll(2)]));
        }
        Query { text, columns, decides }
    }

    fn query(&mut self, depth: usize) -> Query {
        match self.dice.roll(if depth == 0 { 1 } else { 5 }) {
            1 => {
                let (left, right) = (self.select(depth - 1), self.select(depth - 1));
                let count = left.columns.len().min(right.columns.len());
                let list = |query: &Query, alias: &str| {
                    let names: Vec<String> =
                        query.columns[..count].iter().map(|c| format!("{alias}.{}", c.name)).collect();
                    format!("select {} from ({}) {alias}", names.join(", "), query.text)
                };
                let (a, b) = (self.name(), self.name());
                let text = format!("{} union all {}", list(&left, &a), list(&right, &b));
                let mut columns = left.columns[..count].to_vec();
                for (column, other) in columns.iter_mut().zip(&right.columns) {
                    column.sources.extend(other.sources.clone());
                }
                Query { text, columns, decides: left.decides.into_iter().chain(right.decides).collect() }
            }
            2 => {
                let inner = self.select(depth - 1);
                let cte = self.name();
                let names: Vec<String> = inner.columns.iter().map(|_| self.name()).collect();
                let text =
                    format!("with {cte} ({}) as ({}) select * from {cte}", names.join(", "), inner.text);
                let columns =
                    names.into_iter().zip(inner.columns).map(|(name, made)| Made { name, ..made }).collect();
                Query { text, columns, decides: inner.decides }
            }
            3 => {
                let mut inner = self.select(depth - 1);
                let name = self.name();
                let at = self.dice.roll(inner.columns.len());
                let text =
                    format!("select * rename {} as {name} from ({})", inner.columns[at].name, inner.text);
                inner.columns[at].name = name;
                Query { text, ..inner }
            }
            _ => self.select(depth),
        }
    }
}

fn line(columns: &[Made]) -> String {
    let sources = |made: &Made| made.sources.iter().cloned().collect::<Vec<_>>().join("|");
    columns.iter().map(|made| format!("{}={}", made.name, sources(made))).collect::<Vec<_>>().join(" ")
}

/// What may come from several columns at most.
fn parts(line: &str) -> Vec<BTreeSet<String>> {
    let of = |column: &str| {
        column
            .split_once('=')
            .map_or_else(BTreeSet::new, |(_, sources)| sources.split('|').map(str::to_owned).collect())
    };
    line.split(' ').map(of).collect()
}

#[test]
fn what_is_found_is_what_was_put_in() {
    let catalog = catalog();
    let mut maker = Maker { dice: Dice(0x5eed), names: 0 };
    for _ in 0..1500 {
        let depth = maker.dice.roll(4);
        let query = maker.query(depth);
        let (outputs, decides) = followed(&query.text, &catalog);
        assert_eq!(outputs, line(&query.columns), "{}", query.text);
        let expected: Vec<String> = query.decides.into_iter().collect();
        let expected = if expected.is_empty() { "-".to_owned() } else { expected.join("|") };
        assert_eq!(decides, expected, "{}", query.text);
    }
}

#[test]
fn without_a_catalog_nothing_is_left_out() {
    let mut maker = Maker { dice: Dice(0xfeed), names: 0 };
    for _ in 0..800 {
        let depth = maker.dice.roll(4);
        let query = maker.query(depth);
        let (outputs, _) = followed(&query.text, &Catalog::default());
        let found = parts(&outputs);
        assert_eq!(found.len(), query.columns.len(), "{}\n{outputs}", query.text);
        for (found, made) in found.iter().zip(&query.columns) {
            assert!(found.is_superset(&made.sources), "{}\n{outputs}\n{}", query.text, line(&query.columns));
        }
    }
}
