//! The nouns: repositories, scopes, labels, jobs, demand, runners. No IO, no decisions.
//!
//! Text that comes from GitHub or from containers is untrusted: adapters pass it through
//! [`clean_text`] before it gets here.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// A repository's full name, `owner/name`. Compared without regard to case, as GitHub does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repo(String);

/// What GitHub admits in the full name of a repository.
pub const REPO_PATTERN: &str = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$";

impl Repo {
    /// The full name as GitHub spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user or organisation that owns the repository.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The name without its owner.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

/// Whether `name` may name a user or an organisation.
pub fn is_owner(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 100
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl FromStr for Repo {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let valid = text.split_once('/').is_some_and(|(owner, name)| {
            let tame = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            is_owner(owner)
                && (1..=100).contains(&name.len())
                && name.bytes().all(tame)
                && !matches!(name, "." | "..")
        });
        if valid {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(
            "repo",
            format!("`{}` is not a repository's full name", clean_text(text, 80)),
            "Give it as owner/name, for example octo-org/website.",
        ))
    }
}

impl TryFrom<String> for Repo {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Repo> for String {
    fn from(repo: Repo) -> Self {
        repo.0
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Repo {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Repo {}

impl PartialOrd for Repo {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Repo {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for Repo {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
    }
}

impl JsonSchema for Repo {
    fn schema_name() -> Cow<'static, str> {
        "Repo".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": REPO_PATTERN, "examples": ["octo-org/website"] })
    }
}

/// Where runners are registered, and so which jobs they can take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One repository.
    Repo(Repo),
    /// A whole organisation, by its login in lower case.
    Org(String),
}

impl Scope {
    /// The organisation `login`.
    pub fn org(login: &str) -> Self {
        Self::Org(login.to_ascii_lowercase())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repo(repo) => repo.fmt(f),
            Self::Org(org) => f.write_str(org),
        }
    }
}

/// A set of labels, in lower case: GitHub compares them without regard to case.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
#[schemars(with = "Vec<String>")]
pub struct Labels(BTreeSet<String>);

impl Labels {
    /// The labels in `texts`, folded and without blanks.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let folded = |text: T| text.as_ref().trim().to_lowercase();
        Self(texts.into_iter().map(folded).filter(|text| !text.is_empty()).collect())
    }

    /// Whether each of these labels is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether `label` (in lower case) is one of them.
    pub fn contains(&self, label: &str) -> bool {
        self.0.contains(label)
    }

    /// The labels of both.
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// Those of these labels that `other` lacks.
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Labels {
    /// Comma-separated, the form of the runner's `LABELS` variable and of our container label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(index, label)| {
            if index > 0 { write!(f, ",{label}") } else { f.write_str(label) }
        })
    }
}

impl From<Vec<String>> for Labels {
    fn from(texts: Vec<String>) -> Self {
        Self::new(texts)
    }
}

impl From<Labels> for Vec<String> {
    fn from(labels: Labels) -> Self {
        labels.0.into_iter().collect()
    }
}

/// Labels of architectures, as GitHub's runners have them.
const ARCHITECTURES: [&str; 4] = ["x64", "arm64", "arm", "x86"];

/// Whether a runner with `ours` can take a job that asks for `wanted`; otherwise the labels it lacks.
///
/// With `filter_by_arch` off, a label that names an architecture is not asked of the host: the
/// runner is registered with it all the same.
pub fn served_by(wanted: &Labels, ours: &Labels, filter_by_arch: bool) -> Result<(), Labels> {
    let mut missing = wanted.difference(ours);
    if !filter_by_arch {
        missing = missing.difference(&Labels::new(ARCHITECTURES));
    }
    if missing.is_empty() && !wanted.is_empty() { Ok(()) } else { Err(missing) }
}

/// Whether GitHub's own machines serve a job: `ubuntu-latest`, `windows-2025`, `macos-15-xlarge`, …
pub fn is_hosted(wanted: &Labels) -> bool {
    const SYSTEMS: [&str; 3] = ["ubuntu-", "windows-", "macos-"];
    !wanted.contains("self-hosted")
        && wanted.iter().any(|label| SYSTEMS.iter().any(|system| label.starts_with(system)))
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What each watched repository asks for, in the order of their names.
    pub repos: Vec<RepoDemand>,
    /// Repositories that could not be looked at: nothing is decided about these.
    pub unseen: BTreeMap<Repo, Error>,
    /// The API budget after this look.
    pub rate_limit: Option<RateLimit>,
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
        match scope {
            Scope::Repo(repo) => !self.unseen.contains_key(repo),
            Scope::Org(org) => !self.unseen.keys().any(|r| r.owner().eq_ignore_ascii_case(org)),
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
    /// Since when GitHub no longer sees it although it once did.
    pub lost_since: Option<DateTime<Utc>>,
    /// The job it works on.
    pub job: Option<RunningJob>,
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
