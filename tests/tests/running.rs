//! Statements that take long, and whatever is asked about them later: results that come by polling, are read again, are
//! given up, or never come; requests that are sent again; sessions that are renewed. With the published drivers, and by
//! hand where no driver would do it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use lab::internet::BRIEF_HOST;
use lab::{Identity, JobFacts, Lab, Mode, Options};
use serde_json::{Value, json};

/// Interpreters with the drivers that they run, and what each can be asked for.
const WAITS: [(&str, &str, &[&str]); 3] = [
    ("python3", "connector", &["waiting", "submission", "cancellation", "cancellation_by_id", "repetition"]),
    ("python3-connector5", "connector", &["waiting", "submission", "cancellation"]),
    ("python3", "go", &["waiting", "cancellation"]),
];
/// Far more than anything here takes, on a machine that does other things too.
const COMES_WITHIN: Duration = Duration::from_secs(90);
/// Every e-mail address of the seed ends in one of these, and the mask keeps it.
const MASKED: [&str; 3] = ["****@example.com", "****@example.org", "****@example.net"];

/// Runs a script and reads what it saw, one JSON object to a line.
fn seen(lab: &Lab, words: &[&str]) -> Vec<Value> {
    seen_by(lab, words, Identity::Verified, JobFacts::default())
}

fn seen_by(lab: &Lab, words: &[&str], identity: Identity, facts: JobFacts) -> Vec<Value> {
    let output = lab.command(&with_script(words)).unwrap().identity(identity).facts(facts).run().unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {said}{complained}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Scripts are named without their folder.
fn with_script(words: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let whole = |word: &&str| {
        let is_script = word.ends_with(".py");
        if is_script { folder.join(word).to_str().unwrap().to_owned() } else { (*word).to_owned() }
    };
    words.iter().map(whole).collect()
}

fn wire(lab: &Lab, scenario: &str) -> Value {
    seen(lab, &["python3", "running_wire.py", scenario]).remove(0)
}

/// What each driver sees in each scenario, and at the end of a session that cannot be renewed any more.
fn seen_by_drivers(lab: &Lab) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let brief = format!("SNOWFLAKE_ACCOUNT={}", BRIEF_HOST.split('.').next().unwrap());
    for (interpreter, driver, scenarios) in WAITS {
        let mut words = vec![interpreter, "running.py", driver];
        words.extend(scenarios);
        let mut lines = seen(lab, &words);
        lines.extend(seen(lab, &["env", &brief, interpreter, "running.py", driver, "expiry"]));
        for line in lines {
            let name = format!("{interpreter} {driver} {}", line["scenario"].as_str().unwrap());
            all.insert(name, line);
        }
    }
    all
}

/// A lab whose agent permits everything, and guards the account whose sessions are brief besides the usual one.
fn permitting_both_accounts() -> Lab {
    let lab = Lab::start(Options { agent: false, ..Options::allow_all() }).unwrap();
    let text = fs::read_to_string(lab.config()).unwrap();
    let both = text.replace("accounts = [", &format!("accounts = [\"{BRIEF_HOST}\", "));
    assert_ne!(text, both);
    fs::write(lab.config(), both).unwrap();
    lab.start_agent().unwrap();
    lab
}

/// Every session of the record, in full.
fn record(lab: &Lab) -> Vec<Value> {
    let list = json_of(lab, &["sessions", "list", "--json"]);
    let sessions = list["sessions"].as_array().unwrap().iter();
    let show =
        |session: &Value| json_of(lab, &["sessions", "show", session["session"].as_str().unwrap(), "--json"]);
    sessions.map(show).collect()
}

fn json_of(lab: &Lab, arguments: &[&str]) -> Value {
    let output = lab.snowfence(arguments).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every statement of the record whose text has this in it.
fn statements(lab: &Lab, part: &str) -> Vec<Value> {
    let all = record(lab).into_iter().flat_map(|session| session["statements"].as_array().unwrap().clone());
    all.filter(|statement| statement["statement"]["text"].as_str().unwrap().contains(part)).collect()
}

/// How many times a statement with this in its text reached the server.
fn reached(lab: &Lab, part: &str) -> usize {
    let log = lab.front_log().unwrap();
    log.iter().filter(|line| line["sql"].as_str().is_some_and(|sql| sql.contains(part))).count()
}

#[test]
fn statements_that_take_long_are_the_same_with_an_agent_as_without() {
    let direct = seen_by_drivers(&Lab::start(Options::direct()).unwrap());
    let lab = permitting_both_accounts();
    let through = seen_by_drivers(&lab);
    assert!(direct.keys().eq(through.keys()));
    for (name, seen) in &direct {
        assert_eq!(seen, &through[name], "{name}");
    }
    for (interpreter, driver, _) in WAITS {
        let expiry = &through[&format!("{interpreter} {driver} expiry")];
        assert_eq!(expiry["renewed"][0][0], json!("1000"), "{expiry}");
        assert!(expiry["ended"]["errno"].is_u64(), "{expiry}");
    }
    // Without an agent such a statement may find its table elsewhere, or not at all.
    for interpreter in ["python3", "python3-connector5"] {
        let moved = seen(&lab, &[interpreter, "running.py", "connector", "moved"]).remove(0);
        assert_eq!(moved["rows"], json!([["1000"]]), "{interpreter}");
    }
    // The scenarios are what they say: rows came late, and what was given up is recorded so.
    assert_eq!(through["python3 connector submission"]["in_the_end"], json!("SUCCESS"));
    assert_eq!(through["python3 connector repetition"]["rows"], json!([["1"]]));
    assert_eq!(statements(&lab, "INSERT INTO ONCE").len(), 1);
    let given_up = statements(&lab, "/* takes 30 s */");
    assert_eq!(given_up.len(), 4);
    for statement in statements(&lab, "") {
        let (outcome, text) = (&statement["outcome"], statement["statement"]["text"].as_str().unwrap());
        if text.contains("/* takes 30 s */") {
            // A driver need not wait for the end of what it gave up: its session may be closed before that is known.
            let is_closed = outcome["lost"]["reason"] == "its session was closed before there was an outcome";
            assert!(outcome["failed"]["code"] == "000604" || is_closed, "{statement}");
        } else {
            assert!(outcome.get("lost").is_none(), "{statement}");
        }
    }
}

#[test]
fn a_result_that_comes_later_is_masked_however_often_it_is_read() {
    let lab = Lab::start(Options::default()).unwrap();
    for (interpreter, driver) in
        [("python3", "connector"), ("python3-connector5", "connector"), ("python3", "go")]
    {
        let mut scenarios = vec![interpreter, "running.py", driver, "polled"];
        if driver == "connector" {
            scenarios.push("submission");
        }
        for line in seen(&lab, &scenarios) {
            for rows in ["rows", "again"].map(|key| &line[key]).into_iter().filter(|rows| !rows.is_null()) {
                assert_eq!(rows.as_array().unwrap().len(), 5, "{line}");
                for row in rows.as_array().unwrap() {
                    assert!(MASKED.contains(&row[1].as_str().unwrap()), "{interpreter} {driver}: {line}");
                    assert!(row[2].as_str().unwrap().starts_with("****"), "{interpreter} {driver}: {line}");
                    assert!(!row[3].as_str().unwrap().contains('*'), "{interpreter} {driver}: {line}");
                }
            }
        }
    }
    let polled = statements(&lab, "/* takes 2.5 s */");
    assert_eq!(polled.len(), 3);
    let submitted = statements(&lab, "/* takes 2 s */");
    assert_eq!(submitted.len(), 2);
    for statement in &polled {
        assert_eq!(masked_cells(&statement["outcome"]), 10, "{statement}");
    }
    for statement in &submitted {
        assert_eq!(masked_cells(&statement["outcome"]), 10, "{statement}");
        let readings = statement["readings"].as_array().unwrap();
        assert!(!readings.is_empty(), "{statement}");
        assert!(readings.iter().all(|reading| masked_cells(&reading["outcome"]) == 10), "{statement}");
    }

    let twice = wire(&lab, "twice");
    assert_eq!(twice["same"], json!(true));
    let [statement] = &statements(&lab, "TWICE")[..] else { panic!("not once") };
    assert_eq!(masked_cells(&statement["outcome"]), 3, "{statement}");
    assert_eq!(statement["readings"].as_array().unwrap().len(), 1, "{statement}");
}

/// The cells that were masked in an answer.
fn masked_cells(outcome: &Value) -> u64 {
    let masked = outcome["answered"]["masked"].as_array().unwrap();
    masked.iter().map(|column| column["cells"].as_u64().unwrap()).sum()
}

#[test]
fn a_statement_answers_to_the_session_that_asked_for_it_and_to_its_job() {
    let lab = Lab::start(Options::default()).unwrap();
    let foreign = wire(&lab, "foreign");
    assert_eq!(foreign["own"], json!(true));
    let refused = foreign["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 4);
    for (at, message) in refused.iter().enumerate() {
        let id =
            if at < 2 { foreign["id"].as_str().unwrap() } else { "00000000-0000-4000-8000-000000000001" };
        let message = message.as_str().unwrap();
        assert!(
            message.starts_with(&format!("Snowfence refused this request: statement {id} is none")),
            "{message}"
        );
    }

    let owner = lab.spawn(&with_script(&["python3", "running_wire.py", "owner"])).unwrap();
    let said = owner.wait_until(COMES_WITHIN, |said| said.ends_with('\n')).unwrap();
    let said: Value = serde_json::from_str(said.trim()).unwrap();
    let words = [
        "python3",
        "running_wire.py",
        "thief",
        said["token"].as_str().unwrap(),
        said["id"].as_str().unwrap(),
    ];
    let facts = JobFacts { run_id: 4712, ..JobFacts::default() };
    let thief = seen_by(&lab, &words, Identity::Verified, facts).remove(0);
    for message in thief["refused"].as_array().unwrap() {
        assert!(message.as_str().unwrap().contains("its session belongs to another job"), "{message}");
    }
    let log = lab.front_log().unwrap();
    // The owner's own reading in the first part, and nothing else.
    assert_eq!(log.iter().filter(|line| line["method"] == "GET").count(), 1);
}

#[test]
fn a_request_that_comes_again_is_judged_executed_and_recorded_once() {
    let lab = Lab::start(Options::default()).unwrap();
    let joined = wire(&lab, "joined");
    assert_eq!((&joined["answers"], &joined["ids"]), (&json!(3), &json!(1)));
    for message in joined["different"].as_array().unwrap() {
        let message = message.as_str().unwrap();
        assert!(message.contains("it repeats the id of an earlier request"), "{message}");
    }
    assert_eq!(
        (reached(&lab, "JOINED"), statements(&lab, "JOINED").len(), reached(&lab, "OTHER")),
        (1, 1, 0)
    );

    let long = wire(&lab, "joined_long");
    assert!(long["bytes"].as_u64().unwrap() > 1 << 20, "{long}");
    assert_eq!((&long["same"], &long["ids"], &long["total"]), (&json!(true), &json!(1), &json!(2)));
    assert_eq!(long["codes"], json!(["333333", "333333"]));
    let [statement] = &statements(&lab, "LONG")[..] else { panic!("not once") };
    // Asked of the server again, which had the answer still; with the same masks.
    assert_eq!((reached(&lab, "LONG"), statement["readings"].as_array().unwrap().len()), (2, 1));
    assert_eq!(masked_cells(&statement["outcome"]), masked_cells(&statement["readings"][0]["outcome"]));
    assert_eq!((reached(&lab, "SLOW"), statements(&lab, "SLOW").len()), (1, 1));
}

#[test]
fn requests_pass_in_every_spelling_and_up_to_the_servers_limits() {
    let lab = Lab::start(Options::allow_all()).unwrap();
    assert_eq!(wire(&lab, "idle")["seen"], json!(vec![true; 9]));
    let spellings = wire(&lab, "spellings");
    for name in ["plain", "gzip", "capitals", "mixed"] {
        assert_eq!(spellings[name], json!(true), "{name}: {spellings}");
    }
    let sizes = wire(&lab, "sizes");
    assert_eq!(sizes["longest"][0], json!(true), "{sizes}");
    let too_long = sizes["too long"][1].as_str().unwrap();
    assert!(too_long.contains("1048577 bytes long") && too_long.contains("SqlText::BYTES_MAX"), "{too_long}");
    assert_eq!((&sizes["bindings"], reached(&lab, "MANY")), (&json!(false), 1));
    let more = sizes["more bindings"].as_str().unwrap();
    assert!(more.contains("64 MiB") && more.contains("STATEMENT_BYTES_MAX"), "{more}");
    assert_eq!(reached(&lab, "MORE"), 0);
}

/// A sentence without the id of the request, which is another each time.
fn without_id(sentence: &Value) -> Option<String> {
    let sentence = sentence.as_str()?;
    let (before, id) = sentence.rsplit_once("request ").unwrap();
    assert!(id.len() == 37 && id.ends_with(')'), "{sentence}");
    Some(before.to_owned())
}

/// What a record says was decided, or would have been: of each login and statement, and of each refused request.
fn decided(lab: &Lab) -> Vec<Value> {
    let said = |verdict: &Value| {
        assert_eq!(verdict["mode"].as_str().unwrap(), lab.options().mode.as_str());
        without_id(&verdict["reason"]).or_else(|| without_id(&verdict["would_refuse"]))
    };
    let mut decided = Vec::new();
    for session in record(lab) {
        decided.push(json!(["login", said(&session["login"]["verdict"])]));
        for statement in session["statements"].as_array().unwrap() {
            let masked = statement["outcome"]["answered"]["masked"].as_array().cloned().unwrap_or_default();
            let masked: Vec<_> =
                masked.iter().map(|column| json!([column["name"], column["tags"], column["mask"]])).collect();
            let asked = &statement["statement"];
            let reason = said(&asked["verdict"]);
            // In enforce mode what is refused is not sent, so nothing is masked in it.
            let masked = if reason.is_none() { masked } else { Vec::new() };
            decided.push(json!([asked["text"], reason, masked]));
        }
    }
    let list = json_of(lab, &["sessions", "list", "--json"]);
    for refused in list["refused_requests"].as_array().unwrap() {
        let request = &refused["request"];
        decided.push(json!([request["exchange"], without_id(&request["reason"])]));
    }
    decided
}

#[test]
fn observe_mode_says_word_for_word_what_enforce_mode_does() {
    let run = |mode| {
        let lab = Lab::start(Options { mode, ..Options::default() }).unwrap();
        seen(&lab, &["python3", "running_wire.py", "table"]);
        // A job without a token, whom no rule lets log in.
        seen_by(&lab, &["python3", "running_wire.py", "login"], Identity::Observed, JobFacts::default());
        (decided(&lab), lab.front_log().unwrap())
    };
    let (enforced, _) = run(Mode::Enforce);
    let (observed, log) = run(Mode::Observe);
    assert_eq!(json!(enforced), json!(observed));
    let refused = enforced.iter().filter(|line| line[1].is_string());
    assert!(refused.count() >= 14, "{enforced:?}");
    assert!(enforced.iter().any(|line| line[0] == "login" && line[1].is_string()), "{enforced:?}");
    assert_eq!(
        enforced.iter().filter(|line| line[2].as_array().is_some_and(|masks| !masks.is_empty())).count(),
        2
    );
    // Observe mode has passed on what it would have refused.
    assert!(log.iter().any(|line| line["sql"] == "DROP TABLE NO_SUCH_TABLE"));
    assert!(log.iter().any(|line| line["path"] == "/no/such/endpoint"));
}

#[test]
fn a_statement_that_is_polled_while_the_agent_is_killed_is_closed_as_lost() {
    let lab = Lab::start(Options::default()).unwrap();
    let asking = lab.spawn(&with_script(&["python3", "running_wire.py", "poll"])).unwrap();
    asking.wait_until(COMES_WITHIN, |said| said.contains("polling")).unwrap();
    let [statement] = &statements(&lab, "KILLED")[..] else { panic!("not once") };
    assert!(statement["outcome"].is_null(), "{statement}");
    lab.kill_agent().unwrap();
    lab.start_agent().unwrap();
    let [statement] = &statements(&lab, "KILLED")[..] else { panic!("not once") };
    let reason = statement["outcome"]["lost"]["reason"].as_str().unwrap();
    assert_eq!(reason, "the agent ended before there was an outcome");
}
