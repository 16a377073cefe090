//! What it costs to read a statement and to judge it: the very code that the agent runs for each, on queries of a kilobyte as
//! a transformation tool writes them. Prints one line for each part. The only argument is how many statements there are.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that cannot measure ends, and one that can says what it found"
)]

use std::{
    collections::HashMap,
    fmt::Write as _,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use identity::{Principal, testing};
use model::{AccountName, Ident, Mode, QueryId, SqlText};
use policy::{Classification, Policies, PolicyFile, StatementAsk};
use sql::{Catalog, Facts, SessionNames};

/// Statements that are read and judged.
const STATEMENTS: usize = 5_000;
/// How often a statement that was seen before comes again.
const AGAIN: usize = 20;

/// A job may read two schemas; who may see addresses is nobody.
const RULES: &str = r#"
@id("reads") permit (principal in Group::"repository:acme/etl", action in Action::"read", resource)
when { resource == Account::"ACME" || resource in Schema::"ANALYTICS.STAGING" };
@id("decides") permit (principal in Group::"repository:acme/etl", action == Action::"decide", resource);
@id("session") permit (principal, action in Action::"session", resource);
@id("no-unload") @reason("rows stay here") forbid (principal, action in Action::"unload", resource);
@id("no-code") forbid (principal, action in Action::"read", resource) when { context.effects.contains("dynamic") };
"#;

const TAGS: &str =
    "[[column]]\npattern = \"*.*.*.EMAIL\"\ntags = [\"pii\"]\n[tags.pii]\nmask = \"keep-domain\"\n";

/// The `n`th query: two common table expressions, a join, a window and aggregates.
fn query(n: usize) -> String {
    let mut text = format!(
        "with orders_{n} as (\n    select order_id, customer_id, order_date, status, amount, tax, shipping, discount\n    \
         from analytics.staging.orders where order_date >= dateadd('day', -{n}, current_date())\n),\n\
         customers as (\n    select customer_id, first_name, last_name, lower(trim(email)) as email, country, signup_date\n    \
         from analytics.staging.customers where deleted_at is null\n)\nselect\n    c.customer_id,\n    \
         c.first_name || ' ' || c.last_name as full_name,\n    c.email,\n    c.country,\n"
    );
    for column in ["amount", "tax", "shipping", "discount"] {
        writeln!(text, "    sum(case when o.status = 'done' then o.{column} else 0 end) as {column}_{n},")
            .unwrap();
    }
    text.push_str(
        "    count(distinct o.order_id) as orders,\n    \
         row_number() over (partition by c.country order by sum(o.amount) desc) as rank_in_country\n\
         from customers c\nleft join orders_",
    );
    write!(
        text,
        "{n} o on o.customer_id = c.customer_id and o.order_date >= c.signup_date\n\
         group by 1, 2, 3, 4\nhaving sum(o.amount) > {n}\norder by rank_in_country, full_name limit 1000"
    )
    .unwrap();
    text
}

struct Bench {
    policies: Policies,
    principal: Principal,
    account: AccountName,
    names: SessionNames,
    catalog: Catalog,
}

impl Bench {
    fn new() -> Self {
        let rules = PolicyFile { name: "bench.cedar".to_owned(), text: RULES.to_owned() };
        let tags = Classification::parse("classification.toml", TAGS).expect("the classification is read");
        Self {
            policies: Policies::compile(&[rules], tags).expect("the rules are read"),
            principal: testing::verified(&serde_json::json!({})),
            account: AccountName::new("acme"),
            names: SessionNames {
                database: Some(Ident::unquoted("analytics")),
                schema: Some(Ident::unquoted("public")),
                role: Some(Ident::unquoted("etl")),
                ..SessionNames::default()
            },
            catalog: Catalog::default(),
        }
    }

    fn read(&self, text: &SqlText) -> Arc<Facts> {
        Arc::new(sql::analyze(text, &self.names, &self.catalog))
    }

    fn judge(&self, facts: &Arc<Facts>) {
        let ask = StatementAsk {
            principal: &self.principal,
            account: &self.account,
            user: "ETL_SVC",
            facts,
            query_id: QueryId::new(uuid::Uuid::from_u128(1)),
            mode: Mode::Enforce,
        };
        drop(black_box(self.policies.statement(&ask).permit().expect("the rules permit it")));
    }
}

fn main() {
    // Cargo adds a flag of its own.
    let count = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(STATEMENTS);
    let bench = Bench::new();
    let texts: Vec<SqlText> = (0..count).map(|n| SqlText::new(&query(n)).expect("it is short")).collect();
    let (mut reading, mut judging) = (Duration::ZERO, Duration::ZERO);
    let mut seen: HashMap<(SqlText, SessionNames), Arc<Facts>> = HashMap::new();
    for text in &texts {
        let start = Instant::now();
        let facts = bench.read(text);
        reading += start.elapsed();
        let start = Instant::now();
        bench.judge(&facts);
        judging += start.elapsed();
        // No more than judgements are kept of.
        if seen.len() < 100 {
            seen.insert((text.clone(), bench.names.clone()), facts);
        }
    }
    let known: Vec<&SqlText> = seen.keys().map(|(text, _)| text).collect();
    seen.values().for_each(|facts| bench.judge(facts));
    let start = Instant::now();
    for text in known.iter().cycle().take(known.len() * AGAIN) {
        let facts = seen.get(&((*text).clone(), bench.names.clone())).expect("it is kept");
        bench.judge(facts);
    }
    let again = start.elapsed();
    let each = |took: Duration, count: usize| took.as_secs_f64() * 1e6 / count.max(1) as f64;
    let size = texts.first().map_or(0, |text| text.as_str().len());
    println!(
        "{count} different queries of {size} bytes, of two tables, one column of which is tagged; five rules"
    );
    println!("facts of a text not seen before:            {:6.1} us", each(reading, count));
    println!("its judgement:                              {:6.1} us", each(judging, count));
    println!("both, of a text seen before:                {:6.1} us", each(again, known.len() * AGAIN));
}
