//! The nouns: repositories, scopes, labels, jobs, demand, runners. No IO, no decisions.
//!
//! Text that comes from GitHub or from containers is untrusted: adapters pass it through
//! [`clean_text`] before it gets here; [`ToldJob`] does that with jobs, wherever GitHub tells of them.

mod heartbeat;
mod labels;
mod names;
mod result;
mod secrets;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use heartbeat::{Heartbeat, Said};
pub use labels::{Labels, is_hosted, served_by};
pub use names::{REPO_PATTERN, Repo, Scope, is_owner};
pub use result::{Ending, JobResult};
pub use secrets::{REDACTED, names_a_secret, redacted};
pub use told::ToldJob;

use crate::error::{Code, Error};

/// A queued job: status `queued`, waiting for a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// GitHub's id of the job; unique over all repositories of a server.
    pub id: u64,
    /// The workflow run that it belongs to.
    pub run_id: u64,
    /// The repository whose workflow it is.
    pub repo: Repo,
    /// Where a runner for it is registered.
    pub scope: Scope,
    /// The job's name: untrusted text.
    pub name: String,
    /// Its page.
    pub url: String,
    /// What `runs-on` asks for.
    pub labels: Labels,
    /// Since when it waits.
    pub queued_at: DateTime<Utc>,
    /// When it was last known to wait: whoever told us was asked, or spoke, then.
    pub seen_at: DateTime<Utc>,
    /// Whether GitHub has given it to no scale set although one could serve it: it needs a runner of
    /// no set.
    pub beside_sets: bool,
}

impl Job {
    /// The job by name and address.
    pub fn named(&self) -> JobRef {
        let Self { id, run_id, name, url, .. } = self;
        JobRef { id: *id, run_id: *run_id, name: name.clone(), url: url.clone() }
    }
}

/// Jobs of which only the number is known, as a scale set's statistics tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Where runners for them are registered.
    pub scope: Scope,
    /// What they may ask for.
    pub labels: Labels,
    /// How many wait.
    pub jobs: usize,
    /// Since when some always waited.
    pub since: DateTime<Utc>,
    /// When this was known.
    pub seen_at: DateTime<Utc>,
}

/// A job that a runner has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningJob {
    /// Which job it is.
    pub job: JobRef,
    /// The runner that has it.
    pub runner_name: String,
    /// Since when it runs.
    pub started_at: Option<DateTime<Utc>>,
}

/// A job by name and address, as results show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRef {
    /// GitHub's id of the job.
    pub id: u64,
    /// The workflow run that it belongs to.
    pub run_id: u64,
    /// The job's name.
    pub name: String,
    /// Its page.
    pub url: String,
}

/// What one repository asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoDemand {
    /// The repository.
    pub repo: Repo,
    /// Runs in progress with no queued job.
    pub running: u32,
    /// Runs that failed within `since_days`.
    pub failed: u32,
    /// Runs that wait: queued themselves, or with a queued job.
    pub pending: u32,
    /// Every job with status `queued`, hosted ones included.
    pub queued: Vec<Job>,
    /// Jobs in progress that name their runner.
    pub in_progress: Vec<RunningJob>,
}

/// The whole demand as it is now: a level, never an increment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// What each watched repository asks for, in the order of their names.
    pub repos: Vec<RepoDemand>,
    /// Jobs beside these, of which only the number is known.
    pub counted: Vec<Counted>,
    /// Repositories that could not be looked at: nothing is decided about these.
    pub unseen: BTreeMap<Repo, Error>,
    /// Accounts, in small letters, whose repositories could not even be listed, while others' could.
    pub unlisted: BTreeMap<String, Error>,
    /// Repositories whose turn to be looked at has not come yet.
    pub unlooked: BTreeSet<Repo>,
    /// Whether it is known which repositories there are.
    pub is_listed: bool,
    /// Whether polls see nothing just now, so that this is what others told and no more.
    pub is_partial: bool,
    /// The API budget after this look.
    pub rate_limit: Option<RateLimit>,
    /// The part of it that looks may use.
    pub allowance: Option<Allowance>,
    /// When a pass can go on with what limits made it leave.
    pub go_on_at: Option<DateTime<Utc>>,
    /// Sentences worth knowing, such as a scale set that has no session.
    pub warnings: Vec<String>,
    /// Grows with every change of what is known.
    pub revision: u64,
}

impl Demand {
    /// All queued jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.repos.iter().flat_map(|repo| &repo.queued)
    }

    /// The job that the runner `name` works on.
    pub fn job_of(&self, name: &str) -> Option<&RunningJob> {
        self.repos.iter().flat_map(|repo| &repo.in_progress).find(|job| job.runner_name == name)
    }

    /// Whether everything that decides about `scope` was seen.
    pub fn has_seen(&self, scope: &Scope) -> bool {
        let is_seen =
            |repo: &Repo| !self.unseen.contains_key(repo) && !self.unlooked.contains(repo);
        let mut hidden = self.unseen.keys().chain(&self.unlooked);
        let listed = |owner: &str| !self.unlisted.contains_key(&owner.to_ascii_lowercase());
        self.is_listed
            && match scope {
                Scope::Repo(repo) => listed(repo.owner()) && is_seen(repo),
                Scope::Org(org) => {
                    listed(org) && !hidden.any(|repo| repo.owner().eq_ignore_ascii_case(org))
                }
            }
    }
}

/// The hourly budget of GitHub's REST API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RateLimit {
    /// Requests an hour.
    pub limit: u32,
    /// What is left of them.
    pub remaining: u32,
    /// When they are all there again.
    pub reset_at: DateTime<Utc>,
    /// One sentence: whether the budget lasts until then.
    pub forecast: String,
}

/// What looks may cost of the hourly budget: requests that are not modified are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Charged requests in an hour.
    pub share: u32,
    /// What is left of them.
    pub left: u32,
    /// When they are all there again.
    pub reset_at: DateTime<Utc>,
}

/// A runner as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// GitHub's id of the runner.
    pub id: u64,
    /// Its name, unique in its scope.
    pub name: String,
    /// Whether it listens for jobs.
    pub online: bool,
    /// Whether it has a job.
    pub busy: bool,
}

/// Why a runner was launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A queued job needed it.
    Queue,
    /// Somebody asked for it by hand.
    Manual,
    /// It is kept ready for a job that may come.
    Warm,
}

impl Origin {
    /// The value of our container label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Manual => "manual",
            Self::Warm => "warm",
        }
    }
}

/// A runner container as the engine knows it: what our labels and the engine's own state say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id, in full.
    pub id: String,
    /// The runner's name, which is the container's too.
    pub name: String,
    /// Where it is registered.
    pub scope: Scope,
    /// The repository it was launched for; an organisation's runner may take any job of its scope.
    pub repo: Option<Repo>,
    /// What it was registered with.
    pub labels: Labels,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Why it was launched.
    pub origin: Origin,
    /// GitHub's id, when it was known at launch (JIT).
    pub runner_id: Option<u64>,
    /// The engine's word: created, running, exited, …
    pub status: String,
    /// Whether its process has ended (or never began and never will).
    pub ended: bool,
}

/// What a runner is doing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Launched, and not yet listening for jobs.
    Starting,
    /// Listening for a job.
    Idle,
    /// At work on a job, because GitHub says so, or on its way out after one.
    Busy,
    /// Its process has ended.
    Exited,
}

impl Phase {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Exited => "exited",
        }
    }
}

/// A runner: a container joined with what GitHub says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// What the engine says.
    pub container: Container,
    /// What GitHub says, by name; `None` when it is not listed.
    pub registered: Option<Registered>,
    /// Whether GitHub could be asked. What is not certain is not acted upon.
    pub certain: bool,
    /// What it is doing.
    pub phase: Phase,
    /// Since when it is in this phase, as far as this process has seen.
    pub since: DateTime<Utc>,
    /// Since when GitHub no longer sees it although it once did, or although it says that it listens;
    /// or since when it says that its job is done, and goes on.
    pub lost_since: Option<DateTime<Utc>>,
    /// What its log said when it was last asked: only one that is in doubt is.
    pub heartbeat: Option<Heartbeat>,
    /// Of one that is lost and says that it works: how long that is believed.
    pub at_work_until: Option<DateTime<Utc>>,
    /// When it was first seen at work or ended, unless it is known on which job: until then it may
    /// have taken any job that it fits.
    pub spent_at: Option<DateTime<Utc>>,
    /// The job it works on.
    pub job: Option<RunningJob>,
}

/// What the engine says of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// The image that it was created from.
    pub image: String,
    /// When its process began.
    pub started_at: Option<DateTime<Utc>>,
    /// The exit code of its process, when that has ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel ended it because it used too much memory.
    pub oom_killed: bool,
    /// The user that it runs as; empty: the image's own.
    pub user: String,
    /// Its network.
    pub network: String,
    /// Bytes of memory that it may use; 0: no bound.
    pub memory_limit: u64,
    /// Thousandths of a processor that it may use; 0: no bound.
    pub milli_cpus: u64,
    /// Processes that it may have; 0: no bound.
    pub pids_limit: u64,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Whether its jobs can reach the engine, and so the whole host.
    pub docker_socket: bool,
}

/// What a container uses at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Of one processor: 100 is a whole one, 250 two and a half.
    pub cpu_percent: f64,
    /// Bytes of memory, without those that the kernel takes back when it needs them.
    pub memory_bytes: u64,
    /// Bytes of memory that it may use: the host's where it has no bound of its own.
    pub memory_limit: u64,
}

/// How a runner ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The exit code of its process, when it had one.
    pub exit_code: Option<i64>,
    /// Its last lines.
    pub log_tail: String,
}

/// `text` on one line, without control characters, cut to at most `limit` characters.
///
/// Names of workflows, jobs and branches and the lines of logs are written by strangers: escape
/// sequences could rewrite a terminal, and length could drown a result.
pub fn clean_text(text: &str, limit: usize) -> String {
    let mut clean: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !is_unsafe(*c))
        .take(limit + 1)
        .collect();
    if clean.chars().count() > limit {
        clean = clean.chars().take(limit.saturating_sub(1)).collect();
        clean.push('…');
    }
    clean
}

/// Control characters, and the invisible ones that reorder or hide text.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The error for a thing that does not exist.
pub fn not_found(what: impl fmt::Display, remedy: impl Into<String>) -> Error {
    Error::new(Code::NotFound, format!("{what} was not found."), remedy)
}
