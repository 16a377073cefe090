//! Large results, whose rows are at a store: every driver gets them through the agent as it gets them direct, no masked value
//! reaches it by that way, and the record has each chunk.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use lab::internet::STORE_HOST;
use lab::{Lab, Options};
use serde_json::{Value, json};

/// Interpreters with the scripts that they run, and programs that need none; and of each the scenarios that read all rows.
const CLIENTS: [(&str, &[&str]); 8] = [
    ("python3 connector.py", &["everything", "all_rows", "chunks", "later"]),
    ("python3-connector5 connector.py", &["everything", "all_rows", "chunks", "later"]),
    ("python3 adbc.py", &["everything", "all_rows"]),
    ("python3-sqlalchemy alchemy.py", &["everything", "all_rows"]),
    ("python3 frames.py", &["everything", "all_rows"]),
    ("node sdk.js", &["everything", "all_rows"]),
    ("rust-connector", &["everything"]),
    ("rust-api", &["everything"]),
];
/// The table has 1,000 rows, and chunks 300.
const ROWS: usize = 1_000;
const CHUNKS: usize = 3;
/// A session in this warehouse gets its results in chunks.
const WAREHOUSE: &str = "SNOWFLAKE_WAREHOUSE=CHUNKS_WH";

/// What a client saw, scenario by scenario.
fn seen(lab: &Lab, client: &str, scenarios: &[&str]) -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut words = vec!["env".to_owned(), WAREHOUSE.to_owned()];
    match client.split_once(' ') {
        Some((program, file)) => {
            let place = if file.ends_with(".js") { "node" } else { "python" };
            words.extend([program.to_owned(), folder.join(place).join(file).to_str().unwrap().to_owned()]);
        }
        None => words.push(client.to_owned()),
    }
    words.extend(scenarios.iter().map(|name| (*name).to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = lab.run(&words).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{client}: {complaints}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let seen = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let seen: BTreeMap<_, _> = seen.map(|one| (one["scenario"].as_str().unwrap().to_owned(), one)).collect();
    assert_eq!(seen.len(), scenarios.len(), "{client}: {lines}{complaints}");
    seen
}

/// What all clients saw in one lab, in the order of `CLIENTS`, and who fetched chunks from the store.
struct Run {
    seen: Vec<BTreeMap<String, Value>>,
    fetched: Vec<Value>,
}

static DIRECT: LazyLock<Run> = LazyLock::new(|| Run::of(Options::direct()));
static PERMITTED: LazyLock<Run> = LazyLock::new(|| Run::of(Options::allow_all()));
static ENFORCED: LazyLock<Run> = LazyLock::new(|| Run::of(Options::default()));

impl Run {
    fn of(options: Options) -> Self {
        let lab = Lab::start(options).unwrap();
        let seen = CLIENTS.iter().map(|(client, scenarios)| seen(&lab, client, scenarios)).collect();
        Self { seen, fetched: fetched(&lab) }
    }
}

/// The requests that reached the store.
fn fetched(lab: &Lab) -> Vec<Value> {
    lab.front_log().unwrap().into_iter().filter(|request| request["server_name"] == STORE_HOST).collect()
}

#[test]
fn a_client_cannot_tell_chunks_through_the_agent_from_a_stores_own() {
    for (((client, _), direct), through) in CLIENTS.iter().zip(&DIRECT.seen).zip(&PERMITTED.seen) {
        for (scenario, seen) in direct {
            assert_eq!(seen.to_string(), through[scenario].to_string(), "{client} {scenario}");
        }
        assert_eq!(direct["everything"]["count"], json!(ROWS), "{client}");
    }
    // Those are the drivers' own, and these the agent's, which names nobody.
    assert!(DIRECT.fetched.len() >= CLIENTS.len() * CHUNKS, "{}", DIRECT.fetched.len());
    assert!(DIRECT.fetched.iter().any(|request| request["user_agent"] != ""));
    assert!(PERMITTED.fetched.len() >= CLIENTS.len() * CHUNKS, "{}", PERMITTED.fetched.len());
    assert!(PERMITTED.fetched.iter().all(|request| request["user_agent"] == ""));
}

/// The values of a column of text in a scenario's rows.
fn texts(rows: &Value, column: usize) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[column][1].as_str().unwrap().trim_matches('\'').to_owned()).collect()
}

#[test]
fn no_masked_value_reaches_a_client_in_any_chunk() {
    let rows = &DIRECT.seen[0]["all_rows"]["rows"];
    let mut secrets = texts(rows, 3);
    secrets.extend(texts(rows, 2).iter().map(|email| email.split('@').next().unwrap().to_owned() + "@"));
    secrets.retain(|secret| secret != "None" && secret != "None@");
    assert!(secrets.len() > ROWS, "{}", secrets.len());
    for ((client, scenarios), through) in CLIENTS.iter().zip(&ENFORCED.seen) {
        let everything = format!("{through:?}");
        for secret in &secrets {
            assert!(!everything.contains(secret), "{client}: {secret}");
        }
        assert_eq!(through["everything"]["count"], json!(ROWS), "{client}");
        if scenarios.contains(&"all_rows") {
            let (masked, plain) = (&through["all_rows"]["rows"], rows);
            assert_eq!(texts(masked, 4), texts(plain, 4), "{client}: what owes no mask stays");
            assert_eq!(texts(masked, 3).len(), ROWS);
            for (masked, plain) in texts(masked, 3).iter().zip(texts(plain, 3)) {
                let last = &plain[plain.len() - 4..];
                assert!(masked == &format!("****{last}") || plain == "None", "{client}: {masked}");
            }
        }
    }
    assert_eq!(ENFORCED.seen[0]["chunks"]["keyed chunks"], ENFORCED.seen[0]["all_rows"]["rows"]);
    for connector in &ENFORCED.seen[..2] {
        let rows = &connector["all_rows"]["rows"];
        let [texts, chunks] = [&connector["all_rows"]["texts"], &connector["chunks"]["chunks"]];
        assert_eq!((rows, rows), (texts, chunks));
        assert_eq!((rows, rows), (&connector["chunks"]["plain chunks"], &connector["later"]["rows"]));
    }
}

/// A verb's answer.
fn agent(lab: &Lab, words: &[&str]) -> Value {
    let output = lab.snowfence(words).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The record of the only statement about the table.
fn statement(lab: &Lab) -> Value {
    let sessions = agent(lab, &["sessions", "list", "--json"]);
    let id = sessions["sessions"][0]["session"].as_str().unwrap();
    let session = agent(lab, &["sessions", "show", id, "--json"]);
    let mut statements = session["statements"].as_array().unwrap().iter();
    statements.find(|one| one["statement"]["text"].to_string().contains("CUSTOMERS")).unwrap().clone()
}

#[test]
fn the_record_has_every_chunk_and_what_was_masked_in_it() {
    let lab = Lab::start(Options::default()).unwrap();
    seen(&lab, "python3 connector.py", &["everything"]);
    let statement = statement(&lab);
    let answered = &statement["outcome"]["answered"];
    assert_eq!((&answered["rows"], &answered["chunks"]), (&json!(ROWS), &json!(CHUNKS)), "{statement}");
    let chunks = statement["chunks"].as_array().unwrap();
    let given = chunks.iter().map(|chunk| &chunk["outcome"]["given"]);
    assert_eq!(given.clone().map(|one| one["rows"].as_u64().unwrap()).sum::<u64>(), 700, "{statement}");
    for one in given {
        let masked: Vec<_> = one["masked"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
        assert_eq!(masked, ["EMAIL", "SSN"], "{one}");
        assert!(
            one["masked"][1]["cells"].as_u64().unwrap() >= 100 && one["bytes"].as_u64().unwrap() > 1_000,
            "{one}"
        );
    }
}

/// Runs a statement as a job, and asks for its chunks as that job.
fn addresses(lab: &Lab, sql: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/chunk_addresses.py");
    let output = lab.run(&["python3", script.to_str().unwrap(), sql]).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_chunk_is_for_the_job_that_was_told_of_it() {
    let lab = Lab::start(Options::default()).unwrap();
    let seen = addresses(&lab, "SELECT ID, SSN FROM CUSTOMERS ORDER BY ID /* in chunks of 300 */");
    let urls = seen["urls"].as_array().unwrap();
    assert_eq!(urls.len(), CHUNKS, "{urls:?}");
    for url in urls {
        let url = url.as_str().unwrap();
        assert!(url.starts_with("https://acme.snowflakecomputing.com/snowfence/chunks/"), "{url}");
    }
    assert_eq!((&seen["first"]["status"], &seen["again"]["status"]), (&json!(200), &json!(200)));
    for missing in ["beyond", "unknown"] {
        assert_eq!(seen[missing]["status"], json!(404), "{missing}");
        let body = seen[missing]["body"].as_str().unwrap();
        assert!(body.contains("Snowfence refused this chunk: it is no chunk of a result"), "{body}");
    }
    // The session is still there; the job is another.
    let output = lab.run(&["curl", "-sS", "-w", "%{http_code}", urls[0].as_str().unwrap()]).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("its session belongs to another job") && said.ends_with("404"), "{said}");
    let refused = agent(&lab, &["sessions", "list", "--json"])["refused_requests"].to_string();
    assert!(refused.contains("its session belongs to another job"), "{refused}");
}

#[test]
fn a_chunk_whose_address_holds_no_longer_is_not_found_and_says_why() {
    let lab = Lab::start(Options::default()).unwrap();
    let seen = addresses(&lab, "SELECT ID, SSN FROM CUSTOMERS ORDER BY ID /* in expired chunks of 300 */");
    assert_eq!(seen["first"]["status"], json!(404), "{seen}");
    let body = seen["first"]["body"].as_str().unwrap();
    assert!(body.contains("its store answers with HTTP status 403"), "{body}");
    let withheld = &statement(&lab)["chunks"][0]["outcome"]["withheld"];
    assert_eq!(
        (&withheld["reason"], &withheld["bytes"]),
        (&json!("its store answers with HTTP status 403"), &json!(0))
    );
    assert!(fetched(&lab).len() > 1, "drivers would ask again, and so does the agent");
}
