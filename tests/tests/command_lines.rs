//! Published command lines through the agent: the Snowflake CLI and dbt. What is permitted ends and prints as it does
//! without an agent, what is tagged is masked, and what is refused is an ordinary error.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use lab::{Identity, JobFacts, Lab, Options};
use serde_json::Value;
use uuid::Uuid;

/// Two statements in one call; the CLI sends them one after the other.
const ROWS: [&str; 7] = [
    "snow",
    "sql",
    "-x",
    "--format=json",
    "--enhanced-exit-codes",
    "-q",
    "SELECT ID, NAME, EMAIL, SSN FROM CUSTOMERS ORDER BY ID LIMIT 3; SELECT COUNT(*) AS N FROM CUSTOMERS",
];
const FAILING: [&str; 6] =
    ["snow", "sql", "-x", "--enhanced-exit-codes", "-q", "SELECT * FROM NO_SUCH_TABLE"];
const LIST: [&str; 6] = ["snow", "object", "list", "table", "-x", "--format=json"];
/// What dbt has made, read by another client.
const MADE: [&str; 6] =
    ["snow", "sql", "-x", "--format=json", "-q", "SELECT * FROM CUSTOMERS_BY_CITY ORDER BY CITY"];
/// What the CLI ends with where a query failed, and what dbt ends with where a model did.
const QUERY_FAILED: i32 = 5;
const MODEL_FAILED: i32 = 1;

/// What a command left behind.
#[derive(Debug, PartialEq)]
struct Seen {
    code: Option<i32>,
    text: String,
}

impl Seen {
    /// The words without the frame that the CLI draws around an error.
    fn words(&self) -> String {
        let words = self.text.split_whitespace().filter(|word| !word.contains('│'));
        words.collect::<Vec<_>>().join(" ")
    }
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dbt")
}

fn seen(lab: &Lab, words: &[&str], identity: Identity) -> Seen {
    seen_by(lab, words, identity, JobFacts::default())
}

fn seen_by(lab: &Lab, words: &[&str], identity: Identity, facts: JobFacts) -> Seen {
    let own = lab.folder().join("dbt").display().to_string();
    let command = lab.command(words).unwrap().identity(identity).facts(facts);
    let output = command.env("DBT_TARGET_PATH", &own).env("DBT_LOG_PATH", &own).run().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).replace(&lab.folder().display().to_string(), "LAB");
    Seen { code: output.status.code(), text: normalised(&text) }
}

/// Runs a verb of dbt on the project, which has one model and one test.
fn dbt(lab: &Lab, verb: &str, identity: Identity) -> Seen {
    let project = project().display().to_string();
    let words = ["dbt", "--no-use-colors", verb, "--project-dir", &project, "--profiles-dir", &project];
    seen(lab, &words, identity)
}

/// A text without ids, times of day and durations, which differ from run to run.
fn normalised(text: &str) -> String {
    let lines = text.lines().map(|line| line.split(' ').map(normalised_word).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

fn normalised_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_time = core.len() == 8 && core.split(':').filter(|part| part.parse::<u8>().is_ok()).count() == 3;
    let seconds = core.strip_suffix('s').unwrap_or(core);
    let is_duration = seconds.contains('.') && seconds.parse::<f64>().is_ok();
    let name = match () {
        () if Uuid::parse_str(core).is_ok() => "ID",
        () if is_time => "TIME",
        () if is_duration => "SECONDS",
        () => return word.to_owned(),
    };
    word.replace(core, name)
}

/// Each statement of a client that reached the server, with who says it sent it, in the order of the texts. The agent's
/// own questions, in a session of its own, are not of a client.
fn reached(lab: &Lab) -> Vec<(String, String)> {
    let text = |request: &Value, key: &str| request[key].as_str().map(str::to_owned);
    let requests = lab.front_log().unwrap();
    let statements =
        requests.iter().filter_map(|request| Some((text(request, "sql")?, text(request, "user_agent")?)));
    let mut statements: Vec<_> = statements.filter(|(_, who)| !who.starts_with("Snowfence/")).collect();
    statements.sort_unstable();
    statements
}

#[test]
fn a_command_line_cannot_tell_an_agent_that_permits_everything_from_none() {
    let run = |options: Options| {
        let lab = Lab::start(options).unwrap();
        let mut all =
            Vec::from([ROWS.as_slice(), &FAILING, &LIST].map(|words| seen(&lab, words, Identity::Verified)));
        all.push(dbt(&lab, "build", Identity::Verified));
        all.push(seen(&lab, &MADE, Identity::Verified));
        (all, reached(&lab))
    };
    let (direct, sent_directly) = run(Options::direct());
    let (through, sent_through) = run(Options::allow_all());
    for (direct, through) in direct.iter().zip(&through) {
        assert_eq!(direct.text, through.text);
        assert_eq!(direct.code, through.code);
    }
    assert_eq!(sent_directly, sent_through);

    let codes: Vec<_> = direct.iter().map(|seen| seen.code).collect();
    assert_eq!(codes, [Some(0), Some(QUERY_FAILED), Some(0), Some(0), Some(0)], "{direct:?}");
    assert!(direct[3].text.contains("Done. PASS=2 WARN=0 ERROR=0"), "{}", direct[3].text);
    assert!(direct[4].text.contains("\"Oslo\""), "{}", direct[4].text);
    // Both are seen to go through, each by its own connector.
    for (text, agent) in
        [("SELECT COUNT(*) AS N", "PythonConnector/4.7.5 "), ("\"app\": \"dbt\"", "PythonConnector/4.8.0 ")]
    {
        let sent = sent_through.iter().filter(|(sql, _)| sql.contains(text)).collect::<Vec<_>>();
        assert!(!sent.is_empty() && sent.iter().all(|(_, who)| who.starts_with(agent)), "{sent:?}");
    }
}

#[test]
fn a_command_line_gets_masked_rows_and_ordinary_refusals() {
    let lab = Lab::start(Options::default()).unwrap();
    let rows = seen(&lab, &ROWS, Identity::Verified);
    assert_eq!(rows.code, Some(0), "{rows:?}");
    // Three addresses and three numbers; what is not tagged is as it was.
    let (addresses, all) =
        (rows.text.matches("\"****@example.").count(), rows.text.matches("\"****").count());
    assert_eq!((addresses, all), (3, 6), "{rows:?}");
    assert!(rows.text.contains("\"Bruno Berg\"") && rows.text.contains("1000"), "{rows:?}");

    let refused = seen(&lab, &["snow", "sql", "-x", "-q", "DROP TABLE CUSTOMERS"], Identity::Verified);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let message = "003001 (42501): ID: Snowfence refused this statement";
    assert!(refused.words().contains(message), "{refused:?}");

    let built = dbt(&lab, "build", Identity::Verified);
    assert_eq!(built.code, Some(MODEL_FAILED), "{built:?}");
    assert!(built.words().contains("003001 (42501): Snowfence refused this statement: "), "{built:?}");
    assert!(built.words().contains("(rule no-ddl, request ID)"), "{built:?}");
    for (sql, _) in reached(&lab) {
        assert!(!sql.to_uppercase().contains("DROP") && !sql.to_uppercase().contains("CREATE"), "{sql}");
    }

    let logged_in = |request: &Value| !request["login_name"].is_null();
    let logins = || lab.front_log().unwrap().iter().filter(|request| logged_in(request)).count();
    let before = logins();
    let stranger = seen(&lab, &ROWS, Identity::Observed);
    assert!(
        stranger.code != Some(0) && stranger.words().contains("Snowfence refused this login: "),
        "{stranger:?}"
    );
    let built = dbt(&lab, "debug", Identity::Observed);
    assert!(built.code != Some(0) && built.words().contains("Snowfence refused this login: "), "{built:?}");
    assert_eq!(logins(), before);
}

/// The policies that the agent comes with, and those of its examples that are named.
fn starter(folder: &Path, examples: &[&str]) -> Options {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/crates/policy/starter");
    let names = ["policy", "no-grants", "no-unload", "pii-masked"].iter().chain(examples);
    for name in names.map(|name| format!("{name}.cedar")).chain(["classification.toml".to_owned()]) {
        fs::copy(source.join(&name), folder.join(&name)).unwrap();
    }
    Options { policy: Some(folder.to_owned()), ..Options::default() }
}

fn job(repository: &str, git_ref: &str) -> JobFacts {
    JobFacts { repository: repository.to_owned(), git_ref: git_ref.to_owned(), ..JobFacts::default() }
}

#[test]
fn the_starter_policy_for_dbt_permits_what_dbt_sends_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(starter(folder.path(), &["dbt"])).unwrap();
    let project = project().display().to_string();
    let build = |schema: &str, git_ref: &str| {
        let schema = format!("SNOWFLAKE_SCHEMA={schema}");
        let words = [
            "env",
            &schema,
            "LAB_SOURCE_SCHEMA=PUBLIC",
            "dbt",
            "--no-use-colors",
            "build",
            "--project-dir",
            &project,
            "--profiles-dir",
            &project,
        ];
        seen_by(&lab, &words, Identity::Verified, job("acme/dbt", git_ref))
    };
    for again in [false, true] {
        let built = build("DBT", "refs/heads/main");
        assert_eq!(built.code, Some(0), "again: {again}: {built:?}");
        assert!(built.text.contains("Done. PASS=2 WARN=0 ERROR=0"), "{built:?}");
    }
    for (schema, git_ref, rule) in
        [("PUBLIC", "refs/heads/main", "default-deny"), ("DBT", "refs/heads/mona", "dbt-builds-from-main")]
    {
        let built = build(schema, git_ref);
        assert!(built.code != Some(0), "{built:?}");
        assert!(built.words().contains(&format!("(rule {rule}, request ID)")), "{built:?}");
    }
}

#[test]
fn the_starter_policy_for_jobs_that_read_lets_the_cli_read_under_masks() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(starter(folder.path(), &["read-only-ci"])).unwrap();
    let run = |words: &[&str]| seen_by(&lab, words, Identity::Verified, job("acme/etl", "refs/heads/main"));
    let rows = run(&ROWS);
    assert_eq!(rows.code, Some(0), "{rows:?}");
    assert_eq!(rows.text.matches("\"****").count(), 6, "{rows:?}");
    let list = run(&LIST);
    assert!(list.code == Some(0) && list.text.contains("CUSTOMERS"), "{list:?}");
    for (sql, reason) in [
        ("CREATE TABLE MINE (A INT)", "jobs of this repository read, and change nothing"),
        ("DELETE FROM CUSTOMERS", "jobs of this repository read, and change nothing"),
        (
            "SELECT ID FROM CUSTOMERS WHERE SSN LIKE '9%'",
            "no row is chosen, counted or ordered by what is in them",
        ),
    ] {
        let refused = run(&["snow", "sql", "-x", "-q", sql]);
        assert!(refused.code == Some(1) && refused.words().contains(reason), "{sql}: {refused:?}");
    }
    let other = seen_by(&lab, &ROWS, Identity::Verified, job("acme/web", "refs/heads/main"));
    assert!(other.words().contains("(rule default-deny,"), "{other:?}");
}
