//! Fluent descriptions of what a test or a demonstration wants to exist.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::model::{Conclusion, JobStatus, Permission};

/// A repository to add: `RepoSpec::new("acme/api").private()`.
#[derive(Debug, Clone)]
pub struct RepoSpec {
    pub(super) full_name: String,
    pub(super) pushed_at: Option<DateTime<Utc>>,
    pub(super) never_pushed: bool,
    pub(super) archived: bool,
    pub(super) disabled: bool,
    pub(super) private: bool,
    pub(super) denied: Vec<Permission>,
    pub(super) collaborators: Vec<String>,
}

impl RepoSpec {
    /// A public repository `owner/name`, pushed to just now. An owner that does not exist yet
    /// becomes an organisation.
    pub fn new(full_name: impl Into<String>) -> Self {
        Self {
            full_name: full_name.into(),
            pushed_at: None,
            never_pushed: false,
            archived: false,
            disabled: false,
            private: false,
            denied: Vec::new(),
            collaborators: Vec::new(),
        }
    }

    /// When it was last pushed to.
    #[must_use]
    pub fn pushed_at(mut self, at: DateTime<Utc>) -> Self {
        self.pushed_at = Some(at);
        self
    }

    /// An empty repository: its `pushed_at` is null.
    #[must_use]
    pub fn never_pushed(mut self) -> Self {
        self.never_pushed = true;
        self
    }

    /// Read-only for ever.
    #[must_use]
    pub fn archived(mut self) -> Self {
        self.archived = true;
        self
    }

    /// Switched off by GitHub.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.disabled = true;
        self
    }

    /// Seen by its owner, its organisation's members and its collaborators only.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Nobody's token has this permission here: requests that need it are answered by 403.
    #[must_use]
    pub fn denies(mut self, permission: Permission) -> Self {
        self.denied.push(permission);
        self
    }

    /// Nobody's token may look at its Actions or administer it.
    #[must_use]
    pub fn forbidden(self) -> Self {
        self.denies(Permission::Actions).denies(Permission::Administration)
    }

    /// Another login that works on it.
    #[must_use]
    pub fn shared_with(mut self, login: impl Into<String>) -> Self {
        self.collaborators.push(login.into());
        self
    }
}

/// A workflow run to queue: `RunSpec::new("ci").job(JobSpec::new("build"))`.
#[derive(Debug, Clone)]
pub struct RunSpec {
    pub(super) workflow: String,
    pub(super) named: bool,
    pub(super) branch: Option<String>,
    pub(super) event: String,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) jobs: Vec<JobSpec>,
}

impl RunSpec {
    /// A run of the workflow of this name on `main`, without jobs yet.
    pub fn new(workflow: impl Into<String>) -> Self {
        Self {
            workflow: workflow.into(),
            named: true,
            branch: Some("main".into()),
            event: "push".into(),
            created_at: None,
            jobs: Vec::new(),
        }
    }

    /// Adds a job.
    #[must_use]
    pub fn job(mut self, job: JobSpec) -> Self {
        self.jobs.push(job);
        self
    }

    /// Adds `legs` jobs that are called `name (1)`, `name (2)`, … and are otherwise described by
    /// `describe`. A job that needs `name` waits for all of them.
    #[must_use]
    pub fn matrix(mut self, name: &str, legs: u32, describe: impl Fn(JobSpec) -> JobSpec) -> Self {
        self.jobs.extend(
            (1..=legs).map(|leg| JobSpec { leg: Some(leg), ..describe(JobSpec::new(name)) }),
        );
        self
    }

    /// The event that started it (`push` otherwise).
    #[must_use]
    pub fn event(mut self, event: impl Into<String>) -> Self {
        self.event = event.into();
        self
    }

    /// The branch it runs on (`main` otherwise).
    #[must_use]
    pub fn branch(mut self, branch: impl Into<String>) -> Self {
        self.branch = Some(branch.into());
        self
    }

    /// A run whose `head_branch` is null, as after the branch of a fork was removed.
    #[must_use]
    pub fn without_branch(mut self) -> Self {
        self.branch = None;
        self
    }

    /// A run whose `name`, and whose jobs' `workflow_name`, are null.
    #[must_use]
    pub fn without_name(mut self) -> Self {
        self.named = false;
        self
    }

    /// When it was created (now otherwise); its jobs were then, too.
    #[must_use]
    pub fn created_at(mut self, at: DateTime<Utc>) -> Self {
        self.created_at = Some(at);
        self
    }
}

/// A job of a run: `JobSpec::new("build").labels(["self-hosted", "linux"])`.
#[derive(Debug, Clone)]
pub struct JobSpec {
    pub(super) name: String,
    pub(super) leg: Option<u32>,
    pub(super) labels: Vec<String>,
    pub(super) takes: Duration,
    pub(super) needs: Vec<String>,
    pub(super) held: Option<JobStatus>,
    pub(super) conclusion: Conclusion,
}

impl JobSpec {
    /// A job with the one label `self-hosted` that takes no time and succeeds.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            leg: None,
            labels: vec!["self-hosted".into()],
            takes: Duration::ZERO,
            needs: Vec::new(),
            held: None,
            conclusion: Conclusion::Success,
        }
    }

    /// The labels of `runs-on`. A job with a label such as `ubuntu-latest` is GitHub-hosted: it
    /// starts and ends by itself.
    #[must_use]
    pub fn labels<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// How long it runs.
    #[must_use]
    pub fn takes(mut self, duration: Duration) -> Self {
        self.takes = duration;
        self
    }

    /// Names of the jobs of the same run that must have succeeded first. Until then GitHub does not
    /// list it at all; when one of them fails, it is listed as skipped.
    #[must_use]
    pub fn needs<N: Into<String>>(mut self, jobs: impl IntoIterator<Item = N>) -> Self {
        self.needs = jobs.into_iter().map(Into::into).collect();
        self
    }

    /// It stands as `waiting` (environment gate), `pending` (concurrency group) or `requested`
    /// until [`Simulator::release_job`](super::Simulator::release_job).
    #[must_use]
    pub fn held(mut self, status: JobStatus) -> Self {
        self.held = Some(status);
        self
    }

    /// How it ends (with success otherwise).
    #[must_use]
    pub fn concludes(mut self, conclusion: Conclusion) -> Self {
        self.conclusion = conclusion;
        self
    }
}
