//! The life of interception: start, work, and either be taken away or be left in place.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use agent_common::{Event, Outcome};
use aya::{Ebpf, maps::Map};
use tokio::sync::oneshot;

use crate::{
    attach::Links,
    cgroup::{Cgroup, CgroupError},
    config::Config,
    counters::Counters,
    destroy::{Cut, Older},
    dialer::{Dialer, Marker},
    error::Error,
    events::Events,
    follow::{Following, Processes},
    forward::Forward,
    guarded::Guarded,
    intercepted::Intercepted,
    kernel_log::KernelLog,
    listeners::{Listeners, NamespaceListener},
    lsm::{self, Layer, LsmProgram},
    object,
    pins::Pins,
    preflight::{Check, Problem, preflight},
    rivals::{Places, Rival, Watch},
};

/// The kernel programs and all that serves them.
///
/// Dropping it closes the listeners and leaves programs and maps pinned: guarded connections are refused until an
/// agent starts again. [`detach`](Self::detach) takes them away.
pub struct Interception {
    attached: Attached,
    pins: Pins,
    cgroup: Cgroup,
    observing: bool,
}

/// The programs in their places, and their counterparts here.
struct Attached {
    listeners: Listeners,
    marker: Marker,
    guarded: Mutex<Guarded>,
    forward: Mutex<Forward>,
    counters: Counters,
    events: Events,
    following: Following,
    links: Links,
    places: Arc<Places>,
    _watch: Watch,
    lsm: Layer,
    _log: KernelLog,
}

impl Interception {
    /// Checks the host, takes the pin folder, loads the programs, listens, and attaches; over what an earlier run has
    /// pinned, the programs are replaced without a gap and the guarded set is kept. Must be called in a tokio runtime
    /// and in the network namespace to serve; a few tens of milliseconds of it do not yield, a fifth of a second where
    /// somebody else holds the pins.
    ///
    /// # Errors
    /// When the host lacks something, another agent holds the pins, the port is taken, or the kernel refuses a step. What
    /// this start has pinned is taken back. What an earlier run has pinned stays, attached and guarding; if the kernel
    /// refused while its programs were being replaced, some of them are this agent's.
    pub async fn start(cfg: &Config) -> Result<Self, Error> {
        let failed: Vec<Check> = preflight(cfg).into_iter().filter(|check| check.outcome.is_err()).collect();
        if !failed.is_empty() {
            return Err(Error::Preflight(failed));
        }
        let (cgroup, own) = cgroups(cfg)?;
        let pins = Pins::open(&cfg.pins)?;
        match Attached::new(cfg, &pins, &cgroup, own.as_ref()) {
            Ok(attached) => Ok(Self { attached, pins, cgroup, observing: cfg.observing }),
            Err(error) => {
                pins.abandon();
                Err(error)
            }
        }
    }

    /// Makes `addrs` the guarded set, on every port of each address. An address in the old and in the new set is
    /// guarded throughout. What an agent of another layout has left attached guards until then, and goes now. Packets that
    /// this host forwards are dropped where they go to one of `addrs`, as far as `nft` is there; to be called in the
    /// network namespace that the agent was started in. It waits for `nft`, usually a few hundredths of a second.
    ///
    /// # Errors
    /// When there are more than [`GUARDED_MAX`](crate::GUARDED_MAX), one is not another host's, or a map or pin fails;
    /// in the first two cases nothing was changed.
    pub fn guard(&self, addrs: &BTreeSet<IpAddr>) -> Result<(), Error> {
        let mut guarded = self.attached.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        guarded.replace(addrs)?;
        self.forward().replace(&guarded.targets()?);
        drop(guarded);
        self.pins.remove_other_layouts()
    }

    /// Makes `addrs` those whose port 80 is the agent's, beside what else is guarded. Their other ports are let be.
    ///
    /// # Errors
    /// As [`guard`](Self::guard).
    pub fn answer_http(&self, addrs: &BTreeSet<IpAddr>) -> Result<(), Error> {
        let mut guarded = self.attached.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        guarded.replace_http(addrs)?;
        self.forward().replace(&guarded.targets()?);
        Ok(())
    }

    /// Finds the connections of covered processes to `addrs` that go past the agent, because they were opened before the
    /// address was guarded, in every network namespace; and destroys them, unless the agent only observes. To be called
    /// after [`guard`](Self::guard), in the agent's own namespace. Goes through all of `/proc`.
    ///
    /// # Errors
    /// When no thread can be started for it. What goes wrong in one namespace is in the answer.
    pub async fn cut_older(&self, addrs: &BTreeSet<IpAddr>) -> io::Result<Older> {
        let cut = Cut { addrs: addrs.clone(), cgroup: self.cgroup.try_clone()?, destroys: !self.observing };
        let (answer, answered) = oneshot::channel();
        // A thread of its own, which ends in whichever namespace it was last.
        thread::Builder::new().name("older".to_owned()).spawn(move || {
            // Whoever asked may have given up.
            let _gone = answer.send(cut.run());
        })?;
        answered.await.map_err(io::Error::other)
    }

    /// Makes `endpoints` what is guarded beside the guarded set: of each address only these ports, as of a machine that
    /// is a proxy on one and something else on the others. An address that is also in the guarded set stays guarded on
    /// every port.
    ///
    /// # Errors
    /// As [`guard`](Self::guard), and when an address has more than [`PORTS_MAX`](crate::PORTS_MAX) ports, or a port is
    /// zero.
    pub fn guard_ports(&self, endpoints: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        let mut guarded = self.attached.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        guarded.replace_endpoints(endpoints)?;
        self.forward().replace(&guarded.targets()?);
        Ok(())
    }

    /// The next connection that was caught, in whichever network namespace. One that reached the listener without having been redirected is closed,
    /// counted as [`Outcome::Unrecorded`], and not returned. May be called from many tasks, and cancelled.
    ///
    /// # Errors
    /// Only when the listener of the agent's own namespace is broken for good; what concerns one connection is dealt with here.
    pub async fn accept(&self) -> Result<Intercepted, Error> {
        self.attached.listeners.accept().await
    }

    /// The agent's own way to guarded addresses.
    #[must_use]
    pub fn dialer(&self) -> Dialer {
        Dialer::new(self.attached.marker.clone())
    }

    /// The port on loopback that caught connections are handed to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.attached.listeners.port()
    }

    /// Every outcome, with how often it was met since the maps were first made.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<Vec<(Outcome, u64)>, Error> {
        Ok(self.attached.counters.read()?)
    }

    /// The next thing that the programs say the agent has to do something about, and that this room does not see to
    /// itself, as it does to unknown namespaces. Each goes to one caller. May be cancelled.
    pub async fn event(&self) -> Event {
        self.attached.events.next().await
    }

    /// Where the agent listens, by network namespace.
    #[must_use]
    pub fn listeners(&self) -> Vec<NamespaceListener> {
        self.attached.listeners.list()
    }

    /// The programs of the optional layer on the kernel's security hooks, and why some are not there.
    #[must_use]
    pub fn lsm(&self) -> &[LsmProgram] {
        self.attached.lsm.programs()
    }

    /// Who knows where processes stand among the jobs of the host.
    #[must_use]
    pub fn processes(&self) -> Processes {
        self.attached.following.processes()
    }

    /// How many events were lost since this agent started, because they came faster than they were asked for; those that
    /// found no room in the kernel are counted as [`Outcome::EventLost`].
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.attached.events.lost()
    }

    /// How many packets were dropped that others sent through this host to a guarded address; none where the
    /// configuration lets them through. Asks `nft`, in the calling thread's network namespace.
    ///
    /// # Errors
    /// What is wrong and the fix, where they are not dropped.
    pub fn forwarded_dropped(&self) -> Result<Option<u64>, String> {
        self.forward().dropped()
    }

    /// What is not as the agent left it where its programs are. Looked for every two seconds as well, and logged.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn rivals(&self) -> Result<Vec<Rival>, Error> {
        self.attached.places.rivals()
    }

    fn forward(&self) -> MutexGuard<'_, Forward> {
        self.attached.forward.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes programs, maps, pins and the table of nftables away: nothing is guarded from then on.
    ///
    /// # Errors
    /// When a pin cannot be removed; what it held may still be attached. When the table cannot be.
    pub fn detach(self) -> Result<(), Error> {
        let Self { attached: Attached { listeners, links, lsm, forward, following, .. }, pins, .. } = self;
        pins.remove()?;
        drop(lsm);
        drop(following);
        // The programs go with the last descriptors of their links, and only then the listeners: a connect in between
        // is caught and closed.
        drop(links);
        drop(listeners);
        forward.into_inner().unwrap_or_else(PoisonError::into_inner).remove()
    }
}

impl Attached {
    /// Loads, listens, and only then attaches.
    fn new(cfg: &Config, pins: &Pins, cgroup: &Cgroup, own: Option<&Cgroup>) -> Result<Self, Error> {
        let plan = lsm::prepare(cfg, pins, cgroup);
        let mut object = object::load(cfg, pins, &plan.settings)?;
        let log = KernelLog::start(&mut object)?;
        let marker = Marker::new(take(&mut object, object::MARKS)?)?;
        let (registry, accepted) =
            (take(&mut object, object::LISTENERS)?, take(&mut object, object::ACCEPTED)?);
        let (listeners, unknown) = Listeners::open(cfg.port, &marker, registry, accepted, cgroup)?;
        let events = Events::start(take(&mut object, object::EVENTS)?, unknown, listeners.watch())?;
        // Before anything is caught, so that who is caught is known.
        let (following, followers) = Following::start(&mut object, pins, cfg)?;
        let links = Links::attach(&object, pins, cgroup, own, followers)?;
        let unreadable = |source| Error::Pin { action: "read", path: cgroup.path().to_owned(), source };
        let places = Arc::new(Places::new(cgroup.try_clone().map_err(unreadable)?, links.programs()?));
        let guarded = Guarded::new(take(&mut object, object::GUARDED)?)?;
        let counters = Counters::new(take(&mut object, object::COUNTERS)?)?;
        // Last, for nothing above may fail and leave a table behind.
        let mut forward = Forward::new(&cfg.pins, cfg.drop_forwarded);
        forward.take_over(&guarded.targets()?);
        let lsm = Layer::attach(plan, &mut object, pins, cgroup, &links, &cfg.lsm);
        Ok(Self {
            listeners,
            marker,
            guarded: Mutex::new(guarded),
            forward: Mutex::new(forward),
            counters,
            events,
            following,
            links,
            _watch: Watch::start(places.clone()),
            places,
            lsm,
            _log: log,
        })
    }
}

/// The cgroup to attach to, and the agent's own where that is outside.
fn cgroups(cfg: &Config) -> Result<(Cgroup, Option<Cgroup>), Error> {
    let found = cfg.cgroup.as_deref().map_or_else(Cgroup::root, Cgroup::open).and_then(|cgroup| {
        let own = cgroup.agents_if_outside()?;
        Ok((cgroup, own))
    });
    // It was there a moment ago, at the check.
    found.map_err(|error: CgroupError| {
        let problem = Problem { problem: error.to_string(), fix: "start again".to_owned() };
        Error::Preflight(vec![Check { name: "cgroup", outcome: Err(problem) }])
    })
}

fn take(object: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    object.take_map(name).ok_or(Error::Missing(name))
}
