//! A job of every provider, in a made-up `/proc`, against an issuer on loopback that behaves as documented: what is
//! taken, and what is refused.

mod asking;
mod cursor;
mod every;
mod forged;
mod gitlab;
mod host;
mod jenkins;
mod kubernetes;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    sync::Mutex,
    time::Duration,
};

use identity::{
    Assurance, IssuerFault, Principal, VerifyError,
    testing::{self, AUDIENCE, ISSUED_AT, Issuer as Mint, variables_of},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use model::{ProcessId, Standing, Timestamp};
use serde_json::{Value, json};

use self::host::Host;
use super::*;
use crate::{
    Workload,
    config::{Config, KeySource},
    evidence::Evidence,
    fake_issuer::{Answer, FakeIssuer},
    fake_proc::FakeProc,
};

const KEYS: &str = "/keys";
const GET: &str = "/idtoken";
const POST: &str = "/v3/jobs/0184990a-477b-4fa8-9968-496074483cee/oidc/tokens";
const POD: &str = "66666666-ffff-4fff-8fff-aaaaaaaaaaaa";
const TOKEN_FILE: &str = "var/run/secrets/kubernetes.io/serviceaccount/token";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(ISSUED_AT + seconds)
}

/// Whether the provider's token is somewhere in the job, and not asked for.
fn is_carried(provider: Provider) -> bool {
    matches!(provider.description().place, Place::Variable(_) | Place::File(_))
}
