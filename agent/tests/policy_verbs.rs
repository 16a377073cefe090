//! `snowfence policy check|test|explain`, as an operator runs them on files of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as the test does")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

const RULES: &str = r#"@id("etl-reads")
@reason("etl reads")
permit (principal in Group::"repository:acme/etl", action in [Action::"read", Action::"decide"], resource);

@id("no-hr")
@reason("people's data is not for pipelines")
forbid (principal, action in Action::"statement", resource in Schema::"ANALYTICS.HR");
"#;

const CLASSIFICATION: &str =
    "[[column]]\npattern = \"*.*.CUSTOMERS.EMAIL\"\ntags = [\"pii\"]\n[tags.pii]\nmask = \"keep-domain\"\n";

const CASES: &str = r#"
[session]
database = "ANALYTICS"
schema = "PUBLIC"
[principal.etl]
repository = "acme/etl"
[[case]]
name = "reads"
principal = "etl"
statement = "select email from customers"
decision = "permit"
rules = ["etl-reads"]
masks = { EMAIL = "keep-domain" }
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("policy")).unwrap();
        folder.write("policy/rules.cedar", RULES);
        folder.write("classification.toml", CLASSIFICATION);
        folder
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

/// What a verb prints, and the code that it ends with.
fn run(folder: &Path, verb: &str, arguments: &[&str], input: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_snowfence"))
        .args(["policy", verb, "--policy"])
        .arg(folder.join("policy"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A verb that reads nothing may be gone by now.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn json(folder: &Path, verb: &str, arguments: &[&str]) -> (i32, Value) {
    let (code, text) = run(folder, verb, &[arguments, &["--json"]].concat(), "");
    (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[test]
fn check_lists_every_problem_with_its_place() {
    let folder = Folder::new();
    assert_eq!(
        run(folder.0.path(), "check", &[], ""),
        (0, "2 rules in 1 file, all in order\nclassification: 1 pattern of columns, 0 of objects, 0 masks of its own, 0 keys, 0 detectors\n".to_owned())
    );

    let detector = format!("{CLASSIFICATION}[[detector]]\nfind = [\"jwt\"]\n");
    folder.write("classification.toml", &detector);
    let (code, report) = json(folder.0.path(), "check", &[]);
    assert_eq!((code, &report["classification"]["detectors"]), (0, &Value::from(1)));
    let (code, report) = json(
        folder.0.path(),
        "explain",
        &["select id from analytics.public.orders", "--repository", "acme/etl"],
    );
    assert_eq!((code, &report["columns"][0]["watched"][0]), (0, &Value::from("jwt")), "{report}");

    folder.write(
        "policy/wrong.cedar",
        "@id(\"a\") permit (principal, action == Action::\"SELEKT\", resource);\npermit (principal, action, resource);\n",
    );
    folder.write("classification.toml", "[[colum]]\n");
    let (code, text) = run(folder.0.path(), "check", &[], "");
    assert_eq!(code, 1, "{text}");
    for words in
        ["wrong.cedar:1:", "did you mean `Action::\"SELECT\"`", "wrong.cedar:2:1:", "toml:1:3:", "3 problems"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (code, report) = json(folder.0.path(), "check", &[]);
    assert_eq!((code, &report["good"], &report["rules"]), (1, &Value::Bool(false), &Value::Null));
    let places: Vec<_> =
        report["problems"].as_array().unwrap().iter().map(|p| p["line"].as_u64().unwrap()).collect();
    assert_eq!(places, [1, 1, 2]);

    fs::remove_file(folder.path("classification.toml")).unwrap();
    let (code, text) = run(folder.0.path(), "check", &[], "");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("--classification"), "{text}");
}

#[test]
fn test_runs_the_cases_of_the_folder() {
    let folder = Folder::new();
    let (code, text) = run(folder.0.path(), "test", &[], "");
    assert!(code == 2 && text.contains("there is no *.test.toml"), "{text}");

    folder.write("policy/a.test.toml", CASES);
    assert_eq!(run(folder.0.path(), "test", &[], ""), (0, "1 case, all as expected\n".to_owned()));

    folder.write("policy/b.test.toml", &CASES.replace("keep-domain", "null"));
    let (code, text) = run(folder.0.path(), "test", &[], "");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("b.test.toml:7: reads\n    expected mask null for EMAIL, is keep-domain\n2 cases, 1 not as expected"), "{text}");
    let (code, report) = json(folder.0.path(), "test", &[]);
    assert_eq!((code, report["cases"].as_array().unwrap().len()), (1, 2));
    assert_eq!(report["cases"][1]["good"], false);

    folder.write("policy/b.test.toml", "[[case]]\nstatement = 1\n");
    let (code, text) = run(folder.0.path(), "test", &[], "");
    assert!(code == 2 && text.contains("b.test.toml:2:13:"), "{text}");
}

#[test]
fn explain_says_why() {
    let folder = Folder::new();
    let names = ["--database", "analytics", "--schema", "public"];
    let explain =
        |who: &[&str], sql: &str| run(folder.0.path(), "explain", &[&names, who, &[sql]].concat(), "");

    let (code, text) = explain(&["--repository", "acme/etl"], "select email from customers");
    assert_eq!(code, 0, "{text}");
    for words in [
        "permitted by etl-reads",
        "in group repository:acme/etl",
        "read table ANALYTICS.PUBLIC.CUSTOMERS",
        "permit  SELECT on Table::\"ANALYTICS.PUBLIC.CUSTOMERS\"",
        "rules.cedar:1:1) permits it",
        "EMAIL  masked: keep-domain (pii)",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }

    let (code, text) = explain(&["--repository", "acme/etl"], "select * from hr.people");
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("refused by no-hr") && text.contains("people's data is not for pipelines"),
        "{text}"
    );

    let (_, text) = explain(&["--repository", "acme/etl", "--observed"], "select 1");
    assert!(text.contains("etl-reads (") && text.contains("it counts for verified jobs"), "{text}");

    let (_, text) = explain(&[], "select 1");
    assert!(text.contains("a client without identity"), "{text}");

    let (_, text) = explain(&["--repository", "acme/etl"], "frobnicate \u{1b}[2J");
    assert!(text.contains("was not understood") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn explain_tells_a_rule_that_would_permit_what_none_permits() {
    let folder = Folder::new();
    let names = ["--database", "analytics", "--schema", "public"];
    let columns = "select c.email from customers c join \"odd name\" o on o.id = c.id";
    let copy = "create table copy as select email from customers";
    for (who, sql) in [
        (["--repository", "acme/etl"].as_slice(), copy),
        (&["--repository", "acme/web"], columns),
        (&["--repository", "acme/web", "--observed"], "drop table customers"),
        (&[], "call p()"),
    ] {
        let explain = || json(folder.0.path(), "explain", &[&names, who, &[sql]].concat()).1;
        let told = explain();
        assert_eq!(told["decision"], "deny", "{told}");
        let rule = told["would_permit"].as_str().unwrap_or_else(|| panic!("{told}"));
        folder.write("policy/suggested.cedar", rule);
        let told = explain();
        assert_eq!(
            (&told["decision"], &told["would_permit"]),
            (&"permit".into(), &Value::Null),
            "{rule}\n{told}"
        );
        fs::remove_file(folder.path("policy/suggested.cedar")).unwrap();
    }
    // A rule that forbids is not outdone by one that permits.
    let (_, told) =
        json(folder.0.path(), "explain", &["--repository", "acme/etl", "select * from analytics.hr.people"]);
    assert_eq!((&told["decision"], &told["would_permit"]), (&"deny".into(), &Value::Null));
    let (_, text) = run(folder.0.path(), "explain", &["--repository", "acme/web", "select 1"], "");
    assert!(text.contains("a rule that does so:\n  @id(\"choose-a-name\")"), "{text}");
    assert!(text.contains("etl-reads (") && text.contains("it is for another principal"), "{text}");
}

#[test]
fn explain_takes_claims_columns_and_a_statement_from_standard_input() {
    let folder = Folder::new();
    folder.write(
        "claims.json",
        r#"{"sub": "repo:acme/etl:environment:production", "repository": "acme/etl", "iss": "x", "exp": 1}"#,
    );
    folder.write("tables.toml", "[tables]\n\"ANALYTICS.PUBLIC.CUSTOMERS\" = [\"ID\", \"EMAIL\"]\n");
    let (claims, tables) = (folder.path("claims.json"), folder.path("tables.toml"));
    let arguments =
        ["--claims", claims.to_str().unwrap(), "--tables", tables.to_str().unwrap(), "--json", "-"];
    let (code, text) =
        run(folder.0.path(), "explain", &arguments, "select email from analytics.public.customers");
    assert_eq!(code, 0, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["principal"], "github:repo:acme/etl:environment:production");
    assert_eq!(report["decision"], "permit");
    assert_eq!(report["statements"][0]["class"], "SELECT");
    assert_eq!(report["columns"][0]["mask"], "keep-domain");
    assert_eq!(report["questions"][0]["rules"][0]["rule"], "etl-reads");

    folder.write("claims.json", "[]");
    let (code, text) = run(folder.0.path(), "explain", &arguments, "select 1");
    assert!(code == 2 && text.contains("holds no claims"), "{text}");
}
