//! What is known in detail: one queue job by job, the longest wait, the names that are about.

use chrono::SubsecRound;

use super::RunnerKit;
use super::lists::QueueFilter;
use crate::error::{Error, Result};
use crate::model::{Demand, Job, JobRef, Phase, Repo, is_hosted, not_found};
use crate::plan::Held;
use crate::snapshot::{Event, Snapshot};
use crate::views::{LongestWait, QueueDetail, WaitingJob, WorkingJob};

/// Waiting jobs of one repository that are told one by one.
const MOST_JOBS: usize = 50;

impl RunnerKit {
    /// The queue of `repo`, with the reason for every job that waits.
    pub async fn queue(&self, repo: &Repo) -> Result<QueueDetail> {
        let demand = self.demand().await?;
        if let Some(error) = demand.unseen.get(repo) {
            return Err(error.clone());
        }
        let seen = demand.repos.iter().find(|seen| seen.repo == *repo);
        let seen = seen.ok_or_else(|| self.unwatched(repo))?;
        let snapshot = self.published.borrow();
        let mut waiting: Vec<_> = seen.queued.iter().filter(|j| !is_hosted(&j.labels)).collect();
        waiting.sort_by_key(|job| (job.queued_at, job.id));
        let told = waiting.iter().take(MOST_JOBS).map(|job| WaitingJob {
            job: reference(job),
            labels: job.labels.shortened(),
            queued_at: job.queued_at.trunc_subsecs(0),
            reason: self.reason(job, &snapshot),
        });
        let running = seen.in_progress.iter().take(MOST_JOBS).map(|running| WorkingJob {
            job: running.job.clone(),
            runner_name: running.runner_name.clone(),
            started_at: running.started_at,
        });
        Ok(QueueDetail {
            queue: self.service().queue(seen),
            seen_at: snapshot.last_check.map(|at| at.trunc_subsecs(0)),
            waiting: told.collect(),
            more: waiting.len().saturating_sub(MOST_JOBS),
            running: running.collect(),
        })
    }

    /// The servable job that waits longest, as far as the loop has seen.
    pub fn longest_wait(&self) -> Option<LongestWait> {
        let snapshot = self.published.borrow();
        let (job, since) = snapshot.queued.oldest?;
        let reason = match snapshot.held.get(&job) {
            // The labels are the workflow's: strangers' words.
            Some(Held::Unmatched { .. }) => "no runner here has its labels".to_owned(),
            held => why(held, &snapshot),
        };
        Some(LongestWait { since, reason })
    }

    /// Runners that have a job, as far as the loop has seen.
    pub fn busy_runners(&self) -> usize {
        let runners = &self.published.borrow().runners;
        runners.iter().filter(|runner| runner.phase == Phase::Busy).count()
    }

    /// What happened lately, the latest first.
    pub fn events(&self) -> Vec<Event> {
        self.published.borrow().events.iter().rev().cloned().collect()
    }

    /// The repositories that the loop has seen. GitHub is not asked.
    pub fn known_repos(&self) -> Vec<Repo> {
        let snapshot = self.published.borrow();
        let Some(demand) = &snapshot.demand else { return Vec::new() };
        let seen = demand.repos.iter().map(|seen| &seen.repo);
        seen.chain(demand.unseen.keys()).cloned().collect()
    }

    fn reason(&self, job: &Job, snapshot: &Snapshot) -> String {
        if let Err(missing) = self.service().check(job) {
            return Held::Unmatched { missing: missing.shortened() }.to_string();
        }
        why(snapshot.held.get(&job.id), snapshot)
    }

    fn unwatched(&self, repo: &Repo) -> Error {
        if let Err(error) = self.config.bounds.check(repo) {
            return error;
        }
        let remedy = "Check its spelling, the credential's access, owner, repos and exclude_repos.";
        not_found(format!("A watched repository {repo}"), remedy)
    }

    /// The part of `demand` that `filter` names must be watched, and seen.
    pub(super) fn must_be_seen(&self, demand: &Demand, filter: &QueueFilter) -> Result<()> {
        let Some(repo) = &filter.repo else { return Ok(()) };
        match demand.unseen.get(repo) {
            Some(error) => Err(error.clone()),
            None if demand.repos.iter().any(|seen| seen.repo == *repo) => Ok(()),
            None => Err(self.unwatched(repo)),
        }
    }
}

/// Why a job waits that is `held`, or is not.
fn why(held: Option<&Held>, snapshot: &Snapshot) -> String {
    match held {
        Some(held) => held.to_string(),
        None if snapshot.running => "a runner is being launched for it".to_owned(),
        None => "the autoscaler is not running".to_owned(),
    }
}

fn reference(job: &Job) -> JobRef {
    JobRef { id: job.id, run_id: job.run_id, name: job.name.clone(), url: job.url.clone() }
}
