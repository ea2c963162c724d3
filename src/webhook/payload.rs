//! What the event `workflow_job` carries, in all the shapes that it has had.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::demand::{Heard, JobState, LAG};
use crate::model::{Repo, Scope, ToldJob};

/// GitHub fails a job that was queued for longer (docs.github.com: actions limits). So one that is
/// told later is an old delivery that comes again.
const QUEUE: TimeDelta = TimeDelta::hours(24);

/// Lenient, like [`ToldJob`].
#[derive(Debug, Deserialize)]
pub(super) struct Payload {
    action: String,
    workflow_job: ToldJob,
    repository: Repository,
    /// There where an organisation owns the repository.
    organization: Option<Organization>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    full_name: Repo,
}

#[derive(Debug, Deserialize)]
struct Organization {}

impl Payload {
    pub(super) fn repo(&self) -> &Repo {
        &self.repository.full_name
    }

    /// What is told of the job, whose runners are registered with the organisation when `org_wide`;
    /// or why that says nothing.
    pub(super) fn heard(
        &self,
        org_wide: bool,
        server_url: &str,
        now: DateTime<Utc>,
    ) -> Result<Heard, &'static str> {
        let job = &self.workflow_job;
        // A job that was let through its gate was created long before it was queued, and GitHub sets
        // the time of its start until it has begun.
        let since = job.created_at.max(job.started_at).unwrap_or(now);
        let state = match (self.action.as_str(), job.status.as_deref()) {
            ("completed", _) | ("queued" | "waiting", Some("completed")) => JobState::Completed,
            // As it was called in 2021.
            ("in_progress" | "started", _) => JobState::InProgress {
                runner_name: job.runner_name().unwrap_or_default(),
                started_at: job.started_at,
            },
            ("queued" | "waiting", _) if now - since > QUEUE => {
                return Err("the job was queued more than a day ago");
            }
            // Behind a gate a job is called queued as well, and has the status to tell: so in
            // GitHub's own examples.
            ("waiting", _) | ("queued", Some("waiting" | "pending" | "requested")) => {
                JobState::Waiting
            }
            ("queued", _) => JobState::Queued,
            _ => return Err("this is not known to happen to a job"),
        };
        let repo = self.repo();
        let scope = match self.organization {
            Some(_) if org_wide => Scope::org(repo.owner()),
            // An account that is no organisation has runners of its repositories only.
            _ => Scope::Repo(repo.clone()),
        };
        // It waited when it was told of, and may have got a runner on the way here. Of a clock that goes
        // otherwise than GitHub's no more is believed than deliveries take.
        let seen_at = since.max(now - LAG).min(now);
        let ending = job.ending().filter(|_| state == JobState::Completed);
        let job = job.job(repo, &scope, server_url, since.min(now), seen_at);
        Ok(Heard { job, state, ending, at: now })
    }
}
