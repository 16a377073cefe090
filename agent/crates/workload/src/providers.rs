//! From a process to a token: who of the configured issuers vouches for a job, and where its token is.
//!
//! What a runner told the step is read first. Then, in this order: a token that the step can ask for, one that a process
//! of the job has in a variable, and one in a file of the job. A token may be found anywhere in the job, because its
//! signature is what counts, and because it is bound to the job that it was first seen in.

mod asked;
mod carried;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::Arc};

use identity::{
    Expectation, NobodyReason, ObservedJob, Place, Provider, RawToken, Routing, StatementError, route,
};

pub(crate) use asked::Request;

use crate::{
    config::{IssuerConfig, TokenPlace},
    environment::Environment,
    https::HttpsClient,
    keys::{KeyTimes, Keys},
    process::Process,
    request_host::RequestHost,
};

/// One issuer, with its keys.
pub(crate) struct Issuer {
    pub(crate) expected: Expectation,
    pub(crate) hosts: Vec<RequestHost>,
    pub(crate) token: Option<TokenPlace>,
    pub(crate) keys: Keys,
}

impl Issuer {
    pub(crate) fn new(config: IssuerConfig, client: HttpsClient, times: KeyTimes) -> Self {
        let IssuerConfig { provider, issuer, audiences, claims, request_hosts, keys, token, leeway } = config;
        Self {
            keys: Keys::new(client, issuer.clone(), keys, times),
            expected: Expectation { provider, issuer, audiences, claims, leeway },
            hosts: request_hosts,
            token,
        }
    }

    pub(crate) fn provider(&self) -> Provider {
        self.expected.provider
    }

    /// Where jobs have their token: as the operator says, or as is usual.
    fn place(&self) -> Place {
        self.provider().description().place
    }

    fn route(&self, token: &RawToken) -> Routing {
        route(token, &self.expected)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// All issuers that are configured.
pub(crate) type Issuers = [Arc<Issuer>];

/// Where to look.
pub(crate) struct Sources<'a> {
    /// The environment of the step, as its runner gave it.
    pub(crate) step: &'a Environment,
    /// From the process that connected up to the step, both included.
    pub(crate) processes: &'a [&'a Process],
}

/// What a step said about itself.
#[derive(Debug)]
pub(crate) enum Claim {
    /// There is a token, or one can be asked for.
    Token(Box<Source>),
    /// There is none, and its runner stated a job.
    Observed(Box<ObservedJob>),
}

/// A way to a token.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) way: Way,
    /// What the issuer's own runner stated about the job, with which a token must agree.
    pub(crate) statement: Option<ObservedJob>,
    pub(crate) origin: Origin,
}

/// How a token is had.
#[derive(Debug)]
pub(crate) enum Way {
    /// By asking for it.
    Ask(Request),
    /// It is here.
    Has(RawToken),
}

/// Where a token came from, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The step's variables say where and with what it is asked for.
    Asked { host: String, variable: &'static str },
    /// A socket of the job, named by a variable.
    Socket { path: PathBuf, variable: &'static str },
    /// A variable of a process.
    Variable { name: String, pid: u32 },
    /// A file, in the file system of a process.
    File { path: PathBuf, pid: u32 },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { host, variable } => {
                write!(f, "asked for at {host}, as {variable} of the step says")
            }
            Self::Socket { path, variable } => {
                write!(f, "asked for at the socket {}, as {variable} of the step says", path.display())
            }
            Self::Variable { name, pid } => write!(f, "variable {name} of process {pid}"),
            Self::File { path, pid } => write!(f, "file {} of process {pid}", path.display()),
        }
    }
}

/// Reads a job's claim. A step that has only a part of what it takes to ask for its token is refused: it has taken away
/// its own identity, and must not become an observed one by that.
pub(crate) fn claim(issuers: &Issuers, sources: &Sources<'_>) -> Result<Claim, NobodyReason> {
    let statement = statement(issuers, sources.step)?;
    let with_statement = |issuer: Arc<Issuer>, way, origin| {
        let of_issuer = |stated: &&ObservedJob| stated.provider() == issuer.provider();
        let statement = statement.as_ref().filter(of_issuer).cloned();
        Claim::Token(Box::new(Source { issuer, way, statement, origin }))
    };
    if let Some((issuer, request, origin)) = asked::request(issuers, sources)? {
        return Ok(with_statement(issuer, Way::Ask(request), origin));
    }
    match carried::token(issuers, sources)? {
        Some(found) if found.is_for_us || statement.is_none() => {
            Ok(with_statement(found.issuer, Way::Has(found.token), found.origin))
        }
        // One that was made for somebody else only says that there is none for us.
        _ => Ok(Claim::Observed(Box::new(statement.ok_or(StatementError::Nothing)?))),
    }
}

/// What a runner of one of the configured providers told the step.
fn statement(issuers: &Issuers, step: &Environment) -> Result<Option<ObservedJob>, NobodyReason> {
    let mut stated = None;
    for issuer in issuers {
        if let Some(statement) = ObservedJob::read(issuer.provider(), |name| step.get(name))?
            && stated.replace(statement).is_some()
        {
            return Err(NobodyReason::TwoRunners);
        }
    }
    Ok(stated)
}
