//! `snowfence policy explain`: one decision, with the facts, the questions and the rules that led to it.

mod facts;
mod people;
mod suggest;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow};
use clap::Args as ClapArgs;
use model::{AccountName, Ident, Mode, SqlText};
use policy::{Explanation, Supposed, SupposedAsk, SupposedAssurance, know_table};
use serde::{Deserialize, Serialize};
use sql::{Catalog, SessionNames};

use self::facts::StatementFacts;
use super::{Place, check::Found};
use crate::{
    cli::{Failure, Outcome},
    output::Output,
    rules,
};

/// Why a statement would be permitted, held or refused.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// The statement; `-` reads it from standard input.
    #[arg(value_name = "SQL")]
    statement: String,
    /// Who asks: the claims of a token as JSON, or as TOML the table "principal" of a test case.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repository", "git_ref", "environment", "actor"])]
    claims: Option<PathBuf>,
    /// Who asks: a job of this repository, `acme/etl`. Without this and --claims, nobody who is known.
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// The git ref of the job.
    #[arg(long = "ref", value_name = "REF")]
    git_ref: Option<String>,
    /// The deployment environment of the job.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Whose act started the job.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Groups that it is in besides.
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// The job has no token: what is known of it is its runner's word.
    #[arg(long)]
    observed: bool,
    /// The account.
    #[arg(long, value_name = "NAME", default_value = "ACME")]
    account: String,
    /// The Snowflake user of the session.
    #[arg(long, value_name = "NAME", default_value = "")]
    user: String,
    /// The Snowflake role of the session.
    #[arg(long, value_name = "NAME", default_value = "")]
    role: String,
    /// The database of the session.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The schema of the session.
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// Which columns tables have: a TOML file with the table "tables" of a test case.
    #[arg(long, value_name = "FILE")]
    tables: Option<PathBuf>,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Report {
    principal: String,
    groups: Vec<String>,
    decision: &'static str,
    rules: Vec<String>,
    /// What the pipeline would be told.
    reason: Option<String>,
    approvers: Vec<String>,
    statements: Vec<StatementFacts>,
    /// Why nothing is known of the statement.
    opaque: Option<String>,
    questions: Vec<Question>,
    columns: Vec<Column>,
    tagged: Vec<Column>,
    /// A rule that would permit what no rule permits.
    would_permit: Option<String>,
}

#[derive(Debug, Serialize)]
struct Question {
    action: String,
    resource: String,
    answer: &'static str,
    reason: Option<String>,
    rules: Vec<Rule>,
    missed: Vec<Missed>,
}

#[derive(Debug, Serialize)]
struct Rule {
    rule: String,
    effect: &'static str,
    /// `file:line:column`; absent for a rule that is built in.
    place: Option<String>,
    reason: Option<String>,
    text: String,
}

#[derive(Debug, Serialize)]
struct Missed {
    rule: String,
    place: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    /// Absent if it is shown as it is.
    mask: Option<&'static str>,
    tags: Vec<String>,
    /// What detectors look for in it.
    watched: Vec<&'static str>,
}

/// Runs the verb. Whatever the decision, explaining it is no failure.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    let files = args.place.read(config)?.files;
    let policies = files.load().map_err(|error| {
        let lines: Vec<String> = Found::all(&error).iter().map(|found| found.message().to_owned()).collect();
        Failure::Input(anyhow!("nothing can be explained:\n{}", lines.join("\n")))
    })?;
    let who = who(args).map_err(Failure::Input)?;
    let text = statement(&args.statement).map_err(Failure::Input)?;
    let catalog = catalog(args.tables.as_deref()).map_err(Failure::Input)?;
    let name = |text: &Option<String>| text.as_deref().map(Ident::unquoted);
    let session = SessionNames {
        database: name(&args.database),
        schema: name(&args.schema),
        role: (!args.role.is_empty()).then(|| Ident::unquoted(&args.role)),
        ..SessionNames::default()
    };
    let facts = Arc::new(sql::analyze(&text, &session, &catalog));
    let account = AccountName::new(&args.account);
    let ask =
        SupposedAsk { who: &who, account: &account, user: &args.user, role: &args.role, mode: Mode::Enforce };
    let report = report(policies.explain(&ask, &facts, &[]), &facts);
    Ok(output.print(&report, people::page)?)
}

fn statement(said: &str) -> Result<SqlText> {
    let mut text = said.to_owned();
    if said == "-" {
        text.clear();
        let most = SqlText::BYTES_MAX as u64 + 1;
        io::stdin().take(most).read_to_string(&mut text).context("standard input cannot be read")?;
    }
    Ok(SqlText::new(&text)?)
}

fn who(args: &Args) -> Result<Supposed> {
    let mut who = match &args.claims {
        Some(path) => {
            let file = rules::read(path)?;
            if path.extension().is_some_and(|extension| extension == "toml") {
                toml::from_str(&file.text).with_context(|| format!("{} is no principal", path.display()))?
            } else {
                let claims = serde_json::from_str(&file.text);
                Supposed::from_claims(&claims.with_context(|| format!("{} holds no claims", path.display()))?)
            }
        }
        None => Supposed {
            repository: args.repository.clone(),
            git_ref: args.git_ref.clone(),
            environment: args.environment.clone(),
            actor: args.actor.clone(),
            ..Supposed::default()
        },
    };
    who.groups.extend(args.groups.iter().cloned());
    if args.observed {
        who.assurance = Some(SupposedAssurance::Observed);
    }
    Ok(who)
}

/// The part of a file that says which columns tables have. What else is in it is for others.
#[derive(Deserialize)]
struct Tables {
    #[serde(default)]
    tables: std::collections::BTreeMap<String, Vec<String>>,
}

fn catalog(file: Option<&Path>) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    if let Some(path) = file {
        let at = || format!("{} says nothing of tables", path.display());
        let Tables { tables } = toml::from_str(&rules::read(path)?.text).with_context(at)?;
        for (name, columns) in &tables {
            know_table(&mut catalog, name, columns).map_err(|message| anyhow!("{}: {message}", at()))?;
        }
    }
    Ok(catalog)
}

fn report(told: Explanation, facts: &sql::Facts) -> Report {
    let question = |question: policy::Question| Question {
        action: question.action,
        resource: question.resource,
        answer: question.answer,
        reason: question.reason,
        rules: question.rules.into_iter().map(rule).collect(),
        missed: question
            .missed
            .into_iter()
            .map(|missed| Missed { rule: missed.rule, place: missed.place.to_string(), why: missed.why })
            .collect(),
    };
    let would_permit = suggest::rule(&told);
    Report {
        would_permit,
        principal: told.principal,
        groups: told.groups,
        decision: told.decision,
        rules: told.rules,
        reason: told.reason,
        approvers: told.approvers,
        statements: facts.statements().unwrap_or_default().iter().map(StatementFacts::new).collect(),
        opaque: facts.statements().err().map(ToString::to_string),
        questions: told.questions.into_iter().map(question).collect(),
        columns: told
            .columns
            .into_iter()
            .map(|column| Column {
                name: column.name,
                mask: column.mask,
                tags: column.tags,
                watched: column.watched,
            })
            .collect(),
        tagged: told
            .tagged
            .into_iter()
            .map(|column| Column {
                name: column.column,
                mask: column.mask,
                tags: column.tags,
                watched: Vec::new(),
            })
            .collect(),
    }
}

fn rule(counted: policy::Counted) -> Rule {
    Rule {
        rule: counted.rule,
        effect: counted.effect,
        place: counted.place.map(|place| place.to_string()),
        reason: counted.reason,
        text: counted.text,
    }
}
