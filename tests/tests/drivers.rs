//! Published drivers through the agent: what is permitted looks as it does without an agent, what is tagged is masked,
//! and what is refused is an ordinary SQL error that comes at once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lab::{Identity, JobFacts, Lab, Options};
use serde_json::{Value, json};

/// Interpreters with the scripts that they run, and programs that need none. The connector's majors 4 and 5 are called alike and share no code.
const SCRIPTS: [&str; 8] = [
    "python3 connector.py",
    "python3-connector5 connector.py",
    "python3 adbc.py",
    "python3-sqlalchemy alchemy.py",
    "python3 frames.py",
    NODE,
    "rust-connector",
    "rust-api",
];
const NODE: &str = "node sdk.js";
/// Snowflake's "insufficient privileges", which drivers neither retry nor rephrase.
const REFUSED: (u64, &str) = (3001, "42501");
/// Every e-mail address of the seed ends in one of these.
const DOMAINS: [&str; 3] = ["@example.com", "@example.org", "@example.net"];

fn script(name: &str) -> PathBuf {
    let folder = if name.ends_with(".js") { "node" } else { "python" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name)
}

/// What a script saw, scenario by scenario.
fn seen(
    lab: &Lab,
    name: &str,
    scenarios: &[&str],
    identity: Identity,
    facts: JobFacts,
) -> BTreeMap<String, Value> {
    let (program, file) =
        name.split_once(' ').map_or((name, None), |(program, file)| (program, Some(script(file))));
    let mut words = vec![program];
    words.extend(file.as_ref().map(|file| file.to_str().unwrap()));
    words.extend(scenarios);
    let output = lab.command(&words).unwrap().identity(identity).facts(facts).run().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {complaints}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let seen: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!seen.is_empty(), "{name}: {complaints}");
    seen.into_iter().map(|one| (one["scenario"].as_str().unwrap().to_owned(), one)).collect()
}

fn seen_by_job(lab: &Lab, name: &str, scenarios: &[&str]) -> BTreeMap<String, Value> {
    seen(lab, name, scenarios, Identity::Verified, JobFacts::default())
}

/// The texts of all statements that have reached the server.
fn reached(lab: &Lab) -> Vec<String> {
    let requests = lab.front_log().unwrap();
    requests.iter().filter_map(|request| request["sql"].as_str().map(str::to_owned)).collect()
}

fn assert_refused(error: &Value, about: &str) {
    assert_eq!(error["errno"].as_u64(), Some(REFUSED.0), "{about}: {error}");
    // The crates in Rust keep the state to themselves.
    if error.get("sqlstate").is_some() {
        assert_eq!(error["sqlstate"].as_str(), Some(REFUSED.1), "{about}: {error}");
    }
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("Snowfence refused this statement: "), "{about}: {message}");
}

/// Runs statements as a job, one after the other.
fn execute(lab: &Lab, statements: &[&str]) {
    let demo = script("demo.py");
    let words: Vec<_> = ["python3", demo.to_str().unwrap()].iter().chain(statements).copied().collect();
    let output = lab.run(&words).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !said.contains("Error"), "{said}");
}

/// One cell of a scenario's rows, as Python writes it.
fn cell(seen: &Value, row: usize, column: usize) -> &str {
    seen["rows"][row][column][1].as_str().unwrap()
}

/// What all scripts saw in one lab, in the order of `SCRIPTS`, and the texts of the statements that reached the server.
struct Run {
    seen: [BTreeMap<String, Value>; SCRIPTS.len()],
    reached: Vec<String>,
}

/// With no agent, with one that permits everything, and with one that enforces the lab's policy. Labs cost seconds, so
/// that each of these is run once, by the test that needs it first.
static DIRECT: LazyLock<Run> = LazyLock::new(|| Run::with_the_table_put_back(Options::direct()));
static PERMITTED: LazyLock<Run> = LazyLock::new(|| Run::with_the_table_put_back(Options::allow_all()));
static ENFORCED: LazyLock<Run> = LazyLock::new(|| Run::of(Options::default(), |_| {}, |_| {}));

impl Run {
    /// Each script ends by dropping the table.
    fn with_the_table_put_back(options: Options) -> Self {
        let keep = |lab: &Lab| execute(lab, &["CREATE TABLE KEPT AS SELECT * FROM CUSTOMERS"]);
        Self::of(options, keep, |lab| execute(lab, &["CREATE TABLE CUSTOMERS AS SELECT * FROM KEPT"]))
    }

    fn of(options: Options, first: impl Fn(&Lab), after_each: impl Fn(&Lab)) -> Self {
        let lab = Lab::start(options).unwrap();
        first(&lab);
        let seen = SCRIPTS.map(|name| {
            let seen = seen_by_job(&lab, name, &[]);
            after_each(&lab);
            seen
        });
        Self { seen, reached: reached(&lab) }
    }

    /// Each script with what it saw.
    fn scripts(&self) -> impl Iterator<Item = (&'static str, &BTreeMap<String, Value>)> {
        SCRIPTS.into_iter().zip(&self.seen)
    }
}

#[test]
fn a_client_cannot_tell_an_agent_that_permits_everything_from_none() {
    for ((name, direct), (_, through)) in DIRECT.scripts().zip(PERMITTED.scripts()) {
        assert!(direct.keys().eq(through.keys()), "{name}");
        for (scenario, seen) in direct {
            assert_eq!(seen.to_string(), through[scenario].to_string(), "{name} {scenario}");
        }
        assert!(direct["select"]["rows"][4].is_array(), "{name}: {}", direct["select"]);
        // Whatever form rows come in, they are the same.
        if let Some(texts) = direct.get("texts") {
            assert_eq!(
                (&texts["format"], &texts["rows"]),
                (&json!("json"), &direct["select"]["rows"]),
                "{name}"
            );
        }
    }
}

#[test]
fn tagged_columns_are_masked_and_the_others_are_not() {
    for ((name, direct), (_, through)) in DIRECT.scripts().zip(ENFORCED.scripts()) {
        let direct = &direct["select"];
        for scenario in ["select", "star"] {
            let masked = &through[scenario];
            for row in 0..5 {
                for column in [0, 1, 4, 5] {
                    assert_eq!(cell(masked, row, column), cell(direct, row, column), "{name} {scenario}");
                }
                let (email, ssn) = (cell(masked, row, 2), cell(masked, row, 3));
                assert!(
                    DOMAINS.iter().any(|domain| email == format!("'****{domain}'")),
                    "{name} {scenario}: {email}"
                );
                let last = cell(direct, row, 3).trim_matches('\'');
                assert_eq!(ssn, format!("'****{}'", &last[last.len() - 4..]), "{name} {scenario}");
            }
        }
        let derived = &through["derived"];
        assert_eq!(
            (cell(derived, 0, 0), cell(derived, 0, 1), cell(derived, 0, 2)),
            ("None", "None", "'Oslo'"),
            "{name}"
        );
    }
}

#[test]
fn no_value_of_a_tagged_column_reaches_a_client() {
    let select = &DIRECT.seen[0]["select"];
    let values = (0..5).flat_map(|row| [2, 3].map(|column| cell(select, row, column)));
    let secrets: Vec<_> = values.map(|value| value.trim_matches('\'').to_uppercase()).collect();
    for (name, through) in ENFORCED.scripts() {
        let everything = format!("{through:?}").to_uppercase();
        for secret in &secrets {
            assert!(!everything.contains(secret), "{name}: {secret}");
        }
    }
}

#[test]
fn what_is_refused_is_an_sql_error_and_never_reaches_the_server() {
    for (name, seen) in ENFORCED.scripts() {
        assert_refused(&seen["drop"]["error"], name);
        let statements = seen["dml"].as_object().unwrap().iter().filter(|(key, _)| *key != "scenario");
        for (statement, answer) in statements {
            if statement.starts_with("SELECT") {
                // The session goes on.
                assert!(answer["rows"].is_array(), "{name}: {answer}");
            } else {
                assert_refused(&answer["error"], &format!("{name} {statement}"));
            }
        }
    }
    for text in &ENFORCED.reached {
        for verb in ["CREATE", "DROP", "INSERT", "UPDATE", "DELETE"] {
            assert!(!text.to_uppercase().trim_start().starts_with(verb), "{text}");
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_even_where_everything_is_permitted() {
    let lab = Lab::start(Options::allow_all()).unwrap();
    let demo = script("demo.py");
    let output = lab.run(&["python3", demo.to_str().unwrap(), "SELEC 1", "select 1; select 2"]).unwrap();
    let seen = String::from_utf8(output.stdout).unwrap();
    assert_eq!(seen.matches("Snowfence refused this statement: ").count(), 2, "{seen}");
    assert_eq!(seen.matches("(rule not-understood, request ").count(), 1, "{seen}");
    assert_eq!(seen.matches("(rule several-statements, request ").count(), 1, "{seen}");
    assert_eq!(reached(&lab), Vec::<String>::new());
}

#[test]
fn who_is_not_named_by_the_policy_does_not_even_log_in() {
    let lab = Lab::start(Options::default()).unwrap();
    let fork = JobFacts { repository: "evil/fork".to_owned(), ..JobFacts::default() };
    for name in SCRIPTS {
        for (identity, facts) in [
            (Identity::None, JobFacts::default()),
            (Identity::Observed, JobFacts::default()),
            (Identity::Verified, fork.clone()),
        ] {
            // Node is told whom to trust by a variable that only a runner's jobs have. A process that is no job cannot
            // even hear the refusal, and the driver tries again for minutes.
            if (name, identity) == (NODE, Identity::None) {
                continue;
            }
            let seen = seen(&lab, name, &["select"], identity, facts);
            let message = seen["login"]["error"]["message"].as_str().unwrap();
            assert!(message.contains("Snowfence refused this login: "), "{name} {identity:?}: {message}");
        }
    }
    let logins = lab.front_log().unwrap().into_iter().filter(|request| !request["login_name"].is_null());
    assert_eq!(logins.collect::<Vec<_>>(), Vec::<Value>::new());
}
