//! Who asks for a guarded name at an address that is not guarded is stopped and reported, and nobody else is.

use std::{net::IpAddr, time::Duration};

use interception::{Config, Event, EventKind, NAME_BYTES, Outcome};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    DIAL_TIME_MAX, GUARDED,
    world::{Agent, World},
};

/// The server is there, and no name leads to it.
const UNLEARNED: &str = "203.0.113.11";
const UNLEARNED_V6: &str = "2001:db8::11";

/// How long an event may be on its way.
const EVENT_TIME_MAX: Duration = Duration::from_secs(10);

async fn event(agent: &Agent) -> Event {
    timeout(EVENT_TIME_MAX, agent.interception().event()).await.expect("there is no event")
}

/// What an event says, in words.
fn said(event: &Event) -> (IpAddr, u16, Option<String>) {
    assert_eq!(event.kind(), Some(EventKind::GuardedName));
    let mut room = [0; NAME_BYTES];
    let name = event.name(&mut room).map(|name| String::from_utf8(name.to_vec()).unwrap());
    (event.address.into(), event.port, name)
}

#[test]
fn a_guarded_name_at_an_unlearned_address_is_dropped_and_reported() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let long_name = format!("{}.{}.snowflakecomputing.com", "a".repeat(63), "b".repeat(63));
        let mut dropped = 0;
        for (address, name, how) in [
            (UNLEARNED, "acme.snowflakecomputing.com", ""),
            (UNLEARNED_V6, "acme.snowflakecomputing.com", ""),
            ("::ffff:203.0.113.11", "snowflakecomputing.com", ""),
            (UNLEARNED, "ACME.SnowflakeComputing.COM", ""),
            (UNLEARNED, "acme.snowflakecomputing.com", " long"),
            (UNLEARNED, &long_name, ""),
        ] {
            let seen = world.client(&format!("hello {address} 443 {name}{how}")).await;
            assert_eq!(seen, "error=timeout", "{address} {name}");
            assert!(agent.count(Outcome::HelloDropped) > dropped, "{address} {name}");
            dropped = agent.count(Outcome::HelloDropped);
            let expected = (name.len() <= NAME_BYTES).then(|| name.to_owned());
            let canonical = address.parse::<IpAddr>().unwrap().to_canonical();
            // What was sent again is reported again, also that of the client before.
            while said(&event(&agent).await) != (canonical, 443, expected.clone()) {}
        }
        assert_eq!(agent.count(Outcome::PacketDropped), 0);
    });
}

#[test]
fn other_names_other_ports_and_other_bytes_pass() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        for (address, port, name, how) in [
            (UNLEARNED, 443, "www.example.org", ""),
            (UNLEARNED, 443, "evilsnowflakecomputing.com", " long"),
            (UNLEARNED, 443, "acme.snowflakecomputing.com.example.org", ""),
            (UNLEARNED_V6, 443, "com", ""),
            (UNLEARNED, 443, "-", " nameless"),
            (UNLEARNED, 8443, "acme.snowflakecomputing.com", ""),
        ] {
            let seen = world.client(&format!("hello {address} {port} {name}{how}")).await;
            assert!(seen.ends_with(" got=REAL heard"), "{address} {port} {name}: {seen}");
        }
        // This is not stopped: a client that wants to can cut its greeting in two.
        let seen = world.client(&format!("hello {UNLEARNED} 443 acme.snowflakecomputing.com split")).await;
        assert!(seen.ends_with(" got=REAL heard"), "{seen}");
        let counters = agent.interception().counters().unwrap();
        assert!(counters.iter().all(|(_, count)| *count == 0), "{counters:?}");
    });
}

#[test]
fn the_agents_own_question_passes() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let dialer = agent.interception().dialer();
        let target = format!("{UNLEARNED}:443").parse().unwrap();
        // The same bytes as a client sends, from a socket with the mark and from one without.
        let greeting = greeting("acme.snowflakecomputing.com");
        let mut stream = dialer.connect(target, DIAL_TIME_MAX).await.unwrap();
        stream.write_all(&greeting).await.unwrap();
        let mut heard = vec![0; "REAL\n".len() + greeting.len()];
        timeout(EVENT_TIME_MAX, stream.read_exact(&mut heard)).await.expect("it was dropped").unwrap();
        assert_eq!(agent.count(Outcome::HelloDropped), 0);
        let seen = world.client(&format!("hello {UNLEARNED} 443 acme.snowflakecomputing.com")).await;
        assert_eq!(seen, "error=timeout");
    });
}

/// A ClientHello with nothing in it but a name.
fn greeting(name: &str) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let entry = [&[0][..], &with_length(name.as_bytes())].concat();
    let extension = [&[0, 0][..], &with_length(&with_length(&entry))].concat();
    let fixed = [&[3, 3][..], &[0; 32], &[0], &with_length(&[0x13, 1]), &[1, 0]].concat();
    let body = [&fixed[..], &with_length(&extension)].concat();
    [&[22, 3, 1][..], &with_length(&[&[1, 0][..], &with_length(&body)].concat())].concat()
}

#[test]
fn a_dropped_flow_is_ended_when_its_address_is_learned_and_the_next_is_caught() {
    World::run(async |world| {
        let agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let mut client = world.start(&format!("hello_again {UNLEARNED} 443 acme.snowflakecomputing.com"));
        assert_eq!(client.line().await, "greeted");
        let (address, ..) = said(&event(&agent).await);
        agent.guard(&[GUARDED, UNLEARNED]);
        let older = agent.interception().cut_older(&[address].into()).await.unwrap();
        assert_eq!((older.destroyed, older.open), (1, 0), "{older:?}");
        let seen = client.line().await;
        assert!(seen.starts_with("errors=ECONNABORTED peer=203.0.113.11:443 got=AGENT "), "{seen}");
    });
}

#[test]
fn an_agent_that_observes_reports_and_lets_pass() {
    World::run(async |world| {
        let cfg = Config { observing: true, ..world.config(0) };
        let agent = Agent::guarding(&cfg, &[GUARDED]).await;
        let seen = world.client(&format!("hello {UNLEARNED} 443 acme.snowflakecomputing.com")).await;
        assert!(seen.ends_with(" got=REAL heard"), "{seen}");
        assert_eq!(said(&event(&agent).await).0.to_string(), UNLEARNED);
        assert_eq!((agent.count(Outcome::HelloPassed), agent.count(Outcome::HelloDropped)), (1, 0));
    });
}
