//! A session belongs to the job that logged in, and to nobody who only has its token.

use std::time::Duration;

use lab::{JobFacts, Lab, Options};

/// Logs in, prints the session token, and keeps the session open.
const OWNER: &str = r#"
import os, subprocess, sys, time
import snowflake.connector
variables = ("account", "user", "password", "database", "schema", "warehouse", "role")
connection = snowflake.connector.connect(**{v: os.environ[f"SNOWFLAKE_{v.upper()}"] for v in variables})
# The job itself may have its session in several processes.
subprocess.run([sys.executable, "-c", sys.argv[1], connection.rest.token, "the-same-job"], check=True)
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
)[:2 if "the-same-job" in sys.argv else 3]:
    connection.request("POST", path, json.dumps(body), headers)
    answer = json.loads(connection.getresponse().read())
    print(answer["success"], answer["message"], flush=True)
"#;

#[test]
fn one_job_cannot_use_anothers_session() {
    let lab = Lab::start(Options::default()).unwrap();
    let owner = lab.spawn(&["python3", "-c", OWNER, THIEF]).unwrap();
    let is_told = |said: &str| said.lines().any(|line| line.starts_with("token ")) && said.ends_with('\n');
    let output = owner.wait_until(Duration::from_secs(60), is_told).unwrap();
    assert_eq!(output.matches("True").count(), 2, "the job itself was refused: {output}");
    let token = output.lines().find_map(|line| line.strip_prefix("token ")).unwrap();
    let reached = || lab.front_log().unwrap().len();
    let ask = |facts: JobFacts| {
        let output = lab.command(&["python3", "-c", THIEF, token]).unwrap().facts(facts).run().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    let before = reached();
    // Another run, and another job of the same run, as a matrix has them.
    for facts in [JobFacts { run_id: 4712, ..JobFacts::default() }, JobFacts::default()] {
        let seen = ask(facts);
        assert_eq!(seen.matches("its session belongs to another job").count(), 3, "{seen}");
    }
    assert_eq!(reached(), before);
}
