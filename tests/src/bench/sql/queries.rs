//! How long a text of a kilobyte takes: each is another one, so none is known from before.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::facts::ask;

/// A query as dbt writes them, of about a kilobyte: two common table expressions, a join, a window and an aggregate.
fn query(n: usize) -> String {
    let mut text = format!(
        "with orders_{n} as (\n    select order_id, customer_id, order_date, status, amount, tax, shipping, discount\n    \
         from analytics.staging.orders where order_date >= dateadd('day', -{n}, current_date())\n),\n\
         customers as (\n    select customer_id, first_name, last_name, lower(trim(email)) as email, country, signup_date\n    \
         from analytics.staging.customers where deleted_at is null\n)\nselect\n    c.customer_id,\n    \
         c.first_name || ' ' || c.last_name as full_name,\n    c.email,\n    c.country,\n"
    );
    for column in ["amount", "tax", "shipping", "discount"] {
        _ = writeln!(
            text,
            "    sum(case when o.status = 'done' then o.{column} else 0 end) as {column}_{n},"
        );
    }
    text.push_str(
        "    count(distinct o.order_id) as orders,\n    \
         row_number() over (partition by c.country order by sum(o.amount) desc) as rank_in_country\n\
         from customers c\nleft join orders_",
    );
    _ = write!(
        text,
        "{n} o on o.customer_id = c.customer_id and o.order_date >= c.signup_date\n\
         group by 1, 2, 3, 4\nhaving sum(o.amount) > {n}\norder by rank_in_country, full_name limit 1000"
    );
    text
}

/// The report's part about time.
pub(super) fn speed(count: usize) -> Result<String> {
    let lines = |make: &dyn Fn(usize) -> String| -> Vec<Value> {
        (0..count).map(|n| json!({"id": n, "sql": make(n)})).collect()
    };
    let size = query(count / 2).len();
    let (_, nothing) = ask(&[json!({"id": 0, "sql": "select 1"})])?;
    let (_, empty) = ask(&lines(&|n| format!("select {n} /*{}*/", "x".repeat(size))))?;
    let (answers, queries) = ask(&lines(&query))?;
    let full =
        answers.iter().filter(|answer| answer.pointer("/statements/0/parse") == Some(&json!("full"))).count();
    let each = |took: f64| (took - nothing) / count as f64;
    Ok(format!(
        "{count} different queries of {size} bytes, {full} of them read in full\n\
         CPU for each, in and out as JSON:     {:6.1} us\n\
         of it for a comment of the same size: {:6.1} us\n\
         so facts of a text not seen before:   {:6.1} us\n",
        each(queries),
        each(empty),
        each(queries) - each(empty),
    ))
}
