//! The SQL API through the agent, asked by curl as a pipeline asks it: each request with a credential of its own, rows
//! in partitions, statements that are fetched later or ended.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of a test fail as the test does"
)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lab::{JobFacts, Lab, Options};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const URL: &str = "https://acme.snowflakecomputing.com/api/v2/statements";
const ALL: &str = "SELECT * FROM CUSTOMERS ORDER BY ID";
/// How many partitions the lab makes of it.
const PARTITIONS: usize = 4;

/// What stands in the name of every job, but for the names of its own.
fn body(statement: &str) -> Value {
    json!({
        "statement": statement, "timeout": 60, "database": "ANALYTICS", "schema": "PUBLIC", "warehouse": "CI_WH",
        "role": "ETL",
    })
}

/// curl's arguments for a submission.
fn submit(token: &Token, query: &str, body: &Value, more: &[&str]) -> Value {
    submit_text(token, query, &body.to_string(), more)
}

fn submit_text(token: &Token, query: &str, body: &str, more: &[&str]) -> Value {
    let mut step = token.headers();
    step.extend(["--header".into(), "Content-Type: application/json".into()]);
    step.extend(["--data-binary".into(), body.to_owned(), format!("{URL}{query}")]);
    step.extend(more.iter().map(|word| (*word).to_owned()));
    json!(step)
}

/// curl's arguments for a request about the statement submitted last.
fn about(token: &Token, target: &str, more: &[&str]) -> Value {
    let mut step = token.headers();
    step.push(format!("{URL}/HANDLE{target}"));
    step.extend(more.iter().map(|word| (*word).to_owned()));
    json!(step)
}

/// A bearer token and what the client says it is.
struct Token {
    text: String,
    kind: Option<&'static str>,
}

impl Token {
    fn new(text: &str, kind: Option<&'static str>) -> Self {
        Self { text: text.to_owned(), kind }
    }

    /// A programmatic access token, in the shape they have.
    fn programmatic(kind: Option<&'static str>) -> Self {
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({ "p": "1:2", "iss": "SF:1049", "exp": 1_900_000_000 });
        Self { text: format!("{}.{}.c2ln", part(json!({ "alg": "ES256", "kid": "1" })), part(claims)), kind }
    }

    /// What a pipeline with a private key sends: a token of a minute, signed with it.
    fn key_pair() -> Self {
        let openssl = |arguments: &[&str], input: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("key");
            fs::write(&file, input).unwrap();
            let mut command = Command::new("openssl");
            let input = ["-in", file.to_str().unwrap()];
            let output =
                command.args(arguments).args(if arguments[0] == "pkey" { &input[..] } else { &[] }).output();
            output.unwrap().stdout
        };
        let key = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"");
        let public = openssl(&["pkey", "-pubout", "-outform", "DER"], &key);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": format!("ACME.ETL_SVC.SHA256:{}", BASE64_STANDARD.encode(Sha256::digest(public))),
            "sub": "ACME.ETL_SVC", "iat": now, "exp": now + 60,
        });
        let key = EncodingKey::from_rsa_pem(&key).unwrap();
        let text = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap();
        Self { text, kind: Some("KEYPAIR_JWT") }
    }

    fn headers(&self) -> Vec<String> {
        let mut headers = vec!["--header".to_owned(), format!("Authorization: {}", self.authorization())];
        if let Some(kind) = self.kind {
            let header = format!("X-Snowflake-Authorization-Token-Type: {kind}");
            headers.extend(["--header".to_owned(), header]);
        }
        headers
    }

    fn authorization(&self) -> String {
        if self.text == "SESSION" {
            "Snowflake Token=\"SESSION\"".to_owned()
        } else {
            format!("Bearer {}", self.text)
        }
    }
}

/// Runs steps as one job, and gives what curl got for each request.
fn answers(lab: &Lab, steps: &[Value], facts: JobFacts) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/sql_api.py");
    let command = ["python3", script.to_str().unwrap(), &json!(steps).to_string()];
    let output = lab.command(&command).unwrap().facts(facts).run().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let requests = steps.iter().filter(|step| step.is_array()).count();
    assert_eq!(answers.len(), requests);
    for answer in &answers {
        assert_eq!((&answer["curl"], &answer["stderr"]), (&json!(0), &json!("")), "{answer}");
    }
    answers
}

/// The requests of the SQL API that reached the server from clients.
fn reached(lab: &Lab) -> Vec<Value> {
    let is_api = |line: &Value| line["path"].as_str().unwrap().starts_with("/api/");
    // The agent asks what tables are.
    let is_agents =
        |line: &Value| line["user_agent"].as_str().is_some_and(|who| who.starts_with("Snowfence/"));
    lab.front_log().unwrap().into_iter().filter(|line| is_api(line) && !is_agents(line)).collect()
}

/// Every session in the record, whole.
fn recorded(lab: &Lab) -> Vec<Value> {
    let shown = |arguments: &[&str]| -> Value {
        serde_json::from_slice(&lab.snowfence(arguments).unwrap().stdout).unwrap()
    };
    let list = shown(&["sessions", "list", "--json"]);
    let sessions = list["sessions"].as_array().unwrap();
    sessions
        .iter()
        .map(|one| shown(&["sessions", "show", one["session"].as_str().unwrap(), "--json"]))
        .collect()
}

/// The statements of a session in the record whose text is this.
fn statements<'s>(sessions: &'s [Value], text: &str) -> Vec<&'s Value> {
    let all = sessions.iter().flat_map(|session| session["statements"].as_array().unwrap());
    all.filter(|one| one["statement"]["text"] == text).collect()
}

/// What is the same in two runs: ids are numbered by their first appearance, and times are none.
fn normalised(answers: &[Value]) -> Vec<Value> {
    let mut ids = HashMap::new();
    let mut text = |text: &str| {
        let mut out = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let id = rest.get(..36).filter(|id| uuid::Uuid::try_parse(id).is_ok());
            let taken = id.map_or_else(|| rest.chars().next().unwrap().len_utf8(), str::len);
            match id {
                Some(id) => {
                    let next = ids.len();
                    out.push_str(&format!("<id {}>", ids.entry(id.to_owned()).or_insert(next)));
                }
                None => out.push_str(&rest[..taken]),
            }
            rest = &rest[taken..];
        }
        match out.split_once("\"createdOn\":") {
            Some((before, after)) => {
                format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => out,
        }
    };
    let of = |answer: &Value| {
        let headers = answer["headers"].as_object().unwrap();
        let kept = headers.iter().filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()));
        let headers: Vec<_> =
            kept.map(|(name, value)| (name.clone(), text(value.as_str().unwrap()))).collect();
        let body = text(answer["text"].as_str().unwrap());
        // A later part has no id and no time in it, so that even its compressed bytes are the same.
        let raw = if body.starts_with("{\"data\":[[") { answer["raw"].clone() } else { Value::Null };
        json!({ "status": answer["status"], "headers": headers, "body": body, "raw": raw, "packed": answer["is_packed"] })
    };
    answers.iter().map(of).collect()
}

/// What a pipeline may do with the API, all of it.
fn everything() -> Vec<Value> {
    let token = Token::new("an-oauth-token", Some("OAUTH"));
    let key = Token::key_pair();
    let post = |query: &str, statement: &str| submit(&token, query, &body(statement), &[]);
    let slow = "SELECT COUNT(*) FROM CUSTOMERS /* takes 2.5 s */";
    // It is ended long before.
    let slower = "SELECT COUNT(*) FROM CUSTOMERS /* takes 60 s */";
    let bound = json!({
        "statement": "SELECT NAME FROM ANALYTICS.PUBLIC.CUSTOMERS WHERE ID = ?",
        "bindings": { "1": { "type": "FIXED", "value": "7" } }, "parameters": { "QUERY_TAG": "nightly" },
    });
    let mut steps = vec![
        post("", "SELECT * FROM CUSTOMERS ORDER BY ID LIMIT 5"),
        post(
            "/?nullable=true",
            "SELECT NULL AS A, 'null' AS B, 1.50 AS C, TRUE AS D, CREATED_AT FROM CUSTOMERS LIMIT 1",
        ),
        post("?nullable=false", "SELECT NULL AS A, 'null' AS B"),
        submit(&key, "", &bound, &["--compressed"]),
        submit(&Token { kind: None, ..Token::key_pair() }, "", &body("SELECT 1"), &[]),
        submit(
            &Token::programmatic(Some("PROGRAMMATIC_ACCESS_TOKEN")),
            "",
            &body("SELECT 1"),
            &["--compressed"],
        ),
        post("", "CREATE TABLE SIDE (N NUMBER)"),
        post("", "INSERT INTO SIDE VALUES (1), (2)"),
        post("", "SELECT * FROM NO_SUCH_TABLE"),
        submit(&Token::new("the-stale-token", None), "", &body("SELECT 1"), &[]),
        submit(
            &Token::new("SESSION", None),
            "",
            &json!({ "statement": "SELECT COUNT(*) FROM CUSTOMERS" }),
            &[],
        ),
    ];
    for compressed in [&["--compressed"][..], &[]] {
        steps.push(submit(&token, "", &body(ALL), compressed));
        steps.extend((1..=PARTITIONS).map(|n| about(&token, &format!("?partition={n}"), compressed)));
        steps.extend(["", "?partition=0"].map(|target| about(&key, target, compressed)));
    }
    for asked in ["", "?async=true"] {
        steps.extend([post(asked, slow), json!(5), about(&token, "", &[]), about(&token, "", &[])]);
        steps.extend([
            post(asked, slower),
            about(&token, "/cancel", &["--request", "POST"]),
            about(&token, "", &[]),
        ]);
        steps.push(about(&token, "/cancel", &["--request", "POST", "--data", ""]));
    }
    steps
}

#[test]
fn curl_cannot_tell_an_agent_that_permits_everything_from_none() {
    let steps = everything();
    let run = |options| {
        let lab = Lab::start(options).unwrap();
        let answers = answers(&lab, &steps, JobFacts::default());
        let requests: Vec<_> = reached(&lab).iter().map(|line| line["sql"].clone()).collect();
        lab.stop().unwrap();
        (answers, requests)
    };
    let ((direct, asked), (through, passed_on)) = (run(Options::direct()), run(Options::allow_all()));
    let statuses: Vec<_> = direct.iter().map(|answer| answer["status"].as_u64().unwrap()).collect();
    let seven = [200; 7];
    let partitions = [&seven[..PARTITIONS], &[422, 200, 200]].concat();
    let later = [202, 200, 200, 202, 200, 422, 422];
    let expected = [
        &[200, 200, 200, 200, 200, 200, 200, 200, 422, 401, 200][..],
        &partitions,
        &partitions,
        &later,
        &later,
    ];
    assert_eq!(statuses, expected.concat(), "the lab itself does not do what is to be compared");
    assert!(!direct[0]["leaks"].as_array().unwrap().is_empty(), "the search for leaks finds nothing");
    let later_part = &direct[12];
    assert_eq!(
        (&later_part["is_packed"], &later_part["headers"]["content-encoding"]),
        (&json!(false), &json!("gzip"))
    );
    assert!(direct.iter().any(|answer| answer["is_packed"] == true), "no part came compressed unasked");
    for (n, (direct, through)) in normalised(&direct).iter().zip(normalised(&through)).enumerate() {
        assert_eq!(direct.to_string(), through.to_string(), "answer {n}");
    }
    assert_eq!(asked, passed_on, "the server was asked for something else");
}

/// The cells of an answer's rows.
fn rows(answer: &Value) -> Vec<Vec<&str>> {
    let rows = answer["json"]["data"].as_array().unwrap_or_else(|| panic!("no rows in {answer}"));
    rows.iter()
        .map(|row| row.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap_or("NULL")).collect())
        .collect()
}

fn is_masked(email: &str, ssn: &str) -> bool {
    let ends = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    email.starts_with("****@example.") && ssn.strip_prefix("****").is_some_and(ends)
}

#[test]
fn no_row_of_a_tagged_column_reaches_curl_in_any_partition() {
    let lab = Lab::start(Options::default()).unwrap();
    let key = Token::key_pair();
    let some = "SELECT SSN, EMAIL, UPPER(SSN) AS X, CITY FROM CUSTOMERS ORDER BY ID LIMIT 7";
    let slow = "SELECT EMAIL, SSN FROM CUSTOMERS /* takes 1.5 s */";
    let nulls = "SELECT NULLIF(SSN, SSN) AS X, 'null' AS Y, SSN FROM CUSTOMERS LIMIT 1";
    let mut steps = vec![submit(&key, "", &body(ALL), &[])];
    steps.extend((1..PARTITIONS).map(|n| about(&key, &format!("?partition={n}"), &[])));
    steps.push(submit(&key, "?nullable=false", &body(ALL), &["--compressed"]));
    steps.extend((1..PARTITIONS).map(|n| about(&key, &format!("?partition={n}"), &["--compressed"])));
    steps.extend([
        submit(&key, "?async=true", &body(some), &[]),
        json!(2),
        about(&key, "", &[]),
        about(&key, "", &[]),
    ]);
    steps.extend([
        submit(&key, "", &body(slow), &[]),
        json!(4),
        about(&key, "?partition=0", &["--compressed"]),
    ]);
    steps.extend([about(&key, "?partition=3", &[]), submit(&key, "?nullable=false", &body(nulls), &[])]);
    let answers = answers(&lab, &steps, JobFacts::default());
    for answer in &answers {
        assert!(answer["leaks"].as_array().unwrap().is_empty(), "{}: {}", answer["status"], answer["leaks"]);
        assert!([json!(200), json!(202)].contains(&answer["status"]), "{answer}");
    }

    for result in answers[..2 * PARTITIONS].chunks(PARTITIONS) {
        let all: Vec<_> = result.iter().flat_map(rows).collect();
        assert_eq!(all.len(), 1_000);
        assert!(all.iter().all(|row| is_masked(row[2], row[3])), "{:?}", all[0]);
        assert_eq!((all[0][0], all[0][1], all[0][4]), ("1", "Bruno Berg", "Oslo"), "{:?}", all[0]);
    }
    assert!(answers[1]["is_packed"] == true, "a later part comes compressed unasked");
    let [submitted, fetched, again] = &answers[2 * PARTITIONS..2 * PARTITIONS + 3] else { panic!("too few") };
    assert_eq!((&submitted["status"], &fetched["text"]), (&json!(202), &again["text"]));
    for row in rows(fetched) {
        assert!(is_masked(row[1], row[0]) && row[2] == "NULL" && row[3] != "NULL", "{row:?}");
    }
    let [late, last, spelled] = &answers[2 * PARTITIONS + 4..] else { panic!("too few") };
    assert!(rows(late).iter().all(|row| is_masked(row[0], row[1])) && rows(last).len() == 100, "{last}");
    let spelled = rows(spelled);
    assert_eq!((spelled[0][0], spelled[0][1], &spelled[0][2][..4]), ("null", "null", "****"));

    let sessions = recorded(&lab);
    assert_eq!(sessions.len(), 1, "one job, one token, one role");
    let login = &sessions[0]["login"];
    assert_eq!((&login["credential"], &login["user"]), (&json!("key-pair"), &json!("ETL_SVC")), "{login}");
    assert!(login["client"].as_str().unwrap().starts_with("curl/"), "{login}");
    assert!(sessions[0]["login_outcome"]["logged_in"].is_object(), "{}", sessions[0]);
    for (text, rows, readings) in [(some, 7, 1), (slow, 1_000, 1)] {
        let [statement] = statements(&sessions, text)[..] else { panic!("{text} is not there once") };
        let answered = &statement["outcome"]["answered"];
        assert_eq!(answered["rows"], rows, "{statement}");
        let names: Vec<_> = answered["masked"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert!(names.contains(&&json!("EMAIL")) && names.contains(&&json!("SSN")), "{statement}");
        assert_eq!(statement["readings"].as_array().unwrap().len(), readings, "{statement}");
    }
    let twice = statements(&sessions, ALL);
    assert_eq!(twice.len(), 2);
    assert!(twice.iter().all(|one| one["readings"].as_array().unwrap().len() == PARTITIONS - 1), "{twice:?}");
    let record = fs::read_to_string(lab.state().join("record/entries.jsonl")).unwrap();
    assert!(!record.contains(&key.text) && !lab.agent_log().contains(&key.text), "the token was kept");
}

/// Whether an answer is our refusal in the API's own shape.
fn assert_refused(answer: &Value, says: &str) {
    let said = &answer["json"];
    let message = said["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(message.starts_with("Snowfence refused this ") && message.contains(says), "{says}: {message}");
    assert_eq!(
        (&answer["status"], &said["code"], &said["sqlState"]),
        (&json!(422), &json!("003001"), &json!("42501"))
    );
    assert!(uuid::Uuid::try_parse(said["statementHandle"].as_str().unwrap()).is_ok(), "{said}");
}

#[test]
fn what_is_refused_is_a_422_and_never_reaches_the_server() {
    let lab = Lab::start(Options::default()).unwrap();
    let token = Token::new("an-oauth-token", Some("OAUTH"));
    let with = |key: &str, value: Value| {
        let mut body = body("SELECT CITY FROM CUSTOMERS LIMIT 1");
        body[key] = value;
        body
    };
    let id = "01bd42cc-a95c-4499-9444-1481d21ca810";
    let raw = |body: &str| submit_text(&token, "", body, &[]);
    let post = |query: &str, body: &Value| submit(&token, query, body, &[]);
    let good = with("timeout", json!(60));
    let cases = [
        (post("", &body("DROP TABLE CUSTOMERS")), "(rule no-ddl"),
        (post("", &body("SELECT 1; SELECT 2")), "several statements"),
        (post("", &with("parameters", json!({ "MULTI_STATEMENT_COUNT": "0" }))), "MULTI_STATEMENT_COUNT"),
        (post("", &with("parameters", json!({ "search_path": "X" }))), "SEARCH_PATH"),
        (post("", &with("sqlText", json!("DROP TABLE CUSTOMERS"))), "unknown key \"sqlText\""),
        (post("", &with("database", Value::Null)), "(rule unknown-name"),
        (post("", &with("schema", json!("\"PUBLIC\""))), "(rule unknown-name"),
        (post("", &body("SELECT CITY FROM \"Customers\"")), "in double quotes"),
        (post("?async=maybe", &good), "\"async\""),
        (post("?warehouse=X", &good), "unknown key \"warehouse\""),
        (post(&format!("?requestId={id}&retry=true"), &good), "saw none with its id and content"),
        (
            raw(r#"{"statement":"SELECT 1","statement":"DROP TABLE CUSTOMERS"}"#),
            "\"statement\" is there twice",
        ),
        (raw(r#"{"statement":"SELECT 1"} {}"#), "not the JSON"),
        (submit(&token, "", &good, &["--header", "X-Snowflake-Role: ACCOUNTADMIN"]), "x-snowflake-role"),
        (submit(&token, "", &good, &["--header", "Snowflake-Account: other"]), "another account"),
        (submit(&token, "", &good, &["--header", "Authorization: Bearer x"]), "more than one Authorization"),
        (about(&token, "", &[]), "did not submit"),
        (about(&token, "?partition=1", &[]), "did not submit"),
        (about(&token, "/cancel", &["--request", "POST"]), "did not submit"),
        (about(&token, "/retry", &["--request", "POST"]), "not an exchange that Snowfence knows"),
        (about(&token, "/../../databases", &["--path-as-is"]), "not an exchange that Snowfence knows"),
    ];
    let steps: Vec<_> = cases.iter().map(|(step, _)| step.clone()).collect();
    for (answer, (_, says)) in answers(&lab, &steps, JobFacts::default()).iter().zip(&cases) {
        assert_refused(answer, says);
    }
    assert!(reached(&lab).is_empty(), "{:?}", reached(&lab));

    let again = |query: &str, statement: &str| post(&format!("?requestId={id}{query}"), &body(statement));
    let city = "SELECT CITY FROM CUSTOMERS ORDER BY ID LIMIT 1";
    let ssn = "SELECT SSN FROM CUSTOMERS ORDER BY ID LIMIT 1";
    let slow = "SELECT CITY FROM CUSTOMERS /* takes 60 s */";
    let steps = [
        again("", ssn),
        again("&retry=true", ssn),
        again("", city),
        post("?async=true", &body(slow)),
        about(&token, "?partition=1", &[]),
        about(&token, "/cancel", &["--request", "POST"]),
        about(&token, "", &[]),
    ];
    let told = answers(&lab, &steps, JobFacts::default());
    let statuses: Vec<_> = told.iter().map(|answer| answer["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 422, 202, 422, 200, 422]);
    assert_eq!(told[0]["text"], told[1]["text"]);
    assert_refused(&told[2], "with something else in it");
    assert_refused(&told[4], "whose first was not fetched");
    assert_eq!(told[6]["json"]["code"], "000604", "Snowflake's own words pass");

    let sessions = recorded(&lab);
    assert_eq!((statements(&sessions, ssn).len(), statements(&sessions, city).len()), (1, 0));
    let [cancelled] = statements(&sessions, slow)[..] else { panic!("it is not there once") };
    assert_eq!(cancelled["outcome"]["failed"]["code"], "000604", "{cancelled}");
    let [dropped] = statements(&sessions, "DROP TABLE CUSTOMERS")[..] else { panic!("it is not there once") };
    assert_eq!(dropped["statement"]["verdict"]["rules"], json!(["no-ddl"]), "{dropped}");
}

#[test]
fn a_statement_and_a_session_are_for_the_job_that_has_them() {
    let lab = Lab::start(Options::default()).unwrap();
    let (token, session) = (Token::new("an-oauth-token", None), Token::new("SESSION", None));
    let count = json!({ "statement": "SELECT COUNT(*) FROM CUSTOMERS" });
    let other_schema = json!({ "statement": "SELECT 1 FROM T", "database": "OTHER" });
    let steps = [
        submit(&session, "", &count, &[]),
        submit(&session, "", &other_schema, &[]),
        submit(&session, "", &json!({ "statement": "USE SCHEMA ANALYTICS.PUBLIC" }), &[]),
        submit(&token, "", &body("SELECT EMAIL FROM CUSTOMERS"), &[]),
        about(&session, "?partition=1", &[]),
    ];
    let told = answers(&lab, &steps, JobFacts::default());
    assert_eq!(rows(&told[0]), [["1000"]]);
    assert_refused(&told[1], "(rule unknown-name");
    assert_refused(&told[2], "the names of the session");
    assert_eq!((&told[3]["status"], &told[4]["status"]), (&json!(200), &json!(200)), "{}", told[4]);
    assert!(told.iter().all(|answer| answer["leaks"].as_array().unwrap().is_empty()));
    let handle = told[3]["json"]["statementHandle"].as_str().unwrap();

    let before = reached(&lab).len();
    let ask = |target: String, more: &[&str]| {
        json!(
            [
                &token.headers()[..],
                &[format!("{URL}/{target}")],
                &more.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
            ]
            .concat()
        )
    };
    let steps = [
        ask(handle.to_owned(), &[]),
        ask(format!("{handle}?partition=1"), &[]),
        ask(format!("{handle}/cancel"), &["--request", "POST"]),
    ];
    // Another run, and another job of the same run, as a matrix has them.
    for facts in [JobFacts { run_id: 4712, ..JobFacts::default() }, JobFacts::default()] {
        for answer in answers(&lab, &steps, facts) {
            assert_refused(&answer, "did not submit");
        }
    }
    assert_eq!(reached(&lab).len(), before);
}

#[test]
fn a_static_credential_is_refused_however_it_is_called() {
    let policy = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy");
    for file in ["lab.cedar", "classification.toml"] {
        fs::copy(own.join(file), policy.path().join(file)).unwrap();
    }
    let rule = "@id(\"no-static-credentials\")\n@reason(\"this credential never expires\")\n\
        forbid (principal, action == Action::\"login\", resource) when { resource.static };\n";
    fs::write(policy.path().join("static.cedar"), rule).unwrap();
    let lab = Lab::start(Options { policy: Some(policy.path().to_owned()), ..Options::default() }).unwrap();

    let kinds = [Some("PROGRAMMATIC_ACCESS_TOKEN"), Some("OAUTH"), Some("KEYPAIR_JWT"), None];
    let mut steps: Vec<_> =
        kinds.iter().map(|kind| submit(&Token::programmatic(*kind), "", &body("SELECT 1"), &[])).collect();
    steps.push(submit(&Token::new("opaque", Some("SOMETHING_NEW")), "", &body("SELECT 1"), &[]));
    for answer in answers(&lab, &steps, JobFacts::default()) {
        let (said, message) = (&answer["json"], answer["json"]["message"].as_str().unwrap());
        assert!(message.starts_with("Snowfence refused this login: "), "{message}");
        assert!(message.contains("this credential never expires (rule no-static-credentials"), "{message}");
        assert_eq!((&answer["status"], &said["success"]), (&json!(403), &json!(false)), "{answer}");
    }
    assert!(reached(&lab).is_empty(), "{:?}", reached(&lab));

    let stale = Token::new("the-stale-token", Some("OAUTH"));
    let steps = [Token::key_pair(), Token { kind: None, ..Token::key_pair() }, stale]
        .map(|token| submit(&token, "", &body("SELECT 1"), &[]));
    let told = answers(&lab, &steps, JobFacts::default());
    let statuses: Vec<_> = told.iter().map(|answer| answer["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 401]);

    let sessions = recorded(&lab);
    let credentials: Vec<_> =
        sessions.iter().map(|one| one["login"]["credential"].as_str().unwrap()).collect();
    let mut counts = HashMap::new();
    credentials.iter().for_each(|credential| *counts.entry(*credential).or_insert(0) += 1);
    let expected = [("programmatic-token", 4), ("unrecognized", 1), ("key-pair", 2), ("oauth", 1)];
    assert_eq!(counts, HashMap::from(expected));
    let stale = sessions.iter().find(|one| one["login"]["credential"] == "oauth").unwrap();
    assert_eq!(stale["login_outcome"]["failed"]["code"], "390318", "{stale}");
}
