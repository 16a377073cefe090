//! A directory page by page, and answers that are none.

use std::{fs, os::unix::fs::PermissionsExt as _};

use identity::testing;
use serde_json::json;

use super::*;
use crate::fake_issuer::{Answer, FakeIssuer};

fn path(text: &str) -> AttributePath {
    AttributePath::parse(text).unwrap()
}

/// A directory at the issuer, with its token in a folder that is kept.
fn directory(issuer: &FakeIssuer, place: &tempfile::TempDir, filter: Option<&str>) -> Directory {
    let token_file = place.path().join("token");
    fs::write(&token_file, "s3cret\n").unwrap();
    fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).unwrap();
    Directory::new(ScimConfig {
        url: issuer.url("/scim/v2/").to_string(),
        token_file,
        every: Duration::from_secs(15),
        filter: filter.map(str::to_owned),
        handles: vec![
            (HandleKind::Anywhere, vec![path("userName"), path("emails.value")]),
            (HandleKind::At("github".into()), vec![path("urn:acme:scim:User:githubLogin")]),
        ],
        tls: issuer.client_config(),
        deadline: Duration::from_secs(60),
        keep: place.path().join("kept.json"),
    })
    .unwrap()
}

fn page(total: usize, users: &Value) -> Answer {
    Answer::Body(
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": total, "Resources": users,
        })
        .to_string(),
    )
}

fn is_gone(departed: &Departed, actor: &str) -> bool {
    departed.find(&testing::observed(&json!({ "actor": actor })), None).is_some()
}

#[tokio::test]
async fn every_page_is_read_and_who_is_not_active_has_left() {
    let issuer = FakeIssuer::start().await;
    let place = tempfile::tempdir().unwrap();
    issuer.answer(
        "/scim/v2/Users?startIndex=1&count=200",
        page(
            4,
            &json!([
                {"userName": "lisa@acme.example", "active": true},
                {"userName": "mona@acme.example", "ACTIVE": false, "displayName": "Mona",
                 "emails": [{"value": "m@acme.example", "primary": true}, {"type": "work"}],
                 "urn:acme:scim:User": {"githubLogin": "mona"}},
            ]),
        ),
    );
    issuer.answer(
        "/scim/v2/Users?startIndex=3&count=200",
        page(4, &json!([{"userName": "max", "active": "False"}, {"userName": "unsaid"}])),
    );
    let departed = directory(&issuer, &place, None).ask().await.unwrap();
    assert_eq!(departed.len(), 2);
    for gone in ["mona", "mona@acme.example", "M@acme.example", "max"] {
        assert!(is_gone(&departed, gone), "{gone}");
    }
    for active in ["lisa@acme.example", "unsaid"] {
        assert!(!is_gone(&departed, active), "{active}");
    }
    let authorizations = issuer.requests().into_iter().map(|seen| seen.authorization.unwrap().to_lowercase());
    assert_eq!(authorizations.collect::<Vec<_>>(), ["bearer s3cret"; 2]);
    let (kept, _) =
        kept::read(&place.path().join("kept.json"), &issuer.url("/scim/v2/").to_string()).unwrap();
    assert_eq!(kept, departed);
}

#[tokio::test]
async fn a_filter_is_sent_and_an_empty_answer_needs_no_resources() {
    let issuer = FakeIssuer::start().await;
    let place = tempfile::tempdir().unwrap();
    let target = "/scim/v2/Users?startIndex=1&count=200&filter=active%20eq%20false";
    issuer.answer(target, Answer::Body(json!({"totalResults": 0}).to_string()));
    assert!(directory(&issuer, &place, Some("active eq false")).ask().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_that_leaves_somebody_out_is_none() {
    let issuer = FakeIssuer::start().await;
    let place = tempfile::tempdir().unwrap();
    let first = "/scim/v2/Users?startIndex=1&count=200";
    let user = json!({"userName": "mona", "active": false});
    let bad = [
        Answer::Status(401),
        Answer::Body("[]".to_owned()),
        Answer::Body("{}".to_owned()),
        Answer::Body(json!({"totalResults": 1}).to_string()),
        Answer::Body(json!({"totalResults": "1", "Resources": [user]}).to_string()),
        page(1, &json!([])),
        page(USERS_MAX + 1, &json!([user])),
    ];
    for answer in bad {
        issuer.answer(first, answer);
        assert!(directory(&issuer, &place, None).ask().await.is_err());
    }
    // The second page counts differently.
    issuer.answer(first, page(2, &json!([user])));
    issuer.answer("/scim/v2/Users?startIndex=2&count=200", page(1, &json!([user])));
    assert!(matches!(directory(&issuer, &place, None).ask().await, Err(ScimFault::Shape(_))));
}

#[test]
fn paths_of_attributes_are_read() {
    let user = json!({
        "userName": "u", "nested": {"value": "n", "other": "o"}, "list": ["a", "b", ""],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"employeeNumber": "7"},
    });
    let user = user.as_object().unwrap();
    let cases: [(&str, &[&str]); 7] = [
        ("USERNAME", &["u"]),
        ("nested", &["n"]),
        ("nested.other", &["o"]),
        ("list", &["a", "b"]),
        ("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber", &["7"]),
        ("userName.value", &[]),
        ("missing", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(path(text).names(user), expected, "{text}");
    }
    for bad in ["", ".a", "a.", "a b", "x:y", "1a", "a.b.c"] {
        assert!(AttributePath::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    let issuer = FakeIssuer::start().await;
    let place = tempfile::tempdir().unwrap();
    let good = directory(&issuer, &place, None).config;
    for url in
        ["http://idp.example/scim", "idp.example", "https://a@idp.example/", "https://idp.example/?x=1"]
    {
        let config = ScimConfig { url: url.to_owned(), ..good.clone() };
        assert!(matches!(Directory::new(config), Err(StatusError::ScimUrl(_))), "{url}");
    }
    let config = ScimConfig { token_file: place.path().join("none"), ..good };
    assert!(matches!(Directory::new(config), Err(StatusError::ScimToken { .. })));
}
