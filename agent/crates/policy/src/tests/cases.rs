//! Cases tell whether rules do what somebody expects of them, and explanations why.

use std::sync::Arc;

use model::{AccountName, Mode, SqlText};

use super::{READS, policies, session};
use crate::{Cases, Policies, PolicyFile, Supposed, SupposedAsk, SupposedAssurance};

fn parse(text: &str) -> Result<Cases, String> {
    Cases::parse(&PolicyFile { name: "p.test.toml".into(), text: text.into() }).map_err(|e| e.to_string())
}

/// The differences of all cases, one a line.
fn run(policies: &Policies, text: &str) -> String {
    let results = parse(text).unwrap().run(policies);
    let lines = results.into_iter().flat_map(|result| {
        let (place, name) = (result.place, result.name);
        result.differences.into_iter().map(move |line| format!("{place}: {name}: {line}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

const HEAD: &str = r#"
[session]
database = "ANALYTICS"
schema = "PUBLIC"

[principal.etl]
repository = "acme/etl"
ref = "refs/heads/main"

[principal.fork]
repository = "evil/fork"
assurance = "observed"
"#;

#[test]
fn cases_that_hold_and_cases_that_do_not() {
    let rules = policies(READS);
    let good = format!(
        "{HEAD}
[[case]]
principal = \"etl\"
statements = [\"select email from customers\", \"select c.email from public.customers c\"]
decision = \"permit\"
rules = [\"etl-reads\"]
masks = {{ EMAIL = \"keep-domain\" }}

[[case]]
principal = \"etl\"
statement = \"select * from customers\"
decision = \"permit\"
masks = {{ ID = \"none\", SSN = \"partial\" }}

[[case]]
principal = \"fork\"
statement = \"select 1\"
decision = \"deny\"
rules = [\"default-deny\"]
reason = \"no rule permits SELECT\"

[[case]]
principal = \"etl\"
login = {{ credential = \"password\", static = true }}
decision = \"permit\"

[[case]]
principal = \"etl\"
session = {{ role = \"etl\", secondary_roles = \"none\", variables = {{ t = \"customers\" }} }}
statement = \"select ssn from identifier($t)\"
decision = \"permit\"
masks = {{ SSN = \"partial\" }}
"
    );
    assert_eq!(run(&rules, &good), "");
    let bad = format!(
        "{HEAD}
[[case]]
name = \"drops\"
principal = \"etl\"
statement = \"drop table t\"
decision = \"permit\"

[[case]]
principal = \"etl\"
statement = \"select email from customers\"
decision = \"permit\"
rules = [\"other\"]
masks = {{ EMAIL = \"none\", X = \"null\" }}

[[case]]
statement = \"select 1\"
decision = \"deny\"
reason = \"xyz\"
"
    );
    let found = run(&rules, &bad);
    for line in [
        "p.test.toml:14:1: drops: expected permit, is deny by default-deny: no rule permits DROP on table ANALYTICS.PUBLIC.T",
        "p.test.toml:20:1: case 2: expected by other, is by etl-reads",
        "p.test.toml:20:1: case 2: expected mask none for EMAIL, is keep-domain",
        "p.test.toml:20:1: case 2: the text tells of no column X in the result",
        "p.test.toml:27:1: case 3: expected a reason with \"xyz\", is: no rule permits",
    ] {
        assert!(found.contains(line), "{line}\n--\n{found}");
    }
    assert_eq!(found.lines().count(), 5, "{found}");
}

#[test]
fn what_is_wrong_with_cases_is_said_with_its_place() {
    for (text, expected) in [
        ("[[case]]\nstatement = \"x\"\ndecision = \"allow\"\n", "p.test.toml:3:12: unknown variant `allow`"),
        ("[[case]]\nstatemnt = \"x\"\ndecision = \"deny\"\n", "p.test.toml:2:1: unknown field `statemnt`"),
        (
            "[[case]]\ndecision = \"deny\"\n",
            "p.test.toml:1:1: a case has a statement, statements, or a login",
        ),
        (
            "[principal.etl]\n[[case]]\nprincipal = \"elt\"\nstatement = \"x\"\ndecision = \"deny\"\n",
            "p.test.toml:3:13: there is no [principal.elt]; did you mean \"etl\"?",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

fn explain(policies: &Policies, who: &Supposed, sql: &str) -> crate::Explanation {
    let facts = Arc::new(sql::analyze(&SqlText::new(sql).unwrap(), &session(), &sql::Catalog::default()));
    let account = AccountName::new("acme");
    let ask = SupposedAsk { who, account: &account, user: "U", role: "R", mode: Mode::Enforce };
    policies.explain(&ask, &facts, &["ID", "EMAIL"])
}

#[test]
fn an_explanation_names_each_rule_that_counted_and_why_others_did_not() {
    let rules = policies(&format!(
        "{READS}
@id(\"no-hr\") @reason(\"people's data\") forbid (principal, action in Action::\"read\", resource in Schema::\"ANALYTICS.HR\");
@id(\"others\") permit (principal in Group::\"repository:acme/web\", action in Action::\"ddl\", resource);
@id(\"staging\") permit (principal, action in Action::\"ddl\", resource in Schema::\"ANALYTICS.STAGING\");
@id(\"nights\") permit (principal, action in Action::\"ddl\", resource) when {{ principal.event == \"schedule\" }};"
    ));
    let etl = Supposed { repository: Some("acme/etl".into()), ..Supposed::default() };
    let told = explain(&rules, &etl, "select * from customers");
    assert_eq!((told.decision, told.rules, told.reason), ("permit", vec!["etl-reads".to_owned()], None));
    assert_eq!(told.groups, ["repository:acme/etl", "owner:acme", "provider:github"]);
    let question = &told.questions[0];
    assert_eq!(
        (question.action.as_str(), question.resource.as_str(), question.answer),
        ("SELECT", "Table::\"ANALYTICS.PUBLIC.CUSTOMERS\"", "permit")
    );
    let counted = &question.rules[0];
    assert_eq!(
        (counted.effect, counted.place.as_ref().unwrap().to_string().as_str()),
        ("permit", "p.cedar:2:1")
    );
    assert!(counted.text.contains("repository:acme/etl"), "{}", counted.text);
    let tagged: Vec<_> = told.tagged.iter().map(|c| (c.column.as_str(), c.mask)).collect();
    assert_eq!(
        tagged,
        [
            ("ANALYTICS.PUBLIC.CUSTOMERS.EMAIL", Some("keep-domain")),
            ("ANALYTICS.PUBLIC.CUSTOMERS.SSN", Some("partial"))
        ]
    );
    let masks: Vec<_> = told.columns.iter().map(|c| (c.name.as_str(), c.mask)).collect();
    assert_eq!(masks, [("ID", None), ("EMAIL", Some("keep-domain"))]);

    let told = explain(&rules, &etl, "select * from hr.people");
    assert_eq!((told.decision, told.reason.as_deref()), ("deny", Some("people's data")));
    assert_eq!(told.questions[0].rules[0].reason.as_deref(), Some("people's data"));

    let told = explain(&rules, &etl, "drop table orders");
    assert_eq!((told.decision, told.rules), ("deny", vec!["default-deny".to_owned()]));
    let missed: Vec<_> = told.questions[0].missed.iter().map(|m| format!("{}: {}", m.rule, m.why)).collect();
    assert_eq!(
        missed,
        [
            "nights: its condition is not met: when { principal.event == \"schedule\" }",
            "others: it is for another principal: in Group::\"repository:acme/web\"",
            "staging: it is about something else: in Schema::\"ANALYTICS.STAGING\"",
        ]
    );
    let observed = Supposed { assurance: Some(SupposedAssurance::Observed), ..etl };
    let told = explain(&rules, &observed, "drop table staging.t");
    assert!(
        told.questions[0]
            .missed
            .iter()
            .any(|m| m.why == "it counts for verified jobs, and this one is observed"),
        "{:?}",
        told.questions[0].missed
    );
}

#[test]
fn an_explanation_is_what_the_judge_says() {
    let rules = policies(READS);
    let etl = Supposed {
        repository: Some("acme/etl".into()),
        git_ref: Some("refs/heads/main".into()),
        ..Supposed::default()
    };
    for sql in ["select 1", "select * from customers", "drop table t", "frobnicate", "select 1; select 2"] {
        let told = explain(&rules, &etl, sql);
        let rules_told = told.rules.join(" ");
        let shown = match told.reason {
            None => format!("{} [{rules_told}]", told.decision),
            Some(reason) => format!("{} [{rules_told}] {reason}", told.decision),
        };
        assert_eq!(shown, super::verdict(&rules, &super::verified(), sql));
    }
}
