//! The nouns of the simulated GitHub, as plain records that a test can look at.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A user or an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// GitHub's identifier.
    pub id: u64,
    /// The name in URLs.
    pub login: String,
    /// Whether it is an organisation.
    pub organization: bool,
    /// Whether everybody's token lacks "Self-hosted runners" on this organisation.
    pub runners_denied: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// A permission of a fine-grained personal access token on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Looking at runs and jobs.
    Actions,
    /// Looking at, registering and removing runners.
    Administration,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// GitHub's identifier.
    pub id: u64,
    /// Login of its owner.
    pub owner: String,
    /// Its name without the owner.
    pub name: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last pushed to; none for an empty one.
    pub pushed_at: Option<DateTime<Utc>>,
    /// Read-only for ever.
    pub archived: bool,
    /// Switched off by GitHub.
    pub disabled: bool,
    /// Not visible to everybody.
    pub private: bool,
    /// Permissions that everybody's token lacks on it.
    pub denied: Vec<Permission>,
    /// Logins beside the owner's that see it.
    pub collaborators: Vec<String>,
}

impl Repo {
    /// `owner/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// Where runners are registered, and whose jobs they take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One repository, as `owner/name`.
    Repo(String),
    /// All repositories of an organisation.
    Org(String),
}

/// Where a job or a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Ready for a runner.
    Queued,
    /// A runner works on it.
    InProgress,
    /// It has ended; see its conclusion.
    Completed,
    /// An environment's gate holds it.
    Waiting,
    /// Asked for, not yet accepted.
    Requested,
    /// A concurrency group holds it.
    Pending,
}

impl JobStatus {
    /// GitHub's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Waiting => "waiting",
            Self::Requested => "requested",
            Self::Pending => "pending",
        }
    }
}

/// How a job or a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// All went well.
    Success,
    /// A step failed, or the runner was lost.
    Failure,
    /// Somebody cancelled it.
    Cancelled,
    /// A job it needs did not succeed.
    Skipped,
    /// It took too long.
    TimedOut,
}

impl Conclusion {
    /// GitHub's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed_out",
        }
    }
}

/// A workflow run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// GitHub's identifier.
    pub id: u64,
    /// Number within its repository.
    pub number: u64,
    /// `owner/name` of its repository.
    pub repo: String,
    /// The workflow's name; the file is named after it.
    pub workflow: String,
    /// Whether the workflow's name is shown.
    pub named: bool,
    /// The branch; none when it is gone.
    pub branch: Option<String>,
    /// The event that started it.
    pub event: String,
    /// Where it stands, as its jobs say.
    pub status: JobStatus,
    /// How it has ended.
    pub conclusion: Option<Conclusion>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When something about it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A job of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// GitHub's identifier.
    pub id: u64,
    /// Its run.
    pub run_id: u64,
    /// `owner/name` of its repository.
    pub repo: String,
    /// Its name, with the leg of its matrix.
    pub name: String,
    /// Its name in the workflow, which `needs` refers to.
    pub key: String,
    /// The labels of `runs-on`.
    pub labels: Vec<String>,
    /// How long it runs.
    pub takes: Duration,
    /// How it is to end when nothing goes wrong.
    pub intended: Conclusion,
    /// Where it stands.
    pub status: JobStatus,
    /// How it has ended.
    pub conclusion: Option<Conclusion>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last became queued.
    pub queued_at: DateTime<Utc>,
    /// When a runner began it.
    pub started_at: Option<DateTime<Utc>>,
    /// How often a runner has begun it.
    pub begun: u32,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The runner that has or had it, once it has begun.
    pub runner_id: Option<u64>,
    /// That runner's name.
    pub runner_name: Option<String>,
    /// Whether its run was cancelled while it ran, and its runner is to be told.
    pub cancelled: bool,
}

impl Job {
    /// Whether GitHub's own machines run it.
    pub fn is_hosted(&self) -> bool {
        self.labels.iter().any(|label| {
            let label = label.to_ascii_lowercase();
            ["ubuntu-", "windows-", "macos-"].iter().any(|system| label.starts_with(system))
        })
    }
}

/// A self-hosted runner's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// GitHub's identifier.
    pub id: u64,
    /// Its name, unique within its scope.
    pub name: String,
    /// Whose jobs it takes.
    pub scope: Scope,
    /// Its labels.
    pub labels: Vec<String>,
    /// The scale set that it is of: it takes that set's jobs and no others.
    pub set: Option<u64>,
    /// Whether it goes after one job.
    pub ephemeral: bool,
    /// Its group.
    pub group_id: u64,
    /// Whether a process has ever connected as this runner.
    pub connected_once: bool,
    /// How many connections of it are open now.
    pub connections: u32,
    /// When it was registered or last connected.
    pub seen_at: DateTime<Utc>,
    /// The job that it was given and has not completed.
    pub job: Option<u64>,
    /// When that job was given.
    pub assigned_at: Option<DateTime<Utc>>,
    /// The jobs that it has completed.
    pub done: Vec<u64>,
}

impl Runner {
    /// Whether its labels cover all of a job's, whatever their case.
    pub fn covers(&self, labels: &[String]) -> bool {
        labels.iter().all(|wanted| self.labels.iter().any(|own| own.eq_ignore_ascii_case(wanted)))
    }
}
