//! Everything that can go wrong between the agent and the kernel.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use agent_common::DOMAIN_BYTES_MAX;
use aya::{EbpfError, maps::MapError, programs::ProgramError};
use model::HostName;

use crate::{nft::NftError, preflight::Check};

/// Why interception could not start, go on, or be taken away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host lacks something. Every check that failed is here.
    #[error("this host cannot intercept: {}", failures(.0))]
    Preflight(Vec<Check>),
    /// Another agent holds the pin folder.
    #[error("another agent is using {}: stop it, or choose another pin folder", .0.display())]
    Locked(PathBuf),
    /// The pin folder is not the agent's alone.
    #[error("{} can be changed by others: remove it, and start again", .0.display())]
    Untrusted(PathBuf),
    /// A pin or its folder could not be made, read or removed.
    #[error("cannot {action} {}: {source}", path.display())]
    Pin {
        /// What was being done, as a verb: `make`, `read`, `lock`.
        action: &'static str,
        /// The folder or the pin.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pinned map does not have the shape that this agent's programs were compiled for.
    #[error(
        "the pinned map {} is of another build: stop every agent and remove the folder {}",
        path.display(),
        path.parent().unwrap_or(path).display()
    )]
    Shape {
        /// The pin.
        path: PathBuf,
    },
    /// The object with the programs was not accepted.
    #[error("cannot load the kernel programs: {0}")]
    Object(#[source] Box<EbpfError>),
    /// The object lacks a program or a map: it was built from other sources than this agent.
    #[error("the embedded kernel programs have no {0}: build them again with `cargo xtask build-bpf`")]
    Missing(&'static str),
    /// One program was not accepted.
    #[error("the kernel refused the program {name}: {source}")]
    Program {
        /// The hook's name.
        name: &'static str,
        /// What the kernel said; the verifier's log is in it.
        source: Box<ProgramError>,
    },
    /// A program could not be put on its cgroup, or a pinned one not be replaced.
    #[error("cannot {action} the program {name}: {source}")]
    Link {
        /// What was being done, as a verb: `attach`, `replace`, `pin`.
        action: &'static str,
        /// The hook's name.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A map could not be read or written.
    #[error(transparent)]
    Map(#[from] MapFault),
    /// The agent cannot listen.
    #[error("cannot listen on {addr}: {source}: free the port, or choose another")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The listener is broken for good.
    #[error("cannot accept connections: {0}")]
    Accept(#[source] io::Error),
    /// An address that no server on another host has.
    #[error("{0} cannot be guarded: it is not the address of another host")]
    Unguardable(IpAddr),
    /// More addresses than fit.
    #[error("{given} addresses are too many to guard: at most {max}")]
    TooMany {
        /// How many there were.
        given: usize,
        /// How many there may be.
        max: usize,
    },
    /// The table that drops forwarded packets could not be taken away.
    #[error("the table {table} of nftables stays: {source}: remove it with `nft delete table inet {table}`")]
    Forward {
        /// Its name.
        table: String,
        /// What `nft` said.
        source: NftError,
    },
    /// A domain that is too long to be watched for.
    #[error("the domain {0} is too long to be watched for: at most {DOMAIN_BYTES_MAX} bytes")]
    LongDomain(HostName),
    /// More domains than can be watched for.
    #[error("{given} domains are too many to watch for: at most {max}")]
    TooManyDomains {
        /// How many there were.
        given: usize,
        /// How many there may be.
        max: usize,
    },
    /// A port that is none, or more ports of one address than can be guarded.
    #[error(
        "{endpoint} cannot be guarded: a port is from 1 to 65535, and one address has at most {max} of them"
    )]
    Ports {
        /// The address, and one of its ports.
        endpoint: SocketAddr,
        /// How many there may be.
        max: usize,
    },
    /// What the programs say at once cannot be read.
    #[error("cannot read the kernel programs' events: {0}")]
    Events(#[source] io::Error),
    /// Processes cannot be followed.
    #[error("cannot follow processes: {0}")]
    Follow(String),
    /// Network namespaces cannot be looked at or entered.
    #[error("cannot enter network namespaces: {0}: run as root, or with CAP_SYS_ADMIN and CAP_SYS_PTRACE")]
    Namespaces(#[source] io::Error),
    /// Lines that the programs write cannot be read.
    #[error("cannot read the kernel programs' log: {0}")]
    KernelLog(#[source] io::Error),
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the map {name}: {source}")]
pub struct MapFault {
    /// The map's name.
    pub name: &'static str,
    /// What the kernel said.
    pub source: Box<MapError>,
}

impl MapFault {
    /// For `map_err`: puts the map's name on what aya says.
    pub(crate) fn of<E: Into<MapError>>(name: &'static str) -> impl Fn(E) -> Self {
        move |source| Self { name, source: Box::new(source.into()) }
    }
}

fn failures(checks: &[Check]) -> String {
    let lines = checks.iter().filter_map(|check| {
        let problem = check.outcome.as_ref().err()?;
        Some(format!("{}: {}: {}", check.name, problem.problem, problem.fix))
    });
    lines.collect::<Vec<_>>().join("; ")
}
