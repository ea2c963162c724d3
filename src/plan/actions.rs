//! What a plan consists of, and the reasons in words.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::model::{Labels, Origin, Repo, Scope};

/// What to do, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Register and start a runner.
    Launch(Order),
    /// End the runner `name` and remove what it leaves.
    Remove {
        /// The runner's name.
        name: String,
        /// The reason.
        why: Removal,
    },
    /// Remove a registration of ours that has no container.
    Forget {
        /// Where it is registered.
        scope: Scope,
        /// GitHub's id.
        id: u64,
        /// The runner's name.
        name: String,
    },
    /// Leave a job waiting.
    Hold {
        /// GitHub's id of the job.
        job: u64,
        /// The reason.
        why: Held,
    },
    /// Turn down what was asked by hand.
    Refuse {
        /// What was asked.
        ask: Ask,
        /// The reason.
        why: Held,
    },
}

/// A runner asked for by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Where it registers.
    pub scope: Scope,
    /// The repository it is for.
    pub repo: Repo,
}

/// A runner to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Where it registers.
    pub scope: Scope,
    /// The repository it is for; none for a warm runner of an organisation.
    pub repo: Option<Repo>,
    /// What it can serve.
    pub labels: Labels,
    /// Why it is launched.
    pub origin: Origin,
    /// The job that made it necessary.
    pub job: Option<u64>,
    /// Whether it is registered through no scale set.
    pub beside_sets: bool,
}

/// Why a runner is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its process has ended.
    Finished,
    /// Nobody waits for it.
    Surplus,
    /// It never came online.
    NeverOnline,
    /// GitHub dropped it, or its job is done, while its process goes on.
    Lost,
    /// It is idle while jobs that it could serve wait.
    Deaf,
    /// Its job took longer than `job_timeout`.
    Overtime,
    /// Somebody stopped it.
    ByHand,
}

impl Removal {
    /// Whether a runner with a job may be removed for it.
    pub fn may_interrupt(self) -> bool {
        matches!(self, Self::Overtime)
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "it has finished",
            Self::Surplus => "no job waits for it",
            Self::NeverOnline => "it never came online",
            Self::Lost => "it is alive and takes no job any more",
            Self::Deaf => "it stays idle while jobs that it could serve wait",
            Self::Overtime => "its job took longer than job_timeout",
            Self::ByHand => "it was stopped by hand",
        })
    }
}

/// Why a job is not given a new runner in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A runner that is starting or idle will take it.
    Covered {
        /// That runner.
        runner: String,
    },
    /// As many runners as are allowed exist.
    AtCapacity {
        /// The bound.
        max: usize,
    },
    /// The repository has as many runners as it may have.
    RepoAtCapacity {
        /// The bound.
        max: usize,
    },
    /// Launches for the repository failed; they are tried again later.
    Backoff {
        /// When.
        until: DateTime<Utc>,
    },
    /// Nothing can be launched just now.
    Paused(String),
    /// It asks for labels that runners here don't have.
    Unmatched {
        /// Those labels.
        missing: Labels,
    },
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Covered { runner } => write!(f, "runner {runner} is about to take it"),
            Self::AtCapacity { max } => write!(f, "max_runners is {max} and no more may run"),
            Self::RepoAtCapacity { max } => {
                write!(f, "max_per_repo is {max} and its repository has as many runners")
            }
            Self::Backoff { until } => {
                let until = until.format("%H:%M:%SZ");
                write!(f, "launches for its repository failed; next try at {until}")
            }
            Self::Paused(why) => f.write_str(why),
            Self::Unmatched { missing } if missing.is_empty() => {
                f.write_str("it asks for no label at all")
            }
            Self::Unmatched { missing } => write!(f, "no runner here has the labels {missing}"),
        }
    }
}
