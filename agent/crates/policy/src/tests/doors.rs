//! Logins and other exchanges.

use identity::Principal;
use model::{AccountName, HostName, Mode};

use super::{ALLOW_ALL, READS, nobody, policies, verified};
use crate::{Decision, EndpointAsk, LoginAsk, Policies};

fn login(policies: &Policies, principal: &Principal, is_static: bool, mode: Mode) -> Result<String, String> {
    let decision = policies.login(&LoginAsk {
        principal,
        account: &AccountName::new("acme"),
        user: "ETL_SVC",
        role: None,
        credential: if is_static { "password" } else { "oauth" },
        is_static,
        client: "PythonConnector",
        mode,
    });
    match decision {
        Decision::Permit(permit) => Ok(permit.would_refuse().map_or_else(String::new, ToString::to_string)),
        Decision::Hold(hold) => Err(hold.to_string()),
        Decision::Denial(denial) => Err(denial.to_string()),
    }
}

#[test]
fn logins_are_judged_by_credential() {
    let no_static = policies(&format!(
        "{READS} @id(\"no-static\") @reason(\"this credential never expires\")
         forbid (principal, action == Action::\"login\", resource) when {{ resource.static }};"
    ));
    assert_eq!(login(&policies(READS), &verified(), true, Mode::Enforce), Ok(String::new()));
    assert_eq!(login(&no_static, &verified(), false, Mode::Enforce), Ok(String::new()));
    assert_eq!(
        login(&no_static, &verified(), true, Mode::Enforce),
        Err("this credential never expires".to_owned())
    );
    assert_eq!(
        login(&no_static, &verified(), true, Mode::Observe),
        Ok("this credential never expires".to_owned())
    );
    let refused = login(&policies(READS), &nobody(), true, Mode::Enforce).unwrap_err();
    assert!(
        refused.starts_with("no rule permits login with password as ETL_SVC for a client without identity ("),
        "{refused}"
    );
    assert_eq!(login(&policies(ALLOW_ALL), &nobody(), true, Mode::Enforce), Ok(String::new()));
}

#[test]
fn other_exchanges_are_refused_unless_permitted() {
    let ask = |text: &str| {
        let host = HostName::parse("acme.snowflakecomputing.com").unwrap();
        let decision = policies(text).endpoint(&EndpointAsk {
            principal: &verified(),
            account: &AccountName::new("acme"),
            user: "",
            host: &host,
            method: "GET",
            path: "/api/v2/databases",
            mode: Mode::Enforce,
        });
        decision.permit().map(|_| ()).map_err(|denial| denial.to_string())
    };
    assert_eq!(
        ask(READS),
        Err("no rule permits GET acme.snowflakecomputing.com/api/v2/databases for \
             github:repo:acme/etl:ref:refs/heads/main"
            .to_owned())
    );
    let api = r#"@id("api") permit (principal, action == Action::"endpoint", resource)
        when { resource.method == "GET" && resource.path like "/api/v2/*" };"#;
    assert_eq!(ask(api), Ok(()));
    assert!(ask(&api.replace("GET", "POST")).is_err());
}
