//! What a statement shows that its text does not name: views over tagged columns, whatever their columns are called;
//! definitions that change between two statements; and a host where nothing can be looked up.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of a test fail as the test does"
)]

use std::path::{Path, PathBuf};

use lab::internet::ONCE_USER;
use lab::{JobFacts, Lab, Options};
use serde_json::{Value, json};

/// The end of what an e-mail address is masked to.
const DOMAIN: &str = "****@example.";
/// What the agent calls itself to Snowflake.
const AGENT: &str = "Snowfence/";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A lab whose jobs may do what `catalog/jobs.cedar` says, over the views of `catalog/seed.sql`.
fn options() -> Options {
    Options { policy: Some(file("catalog")), seeds: vec![file("catalog/seed.sql")], ..Options::default() }
}

fn migrations() -> JobFacts {
    JobFacts { repository: "acme/migrations".to_owned(), ..JobFacts::default() }
}

/// What a job is given for each statement.
fn seen_by(lab: &Lab, facts: JobFacts, user: Option<&str>, statements: &[&str]) -> Vec<Value> {
    let script = file("python/catalog.py");
    let as_user = user.map(|user| format!("SNOWFLAKE_USER={user}"));
    let mut words: Vec<&str> = as_user.as_deref().map_or(vec![], |assignment| vec!["env", assignment]);
    words.extend(["python3", script.to_str().unwrap()]);
    words.extend(statements);
    let output = lab.command(&words).unwrap().facts(facts).run().unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    let seen: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(seen.len(), statements.len(), "{said}");
    seen
}

fn seen(lab: &Lab, statements: &[&str]) -> Vec<Value> {
    seen_by(lab, JobFacts::default(), None, statements)
}

/// The cells of a column, by its name.
fn column(seen: &Value, name: &str) -> Vec<Option<String>> {
    let names = seen["columns"].as_array().unwrap_or_else(|| panic!("{seen}"));
    let at = names.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}: {seen}"));
    let rows = seen["rows"].as_array().unwrap();
    assert!(!rows.is_empty(), "{seen}");
    rows.iter().map(|row| row[at].as_str().map(str::to_owned)).collect()
}

/// Whether a column is shown as it is.
fn is_plain(seen: &Value, name: &str) -> bool {
    column(seen, name).iter().flatten().all(|cell| !cell.contains('*'))
        && column(seen, name).iter().any(Option::is_some)
}

fn all(seen: &Value, name: &str, test: impl Fn(&str) -> bool) -> bool {
    column(seen, name).iter().all(|cell| cell.as_deref().is_some_and(&test))
}

/// Whether a cell has the mask of a social security number: the last four digits.
fn is_number_masked(cell: &str) -> bool {
    cell.len() == 8 && cell.starts_with("****")
}

/// What reached the server from the agent itself, and what from clients.
fn asked(lab: &Lab) -> (Vec<Value>, Vec<Value>) {
    let is_agents = |line: &Value| line["user_agent"].as_str().unwrap().starts_with(AGENT);
    lab.front_log().unwrap().into_iter().partition(is_agents)
}

fn steps(lab: &Lab) -> Vec<Value> {
    let json_of = |arguments: &[&str]| -> Value {
        let output = lab.snowfence(arguments).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let list = json_of(&["sessions", "list", "--json"]);
    let ids = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["session"].as_str().unwrap().to_owned());
    ids.flat_map(|id| {
        json_of(&["sessions", "show", &id, "--json"])["own_session"].as_array().unwrap().clone()
    })
    .collect()
}

#[test]
fn the_server_of_the_lab_tells_definitions_and_the_last_statement() {
    let lab = Lab::start(Options { agent: false, ..options() }).unwrap();
    let name = |table: &str| format!("SELECT GET_DDL('VIEW', '\"ANALYTICS\".\"PUBLIC\".\"{table}\"')");
    let (view, table, nothing) = (name("PEOPLE"), name("CUSTOMERS"), name("NOBODY"));
    let seen = seen(&lab, &[&view, &table, &nothing, "DESCRIBE TABLE ANALYTICS.PUBLIC.EVERYBODY"]);
    let text = |seen: &Value| seen["rows"][0][0].as_str().unwrap().to_ascii_uppercase();
    assert!(
        text(&seen[0]).starts_with("CREATE VIEW") && text(&seen[0]).contains("SSN AS TAX_NUMBER"),
        "{}",
        seen[0]
    );
    assert!(text(&seen[1]).starts_with("CREATE OR REPLACE TABLE"), "{}", seen[1]);
    assert_eq!(seen[2]["errno"], json!(2003), "{}", seen[2]);
    assert_eq!(
        column(&seen[3], "name").into_iter().flatten().collect::<Vec<_>>(),
        ["ID", "TAX_NUMBER", "CONTACT", "PLACE"]
    );
    assert!(
        seen.iter().filter(|seen| seen["rows"].is_array()).all(|seen| seen["last"] == json!(true)),
        "{seen:?}"
    );
    // One who may log in once.
    seen_by(&lab, JobFacts::default(), Some(ONCE_USER), &["SELECT 1"]);
    let again = lab.command(&[
        "env",
        &format!("SNOWFLAKE_USER={ONCE_USER}"),
        "python3",
        file("python/catalog.py").to_str().unwrap(),
    ]);
    let again = again.unwrap().run().unwrap();
    assert!(
        !again.status.success() && String::from_utf8_lossy(&again.stderr).contains("390100"),
        "{again:?}"
    );
}

#[test]
fn a_view_shows_no_more_than_its_tables_do_whatever_its_columns_are_called() {
    let lab = Lab::start(options()).unwrap();
    let seen = seen(
        &lab,
        &[
            "SELECT * FROM PEOPLE ORDER BY ID LIMIT 5",
            "SELECT * FROM EVERYBODY ORDER BY ID LIMIT 5",
            "WITH X AS (SELECT * FROM EVERYBODY) SELECT TAX_NUMBER AS A, CONTACT AS B, PLACE AS C FROM X ORDER BY ID LIMIT 5",
            "SELECT * FROM PLACES ORDER BY ID LIMIT 5",
            "SELECT * FROM CUSTOMERS ORDER BY ID LIMIT 5",
        ],
    );
    for (seen, [ssn, email, city]) in seen.iter().zip([
        ["TAX_NUMBER", "CONTACT", "PLACE"],
        ["TAX_NUMBER", "CONTACT", "PLACE"],
        ["A", "B", "C"],
        ["", "", "LABEL"],
        ["SSN", "EMAIL", "CITY"],
    ]) {
        assert!(is_plain(seen, city), "{seen}");
        if !ssn.is_empty() {
            assert!(all(seen, ssn, is_number_masked), "{seen}");
            assert!(all(seen, email, |cell| cell.starts_with(DOMAIN)), "{seen}");
        }
        assert_eq!(seen["last"], json!(true), "{seen}");
    }

    let (agents, clients) = asked(&lab);
    let paths = |lines: &[Value], path: &str| lines.iter().filter(|line| line["path"] == path).count();
    assert_eq!(paths(&agents, "/session/v1/login-request"), 1);
    assert_eq!(paths(&agents, "/session"), 1, "it is ended with its client's");
    let texts = |lines: &[Value]| {
        lines.iter().filter_map(|line| line["sql"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let is_question = |text: &String| {
        text.starts_with("DESCRIBE ") || text.contains("GET_DDL") || text.starts_with("USE ROLE")
    };
    assert!(texts(&agents).iter().all(is_question), "{:?}", texts(&agents));
    assert!(!texts(&clients).iter().any(is_question), "{:?}", texts(&clients));
    // Each view and each table was asked about once.
    let described = texts(&agents).iter().filter(|text| text.starts_with("DESCRIBE ")).count();
    assert_eq!(described, 4, "{:?}", texts(&agents));
    let steps = steps(&lab);
    assert_eq!((steps.len(), &steps[0]), (2, &json!("asked")), "{steps:?}");
    assert!(steps[1]["opened"]["server_session"].is_string(), "{steps:?}");
}

#[test]
fn a_definition_that_changes_is_looked_up_again() {
    let lab = Lab::start(options()).unwrap();
    let places = ["SELECT * FROM PLACES ORDER BY ID LIMIT 5"];
    assert!(is_plain(&seen(&lab, &places)[0], "LABEL"));
    let replaced = "CREATE OR REPLACE VIEW PLACES AS SELECT ID, SSN AS LABEL FROM CUSTOMERS";
    let done = seen_by(&lab, migrations(), None, &[replaced]);
    assert!(done[0]["rows"].is_array(), "{done:?}");
    let seen = seen(&lab, &places);
    assert!(all(&seen[0], "LABEL", is_number_masked), "{seen:?}");
}

#[test]
fn a_variable_of_an_earlier_request_is_what_it_was_set_to() {
    let lab = Lab::start(options()).unwrap();
    let by_name = "SELECT * FROM IDENTIFIER($T) ORDER BY ID LIMIT 5";
    let seen =
        seen(&lab, &[by_name, "SET T = 'PEOPLE'", by_name, "SET T = 'PLACES'", by_name, "UNSET T", by_name]);
    for unknown in [&seen[0], &seen[6]] {
        assert!(unknown["message"].as_str().is_some_and(|text| text.contains("IDENTIFIER")), "{unknown}");
    }
    assert!(all(&seen[2], "TAX_NUMBER", is_number_masked) && is_plain(&seen[2], "PLACE"), "{}", seen[2]);
    assert!(is_plain(&seen[4], "LABEL"), "{}", seen[4]);
}

#[test]
fn a_session_with_other_roles_beside_its_own_is_told_what_views_show() {
    let lab = Lab::start(options()).unwrap();
    let people = "SELECT * FROM PEOPLE ORDER BY ID LIMIT 5";
    let seen = seen(&lab, &[people, "USE SECONDARY ROLES NONE", people, "USE SECONDARY ROLES ALL", people]);
    for seen in [&seen[0], &seen[2], &seen[4]] {
        assert!(all(seen, "TAX_NUMBER", is_number_masked) && is_plain(seen, "PLACE"), "{seen}");
    }
    let (agents, _) = asked(&lab);
    let said: Vec<&str> = agents.iter().filter_map(|line| line["sql"].as_str()).collect();
    let roles: Vec<_> = said.iter().filter(|text| text.starts_with("USE SECONDARY")).collect();
    assert_eq!(roles, [&"USE SECONDARY ROLES NONE", &"USE SECONDARY ROLES ALL"], "{said:?}");
}

#[test]
fn where_nothing_can_be_looked_up_what_may_be_tagged_is_masked() {
    let lab = Lab::start(options()).unwrap();
    let seen =
        seen_by(&lab, JobFacts::default(), Some(ONCE_USER), &["SELECT * FROM PEOPLE ORDER BY ID LIMIT 5"]);
    for name in ["TAX_NUMBER", "CONTACT"] {
        assert!(column(&seen[0], name).iter().all(Option::is_none), "{seen:?}");
    }
    let steps = steps(&lab);
    let unavailable =
        json!({ "unavailable": { "reason": "Snowflake refused a second login (code 390100)" } });
    assert_eq!(steps, [json!("asked"), unavailable]);
    let (agents, _) = asked(&lab);
    assert_eq!(agents.len(), 1, "it is tried once");
}

#[test]
fn a_copy_of_a_tagged_column_is_masked_under_whatever_name() {
    let lab = Lab::start(options()).unwrap();
    let made = [
        "CREATE TABLE CODES AS SELECT ID, SSN AS CODE, CITY AS PLACE FROM CUSTOMERS",
        "CREATE TABLE LATER (ID NUMBER, NOTE VARCHAR)",
        "INSERT INTO LATER (ID, NOTE) SELECT ID, CODE FROM CODES",
        "CREATE TABLE FAILED AS SELECT SSN AS CODE FROM NOWHERE",
    ];
    let done = seen_by(&lab, migrations(), None, &made);
    assert!(done[..3].iter().all(|seen| seen["rows"].is_array()), "{done:?}");
    assert!(done[3]["errno"].is_u64(), "{done:?}");
    let read = [
        "SELECT ID, CODE, PLACE FROM CODES ORDER BY ID LIMIT 5",
        "SELECT NOTE AS N FROM LATER ORDER BY ID LIMIT 5",
    ];
    let check = || {
        let seen = seen(&lab, &read);
        assert!(all(&seen[0], "CODE", is_number_masked) && is_plain(&seen[0], "PLACE"), "{seen:?}");
        assert!(all(&seen[1], "N", is_number_masked), "{seen:?}");
    };
    check();
    // What was learned outlives the agent.
    lab.stop_agent().unwrap();
    lab.start_agent().unwrap();
    check();
    // And ends with the data.
    let anew =
        ["CREATE OR REPLACE TABLE CODES AS SELECT ID, CITY AS CODE FROM CUSTOMERS", "DROP TABLE LATER"];
    let done = seen_by(&lab, migrations(), None, &anew);
    assert!(done.iter().all(|seen| seen["rows"].is_array()), "{done:?}");
    let seen = seen(&lab, &["SELECT ID, CODE FROM CODES ORDER BY ID LIMIT 5"]);
    assert!(is_plain(&seen[0], "CODE"), "{seen:?}");
}
