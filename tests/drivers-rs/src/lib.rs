//! What both clients are asked to do, and how what they saw is printed: one JSON object per scenario and line.
//!
//! Nothing printed depends on the clock or on chance, so that two runs can be compared byte for byte.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

const SAMPLE: &str = "SELECT ID, NAME, EMAIL, SSN, CITY, CREATED_AT FROM CUSTOMERS ORDER BY ID LIMIT 5";
const EVERYTHING: &str = "SELECT * FROM CUSTOMERS ORDER BY ID";

/// A scenario's name with its statements, in the order in which they run when none is asked for.
const SCENARIOS: [(&str, &[&str]); 10] = [
    ("login", &["SELECT CURRENT_DATABASE() AS D, CURRENT_SCHEMA() AS S"]),
    ("select", &[SAMPLE]),
    ("star", &["SELECT * FROM CUSTOMERS ORDER BY ID LIMIT 5"]),
    (
        "derived",
        &["SELECT UPPER(EMAIL) AS E, LEFT(SSN, 3) AS S, CITY FROM CUSTOMERS ORDER BY ID LIMIT 3"],
    ),
    ("everything", &[EVERYTHING]),
    (
        "types",
        &["SELECT 1::NUMBER(38, 0) AS N, 1.25::NUMBER(10, 2) AS D, 0.5::FLOAT AS F, 'text' AS T, TRUE AS B,
            '2024-02-29'::DATE AS DAY, '2024-02-29 12:34:56.789'::TIMESTAMP_NTZ AS MOMENT, '12:34:56'::TIME AS CLOCK,
            TO_BINARY('00FF', 'HEX') AS RAW, NULL::VARCHAR AS NOTHING"],
    ),
    ("empty", &["SELECT * FROM CUSTOMERS WHERE ID < 0"]),
    ("error", &["SELECT * FROM NO_SUCH_TABLE", "SELECT ID FROM CUSTOMERS GROUP BY CITY"]),
    (
        "dml",
        &[
            "INSERT INTO CUSTOMERS (ID, NAME) VALUES (5001, 'Nia Nobody')",
            "UPDATE CUSTOMERS SET CITY = 'Bergen' WHERE ID > 5000",
            "SELECT ID, NAME, CITY FROM CUSTOMERS WHERE ID > 5000 ORDER BY ID",
            "DELETE FROM CUSTOMERS WHERE ID > 5000",
        ],
    ),
    ("drop", &["DROP TABLE CUSTOMERS"]),
];

/// What a statement gave: an object with `rows`, or what the error told.
pub type Answer = Result<Value, Value>;

/// A client of Snowflake that has logged in.
pub trait Client: Sized {
    /// Logs in with what the pipeline's author put into the environment.
    fn connect() -> impl Future<Output = Result<Self, Value>>;

    /// Runs a statement and fetches all of its answer.
    fn ask(&mut self, sql: &'static str) -> impl Future<Output = Answer>;

    /// Ends the session, where the client has a way to.
    fn close(self) -> impl Future<Output = Answer>;
}

/// A variable of the job.
///
/// # Panics
/// There is none of that name.
pub fn given(name: &str) -> String {
    env::var(format!("SNOWFLAKE_{name}")).unwrap_or_else(|_| panic!("SNOWFLAKE_{name} is not set"))
}

/// What an error tells: the kind of it, the server's code if there is one, and its sentence.
pub fn failure(kind: &str, code: Option<&str>, message: &str) -> Value {
    json!({ "class": kind, "errno": code.and_then(|code| code.parse::<u64>().ok()), "message": message })
}

/// Runs the scenarios that the command line names, or all.
///
/// # Panics
/// The command line names one that there is not.
pub async fn run<C: Client>() {
    let chosen: Vec<String> = env::args().skip(1).collect();
    let is_there = |name: &String| SCENARIOS.iter().any(|(there, _)| there == name);
    assert!(chosen.iter().all(is_there), "no such scenario among {chosen:?}");
    let mut client = match C::connect().await {
        Ok(client) => client,
        Err(error) => return print("login", json!({ "error": error })),
    };
    for (name, statements) in SCENARIOS {
        if chosen.is_empty() || chosen.iter().any(|wanted| wanted == name) {
            print(name, scenario(&mut client, statements).await);
        }
    }
    if let Err(error) = client.close().await {
        print("close", json!({ "error": error }));
    }
}

async fn scenario(client: &mut impl Client, statements: &[&'static str]) -> Value {
    if let [sql] = statements {
        let seen = client.ask(sql).await.unwrap_or_else(|error| json!({ "error": error }));
        return if *sql == EVERYTHING { summary(&seen) } else { seen };
    }
    let mut all = Map::new();
    for sql in statements {
        let seen = client.ask(sql).await.unwrap_or_else(|error| json!({ "error": error }));
        all.insert((*sql).to_owned(), seen);
    }
    Value::Object(all)
}

/// Many rows as their number and a digest.
fn summary(seen: &Value) -> Value {
    let mut digest = DefaultHasher::new();
    seen.to_string().hash(&mut digest);
    let count = seen.get("rows").and_then(Value::as_array).map(Vec::len);
    json!({ "count": count, "digest": format!("{:016x}", digest.finish()) })
}

fn print(name: &str, seen: Value) {
    let mut line = Map::from_iter([("scenario".to_owned(), json!(name))]);
    if let Value::Object(seen) = seen {
        line.extend(seen);
    }
    println!("{}", Value::Object(line));
}
