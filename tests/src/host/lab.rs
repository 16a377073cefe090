//! The lab as its users see it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _, stderr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::agent::{Agent, open_log};
use super::command::{JobCommand, Running, words};
use super::container::{Container, Engine};
use super::options::Options;
use super::site::{Net, Place, Site};
use super::supply::Internet;
use super::tools::{Tools, certifi, source};
use super::{cgroup, enter, environment, holder, process, worker};

pub use super::agent::AgentStartFailed;

const HOLDER_WAIT: Duration = Duration::from_secs(20);
const LOG_POLL: Duration = Duration::from_millis(50);

/// A running lab. Dropped, it is gone: processes, namespaces, mounts, cgroups and folder.
///
/// There is one lab at a time on a machine; a second start waits for the first to end, so a thread that holds one must
/// not start another.
#[derive(Debug)]
pub struct Lab {
    options: Options,
    tools: Tools,
    site: Site,
    cwd: PathBuf,
    agent: Agent,
    internet: Internet,
    holder: Holder,
    jobs: AtomicU32,
    containers: AtomicU32,
    follower: Follower,
}

impl Lab {
    /// Lays the lab out, and starts its internet and its agent.
    ///
    /// # Errors
    /// Says what is missing or did not start; [`AgentStartFailed`] if it was the agent. Nothing is left behind.
    pub fn start(options: Options) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab makes namespaces and attaches kernel programs; run it as root");
        }
        options.check()?;
        let start = Instant::now();
        let say = |what: &str| say(options.verbose, start, what);
        let tools = Tools::find(options.program.as_deref())?;
        if options.agent {
            tools.agent()?;
        }
        let seeds = seeds(&options)?;
        let cwd = match &options.cwd {
            Some(folder) => fs::canonicalize(folder),
            None => std::env::current_dir(),
        };
        let cwd = cwd.context("cannot find the folder to run commands in")?;
        let holder = Holder::start(&tools)?;
        let site = Site::new(&holder.folder, holder.child.id())?;
        say("namespaces are laid out");
        let mut internet = Internet::start(&tools, &site, &seeds, options.canned)?;
        worker::install(&site, &tools.worker)?;
        let agent = Agent::configure(&tools, &site, &options)?;
        let follower = if options.verbose { Follower::start(&agent.log())? } else { Follower::default() };
        internet.trust(&site)?;
        if options.agent {
            agent.install()?;
            say("the agent's CA is installed");
        }
        internet.wait_until_ready()?;
        say("the internet is up");
        let (jobs, containers) = (AtomicU32::new(0), AtomicU32::new(0));
        let lab = Self { options, tools, site, cwd, agent, internet, holder, jobs, containers, follower };
        if lab.options.agent {
            lab.agent.start()?;
            self::say(lab.options.verbose, start, "the agent is up");
        }
        Ok(lab)
    }

    /// Runs a command as the lab's options say, to its end. More can be said with [`Lab::command`].
    ///
    /// # Errors
    /// It could not be started, or did not end in time. An exit code other than 0 is no error.
    pub fn run<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Output> {
        self.command(command)?.run()
    }

    /// Starts a command as the lab's options say.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Running> {
        self.command(command)?.spawn()
    }

    /// A command that is to be run in the lab.
    ///
    /// # Errors
    /// A word of it is not UTF-8.
    pub fn command<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<JobCommand<'_>> {
        Ok(JobCommand::new(self, words(command)?))
    }

    /// Starts a command with the caller's own input, output and terminal, in a container if the options say so.
    ///
    /// # Errors
    /// It could not be started.
    pub fn attach<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Child> {
        match self.options.container {
            Some(network) => {
                self.container(Container::new(Engine::Docker, network), command)?.command.attach()
            }
            None => self.command(command)?.attach(),
        }
    }

    /// Runs a raw command beside the runner, in the host's namespaces and inside what the agent guards.
    ///
    /// # Errors
    /// It could not be started.
    pub fn exec_host<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Output> {
        self.host_command().args(command).stdin(Stdio::null()).output().context("cannot run lab-exec")
    }

    /// Runs a raw command on the far side.
    ///
    /// # Errors
    /// It could not be started.
    pub fn exec_internet<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Output> {
        self.internet_command().args(command).stdin(Stdio::null()).output().context("cannot run lab-exec")
    }

    /// A token with these claims, as the lab's issuers make them: for `iss` one of theirs, and for `aud` the agent. What else
    /// its provider does to bring it into a job is up to the caller.
    ///
    /// # Errors
    /// The issuer cannot be asked, or makes none.
    pub fn token(&self, claims: &Value) -> Result<String> {
        let shown = environment::request_token_for(claims, &self.site)?;
        let url = "https://pipelines.actions.githubusercontent.com/x/idtoken?audience=snowfence";
        let answer =
            self.exec_internet(&["curl", "-sS", "-H", &format!("authorization: bearer {shown}"), url])?;
        let value: Value = serde_json::from_slice(&answer.stdout)
            .with_context(|| format!("no token: {}", String::from_utf8_lossy(&answer.stderr)))?;
        value.get("value").and_then(Value::as_str).map(str::to_owned).context("no token in the answer")
    }

    /// What a job with these claims shows to ask for its token.
    ///
    /// # Errors
    /// It cannot be written down where the issuers look for it.
    pub fn request_token(&self, claims: &Value) -> Result<String> {
        environment::request_token_for(claims, &self.site)
    }

    /// The agent's program, for what a job runs of it.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.tools.agent
    }

    /// A folder of the cache that `cargo xtask setup` makes.
    ///
    /// # Errors
    /// It is not there.
    pub fn cached(&self, name: &str) -> Result<PathBuf> {
        super::tools::cached(name)
    }

    /// What [`Lab::exec_host`] runs, for more control; the program and its arguments are to be added as arguments.
    #[must_use]
    pub fn host_command(&self) -> Command {
        self.raw(Place::User)
    }

    /// What [`Lab::exec_internet`] runs, for more control; the program and its arguments are to be added as arguments.
    #[must_use]
    pub fn internet_command(&self) -> Command {
        self.raw(Place::Internet)
    }

    /// A raw command on the host that the agent does not guard, in a cgroup of its own with this name, whose path comes
    /// with it; the program and its arguments are to be added as arguments.
    ///
    /// # Errors
    /// The cgroup cannot be made.
    pub fn beside_command(&self, name: &str) -> Result<(Command, PathBuf)> {
        let cgroup = self.site.cgroup.join("beside").join(name);
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        let mut command = enter::at_cgroup(&self.tools.exec, &self.site, Net::Host, &cgroup, Some(&self.cwd));
        environment::clean(&mut command, &self.site);
        environment::clients(&mut command, &self.tools, &self.site);
        Ok((command, cgroup))
    }

    /// The cgroup that the agent itself runs in, alone.
    #[must_use]
    pub fn agent_cgroup(&self) -> PathBuf {
        self.site.cgroup_of(Place::Agent)
    }

    fn raw(&self, place: Place) -> Command {
        let mut command = enter::at(&self.tools.exec, &self.site, place, Some(&self.cwd));
        environment::clean(&mut command, &self.site);
        environment::clients(&mut command, &self.tools, &self.site);
        command
    }

    /// Runs a verb of the agent's program, with the lab's configuration.
    ///
    /// # Errors
    /// It could not be started. An exit code other than 0 is no error.
    pub fn snowfence(&self, arguments: &[&str]) -> Result<Output> {
        self.tools.agent()?;
        self.agent.cli(arguments)
    }

    /// Kills the agent with SIGKILL.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill_agent(&self) -> Result<()> {
        self.agent.kill()
    }

    /// Ends the agent with SIGTERM and gives its exit code; none if it was not running.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop_agent(&self) -> Result<Option<i32>> {
        self.agent.stop()
    }

    /// Starts the agent, if it is not running, and waits until it is ready. In a lab that started without an agent, its
    /// CA is installed first.
    ///
    /// # Errors
    /// [`AgentStartFailed`], or what kept it from being started.
    pub fn start_agent(&self) -> Result<()> {
        self.tools.agent()?;
        self.agent.install()?;
        self.agent.start()
    }

    /// The agent's process id, while it runs.
    #[must_use]
    pub fn agent_id(&self) -> Option<u32> {
        self.agent.id()
    }

    /// All that the agent has written to its output, over all its starts.
    #[must_use]
    pub fn agent_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.agent.log()).unwrap_or_default()).into_owned()
    }

    /// Every request that reached the Snowflake server, in order, one JSON object each.
    ///
    /// # Errors
    /// The server's log cannot be read.
    pub fn front_log(&self) -> Result<Vec<Value>> {
        let file = self.site.internet().join("front.jsonl");
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("cannot read {}", file.display()))?,
        };
        // The last line may be in the middle of being written.
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        whole.lines().map(|line| serde_json::from_str(line).context("the server's log is damaged")).collect()
    }

    /// The agent's configuration file; a change counts from the agent's next start.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.agent.config()
    }

    /// The agent's state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.agent.state()
    }

    /// The lab's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// The cgroup that the agent is told to guard.
    #[must_use]
    pub fn guarded_cgroup(&self) -> PathBuf {
        self.site.cgroup.join("host")
    }

    /// The options that the lab was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Ends everything and clears it away, and says whether that worked; dropping a lab does the same silently.
    ///
    /// # Errors
    /// What could not be ended or cleared away.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        // What a command left behind may hold a connection, for which the agent would wait. Only while the lab is ours:
        // the next one's cgroups have the same names.
        let left = if self.holder.holds() { self.kill_commands() } else { Ok(()) };
        let agent = self.agent.stop();
        self.internet.stop();
        self.follower.stop();
        let cleared = self.holder.end();
        left.and(agent).and(cleared)
    }

    fn kill_commands(&self) -> Result<()> {
        let agent = self.site.cgroup_of(Place::Agent);
        cgroup::kill_beside(&self.guarded_cgroup(), &agent)
    }

    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    pub(super) fn cwd(&self) -> &Path {
        &self.cwd
    }

    pub(super) fn exec(&self) -> &Path {
        &self.tools.exec
    }

    pub(super) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// A number for a container, from 0 on.
    pub(super) fn next_container(&self) -> u32 {
        self.containers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn job_file(&self) -> PathBuf {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        self.site.folder.join("jobs").join(format!("{number}.json"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            // There is nobody to return it to, and the next start clears away again.
            drop(writeln!(stderr(), "lab: {error:#}"));
        }
    }
}

fn seeds(options: &Options) -> Result<Vec<PathBuf>> {
    let all = std::iter::once(source("seed.sql")).chain(options.seeds.iter().cloned());
    all.map(|file| fs::canonicalize(&file).with_context(|| format!("no such file: {}", file.display())))
        .collect()
}

fn say(verbose: bool, start: Instant, what: &str) {
    if verbose {
        // Without standard error there is nobody to tell.
        drop(writeln!(stderr(), "lab: {:>6.2} s {what}", start.elapsed().as_secs_f64()));
    }
}

/// The holder as a child process.
#[derive(Debug)]
struct Holder {
    child: Child,
    folder: PathBuf,
}

impl Holder {
    /// Starts it, and waits for its turn and its layout.
    fn start(tools: &Tools) -> Result<Self> {
        let mut command = Command::new(&tools.exec);
        command.arg("hold");
        for package in certifi(&tools.py_clients)? {
            command.arg("--certifi").arg(package);
        }
        // A process group of its own: an interrupt at the terminal shall not reach it.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the lab's holder")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("cannot hear the lab's holder")?;
        }
        let said: Option<Value> = serde_json::from_str(&line).ok();
        let folder = said.and_then(|said| said.get("folder").and_then(Value::as_str).map(PathBuf::from));
        let Some(folder) = folder else {
            let status = child.wait().context("cannot wait for the lab's holder")?;
            bail!("the lab could not be laid out ({status})");
        };
        Ok(Self { child, folder })
    }

    /// Whether it has not ended, and was not told to.
    fn holds(&mut self) -> bool {
        self.child.stdin.is_some() && matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets go, and waits until everything is cleared away.
    fn end(&mut self) -> Result<()> {
        if self.child.stdin.take().is_none() {
            return Ok(());
        }
        match process::wait(&mut self.child, HOLDER_WAIT).context("cannot watch the lab's holder")? {
            Some(status) if status.success() => Ok(()),
            // It was killed, or failed and said so: its work is done here, unless somebody's start did it already.
            Some(status) => holder::clear_after_another()
                .with_context(|| format!("the lab's holder ended early ({status}), and left things behind")),
            None => bail!("the lab could not be cleared away within {} s", HOLDER_WAIT.as_secs()),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Only after an error during the start; a lab that ran has ended it by then.
        drop(self.end());
    }
}

/// Repeats the agent's log on standard error while the lab runs.
#[derive(Debug, Default)]
struct Follower {
    thread: Option<thread::JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

impl Follower {
    fn start(log: &Path) -> Result<Self> {
        let mut file = open_log(log)?;
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            loop {
                let last = told.load(Ordering::Relaxed);
                if std::io::copy(&mut file, &mut stderr()).is_err() || last {
                    break;
                }
                thread::sleep(LOG_POLL);
            }
        });
        Ok(Self { thread: Some(thread), over })
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends at the latest with the process.
            drop(thread.join());
        }
    }
}
