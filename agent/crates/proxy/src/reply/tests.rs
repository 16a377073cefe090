//! What becomes of a reply: what is passed on, and what is withheld although Snowflake gave it.

use identity::testing;
use model::{AccountName, Ident, Mode, QueryId, SqlText};
use policy::{Classification, Policies, PolicyFile};
use uuid::Uuid;

use super::*;

const READS: &str = r#"@id("reads") @assurance("observed")
permit (principal, action in Action::"read", resource);"#;

const SSN_IS_PII: &str =
    "[[column]]\npattern = \"*.*.*.SSN\"\ntags = [\"pii\"]\n[tags.pii]\nmask = \"null\"\n";

/// What a permit to run `text` owes.
fn clearance(text: &str) -> Clearance {
    let files = [PolicyFile { name: "reads.cedar".into(), text: READS.into() }];
    let policies = Policies::compile(&files, Classification::parse("c.toml", SSN_IS_PII).unwrap()).unwrap();
    let scope = sql::SessionNames {
        database: Some(Ident::exact("DB")),
        schema: Some(Ident::exact("S")),
        fold_quoted: false,
    };
    let asked = StatementAsk {
        principal: &testing::observed(&serde_json::json!({})),
        account: &AccountName::new("acme"),
        user: "U",
        role: None,
        facts: &sql::analyze(&SqlText::new(text).unwrap(), &scope),
        query_id: QueryId::new(Uuid::from_u128(1)),
        mode: Mode::Enforce,
    };
    policies.statement(&asked).permit().unwrap().spend().2
}

/// A reply with two rows of one column, and more in `data`.
fn reply(column: &str, more: &str) -> QuerySuccess {
    let body = format!(
        r#"{{"data":{{"rowtype":[{{"name":"{column}","type":"text","nullable":false}}],"rowset":[["canary-1"],["canary-2"]],
        "queryId":"01b","queryResultFormat":"json"{more}}},"code":null,"message":null,"success":true}}"#
    );
    match QueryReply::decode(body.into_bytes()).unwrap() {
        QueryReply::Success(success) => *success,
        other => panic!("{other:?}"),
    }
}

fn passed(text: &str, column: &str, more: &str) -> Result<String, Withheld> {
    let (_, body) = pass(reply(column, more), clearance(text))?;
    Ok(String::from_utf8(body).unwrap())
}

const CHUNKS: &str =
    r#","chunks":[{"url":"https://x/1","rowCount":5,"uncompressedSize":1,"compressedSize":1}],"total":7"#;

#[test]
fn untagged_rows_pass_as_they_came_and_tagged_ones_masked() {
    let as_it_came = passed("select city from t", "CITY", r#","total":2"#).unwrap();
    assert!(as_it_came.contains(r#"[["canary-1"],["canary-2"]]"#), "{as_it_came}");
    let masked = passed("select ssn from t", "SSN", r#","total":2"#).unwrap();
    assert!(masked.contains("[[null],[null]]") && !masked.contains("canary"), "{masked}");
}

#[test]
fn a_masked_result_with_chunks_is_withheld() {
    assert!(matches!(passed("select ssn from t", "SSN", CHUNKS), Err(Withheld::Chunks)));
    // Without a mask the client may fetch them by itself.
    assert!(passed("select city from t", "CITY", CHUNKS).unwrap().contains("https://x/1"));
}

#[test]
fn a_masked_result_that_leads_elsewhere_is_withheld() {
    for more in [r#","resultIds":"01c,01d""#, r#","command":"DOWNLOAD","stageInfo":{"creds":{}}"#] {
        assert!(matches!(passed("select ssn from t", "SSN", more), Err(Withheld::Elsewhere)), "{more}");
    }
}

#[test]
fn a_result_with_other_rows_than_it_says_is_withheld() {
    for total in ["0", "1", "3"] {
        let more = format!(r#","total":{total}"#);
        assert!(matches!(passed("select city from t", "CITY", &more), Err(Withheld::Short)), "{total}");
    }
}
