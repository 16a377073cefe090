//! A session belongs to the job that logged in, and to nobody who only has its token.

use std::time::Duration;

use lab::{JobFacts, Lab, Options};

/// Logs in, prints the session token, and keeps the session open.
const OWNER: &str = r#"
import os, time
import snowflake.connector
variables = ("account", "user", "password", "database", "schema", "warehouse", "role")
connection = snowflake.connector.connect(**{v: os.environ[f"SNOWFLAKE_{v.upper()}"] for v in variables})
print("token", connection.rest.token, flush=True)
time.sleep(240)
"#;

/// Sends a statement, a heartbeat and the end of the session with a token that somebody else was given.
const THIEF: &str = r#"
import http.client, json, ssl, sys, uuid
connection = http.client.HTTPSConnection("acme.snowflakecomputing.com", context=ssl.create_default_context())
headers = {"Authorization": f'Snowflake Token="{sys.argv[1]}"', "Content-Type": "application/json"}
for path, body in (
    (f"/queries/v1/query-request?requestId={uuid.uuid4()}", {"sqlText": "select count(*) from customers"}),
    ("/session/heartbeat", {}),
    ("/session?delete=true", {}),
):
    connection.request("POST", path, json.dumps(body), headers)
    answer = json.loads(connection.getresponse().read())
    print(answer["success"], answer["message"], flush=True)
"#;

#[test]
fn one_job_cannot_use_anothers_session() {
    let lab = Lab::start(Options::default()).unwrap();
    let owner = lab.spawn(&["python3", "-c", OWNER]).unwrap();
    let output = owner.wait_until(Duration::from_secs(60), |said| said.ends_with('\n')).unwrap();
    let token = output.trim_end().strip_prefix("token ").unwrap();
    let reached = || lab.front_log().unwrap().len();
    let ask = |facts: JobFacts| {
        let output = lab.command(&["python3", "-c", THIEF, token]).unwrap().facts(facts).run().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    let before = reached();
    let another_run = ask(JobFacts { run_id: 4712, ..JobFacts::default() });
    assert_eq!(another_run.matches("its session belongs to another job").count(), 3, "{another_run}");
    assert_eq!(reached(), before);
    // The same job may: drivers open several connections, and a step may start several processes.
    let same_run = ask(JobFacts::default());
    assert_eq!(same_run.matches("True").count(), 3, "{same_run}");
}
