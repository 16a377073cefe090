//! `*.test.toml`: statements, who asks them, and what the rules should say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{AccountName, Ident, Mode, SqlText, TableName};
use serde::Deserialize;
use sql::{Catalog, SecondaryRoles, SessionNames, Table};
use toml::Spanned;

use crate::{
    Explanation, Place, Policies, PolicyError, PolicyFile, Problem, Supposed, SupposedAsk, SupposedLogin,
    near, pattern::split,
};

/// The cases of one file.
#[derive(Debug)]
pub struct Cases {
    cases: Vec<Case>,
    catalog: Catalog,
}

#[derive(Debug)]
struct Case {
    place: Place,
    name: String,
    who: Supposed,
    session: Session,
    asked: Asked,
    expected: Expected,
}

#[derive(Debug)]
enum Asked {
    Statements(Vec<String>),
    Login { credential: String, is_static: bool },
}

/// What a case came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Where the case is.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// What is not as expected; nothing if the case holds.
    pub differences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    session: Session,
    #[serde(default)]
    principal: BTreeMap<String, Supposed>,
    #[serde(default)]
    tables: BTreeMap<Spanned<String>, Vec<String>>,
    case: Vec<Spanned<WrittenCase>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    name: Option<String>,
    principal: Option<Spanned<String>>,
    #[serde(default)]
    session: Session,
    statement: Option<String>,
    #[serde(default)]
    statements: Vec<String>,
    login: Option<WrittenLogin>,
    decision: Decided,
    rules: Option<Vec<String>>,
    reason: Option<String>,
    #[serde(default)]
    masks: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLogin {
    credential: String,
    #[serde(rename = "static", default)]
    is_static: bool,
}

#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields)]
struct Session {
    account: Option<String>,
    user: Option<String>,
    role: Option<String>,
    secondary_roles: Option<Secondary>,
    database: Option<String>,
    schema: Option<String>,
    /// Session variables, and what they hold.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[derive(Deserialize, Debug, Clone, Default)]
#[serde(rename_all = "lowercase")]
enum Secondary {
    #[default]
    Unknown,
    Usual,
    All,
    None,
}

impl From<Secondary> for SecondaryRoles {
    fn from(written: Secondary) -> Self {
        match written {
            Secondary::Unknown => Self::Unknown,
            Secondary::Usual => Self::Usual,
            Secondary::All => Self::All,
            Secondary::None => Self::None,
        }
    }
}

#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Decided {
    Permit,
    Hold,
    Deny,
}

#[derive(Debug)]
struct Expected {
    decision: Decided,
    rules: Option<Vec<String>>,
    reason: Option<String>,
    masks: BTreeMap<String, String>,
}

/// The word for a column that is shown as it is.
const NO_MASK: &str = "none";

impl Cases {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line and column.
    pub fn parse(file: &PolicyFile) -> Result<Self, PolicyError> {
        let place = |at: usize| Place::at(&file.name, &file.text, at);
        let wrong = |at: usize, message: String| Problem::Case { place: place(at), message };
        let written: Written = toml::from_str(&file.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            PolicyError::new(vec![wrong(at, error.message().to_owned())])
        })?;
        let mut problems = Vec::new();
        let mut cases = Vec::new();
        for (n, spanned) in written.case.into_iter().enumerate() {
            let at = spanned.span().start;
            let case = spanned.into_inner();
            let who = match &case.principal {
                None => Supposed::default(),
                Some(name) => match written.principal.get(name.get_ref()) {
                    Some(who) => who.clone(),
                    None => {
                        let meant = near::meant(name.get_ref(), written.principal.keys().map(String::as_str));
                        let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
                        let message = format!("there is no [principal.{}]{meant}", name.get_ref());
                        problems.push(wrong(name.span().start, message));
                        continue;
                    }
                },
            };
            let statements: Vec<String> = case.statement.into_iter().chain(case.statements).collect();
            let asked = match (statements.is_empty(), case.login) {
                (false, None) => Asked::Statements(statements),
                (true, Some(WrittenLogin { credential, is_static })) => {
                    Asked::Login { credential, is_static }
                }
                _ => {
                    let message = "a case has a statement, statements, or a login".to_owned();
                    problems.push(wrong(at, message));
                    continue;
                }
            };
            cases.push(Case {
                place: place(at),
                name: case.name.unwrap_or_else(|| format!("case {}", n + 1)),
                who,
                session: case.session.over(&written.session),
                asked,
                expected: Expected {
                    decision: case.decision,
                    rules: case.rules,
                    reason: case.reason,
                    masks: case.masks,
                },
            });
        }
        let mut catalog = Catalog::default();
        for (name, columns) in &written.tables {
            if let Err(message) = know_table(&mut catalog, name.get_ref(), columns) {
                problems.push(wrong(name.span().start, message));
            }
        }
        if problems.is_empty() { Ok(Self { cases, catalog }) } else { Err(PolicyError::new(problems)) }
    }

    /// Puts every case to the rules.
    #[must_use]
    pub fn run(&self, policies: &Policies) -> Vec<CaseResult> {
        self.cases.iter().map(|case| case.run(policies, &self.catalog)).collect()
    }
}

/// Puts a table into a catalog, by its full name as people write it: `ANALYTICS.PUBLIC.CUSTOMERS`.
///
/// # Errors
/// When the name does not have three parts.
pub fn know_table(catalog: &mut Catalog, name: &str, columns: &[String]) -> Result<(), String> {
    let parts = split(name).map_err(|_| format!("{name:?} is not the name of a table"))?;
    let [database, schema, table] = parts.as_slice() else {
        return Err(format!("{name:?} is not the full name of a table: DATABASE.SCHEMA.TABLE"));
    };
    let [database, schema] = [database, schema].map(|part| Some(Ident::exact(part.clone())));
    let name = TableName { database, schema, name: Ident::exact(table.clone()) };
    let columns = columns.iter().map(|column| Ident::unquoted(column));
    catalog.insert_table(name, Arc::new(Table::with_columns(columns)));
    Ok(())
}

impl Case {
    fn run(&self, policies: &Policies, catalog: &Catalog) -> CaseResult {
        let word = |text: &Option<String>| text.clone().unwrap_or_default();
        let account = AccountName::new(&self.session.account.clone().unwrap_or_else(|| "ACME".to_owned()));
        let (user, role) = (word(&self.session.user), word(&self.session.role));
        let ask =
            SupposedAsk { who: &self.who, account: &account, user: &user, role: &role, mode: Mode::Enforce };
        let mut differences = Vec::new();
        match &self.asked {
            Asked::Login { credential, is_static } => {
                let login = SupposedLogin { credential, is_static: *is_static };
                self.expected.compare("", &policies.explain_login(&ask, login), &mut differences);
            }
            Asked::Statements(statements) => {
                for statement in statements {
                    let said = if statements.len() > 1 { format!("{statement}: ") } else { String::new() };
                    match SqlText::new(statement) {
                        Ok(text) => {
                            let facts = Arc::new(sql::analyze(&text, &self.session.names(), catalog));
                            let masked: Vec<&str> = self.expected.masks.keys().map(String::as_str).collect();
                            let told = policies.explain(&ask, &facts, &masked);
                            self.expected.compare(&said, &told, &mut differences);
                        }
                        Err(error) => differences.push(format!("{said}{error}")),
                    }
                }
            }
        }
        CaseResult { place: self.place.clone(), name: self.name.clone(), differences }
    }
}

impl Session {
    /// What it says itself, and else what the other says.
    fn over(self, other: &Self) -> Self {
        let or = |own: Option<String>, other: &Option<String>| own.or_else(|| other.clone());
        Self {
            account: or(self.account, &other.account),
            user: or(self.user, &other.user),
            role: or(self.role, &other.role),
            secondary_roles: self.secondary_roles.or_else(|| other.secondary_roles.clone()),
            database: or(self.database, &other.database),
            schema: or(self.schema, &other.schema),
            variables: other.variables.clone().into_iter().chain(self.variables).collect(),
        }
    }

    fn names(&self) -> SessionNames {
        let name = |text: &Option<String>| text.as_deref().map(Ident::unquoted);
        SessionNames {
            database: name(&self.database),
            schema: name(&self.schema),
            role: name(&self.role),
            secondary_roles: self.secondary_roles.clone().unwrap_or_default().into(),
            variables: self
                .variables
                .iter()
                .map(|(name, value)| (Ident::unquoted(name), value.clone()))
                .collect(),
            ..SessionNames::default()
        }
    }
}

impl Expected {
    fn compare(&self, said: &str, told: &Explanation, differences: &mut Vec<String>) {
        let decision = match self.decision {
            Decided::Permit => "permit",
            Decided::Hold => "hold",
            Decided::Deny => "deny",
        };
        let because = told.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        let rules = told.rules.join(", ");
        if told.decision != decision {
            let is = told.decision;
            differences.push(format!("{said}expected {decision}, is {is} by {rules}{because}"));
            return;
        }
        if let Some(expected) = &self.rules {
            let (expected, is): (BTreeSet<_>, BTreeSet<_>) =
                (expected.iter().collect(), told.rules.iter().collect());
            if expected != is {
                let expected = expected.into_iter().cloned().collect::<Vec<_>>().join(", ");
                differences.push(format!("{said}expected by {expected}, is by {rules}{because}"));
            }
        }
        if let Some(expected) = &self.reason
            && !told.reason.as_ref().is_some_and(|reason| reason.contains(expected))
        {
            differences.push(format!("{said}expected a reason with {expected:?}, is{because}"));
        }
        for (name, expected) in &self.masks {
            let columns = told.columns.iter().filter(|column| column.name.eq_ignore_ascii_case(name));
            let masks: Vec<&str> = columns.map(|column| column.mask.unwrap_or(NO_MASK)).collect();
            if masks.is_empty() {
                differences.push(format!("{said}the text tells of no column {name} in the result"));
            }
            for mask in masks.into_iter().filter(|mask| mask != expected) {
                differences.push(format!("{said}expected mask {expected} for {name}, is {mask}"));
            }
        }
    }
}
