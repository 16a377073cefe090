//! Every reason why a client does not get what it asked for, and what it is told instead.
//!
//! Whatever it is, the answer to a driver is HTTP 200 in Snowflake's own error shape: an HTTP error status would lose the
//! sentence, and some drivers would send the request again without end (protocol part 2.7). Clients of the SQL API are
//! told by status 422, as Snowflake tells them of a statement that failed, and by 403 of a credential that is refused.

use std::time::SystemTime;

use audit::Decision;
use model::{HostName, QueryId, RuleId, Timestamp};
use snowflake::{AuthorizationError, RequestError, Unknown, codec::CodecError, sql_api::HeaderError};
use uuid::Uuid;

use crate::{answer::Answer, catalog::copies::CarryError, chunks::ChunkError, upstream::UpstreamError};

/// A request that ends here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The policy does not permit it.
    #[error("{0}")]
    Denied(policy::Denial),
    /// The policy asks for a person.
    #[error("{0}")]
    Held(policy::Denial),
    /// A door that nobody watches.
    #[error("{} is not an exchange that Snowfence knows, so it cannot be judged", .0.request)]
    UnknownExchange(Unknown),
    /// A name that leads to a guarded address, and is no account of the configuration.
    #[error("{0} is not an account that this host may reach; the operator names accounts in guard.accounts")]
    NotAnAccount(HostName),
    #[error("the request is longer than {} MiB ({limit})", .bytes_max >> 20)]
    RequestTooLarge { limit: &'static str, bytes_max: usize },
    #[error("{0}")]
    Encoding(#[from] CodecError),
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("{0}")]
    Authorization(#[from] AuthorizationError),
    #[error("{0}")]
    Headers(#[from] HeaderError),
    #[error("it belongs to no session that Snowfence knows; log in again")]
    UnknownSession,
    /// Nobody knows what is owed for its rows.
    #[error(
        "statement {0} is none that this session asked for, or one of long ago; run it in this session, or ask for it in \
         the session that ran it"
    )]
    UnknownStatement(Uuid),
    #[error("it would put tagged data where its tags must follow it, and {0}")]
    Carried(#[from] CarryError),
    #[error(
        "it is no chunk of a result that Snowfence knows, or one of long ago or of a session that is over; run the statement \
         again"
    )]
    UnknownChunk,
    #[error("{0}")]
    Chunk(ChunkError),
    #[error("its session belongs to another job")]
    OtherJob,
    /// Somebody behind it has left, or nobody knows.
    #[error("{0}")]
    Barred(workload::Barred),
    /// Somebody behind it has left while it was open.
    #[error("its session was ended: {0}")]
    Ended(String),
    /// The login names another account than the host does.
    #[error("it names another account than the host it was sent to")]
    OtherAccount,
    #[error("it sets {0}, which changes what names in statements mean; leave it at its default")]
    NameChanging(&'static str),
    #[error("it executes a statement that was described earlier; send the statement itself")]
    DescribedEarlier,
    #[error("it repeats the id of an earlier request, with something else in it")]
    NotARetry,
    #[error(
        "it says that it repeats an earlier request, and Snowfence saw none with its id and content; send it without retry=true"
    )]
    UnseenRetry,
    #[error(
        "it may change the names of the session that it runs in, and the SQL API does not say to what; send it through the \
         driver, or with a credential of its own"
    )]
    Renaming,
    #[error(
        "it asks for a statement that this job did not submit through Snowfence, or long ago; submit the statement again"
    )]
    ForeignHandle,
    #[error("it asks for a later partition of a result whose first was not fetched; ask for that one before")]
    LaterPartition,
    #[error(
        "whether a name in double quotes folds is not known without a login; write it in capitals, or without quotes"
    )]
    QuotedNames,
    #[error("it cannot be recorded: {0}")]
    Unrecorded(#[from] audit::Error),
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    /// The answer is there and must not be passed on.
    #[error("{0}")]
    Withheld(Withheld),
    /// A bug of ours. The exchange's intent, if there was one, is closed as lost.
    #[error("Snowfence failed; its log on the host says more")]
    Internal,
}

/// Why an answer of Snowflake's is not passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Withheld {
    #[error("Snowflake's answer was not understood: {0}")]
    Decode(#[from] snowflake::DecodeError),
    #[error("Snowflake's answer was not understood: {0}")]
    Encoding(#[from] CodecError),
    #[error("the masks could not be applied: {0}")]
    Clear(#[from] policy::ClearError),
    #[error("the masked rows could not be put back: {0}")]
    Encode(#[from] snowflake::EncodeError),
    #[error(
        "its rows are at {0}, where Snowfence fetches none; if that is the cloud's storage, the operator names it in \
         upstream.result_domains"
    )]
    Store(HostName),
    #[error("the result has {0} chunks, whose addresses are more than can be kept; ask for fewer rows")]
    ManyChunks(usize),
    #[error("columns must be masked, and Snowflake's answer leads to data elsewhere")]
    Elsewhere,
    #[error("Snowflake's answer is about several statements, whose results are asked for one by one")]
    Several,
    #[error("the record says that the statement has no rows")]
    Over,
    #[error("Snowflake's answer has other rows than it says")]
    Short,
    #[error("{0}")]
    Unrecorded(audit::Error),
}

/// What was refused, as the sentence names it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Login,
    Statement,
    Request,
    /// A chunk of a result.
    Chunk,
    /// A credential that came with a request of the SQL API.
    ApiLogin,
    /// A statement of the SQL API.
    ApiStatement,
    /// Another request of the SQL API.
    ApiRequest,
}

impl Refusal {
    /// The sentence that the client is shown and the record keeps.
    pub(crate) fn sentence(&self, what: What, id: QueryId) -> String {
        let what = match what {
            What::Login | What::ApiLogin => "login",
            What::Statement | What::ApiStatement => "statement",
            What::Request | What::ApiRequest => "request",
            What::Chunk => "chunk",
        };
        match self.rules() {
            [] => format!("Snowfence refused this {what}: {self} (request {id})"),
            [rule, ..] => format!("Snowfence refused this {what}: {self} (rule {rule}, request {id})"),
        }
    }

    /// The answer to whatever was asked.
    pub(crate) fn answer(&self, what: What, id: QueryId) -> Answer {
        let sentence = self.sentence(what, id);
        match (what, self) {
            (What::Chunk, _) => Answer::no_chunk(sentence),
            (What::Login, _) => Answer::json(snowflake::refusal::login(&sentence)),
            (What::ApiLogin, _) => Answer::forbidden(snowflake::refusal::login(&sentence)),
            (What::ApiStatement | What::ApiRequest, _)
            | (_, Self::UnknownExchange(Unknown { is_api: true, .. })) => {
                let now = Timestamp::from(SystemTime::now());
                let body = if self.is_failure() {
                    snowflake::refusal::sql_api_unavailable(&sentence, id, now)
                } else {
                    snowflake::refusal::sql_api(&sentence, id, now)
                };
                Answer::unprocessable(body)
            }
            _ if self.is_failure() => Answer::json(snowflake::refusal::unavailable(&sentence, id)),
            _ => Answer::json(snowflake::refusal::statement(&sentence, id)),
        }
    }

    /// The rules that decided, where rules did.
    pub(crate) fn rules(&self) -> &[RuleId] {
        match self {
            Self::Denied(denial) | Self::Held(denial) => denial.rules(),
            _ => &[],
        }
    }

    /// The word for the record.
    pub(crate) fn decision(&self) -> Decision {
        match self {
            Self::Held(_) => Decision::Held,
            _ => Decision::Refused,
        }
    }

    /// Whether it says nothing about the request: somebody else, or the agent itself, is at fault.
    fn is_failure(&self) -> bool {
        matches!(self, Self::Unrecorded(_) | Self::Upstream(_) | Self::Internal)
    }

    /// Whether it is a verdict on the request, which is only recorded in observe mode, or a failure, which stands.
    pub(crate) fn is_verdict(&self) -> bool {
        match self {
            Self::Denied(_)
            | Self::Held(_)
            | Self::UnknownExchange(_)
            | Self::UnknownStatement(_)
            | Self::Request(_)
            | Self::Authorization(_)
            | Self::Headers(_)
            | Self::UnknownSession
            | Self::OtherJob
            | Self::Barred(_)
            | Self::Ended(_)
            | Self::OtherAccount
            | Self::NameChanging(_)
            | Self::DescribedEarlier
            | Self::NotARetry
            | Self::UnseenRetry
            | Self::Renaming
            | Self::ForeignHandle
            | Self::LaterPartition
            | Self::QuotedNames
            | Self::Encoding(_) => true,
            Self::NotAnAccount(_)
            | Self::RequestTooLarge { .. }
            | Self::Unrecorded(_)
            | Self::Upstream(_)
            | Self::Withheld(_)
            | Self::Carried(_)
            | Self::UnknownChunk
            | Self::Chunk(_)
            | Self::Internal => false,
        }
    }
}
