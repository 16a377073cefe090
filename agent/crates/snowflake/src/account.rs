//! Which account a host name stands for, and by which names a login may call it there.
//!
//! One account has several names: with or without the region that is every account's if none is said, by way of a private
//! link or not, through the address that is the same in all regions. Drivers call it by the first label alone, as
//! `parse_account` of the Python connector does; clients that are handed a whole name send that.

use model::{AccountName, HostName};

/// What stands between an account and the top-level domain.
const DOMAIN: &str = ".snowflakecomputing.";
/// The last label of a name that leads by way of a private link.
const PRIVATE_LINK: &str = "privatelink";
/// The second label of a name that is the same in all regions. To the first one, an id is appended after a hyphen.
const GLOBAL: &str = "global";
/// The region of an account whose name says none. Drivers leave it out.
const HOME_REGION: &str = "us-west-2";

/// The account that a host stands for: `ACME` for `acme.snowflakecomputing.com`, and for
/// `acme.privatelink.snowflakecomputing.com`; `XY1.EU-CENTRAL-1` for `xy1.eu-central-1.snowflakecomputing.com`. A host
/// that is none of Snowflake's stands for its own name.
#[must_use]
pub fn account_of(host: &HostName) -> AccountName {
    let name = host.as_str();
    let account =
        name.split_once(DOMAIN).map_or_else(|| name.to_owned(), |(labels, _)| essence(labels).join("."));
    AccountName::new(&account)
}

/// Whether `named`, as a login has it, is `account`. Both may leave out what is behind their first label, but may not
/// contradict each other in it.
#[must_use]
pub fn is_account(account: &AccountName, named: &AccountName) -> bool {
    let (account, named) = (account.as_str().to_lowercase(), named.as_str().to_lowercase());
    let (account, named) = (essence(&account), essence(&named));
    account.iter().zip(&named).all(|(ours, theirs)| ours.replace('_', "-") == theirs.replace('_', "-"))
}

/// The labels of an account's name without what only says how it is reached. There is always a first one.
fn essence(name: &str) -> Vec<&str> {
    let mut labels: Vec<&str> = name.split('.').collect();
    if labels.len() > 1 && labels.last() == Some(&PRIVATE_LINK) {
        labels.pop();
    }
    match labels.as_slice() {
        [first, GLOBAL, ..] => vec![first.rsplit_once('-').map_or(*first, |(account, _id)| account)],
        [first, HOME_REGION] => vec![*first],
        _ => labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_what_stands_before_the_domain_and_not_how_it_is_reached() {
        for (host, account) in [
            ("acme.snowflakecomputing.com", "ACME"),
            ("myorg-acme_dev.snowflakecomputing.com", "MYORG-ACME_DEV"),
            ("xy1.eu-central-1.snowflakecomputing.com", "XY1.EU-CENTRAL-1"),
            ("xy1.west-europe.azure.snowflakecomputing.com", "XY1.WEST-EUROPE.AZURE"),
            ("xy1.us-west-2.snowflakecomputing.com", "XY1"),
            ("acme.privatelink.snowflakecomputing.com", "ACME"),
            ("myorg-acme.privatelink.snowflakecomputing.com", "MYORG-ACME"),
            ("xy1.eu-central-1.privatelink.snowflakecomputing.com", "XY1.EU-CENTRAL-1"),
            ("xy1.us-west-2.privatelink.snowflakecomputing.com", "XY1"),
            ("acme-hso894gsiuafdhsaj935.global.snowflakecomputing.com", "ACME"),
            ("acme.snowflakecomputing.cn", "ACME"),
            ("xy1.cn-northwest-1.snowflakecomputing.cn", "XY1.CN-NORTHWEST-1"),
            ("privatelink.snowflakecomputing.com", "PRIVATELINK"),
            ("snowflake.example.org", "SNOWFLAKE.EXAMPLE.ORG"),
        ] {
            assert_eq!(account_of(&HostName::parse(host).unwrap()).as_str(), account, "{host}");
        }
    }

    #[test]
    fn a_login_may_call_an_account_by_less_or_more_and_by_no_other_name() {
        let xy1 = "xy1.eu-central-1.privatelink.snowflakecomputing.com";
        let global = "acme-hso894gsiuafdhsaj935.global.snowflakecomputing.com";
        for (host, named, is_it) in [
            ("acme.snowflakecomputing.com", "acme", true),
            ("acme.snowflakecomputing.com", "ACME", true),
            ("acme.snowflakecomputing.com", "acme.eu-central-1", true),
            ("acme.snowflakecomputing.com", "other", false),
            ("acme.snowflakecomputing.com", "", false),
            ("myorg-acme-dev.snowflakecomputing.com", "MYORG-ACME_DEV", true),
            ("myorg-acme.snowflakecomputing.com", "acme", false),
            (xy1, "xy1", true),
            (xy1, "xy1.eu-central-1", true),
            (xy1, "xy1.eu-central-1.aws", true),
            (xy1, "xy1.eu-central-1.privatelink", true),
            (xy1, "xy1.us-east-1", false),
            (xy1, "xy2.eu-central-1", false),
            (global, "acme", true),
            (global, "acme-hso894gsiuafdhsaj935.global", true),
            (global, "other-hso894gsiuafdhsaj935.global", false),
        ] {
            let account = account_of(&HostName::parse(host).unwrap());
            assert_eq!(is_account(&account, &AccountName::new(named)), is_it, "{named} at {host}");
        }
    }
}
