//! An agent that says what it caught.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use interception::{Config, Intercepted, Interception, Outcome};
use model::Standing;
use tokio::{io::AsyncWriteExt as _, task::JoinHandle};

/// Answers each connection with one line and ends it.
pub(crate) struct Agent {
    interception: Arc<Interception>,
    serving: JoinHandle<()>,
}

impl Agent {
    pub(crate) async fn start(cfg: &Config) -> Self {
        let interception = Arc::new(Interception::start(cfg).await.unwrap());
        let accepting = Arc::clone(&interception);
        let serving = tokio::spawn(async move {
            loop {
                let caught = accepting.accept().await.unwrap();
                tokio::spawn(answer(caught));
            }
        });
        Self { interception, serving }
    }

    /// Starts and guards the addresses.
    pub(crate) async fn guarding(cfg: &Config, addrs: &[&str]) -> Self {
        let agent = Self::start(cfg).await;
        agent.guard(addrs);
        agent
    }

    pub(crate) fn guard(&self, addrs: &[&str]) {
        let addrs: BTreeSet<IpAddr> = addrs.iter().map(|text| text.parse().unwrap()).collect();
        self.interception.guard(&addrs).unwrap();
    }

    pub(crate) fn interception(&self) -> &Interception {
        &self.interception
    }

    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        let counters = self.interception.counters().unwrap();
        counters.into_iter().find(|(counted, _)| *counted == outcome).unwrap().1
    }

    /// Ends as a killed process would: what it holds is closed, what is pinned stays.
    pub(crate) async fn end(self) {
        drop(self.stop().await);
    }

    /// Ends the serving and gives back what served.
    pub(crate) async fn stop(self) -> Interception {
        self.serving.abort();
        let Err(_) = self.serving.await else { panic!("the agent had stopped serving") };
        Arc::into_inner(self.interception).expect("nobody else holds it")
    }
}

async fn answer(caught: Intercepted) {
    let (mut stream, dst, owner) = caught.into_parts();
    let line = format!(
        "AGENT {dst} pid={} tid={} uid={} gid={} cgroup={} comm={} is={}\n",
        owner.pid,
        owner.tid,
        owner.uid,
        owner.gid,
        owner.cgroup_id,
        owner.comm,
        stands(owner.standing)
    );
    assert!(owner.netns_cookie > 0 && owner.socket_cookie > 0 && owner.connected_at_ns > 0, "{owner:?}");
    // A client may be gone by now. What it sent is read to its end: closing over unread data would be a reset.
    if stream.write_all(line.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        let _gone = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
}

/// In one word: what it is, with the pids of worker and step.
fn stands(standing: Standing) -> String {
    match standing {
        Standing::Unknown => "unknown".to_owned(),
        Standing::Outside => "outside".to_owned(),
        Standing::Worker(worker) => format!("worker:{}", worker.pid),
        Standing::Member { worker, step } => format!("member:{}:{}", worker.pid, step.pid),
        Standing::LeftOver { worker, ended_at_ns } => {
            format!("left:{}:{}", worker.pid, if ended_at_ns.is_some() { "then" } else { "once" })
        }
    }
}
