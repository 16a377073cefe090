//! The tripwire: who asks for a guarded name at an address that is not guarded is stopped, and the agent is told, so
//! that it looks at the address and the client's next try is caught.
//!
//! A client that splits its ClientHello over several writes, or leaves the name out of it, is not seen here: this is how
//! the agent learns of addresses that honest clients use, not a wall. At this hook a packet has not been cut for the
//! wire yet, so that a long ClientHello, written at once, is in one piece when it is sent first.

use core::{
    ffi::c_void,
    ptr::{self, addr_of},
};

use agent_common::{DOMAINS_MAX, Domain, EventKind, Mark, NAME_WORDS, Outcome, Present};
use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::generated::bpf_sk_storage_get,
    programs::SkBuffContext,
};
use aya_log_ebpf::warn;

use crate::{
    egress::{self, Header, TCP},
    events::{self, Name, Task},
    maps::TRIPPED,
    marks,
    verdict::{self, ALLOW, DENY},
};

/// Where Snowflake speaks TLS.
const PORT: u16 = 443;

/// As much of a TCP header as is looked at: the destination's port, and how long the header is. RFC 9293 3.1
const TCP_BYTES: usize = 13;

/// Record type and handshake type of a ClientHello, RFC 8446 5.1 and 4.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// From the record's header to the session id: record header, handshake header, version, random. RFC 8446 4.1.2
const SESSION_ID_AT: u32 = 5 + 4 + 2 + 32;
/// The extension `server_name`, and from it to the length of its first name, RFC 6066 3.
const SERVER_NAME: u16 = 0;
const NAME_LENGTH_AT: u32 = 4 + 2 + 1;
/// Longest name in the domain name system, RFC 1035 2.3.4.
const NAME_MAX: u16 = 255;
/// Extensions that are looked through. Clients send about twenty.
const EXTENSIONS_MAX: u32 = 32;

/// What names are looked for. The agent sets it before loading; it is read-only from then on.
#[unsafe(no_mangle)]
static DOMAINS: [Domain; DOMAINS_MAX] = [Domain::NONE; DOMAINS_MAX];

/// Decides about a packet to an address that is not guarded.
#[inline(always)]
pub(crate) fn look(ctx: &SkBuffContext, header: &Header) -> i32 {
    // What is on this machine is not Snowflake, and a program that passes it on from here is seen when it does.
    if header.protocol != TCP || header.is_fragment || !header.destination.is_elsewhere() {
        return ALLOW;
    }
    let Some(name) = payload(ctx, header).and_then(|at| client_hello(ctx, at)) else { return ALLOW };
    let socket = egress::socket(ctx);
    // SAFETY: null or a full socket.
    if unsafe { marks::has(socket, Mark::UPSTREAM) } {
        return ALLOW;
    }
    match name {
        Some(name) if is_watched(&name) => stop(ctx, header, socket, &name),
        // What was dropped is sent again in pieces that fit the wire, and the name may be in the second.
        None if has_tripped(socket) => {
            verdict::count(Outcome::HelloDropped);
            DENY
        }
        _ => ALLOW,
    }
}

#[inline(always)]
fn stop(ctx: &SkBuffContext, header: &Header, socket: *mut bpf_sock, name: &Name) -> i32 {
    // Up to Linux 6.12 this hook can ask neither for the task nor for the namespace.
    if events::may_suspect(&header.destination) {
        let unknown = Task { pid: 0, tid: 0 };
        events::send(EventKind::GuardedName, 0, unknown, (header.destination, PORT), name);
    }
    if verdict::is_observing() {
        verdict::count(Outcome::HelloPassed);
        return ALLOW;
    }
    remember(socket);
    verdict::count(Outcome::HelloDropped);
    if verdict::may_log(Outcome::HelloDropped) {
        warn!(ctx, "dropped a packet that asks for a guarded name at an address that is not guarded");
    }
    DENY
}

/// Whether the tripwire dropped a packet of this socket before.
#[inline(always)]
fn has_tripped(socket: *mut bpf_sock) -> bool {
    !storage(socket, ptr::null_mut(), 0).is_null()
}

/// Without memory, what is sent again may pass.
#[inline(always)]
fn remember(socket: *mut bpf_sock) {
    let mut present: Present = 1;
    storage(socket, ptr::from_mut(&mut present).cast(), u64::from(BPF_SK_STORAGE_GET_F_CREATE));
}

#[inline(always)]
fn storage(socket: *mut bpf_sock, value: *mut c_void, flags: u64) -> *mut c_void {
    if socket.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the map is a socket storage of `Present`, the socket is a full one, and the value is null or one on the
    // stack, which is copied.
    unsafe { bpf_sk_storage_get(addr_of!(TRIPPED).cast_mut().cast(), socket.cast(), value, flags) }
}

/// Where the payload of a TCP packet to the port begins; none of another packet.
#[inline(always)]
fn payload(ctx: &SkBuffContext, header: &Header) -> Option<u32> {
    let [_, _, high, low, _, _, _, _, _, _, _, _, words] =
        ctx.load::<[u8; TCP_BYTES]>(header.bytes as usize).ok()?;
    (u16::from_be_bytes([high, low]) == PORT).then(|| header.bytes + u32::from(words >> 4) * 4)
}

/// Whether a ClientHello begins at `at`; and then the name that it asks for, if there is one in this packet.
#[inline(always)]
fn client_hello(ctx: &SkBuffContext, at: u32) -> Option<Option<Name>> {
    let [record, major, _, _, _, handshake] = load::<[u8; 6]>(ctx, at)?;
    if record != HANDSHAKE || major != 3 || handshake != CLIENT_HELLO {
        return None;
    }
    Some(server_name(ctx, at + SESSION_ID_AT))
}

/// The name in a ClientHello whose session id is at `at`.
#[inline(always)]
fn server_name(ctx: &SkBuffContext, mut at: u32) -> Option<Name> {
    // Over session id, cipher suites and compression methods, each behind its length.
    at += 1 + u32::from(load::<u8>(ctx, at)?);
    at += 2 + u32::from(u16::from_be(load(ctx, at)?));
    at += 1 + u32::from(load::<u8>(ctx, at)?);
    // Over the length of all extensions.
    at += 2;
    for _ in 0..EXTENSIONS_MAX {
        let [kind, bytes] = load::<[u16; 2]>(ctx, at)?.map(u16::from_be);
        if kind == SERVER_NAME {
            return first_name(ctx, at + NAME_LENGTH_AT);
        }
        at += 4 + u32::from(bytes);
    }
    None
}

/// The name whose length is at `at`. Before the end of a name there is always more than a tail's length of packet.
#[inline(always)]
fn first_name(ctx: &SkBuffContext, at: u32) -> Option<Name> {
    let bytes = u16::from_be(load(ctx, at)?);
    if bytes == 0 || bytes > NAME_MAX {
        return None;
    }
    let end = at + 2 + u32::from(bytes);
    let begin = end.checked_sub(size_of::<[u64; NAME_WORDS]>() as u32)?;
    Some(Name { bytes, tail: load(ctx, begin)? })
}

#[inline(always)]
fn load<T>(ctx: &SkBuffContext, at: u32) -> Option<T> {
    ctx.load(at as usize).ok()
}

/// Whether a name is one of the guarded domains or below one.
#[inline(always)]
fn is_watched(name: &Name) -> bool {
    let mut is_watched = false;
    let mut place = 0;
    while place < DOMAINS_MAX {
        // SAFETY: `place` is within the array. Volatile, because the values are set when the program is loaded.
        let domain = unsafe { addr_of!(DOMAINS).cast::<Domain>().add(place).read_volatile() };
        let (mut itself, mut below) = (0, 0);
        let mut word = 0;
        while word < NAME_WORDS {
            let difference = (name.tail[word] | Domain::FOLD) ^ domain.text[word];
            itself |= difference & domain.itself[word];
            below |= difference & domain.below[word];
            word += 1;
        }
        let bytes = u64::from(name.bytes);
        is_watched |= domain.bytes != 0
            && ((bytes == domain.bytes && itself == 0) || (bytes > domain.bytes && below == 0));
        place += 1;
    }
    is_watched
}
