//! Why a process could not be given an identity, in words its owner can act on.

use crate::{StatementError, TokenShapeError, VerifyError};

/// What an identity provider did wrong when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerFault {
    /// No connection, or its certificate was not accepted.
    #[error("it could not be reached")]
    Unreachable,
    /// No whole answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// Another status than 200; a redirect is one too, and is never followed.
    #[error("it answered with status {0}")]
    Refused(u16),
    /// An answer that is too large or not of the documented shape.
    #[error("its answer was not understood")]
    Malformed,
    /// Its discovery document is of an issuer with another name.
    #[error("its discovery document is that of another issuer")]
    OtherName,
}

/// Why somebody is nobody. The text completes "the client has no identity: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NobodyReason {
    /// The process ended, or its pid was taken by another one.
    #[error("the process that connected had ended before it could be looked at")]
    ProcessGone,
    /// Something in `/proc` could not be read.
    #[error("the process that connected could not be looked at")]
    Unreadable,
    /// Reading about the process took too long.
    #[error("looking at the process that connected took too long")]
    TimedOut,
    /// More ancestors than are followed.
    #[error("the process that connected has more ancestors than are followed")]
    TooManyAncestors,
    /// No configured worker among the ancestors.
    #[error(
        "the process does not belong to a CI job: no worker listed in [workload] workers started it or one of its parents"
    )]
    NoJob,
    /// The same, of a process in a container, which is told in few words. Engines start containers below a daemon, or
    /// leave them to the first process, and not below who asked for them.
    #[error(
        "the process does not belong to a CI job: it is in a container ({0}) that no worker listed in [workload] \
         workers started itself"
    )]
    ContainerOfNoJob(String),
    /// The kernel did not follow it from its first ancestor on.
    #[error(
        "the process is older than the agent, or one that it comes from was started when no more could be followed, so that nobody \
         knows which job it belongs to"
    )]
    NotFollowed,
    /// Its job has ended, which is told in a few words.
    #[error("the process was left behind by a job that has ended ({0})")]
    LeftOver(String),
    /// Its job ended before the connection was looked at.
    #[error("the job that the process belonged to has ended")]
    JobEnded,
    /// A worker in a place where no runner is.
    #[error("what started the process is no CI worker of a unit listed in [workload] units: it runs in {0}")]
    ForeignWorker(String),
    /// No step of the job is there that could say which job it is.
    #[error(
        "the step of the job that started the process has ended, and there is no other that could say which job it is"
    )]
    StepGone,
    /// The worker itself connected.
    #[error("the process is the CI worker itself and no step of a job")]
    WorkerItself,
    /// The environment of the step is larger than is read.
    #[error("the environment of the job's step is too large to be read")]
    EnvironmentTooLarge,
    /// A variable is there more than once.
    #[error("{0} is set more than once in the environment of the job's step")]
    AmbiguousEnvironment(&'static str),
    /// The step states no job.
    #[error(transparent)]
    NoStatement(#[from] StatementError),
    /// The runner does not take jobs of that repository.
    #[error(
        "the repository in the environment of the job's step is not one that its runner is registered for"
    )]
    OtherRegistration,
    /// The address for asking a token leads somewhere else than to the provider.
    #[error(
        "the address by which the job's step would ask for its token (ACTIONS_ID_TOKEN_REQUEST_URL, BUILDKITE_AGENT_ENDPOINT) \
         is not one of the identity provider"
    )]
    ForeignRequestUrl,
    /// The credential for asking a token cannot be one.
    #[error(
        "what the job's step would ask for its token with (ACTIONS_ID_TOKEN_REQUEST_TOKEN, BUILDKITE_AGENT_ACCESS_TOKEN) is \
         missing or malformed"
    )]
    BadRequestToken,
    /// Runners of two providers speak in one environment.
    #[error("the environment of the job's step is that of more than one CI system")]
    TwoRunners,
    /// A file or socket of the job, from which its token would come, is something else.
    #[error("the file or socket that the job's token comes from is not what it should be")]
    UnfitPlace,
    /// The token was first seen in another job.
    #[error("the job's token is that of another job on this host")]
    TokenOfOtherJob,
    /// The identity provider gave no token.
    #[error("the identity provider gave no token for the job: {0}")]
    NotIssued(IssuerFault),
    /// What the provider gave is no token.
    #[error("the identity provider gave no token for the job: {0}")]
    NoToken(#[from] TokenShapeError),
    /// The provider's keys could not be fetched.
    #[error("the keys of the identity provider are not available: {0}")]
    NoKeys(IssuerFault),
    /// The token was looked at and refused.
    #[error("the job's token was refused: {0}")]
    Refused(#[from] VerifyError),
    /// The job was known under another identity before.
    #[error("the job was known under another identity before")]
    SecondIdentity,
}
