//! Which addresses are guarded: those that prove themselves, whoever names them; and how soon a driver is caught that
//! found Snowflake's address by itself.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test does"
)]

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use lab::internet::ELSEWHERE;
use lab::{Lab, Options};
use serde_json::Value;

const ACCOUNT: &str = "acme.snowflakecomputing.com";
/// The same account by way of a private link, and the host that drivers then ask about certificates.
const PRIVATE: [&str; 2] =
    ["acme.privatelink.snowflakecomputing.com", "ocsp.acme.privatelink.snowflakecomputing.com"];
/// Where Snowflake answers, and what its cache of certificates' states does.
const SNOWFLAKE: &str = "203.0.113.10";
const OCSP_CACHE: &str = "203.0.113.30";
/// An ordinary web site of the lab's internet.
const SITE: &str = "203.0.113.80";
/// Most that a client may wait for being caught. Its own pauses between two tries are in it.
const CAUGHT_WITHIN: Duration = Duration::from_secs(30);
/// How long the agent may take for what it does in its own time.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// Starts a lab whose agent asks DNS every second, and which is told so before it starts.
fn attentive() -> Lab {
    let lab = Lab::start(Options::direct()).unwrap();
    let config = fs::read_to_string(lab.config()).unwrap();
    fs::write(lab.config(), config.replace("[guard]\n", "[guard]\nrefresh_seconds = 1\n")).unwrap();
    lab
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn status(lab: &Lab) -> Value {
    serde_json::from_slice(&lab.snowfence(&["status", "--json"]).unwrap().stdout).unwrap()
}

/// The addresses that `status` has under a name.
fn addresses(status: &Value, name: &str) -> Vec<String> {
    let listed = status[name].as_array().unwrap().iter();
    listed.map(|entry| entry["address"].as_str().unwrap().to_owned()).collect()
}

/// Waits until `status` is as expected.
fn wait_for_status(lab: &Lab, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let status = status(lab);
        if is_so(&status) {
            return status;
        }
        assert!(start.elapsed() < SEEN_WITHIN, "{status:#}\n{}", lab.agent_log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Adds to the hosts file of the whole lab, which the agent reads as everybody else does.
fn add_host(lab: &Lab, address: &str, host: &str) {
    let line = format!("echo {address} {host} >>/etc/hosts");
    assert!(lab.exec_host(&["sh", "-c", &line]).unwrap().status.success());
}

/// Asks the web site for a page, and says who answered.
fn visit(lab: &Lab, more: &[&str], host: &str) -> Output {
    let url = format!("https://{host}/");
    let command = [&["curl", "-sSv", "--max-time", "5"], more, &[&url]].concat();
    lab.exec_host(&command).unwrap()
}

#[test]
fn an_address_that_dns_names_is_guarded_only_when_it_proves_itself() {
    let lab = attentive();
    add_host(&lab, SNOWFLAKE, ACCOUNT);
    add_host(&lab, SITE, ACCOUNT);
    lab.start_agent().unwrap();
    let begun = status(&lab);
    assert_eq!(begun["guarded"][0]["addresses"], serde_json::json!([SNOWFLAKE]));
    assert_eq!(addresses(&begun, "unproved"), [SITE]);
    assert!(begun["unproved"][0]["reason"].as_str().unwrap().contains(ACCOUNT), "{begun}");
    // Whoever put that address into the answer has not led the site's visitors to the agent.
    let visited = visit(&lab, &[], "www.example.org");
    assert!(visited.status.success() && text(&visited.stderr).contains("Lab Internet"), "{visited:?}");
    // One that is added while the agent runs, and is what it is said to be.
    let other = ELSEWHERE[0].to_string();
    add_host(&lab, &other, ACCOUNT);
    let both = serde_json::json!([SNOWFLAKE, other]);
    wait_for_status(&lab, |status| status["guarded"][0]["addresses"] == both);
    assert!(visit(&lab, &[], "www.example.org").status.success());
    // What an answer no longer has stays guarded.
    let emptied = "echo 127.0.0.1 localhost >/etc/hosts";
    assert!(lab.exec_host(&["sh", "-c", emptied]).unwrap().status.success());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(status(&lab)["guarded"][0]["addresses"], both);
}

#[test]
fn an_account_on_a_private_link_is_guarded_and_its_rows_are_masked() {
    let lab = Lab::start(Options::direct()).unwrap();
    let [host, cache] = PRIVATE;
    add_host(&lab, SNOWFLAKE, host);
    add_host(&lab, OCSP_CACHE, cache);
    let config = fs::read_to_string(lab.config()).unwrap();
    fs::write(lab.config(), config.replace(&format!("[\"{ACCOUNT}\"]"), &format!("[\"{host}\"]"))).unwrap();
    lab.start_agent().unwrap();
    let begun = status(&lab);
    assert_eq!(begun["guarded"][0]["host"], host, "{begun}");
    assert_eq!(begun["ocsp"], serde_json::json!([OCSP_CACHE]));
    // The policy speaks of the account, whichever way leads there. curl does not log in.
    let drivers = CLIENTS.iter().filter(|(client, _)| !client.starts_with("curl"));
    for (_, command) in drivers {
        seconds(&lab, &[&["env", "SNOWFLAKE_ACCOUNT=acme.privatelink"], *command].concat());
    }
}

#[test]
fn an_account_none_of_whose_addresses_proves_itself_keeps_the_agent_from_starting() {
    let lab = attentive();
    add_host(&lab, SITE, ACCOUNT);
    let error = lab.start_agent().unwrap_err().to_string();
    assert!(
        error.contains(ACCOUNT) && error.contains(SITE) && error.contains("cannot be guarded"),
        "{error}"
    );
}

#[test]
fn a_guarded_name_at_an_address_of_somebody_else_stays_cut_off() {
    let lab = Lab::start(Options::default()).unwrap();
    let there = format!("{ACCOUNT}:443:{SITE}");
    let asked = visit(&lab, &["--resolve", &there], ACCOUNT);
    assert_eq!(asked.status.code(), Some(28), "curl had to give up: {}", text(&asked.stderr));
    let seen = wait_for_status(&lab, |status| addresses(status, "unproved") == [SITE]);
    assert_eq!(seen["unproved"][0]["host"], ACCOUNT);
    assert!(seen["learned"].as_array().unwrap().is_empty(), "{seen}");
    assert!(visit(&lab, &[], "www.example.org").status.success(), "the site itself is not touched");
}

#[test]
fn an_account_that_is_not_configured_is_refused_in_words_at_an_address_that_no_name_leads_to() {
    let lab = Lab::start(Options::default()).unwrap();
    let address = ELSEWHERE[0].to_string();
    let there = format!("other.snowflakecomputing.com:443:{address}");
    let asked = visit(
        &lab,
        &["--resolve", &there, "--retry", "5", "--retry-all-errors"],
        "other.snowflakecomputing.com",
    );
    assert!(text(&asked.stdout).contains("Snowfence refused this"), "{asked:?}\n{}", lab.agent_log());
    assert_eq!(addresses(&status(&lab), "learned"), [address]);
}

/// A client, and a command by which it logs in, asks for a masked column, and says how many seconds that took.
const CLIENTS: [(&str, &[&str]); 6] = [
    ("Python connector 4", &["python3", "-c", CONNECTOR]),
    ("Python connector 5", &["python3-connector5", "-c", CONNECTOR]),
    ("ADBC (Go)", &["python3", "-c", ADBC]),
    ("Node", &["node", "-e", NODE]),
    ("Snowflake CLI", &["sh", "-c", SNOW]),
    ("curl --retry", &["sh", "-c", CURL]),
];

const CONNECTOR: &str = r#"
import os, time, snowflake.connector
names = ("account", "user", "password", "database", "schema", "warehouse", "role")
start = time.monotonic()
connection = snowflake.connector.connect(**{name: os.environ["SNOWFLAKE_" + name.upper()] for name in names})
row = connection.cursor().execute("SELECT CITY, SSN FROM CUSTOMERS ORDER BY ID LIMIT 1").fetchone()
print("seconds", time.monotonic() - start, row)
"#;

const ADBC: &str = r#"
import os, time, adbc_driver_snowflake.dbapi
names = {"account": "ACCOUNT", "db": "DATABASE", "schema": "SCHEMA", "warehouse": "WAREHOUSE", "role": "ROLE"}
options = {f"adbc.snowflake.sql.{option}": os.environ["SNOWFLAKE_" + name] for option, name in names.items()}
options |= {"username": os.environ["SNOWFLAKE_USER"], "password": os.environ["SNOWFLAKE_PASSWORD"]}
start = time.monotonic()
with adbc_driver_snowflake.dbapi.connect(db_kwargs=options, autocommit=True) as connection:
    cursor = connection.cursor()
    cursor.execute("SELECT CITY, SSN FROM CUSTOMERS ORDER BY ID LIMIT 1")
    row = cursor.fetchone()
print("seconds", time.monotonic() - start, row)
"#;

const NODE: &str = r#"
const snowflake = require('snowflake-sdk');
snowflake.configure({ logLevel: 'OFF', logFilePath: 'STDOUT', additionalLogToConsole: false });
const names = { account: 'ACCOUNT', username: 'USER', password: 'PASSWORD', database: 'DATABASE', schema: 'SCHEMA', warehouse: 'WAREHOUSE', role: 'ROLE' };
const given = Object.entries(names).map(([option, name]) => [option, process.env[`SNOWFLAKE_${name}`]]);
const start = process.hrtime.bigint();
const fail = (error) => { console.error(error); process.exit(1); };
const connection = snowflake.createConnection(Object.fromEntries(given));
connection.connect((error) => error ? fail(error) : connection.execute({
  sqlText: 'SELECT CITY, SSN FROM CUSTOMERS ORDER BY ID LIMIT 1',
  complete: (error, statement, rows) => {
    if (error) fail(error);
    console.log('seconds', Number(process.hrtime.bigint() - start) / 1e9, JSON.stringify(rows));
    process.exit(0);
  },
}));
"#;

/// The CLI takes a second or two to start, with or without an agent.
const SNOW: &str = r#"
start=$(date +%s.%N)
snow sql --temporary-connection --format json -q "SELECT CITY, SSN FROM CUSTOMERS ORDER BY ID LIMIT 1" || exit 1
python3 -c "import sys, time; print('seconds', time.time() - float(sys.argv[1]))" "$start"
"#;

/// Nothing is logged in here: the agent's own refusal of what it does not know is the answer.
const CURL: &str = r#"
curl -sS --retry 5 --retry-all-errors -w 'seconds %{time_total}\n' https://acme.snowflakecomputing.com/nothing-of-snowflakes
"#;

/// Swallows everything that comes to port 80 of the internet, as many a firewall does.
const SWALLOW: &str = "nft add table ip hole && nft add chain ip hole in '{ type filter hook input priority 0; }' \
                       && nft add rule ip hole in tcp dport 80 drop";

/// How long the Go driver waits where nobody answers; Node's waits five seconds.
const WAITED_AT_LEAST: f64 = 15.0;

/// What a client says that its login and its query took.
fn seconds(lab: &Lab, command: &[&str]) -> f64 {
    let output = lab.run(command).unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("****"), "{said}{}", text(&output.stderr));
    said.split("seconds ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().parse().unwrap()
}

#[test]
fn a_driver_that_asks_about_certificates_does_not_wait_where_port_80_is_swallowed() {
    let lab = Lab::start(Options::default()).unwrap();
    let swallowed = lab.exec_internet(&["sh", "-c", SWALLOW]).unwrap();
    assert!(swallowed.status.success(), "{}", text(&swallowed.stderr));
    assert_eq!(status(&lab)["ocsp"], serde_json::json!(["203.0.113.30"]));
    let (adbc, node) = (seconds(&lab, &["python3", "-c", ADBC]), seconds(&lab, &["node", "-e", NODE]));
    // An agent that is told to answer for nobody shows what is spared.
    assert_eq!(lab.stop_agent().unwrap(), Some(0));
    let config = fs::read_to_string(lab.config()).unwrap();
    fs::write(lab.config(), config.replace("[guard]\n", "[guard]\nocsp_hosts = []\n")).unwrap();
    lab.start_agent().unwrap();
    let slow = seconds(&lab, &["node", "-e", NODE]);
    println!("answered: ADBC {adbc:.1} s, Node {node:.1} s; swallowed: Node {slow:.1} s");
    assert!(adbc < WAITED_AT_LEAST, "{adbc} s");
    assert!(slow - node > 3.0, "{node} s with an answer, {slow} s without");
}

/// Runs a client whose hosts file, which it alone sees, leads the account to `address`. Answers its seconds and its words.
fn caught(lab: &Lab, command: &[&str], address: &str) -> (f64, String) {
    let alone = format!(
        "printf '127.0.0.1 localhost\\n{address} {ACCOUNT}\\n' >\"$0\" && mount --bind \"$0\" /etc/hosts && exec \"$@\""
    );
    let hosts = lab.folder().join(format!("hosts-{address}"));
    let words = [&["unshare", "--mount", "sh", "-c", &alone, hosts.to_str().unwrap()], command].concat();
    let start = Instant::now();
    let output = lab.run(&words).unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{command:?}: {said}{}\n{}", text(&output.stderr), lab.agent_log());
    let seconds = said.split("seconds ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    // curl tells the time of its last try alone.
    let seconds = if command[0] == "sh" { start.elapsed().as_secs_f64() } else { seconds.parse().unwrap() };
    (seconds, said)
}

#[test]
fn each_client_is_caught_at_an_address_that_no_name_leads_to() {
    let lab = Lab::start(Options::default()).unwrap();
    for ((client, command), address) in CLIENTS.into_iter().zip(ELSEWHERE) {
        let address = address.to_string();
        let (first, said) = caught(&lab, command, &address);
        assert!(addresses(&status(&lab), "learned").contains(&address), "{client}: {}", lab.agent_log());
        assert!(
            said.contains("****") || said.contains("Snowfence refused"),
            "{client} was not caught: {said}"
        );
        let (again, _) = caught(&lab, command, &address);
        println!("| {client} | {first:.1} s | {again:.1} s |");
        assert!(
            first - again < CAUGHT_WITHIN.as_secs_f64(),
            "{client}: {first} s, and {again} s when it is known"
        );
    }
}
