//! Somebody who knows the agent tries to get a tagged column past it, or a statement: by SQL, and by what is around it
//! on the wire. Every byte that reaches the client is looked at, and everything that reaches the server.
//!
//! A new trick is one line here: a statement with what must become of it, or a function of `hostile_wire.py`.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::path::Path;

use lab::{Lab, Options};
use serde_json::Value;

/// What must become of a statement. Nothing of a tagged column may be seen in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It never reaches the server.
    Refused,
    /// It is answered, or the server does not know it.
    Judged,
    /// It is answered, and this is in the answer.
    Shows(&'static str),
}
use Fate::{Judged, Refused, Shows};

const STATEMENTS: &[(&str, Fate)] = &[
    // What a job may do goes on working, and what is not tagged is there.
    ("SELECT ID, NAME, CITY FROM CUSTOMERS ORDER BY ID LIMIT 1", Shows("Bruno Berg")),
    ("SELECT *, ID FROM CUSTOMERS ORDER BY ID LIMIT 1", Shows("Oslo")),
    ("SELECT C.* EXCLUDE (SSN) FROM CUSTOMERS C ORDER BY ID LIMIT 1", Shows("Oslo")),
    (
        "SELECT UPPER(A.NAME) || '!', B.CITY FROM CUSTOMERS A JOIN CUSTOMERS B USING (ID) ORDER BY 1",
        Shows("BRUNO BERG!"),
    ),
    ("SELECT CITY, COUNT(*) FROM CUSTOMERS GROUP BY ALL HAVING COUNT(*) > 1 ORDER BY 1", Shows("Oslo")),
    ("SELECT CITY FROM CUSTOMERS QUALIFY ROW_NUMBER() OVER (ORDER BY ID) = 1", Shows("Oslo")),
    ("SELECT '; DROP TABLE CUSTOMERS; --', $$ it's ; $$, 'a\\'; b'", Shows("DROP TABLE CUSTOMERS")),
    ("SELECT 1 /* ; DROP TABLE CUSTOMERS */ -- ; DROP TABLE CUSTOMERS", Shows("1")),
    ("SHOW TABLES", Shows("CUSTOMERS")),
    ("DESCRIBE TABLE CUSTOMERS", Shows("SSN")),
    ("SET MARK = 'Oslo'", Judged),
    ("SELECT $MARK, NAME FROM CUSTOMERS WHERE CITY = $MARK ORDER BY ID LIMIT 1", Shows("Bruno Berg")),
    // Under another name.
    ("SELECT SSN AS X, EMAIL AS Y FROM CUSTOMERS ORDER BY ID LIMIT 2", Shows("****7919")),
    ("SELECT SSN X FROM ANALYTICS.PUBLIC.CUSTOMERS ORDER BY ID LIMIT 2", Shows("****7919")),
    ("SELECT \"ssn\" AS X, T.\"eMail\" AS Y FROM \"Analytics\".\"pubLic\".\"customers\" T LIMIT 2", Judged),
    ("SELECT SSN AS \"x\", X AS Y, X || '' AS Z FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT EMAIL AS B, B AS CITY, CITY AS C FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT SSN AS CITY FROM CUSTOMERS GROUP BY 1 ORDER BY 1 LIMIT 2", Judged),
    ("SELECT DISTINCT (((SSN))) AS X FROM (CUSTOMERS) ORDER BY 1 LIMIT 2", Judged),
    ("SELECT A.B, A.D FROM CUSTOMERS AS A (C, E, B, D, F, G) LIMIT 2", Judged),
    ("SELECT/**/TOP/**/2/**/SSN/**/X/**/FROM/**/CUSTOMERS", Judged),
    ("SELECT SSN -- city\nAS X FROM CUSTOMERS LIMIT 2", Judged),
    // All of them.
    ("SELECT *, * FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT A.*, B.* FROM CUSTOMERS A, CUSTOMERS B LIMIT 2", Judged),
    ("SELECT * FROM (SELECT *, * FROM CUSTOMERS) LIMIT 2", Judged),
    ("SELECT * FROM CUSTOMERS A NATURAL JOIN CUSTOMERS B LIMIT 2", Judged),
    ("SELECT * RENAME (SSN AS X) FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT * REPLACE (SSN AS CITY) FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT C FROM CUSTOMERS C LIMIT 2", Judged),
    ("SELECT CUSTOMERS::VARCHAR AS X FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT TO_JSON(C) AS X, C:SSN AS Y, C['SSN'] AS Z FROM CUSTOMERS C LIMIT 2", Judged),
    ("SELECT OBJECT_CONSTRUCT(*) AS X FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT {*} AS X FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT COLUMNS('S.*') FROM CUSTOMERS LIMIT 2", Refused),
    // As part of something else.
    (
        "SELECT REVERSE(SSN), REPLACE(SSN, '-'), HEX_ENCODE(SSN), MD5(SSN) FROM CUSTOMERS ORDER BY ID LIMIT 2",
        Judged,
    ),
    (
        "SELECT SSN || '', SSN::VARCHAR, TO_VARIANT(SSN), CAST(EMAIL AS VARCHAR) FROM CUSTOMERS LIMIT 2",
        Judged,
    ),
    (
        "SELECT CASE WHEN TRUE THEN SSN END, IFF(TRUE, SSN, ''), NVL(SSN, ''), COALESCE(EMAIL) FROM CUSTOMERS LIMIT 2",
        Judged,
    ),
    (
        "SELECT MAX(SSN), LISTAGG(EMAIL, ','), ARRAY_AGG(SSN), ANY_VALUE(SSN), MAX_BY(SSN, ID) FROM CUSTOMERS",
        Judged,
    ),
    (
        "SELECT FIRST_VALUE(SSN) OVER (ORDER BY ID) AS X, LAG(EMAIL) OVER (ORDER BY ID) FROM CUSTOMERS LIMIT 2",
        Judged,
    ),
    (
        "SELECT PARSE_JSON('{\"a\": \"' || SSN || '\"}'):a AS X, [SSN], {'A': SSN} FROM CUSTOMERS LIMIT 2",
        Judged,
    ),
    (
        "SELECT SUBSTR(SSN, 1, 3) AS A, SUBSTR(SSN, 4) AS B, SPLIT(SSN, '-') AS C FROM CUSTOMERS LIMIT 2",
        Judged,
    ),
    // From another place in the statement.
    ("SELECT (SELECT SSN FROM CUSTOMERS LIMIT 1) AS X", Judged),
    ("SELECT CITY FROM CUSTOMERS UNION ALL SELECT SSN FROM CUSTOMERS LIMIT 2000", Judged),
    ("SELECT X FROM (SELECT SSN AS X FROM CUSTOMERS) LIMIT 2", Judged),
    ("WITH S AS (SELECT SSN AS X FROM CUSTOMERS) SELECT X FROM S LIMIT 2", Judged),
    (
        "WITH RECURSIVE CUSTOMERS AS (SELECT SSN AS X FROM PUBLIC.CUSTOMERS) SELECT * FROM CUSTOMERS LIMIT 2",
        Judged,
    ),
    ("WITH CUSTOMERS AS (SELECT * FROM CUSTOMERS) SELECT SSN AS X FROM \"customers\" LIMIT 2", Judged),
    ("SELECT COLUMN1 FROM (VALUES ((SELECT SSN FROM CUSTOMERS LIMIT 1)))", Judged),
    ("SELECT X FROM CUSTOMERS, LATERAL (SELECT SSN AS X) LIMIT 2", Judged),
    ("SELECT F.VALUE AS X FROM CUSTOMERS, LATERAL FLATTEN(INPUT => ARRAY_CONSTRUCT(SSN)) F LIMIT 2", Judged),
    ("SELECT * FROM CUSTOMERS PIVOT (MAX(SSN) FOR CITY IN ('Oslo')) LIMIT 2", Judged),
    ("SELECT * FROM CUSTOMERS UNPIVOT (V FOR K IN (SSN, EMAIL)) LIMIT 2", Judged),
    // By position, by a computed name, by a variable, later.
    ("SELECT $4 AS X, C.$3 AS Y FROM CUSTOMERS C LIMIT 2", Judged),
    ("SELECT SSN AS X FROM IDENTIFIER('CUSTOMERS')", Judged),
    ("SELECT IDENTIFIER('SSN') AS X FROM CUSTOMERS", Judged),
    ("SELECT SSN AS X FROM TABLE('CUSTOMERS')", Judged),
    ("SET V = EMAIL", Refused),
    ("SET (V, W) = (CUSTOMERS.EMAIL, 1)", Refused),
    ("SET V = (SELECT MAX(SSN) FROM CUSTOMERS)", Refused),
    ("SELECT $V AS X FROM CUSTOMERS LIMIT 2", Judged),
    ("SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))", Refused),
    ("EXECUTE IMMEDIATE 'SELECT SSN AS X FROM CUSTOMERS'", Refused),
    ("EXECUTE IMMEDIATE $$SELECT SSN AS X FROM CUSTOMERS$$", Refused),
    ("BEGIN SELECT SSN AS X FROM CUSTOMERS; END", Refused),
    ("CALL PRAGMA_STORAGE_INFO('CUSTOMERS')", Refused),
    ("EXPLAIN SELECT SSN FROM CUSTOMERS WHERE SSN LIKE '9%'", Judged),
    ("DESCRIBE SELECT SSN FROM CUSTOMERS", Judged),
    ("SHOW CUSTOMERS", Judged),
    ("SHOW VARIABLES", Judged),
    ("SELECT * FROM INFORMATION_SCHEMA.COLUMNS", Judged),
    // What the engine behind it would understand.
    ("SUMMARIZE CUSTOMERS", Refused),
    ("FROM CUSTOMERS", Refused),
    ("TABLE CUSTOMERS", Refused),
    ("PRAGMA STORAGE_INFO('CUSTOMERS')", Refused),
    ("COPY CUSTOMERS TO '/tmp/x.csv'", Refused),
    ("SELECT * FROM READ_CSV('/etc/passwd')", Refused),
    ("SELECT * FROM '/etc/passwd'", Refused),
    ("SELECT SSN AS X FROM CUSTOMERS # ;", Refused),
    ("SELECT SSN AS X FROM `CUSTOMERS`", Refused),
    ("SELECT 1 /* /* */ SSN AS X */ FROM CUSTOMERS", Refused),
    ("SELECT $tag$ ' $tag$, SSN AS X FROM CUSTOMERS", Refused),
    // What is not a read.
    ("DROP TABLE CUSTOMERS", Refused),
    ("/* */ -- \n dRoP\tTABLE CUSTOMERS", Refused),
    ("SELECT 1; DROP TABLE CUSTOMERS", Refused),
    ("SELECT 1 ->> DROP TABLE CUSTOMERS", Refused),
    ("EXPLAIN ANALYZE DROP TABLE CUSTOMERS", Refused),
    ("CREATE TABLE X AS SELECT * FROM CUSTOMERS", Refused),
    ("CREATE OR REPLACE VIEW X AS SELECT SSN AS A FROM CUSTOMERS", Refused),
    ("CREATE TEMPORARY TABLE X CLONE CUSTOMERS", Refused),
    ("ALTER TABLE CUSTOMERS RENAME COLUMN SSN TO X", Refused),
    ("ALTER SESSION SET SEARCH_PATH = 'X'", Refused),
    ("UPDATE CUSTOMERS SET CITY = SSN", Refused),
    ("INSERT INTO CUSTOMERS SELECT * FROM CUSTOMERS", Refused),
    ("MERGE INTO CUSTOMERS USING CUSTOMERS B ON 1 = 1 WHEN MATCHED THEN DELETE", Refused),
    ("WITH X AS (DELETE FROM CUSTOMERS RETURNING SSN) SELECT * FROM X", Refused),
    ("SELECT * INTO X FROM CUSTOMERS", Refused),
    ("TRUNCATE TABLE CUSTOMERS", Refused),
    ("COPY INTO @~/X FROM CUSTOMERS", Refused),
    ("PUT file:///etc/passwd @~", Refused),
    ("GET @~/X file:///tmp/", Refused),
    ("GRANT ALL ON TABLE CUSTOMERS TO ROLE PUBLIC", Refused),
    ("SELECT SYSTEM$CANCEL_ALL_QUERIES(1)", Refused),
];

/// What must become of a trick's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Each is answered with our sentence, and none reaches the server.
    Sentence,
    /// None is answered as a success, and none reaches the server. What is no HTTP cannot have a sentence.
    Nothing,
    /// Each is answered as a success.
    Success,
    /// One after the other, `true` for a success and `false` for our sentence.
    Each(&'static [bool]),
    /// Whatever the server says.
    Anything,
}

const TRICKS: &[(&str, End)] = &[
    ("duplicate_key", End::Sentence),
    ("duplicate_key_by_escape", End::Sentence),
    ("duplicate_key_deep", End::Sentence),
    ("two_spellings_of_a_parameter", End::Sentence),
    ("second_document", End::Sentence),
    ("not_utf8", End::Sentence),
    ("utf16", End::Sentence),
    ("byte_order_mark", End::Sentence),
    ("deep_json", End::Sentence),
    ("unknown_keys", End::Sentence),
    ("code_elsewhere", End::Sentence),
    ("several_statements", End::Sentence),
    ("parameters_that_change_names", End::Sentence),
    ("describe_only", End::Sentence),
    ("asynchronous", End::Sentence),
    ("internal", End::Sentence),
    ("bindings_that_name_a_table", End::Sentence),
    ("gzip_bomb_as_statement", End::Sentence),
    ("gzip_bomb_without_a_session", End::Sentence),
    ("two_gzip_members", End::Sentence),
    ("two_content_encodings", End::Sentence),
    ("other_content_encodings", End::Sentence),
    ("gzip_without_a_word", End::Sentence),
    ("coding_hidden_by_connection", End::Success),
    ("chunked", End::Success),
    ("length_and_chunked", End::Success),
    ("chunked_twice", End::Nothing),
    ("chunked_misspelt", End::Nothing),
    ("two_lengths", End::Nothing),
    ("odd_length", End::Nothing),
    ("folded_header", End::Nothing),
    ("pipelined", End::Each(&[true, false, true])),
    ("cut_short", End::Nothing),
    ("absolute_form", End::Success),
    ("other_host_header", End::Success),
    ("two_host_headers", End::Success),
    ("old_http", End::Success),
    ("http2_preface", End::Nothing),
    ("upgrade", End::Success),
    ("method_override", End::Sentence),
    ("other_methods", End::Nothing),
    ("connect", End::Nothing),
    ("paths_that_look_alike", End::Sentence),
    ("doors", End::Sentence),
    ("request_id_with_other_text", End::Each(&[true, true, false])),
    ("request_id_with_other_binding", End::Each(&[true, false])),
    ("two_request_ids", End::Sentence),
    ("no_session", End::Sentence),
    ("two_authorizations", End::Sentence),
    ("other_credentials", End::Sentence),
    ("renewal_of_another_session", End::Sentence),
    // The agent gives the answer again that it gave, masked as it was.
    ("retry_under_other_names", End::Success),
    ("use_beside_a_statement", End::Anything),
    ("logins", End::Sentence),
    ("server_name_in_capitals", End::Success),
    ("other_server_names", End::Nothing),
    ("other_protocols", End::Nothing),
    ("telemetry", End::Sentence),
    ("too_large", End::Sentence),
    ("huge_head", End::Nothing),
    ("not_http", End::Nothing),
    ("texts_that_cost_the_parser", End::Sentence),
];

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name).to_str().unwrap().to_owned()
}

/// What a script printed, one JSON object per line.
fn printed(lab: &Lab, name: &str, arguments: &[&str]) -> Vec<Value> {
    let script = script(name);
    let command: Vec<&str> = ["python3", &script].iter().chain(arguments).copied().collect();
    let output = lab.run(&command).unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What was seen of each statement.
fn seen(lab: &Lab, statements: &[&str]) -> Vec<Value> {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("statements.json");
    fs::write(&file, serde_json::to_vec(statements).unwrap()).unwrap();
    let seen = printed(lab, "hostile_sql.py", &[file.to_str().unwrap()]);
    assert_eq!(seen.len(), statements.len());
    seen
}

fn is_refused(answer: &Value) -> bool {
    answer["success"] != true
        && answer["message"].as_str().is_some_and(|message| message.starts_with("Snowfence refused this "))
}

fn assert_no_leak(answer: &Value, about: &str) {
    assert!(answer.is_null() || answer["leaks"].as_array().unwrap().is_empty(), "{about}: {answer}");
}

/// The texts of all statements of clients that reached the server. No client here says that it is the agent, which asks
/// what tables are in a session of its own.
fn reached(lab: &Lab) -> Vec<String> {
    let requests = lab.front_log().unwrap();
    let is_agents =
        |request: &Value| request["user_agent"].as_str().is_some_and(|who| who.starts_with("Snowfence/"));
    let of_clients = requests.iter().filter(|request| !is_agents(request));
    of_clients.filter_map(|request| request["sql"].as_str().map(str::to_owned)).collect()
}

/// Everything that the server was given is in the record.
fn assert_recorded(lab: &Lab) {
    let show = |arguments: &[&str]| String::from_utf8(lab.snowfence(arguments).unwrap().stdout).unwrap();
    let list: Value = serde_json::from_str(&show(&["sessions", "list", "--json"])).unwrap();
    let sessions = list.get("sessions").and_then(Value::as_array).unwrap();
    let record: String = sessions
        .iter()
        .map(|session| show(&["sessions", "show", session["session"].as_str().unwrap(), "--json"]))
        .collect();
    for text in reached(lab) {
        let written = serde_json::to_string(&text).unwrap();
        assert!(record.contains(&written), "{text} is not in the record");
    }
}

#[test]
fn the_search_for_leaks_finds_what_is_there() {
    let lab = Lab::start(Options::direct()).unwrap();
    let spellings = [
        "SELECT SSN FROM CUSTOMERS ORDER BY ID LIMIT 1",
        "SELECT EMAIL AS X FROM CUSTOMERS ORDER BY ID DESC LIMIT 1",
        "SELECT UPPER(EMAIL) FROM CUSTOMERS LIMIT 1",
        "SELECT REVERSE(SSN) FROM CUSTOMERS LIMIT 1",
        "SELECT REPLACE(SSN, '-') FROM CUSTOMERS ORDER BY ID LIMIT 1",
        "SELECT MD5(SSN) FROM CUSTOMERS ORDER BY ID LIMIT 1",
    ];
    for answer in seen(&lab, &spellings) {
        assert!(!answer["leaks"].as_array().unwrap().is_empty(), "{answer}");
    }
    let answers = seen(&lab, &["SELECT ID, NAME, CITY, CREATED_AT FROM CUSTOMERS"]);
    assert_no_leak(answers.first().unwrap(), "untagged columns");
}

#[test]
fn no_statement_and_no_trick_gets_past_the_agent() {
    let lab = Lab::start(Options::default()).unwrap();
    let agent = lab.agent_id();

    let statements: Vec<&str> = STATEMENTS.iter().map(|(sql, _)| *sql).collect();
    let answers = seen(&lab, &statements);
    let reached_by_sql = reached(&lab);
    for ((sql, fate), answer) in STATEMENTS.iter().zip(&answers) {
        assert_no_leak(answer, sql);
        let driver = answer["driver"].as_str().unwrap();
        match fate {
            Refused => {
                assert!(is_refused(answer) && driver.contains("Snowfence refused this "), "{sql}: {answer}");
                assert!(!reached_by_sql.iter().any(|text| text == sql), "{sql} reached the server");
            }
            Judged => {
                assert!(!is_refused(answer), "{sql}: {answer}");
                assert!(reached_by_sql.iter().any(|text| text == sql), "{sql} did not reach the server");
            }
            Shows(what) => assert!(answer["success"] == true && driver.contains(what), "{sql}: {answer}"),
        }
    }

    let tricks = printed(&lab, "hostile_wire.py", &[]);
    let names: Vec<&str> = tricks.iter().map(|trick| trick["trick"].as_str().unwrap()).collect();
    assert_eq!(names, TRICKS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let reached_by_wire = reached(&lab);
    for ((name, end), trick) in TRICKS.iter().zip(&tricks) {
        let answers = trick["answers"].as_array().unwrap();
        for answer in answers {
            assert_no_leak(answer, name);
        }
        let is =
            |answer: &Value, good: bool| if good { answer["success"] == true } else { is_refused(answer) };
        let marks = [format!("'{name}'"), format!("/* {name} */")];
        let has_reached = reached_by_wire.iter().any(|text| marks.iter().any(|mark| text.contains(mark)));
        let as_expected = match end {
            End::Sentence => !has_reached && answers.iter().all(is_refused),
            End::Nothing => !has_reached && answers.iter().all(|answer| answer["success"] != true),
            End::Success => has_reached && answers.iter().all(|answer| is(answer, true)),
            End::Each(each) => {
                answers.len() == each.len()
                    && answers.iter().zip(*each).all(|(answer, good)| is(answer, *good))
            }
            End::Anything => true,
        };
        assert!(as_expected, "{name}: {trick}");
    }

    for text in &reached_by_wire {
        assert!(!text.to_uppercase().contains("DROP TABLE CUSTOMERS /*"), "{text} reached the server");
    }
    assert_recorded(&lab);
    assert_eq!(lab.agent_id(), agent, "{}", lab.agent_log());
    assert!(!lab.agent_log().contains("panicked"), "{}", lab.agent_log());
}
