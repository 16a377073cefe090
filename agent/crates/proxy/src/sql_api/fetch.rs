//! What came of a statement that was submitted earlier, and the wish to end it. Both are for the job that submitted it
//! through this agent: only then is it known what is owed for its rows.

use std::{borrow::Cow, sync::Arc};

use snowflake::sql_api::{ApiFailure, Fetch, check_cancel};
use uuid::Uuid;

use crate::{
    answer::Answer,
    corridor::{Corridor, Peer},
    refusal::{Refusal, Withheld},
    sql_api::{
        admission::{Admission, admit},
        kept::Kept,
    },
    upstream::Inbound,
};

/// Answers a request for the rows of a statement.
pub(super) async fn fetch(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    handle: Uuid,
) -> Result<Answer, Refusal> {
    let Fetch { partition } = Fetch::decode(&inbound.uri, &said(inbound)?)?;
    let (kept, caller) = match find(corridor, peer, inbound, handle).await? {
        (kept, Admission::Admitted(caller)) => (kept, caller),
        (_, Admission::Refused(answer)) => return Ok(answer),
    };
    if partition > 0 && kept.is_running().await {
        return Err(Refusal::LaterPartition);
    }
    let fetching = async {
        corridor.upstream.fetch(kept.clearance(), &caller.lease, peer, inbound).await?.whole().await
    };
    let reply = caller.session.unless_ended(fetching).await?;
    let decoded = kept.decode(&reply).await;
    caller.settle(corridor, reply.status, &decoded).await?;
    kept.next(&corridor.journal, peer.connection, decoded, &reply, partition).await
}

/// Passes the wish to end a statement on. If Snowflake says that it ended it, that is what came of the statement.
pub(super) async fn cancel(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    handle: Uuid,
) -> Result<Answer, Refusal> {
    check_cancel(&inbound.uri, &said(inbound)?)?;
    let (kept, caller) = match find(corridor, peer, inbound, handle).await? {
        (kept, Admission::Admitted(caller)) => (kept, caller),
        (_, Admission::Refused(answer)) => return Ok(answer),
    };
    let reply = corridor.upstream.keep(&caller.lease, peer, inbound).await?;
    let withheld = |error: Withheld| Refusal::Withheld(error);
    let body = reply.plain().map_err(|error| withheld(error.into()))?;
    let told = ApiFailure::decode(reply.status, body).map_err(|error| withheld(error.into()))?;
    let (status, is_ended) = (reply.status, reply.status.is_success());
    caller.settle(corridor, status, &Ok(snowflake::sql_api::ApiReply::Failure(told.clone()))).await?;
    if is_ended {
        kept.cancelled(&told).await?;
    }
    Ok(Answer::as_it_came(status, reply.headers, reply.body))
}

/// The statement, if it is the job's own, and whether the caller may ask for it.
async fn find(
    corridor: &Corridor,
    peer: &Arc<Peer>,
    inbound: &Inbound,
    handle: Uuid,
) -> Result<(Arc<Kept>, Admission), Refusal> {
    let account = corridor.account(&peer.host).ok_or_else(|| Refusal::NotAnAccount(peer.host.clone()))?;
    let kept = corridor.sql_api.statement(account, peer, handle).ok_or(Refusal::ForeignHandle)?;
    let admission = admit(corridor, peer, inbound, kept.names()).await?;
    Ok((kept, admission))
}

/// The plain body of a request that needs none.
fn said(inbound: &Inbound) -> Result<Cow<'_, [u8]>, Refusal> {
    // A client without a body may say anything about its type.
    if inbound.body.is_empty() { Ok(Cow::Borrowed(&[])) } else { Ok(inbound.json()?) }
}
