//! A stateful GitHub, small enough to run inside a test or a demonstration.
//!
//! It answers the part of the REST API that an autoscaler needs as a GitHub Enterprise Server does
//! (`{url}/api/v3`), with paging, conditional requests, rate limits, permissions and, on demand,
//! faults; and it plays GitHub's part towards self-hosted runners, whose program is [`runner`].
//! Jobs are queued by the handle, and what became of them can be read and waited for there.
//!
//! Limits: it is a model made from GitHub's documentation, and imports nothing of the rest of this
//! crate, so that a misunderstanding in one is not confirmed by the other. The protocol between it
//! and its runners is its own. Apps have all permissions that exist here. It has no web pages, logs or
//! artifacts, and every login is a member of every organisation.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use runner_kit::simulator::{JobSpec, Options, RepoSpec, RunSpec, Simulator};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let github = Simulator::start(Options::default()).await?;
//! github.add_repo(RepoSpec::new("acme/api"));
//! let build = JobSpec::new("build").labels(["self-hosted", "linux"]).takes(Duration::from_secs(1));
//! github.queue_run("acme/api", RunSpec::new("ci").job(build))?;
//! github.wait_until(|state| state.is_all_done()).await;
//! # Ok(()) }
//! ```

mod apps;
mod clock;
mod faults;
mod gate;
mod hooks;
mod jit;
mod journal;
mod limits;
mod model;
mod options;
mod paging;
mod problem;
mod random;
mod rest;
mod rest_apps;
mod rest_runners;
pub mod runner;
mod runner_side;
mod scaleset;
mod server;
mod shapes;
mod spec;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use self::server::Server;
pub use self::{
    apps::{App, AppSpec, Installation},
    faults::{Fault, Often},
    hooks::{Delivery, HookFault},
    journal::{Counters, Journal, Request},
    model::{Account, Conclusion, Job, JobStatus, Permission, Repo, Run, Runner, Scope},
    options::{LOGIN, LostJob, Options, TOKEN},
    runner_side::Deed,
    scaleset::{ScaleSet, ScaleSetOptions, Stage, Statistics, Trouble},
    spec::{JobSpec, RepoSpec, RunSpec},
    state::{State, Unknown},
};

/// A running simulator. Clones are handles to the same one; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Simulator(Arc<Server>);

impl Simulator {
    /// Starts to listen.
    pub async fn start(options: Options) -> io::Result<Self> {
        Server::start(options).await.map(|server| Self(Arc::new(server)))
    }

    /// The server's URL, without a trailing slash (`GITHUB_SERVER_URL`).
    pub fn url(&self) -> String {
        self.0.shared.url.clone()
    }

    /// The REST API's base URL, without a trailing slash (`GITHUB_API_URL`).
    pub fn api_url(&self) -> String {
        self.0.shared.api_url()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The simulator's time.
    pub fn now(&self) -> DateTime<Utc> {
        self.0.shared.lock().clock.now()
    }

    /// Puts the simulator's clock forward, so that tokens expire and limits are reset at once.
    pub fn skip(&self, time: Duration) {
        self.0.shared.change(|world, _| world.clock.skip(time));
    }

    /// Adds an organisation.
    pub fn add_org(&self, login: &str) {
        self.0.shared.change(|world, now| world.state.add_account(login, true, now));
    }

    /// Adds a user.
    pub fn add_user(&self, login: &str) {
        self.0.shared.change(|world, now| world.state.add_account(login, false, now));
    }

    /// Adds a repository, or replaces the one of the same name.
    pub fn add_repo(&self, repo: RepoSpec) {
        self.0.shared.change(|world, now| world.state.add_repo(repo, now));
    }

    /// Registers a GitHub App, or replaces the one of the same id: so is its key changed.
    pub fn add_app(&self, app: AppSpec) {
        self.0.shared.change(|world, now| world.state.add_app(app, now));
    }

    /// Installs an app on an account, for all of its repositories or for those that are named; the
    /// answer is the installation's identifier.
    pub fn install_app(
        &self,
        app: u64,
        account: &str,
        repos: Option<&[&str]>,
    ) -> Result<u64, Unknown> {
        self.0.shared.change(|world, now| world.state.install_app(app, account, repos, now))
    }

    /// Suspends an installation, or ends that.
    pub fn suspend(&self, installation: u64, suspended: bool) -> Result<(), Unknown> {
        self.0.shared.change(|world, now| world.state.suspend(installation, suspended, now))
    }

    /// Removes an installation; its tokens are worth nothing from then on.
    pub fn uninstall(&self, installation: u64) -> Result<(), Unknown> {
        self.0.shared.change(|world, _| world.state.uninstall(installation))
    }

    /// Takes the right to an organisation's runners from all tokens.
    pub fn deny_runners_of(&self, org: &str) -> Result<(), Unknown> {
        self.0.shared.change(|world, _| world.state.deny_runners_of(org))
    }

    /// Queues a run; the answer is its identifier.
    pub fn queue_run(&self, repo: &str, run: RunSpec) -> Result<u64, Unknown> {
        self.0.shared.change(|world, now| world.state.queue_run(repo, run, now))
    }

    /// Cancels a run: its queued jobs end at once, and the runners of the others are told.
    pub fn cancel_run(&self, run: u64) -> Result<(), Unknown> {
        self.0.shared.change(|world, now| world.state.cancel_run(run, now))
    }

    /// Queues a job that was [held](JobSpec::held).
    pub fn release_job(&self, job: u64) -> Result<(), Unknown> {
        self.0.shared.change(|world, now| world.state.release_job(job, now))
    }

    /// Forgets a runner, busy or not, as GitHub sometimes does; its job is lost.
    pub fn delete_runner(&self, runner: u64) -> Result<(), Unknown> {
        self.0.shared.change(|world, now| world.state.drop_runner(runner, now))
    }

    /// Lets requests that match `pattern` go wrong. The pattern is `METHOD PATH`, the path being
    /// below the API's base or one of the runners' (`/_runner/…`), and `*` matching anything:
    /// `GET /repos/acme/*/actions/runs`. Of several faults that match, the first injected strikes.
    pub fn inject(&self, fault: Fault, pattern: &str, often: Often) -> io::Result<()> {
        let injected = self.0.shared.change(|world, _| world.faults.inject(fault, pattern, often));
        injected.map_err(io::Error::other)
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.0.shared.change(|world, _| world.faults.clear());
    }

    /// Sends what happens to jobs from now on, of every repository, to `url`, signed with `secret`.
    pub fn hook(&self, url: &str, secret: &str) {
        hooks::start(&self.0.shared, url, secret);
    }

    /// Lets deliveries that match `pattern` go wrong. The pattern is `ACTION OWNER/NAME`, `*` matching
    /// anything: `queued acme/*`.
    pub fn spoil(&self, fault: HookFault, pattern: &str, often: Often) -> io::Result<()> {
        let shared = &self.0.shared;
        let injected = shared.change(|world, _| world.hooks.faults.inject(fault, pattern, often));
        injected.map_err(io::Error::other)
    }

    /// The latest deliveries, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.0.shared.lock().hooks.deliveries.iter().cloned().collect()
    }

    /// Waits until the deliveries are such, looking at them whenever one is answered.
    pub async fn wait_for_deliveries(&self, is_so: impl FnMut(&VecDeque<Delivery>) -> bool) {
        let mut is_so = is_so;
        self.0.shared.wait_until(|world| is_so(&world.hooks.deliveries)).await;
    }

    /// Looks at GitHub's state; `look` must not call the simulator again.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.0.shared.lock().state)
    }

    /// All jobs that GitHub lists, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        self.look(|state| state.jobs().cloned().collect())
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        self.look(|state| state.runs().cloned().collect())
    }

    /// All registered runners, oldest first.
    pub fn runners(&self) -> Vec<Runner> {
        self.look(|state| state.runners().cloned().collect())
    }

    /// What runners have said themselves that they did, oldest first: evidence beside [`jobs`](Self::jobs),
    /// which is GitHub's account.
    pub fn deeds(&self) -> Vec<Deed> {
        self.0.shared.lock().deeds.clone()
    }

    /// The latest REST requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.0.shared.lock().journal.requests().cloned().collect()
    }

    /// Totals over all REST requests.
    pub fn counters(&self) -> Counters {
        self.0.shared.lock().journal.counters().clone()
    }

    /// How many of the logged REST requests have a path that begins like this.
    pub fn requests_under(&self, prefix: &str) -> usize {
        self.0.shared.lock().journal.count_under(prefix)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.0.shared.change(|world, _| world.journal.clear());
    }

    /// Waits until GitHub's state is such, looking at it whenever it changes.
    pub async fn wait_until(&self, is_so: impl FnMut(&State) -> bool) {
        let mut is_so = is_so;
        self.0.shared.wait_until(|world| is_so(&world.state)).await;
    }

    /// Waits until the requests are such, looking at them whenever one arrives or is answered.
    pub async fn wait_for_requests(&self, is_so: impl FnMut(&Journal) -> bool) {
        let mut is_so = is_so;
        self.0.shared.wait_until(|world| is_so(&world.journal)).await;
    }
}
