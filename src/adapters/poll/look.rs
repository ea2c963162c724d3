//! One look at one repository: its runs, and the jobs of those that are not finished.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;

use crate::adapters::github::GithubClient;
use crate::adapters::github::models::{Job as SeenJob, Jobs, Run, Runs};
use crate::config::{RunnerConfig, ScopeKind};
use crate::error::Result;
use crate::model::{Job, JobRef, Labels, Repo, RepoDemand, RunningJob, Scope, clean_text};

/// Names of jobs are cut to this length.
const NAME: usize = 100;

pub(super) struct Looker {
    client: Arc<GithubClient>,
    scope: ScopeKind,
    since_days: u32,
    server_url: String,
}

impl Looker {
    pub(super) fn new(client: Arc<GithubClient>, config: &RunnerConfig) -> Self {
        let (scope, since_days, server_url) =
            (config.scope, config.since_days, config.server_url.clone());
        Self { client, scope, since_days, server_url }
    }

    /// What `repo` asks for. Failed runs are counted only when `failures` says so; otherwise they
    /// are as many as `before`.
    pub(super) async fn look(
        &self,
        repo: &Repo,
        in_org: bool,
        before: u32,
        failures: bool,
        now: DateTime<Utc>,
    ) -> Result<RepoDemand> {
        let runs = format!("/repos/{repo}/actions/runs?exclude_pull_requests=true");
        let list = |status: &'static str| {
            let path = format!("{runs}&status={status}");
            async move { self.client.get_all::<Runs>(&path).await }
        };
        // Runs in progress too: `needs` and matrices leave queued jobs in them. One after the other,
        // in the order in which a run goes: side by side, one that begins could be in neither.
        let mut listed: Vec<Run> = list("queued").await?;
        listed.extend(list("in_progress").await?);
        let runs: BTreeMap<u64, Run> = listed.into_iter().map(|run| (run.id, run)).collect();
        let jobs = try_join_all(runs.keys().map(|run| {
            let path = format!("/repos/{repo}/actions/runs/{run}/jobs?filter=latest");
            async move { self.client.get_all::<Jobs>(&path).await }
        }))
        .await?;
        // A list that changes while its pages are read may show a job twice.
        let jobs: BTreeMap<u64, SeenJob> =
            jobs.into_iter().flatten().map(|job| (job.id, job)).collect();
        let jobs = jobs.into_values();
        let mut seen = self.sort_out(repo, in_org, &runs, jobs, now);
        seen.failed = if failures { self.failed(repo, now).await? } else { before };
        Ok(seen)
    }

    async fn failed(&self, repo: &Repo, now: DateTime<Utc>) -> Result<u32> {
        let since = now - TimeDelta::days(self.since_days.into());
        // By whole days, so that the address is one that GitHub can answer with "not modified".
        let day = since.date_naive();
        let path = format!(
            "/repos/{repo}/actions/runs?exclude_pull_requests=true&status=failure&created=%3E%3D{day}"
        );
        let runs = self.client.get_all::<Runs>(&path).await?;
        let recent = |run: &&Run| run.created_at.is_none_or(|created| created >= since);
        Ok(u32::try_from(runs.iter().filter(recent).count()).unwrap_or(u32::MAX))
    }

    fn sort_out(
        &self,
        repo: &Repo,
        in_org: bool,
        runs: &BTreeMap<u64, Run>,
        jobs: impl Iterator<Item = SeenJob>,
        now: DateTime<Utc>,
    ) -> RepoDemand {
        let scope = match self.scope {
            ScopeKind::Org if in_org => Scope::org(repo.owner()),
            // An account that is no organisation has runners of its repositories only.
            _ => Scope::Repo(repo.clone()),
        };
        let (mut queued, mut in_progress) = (Vec::new(), Vec::new());
        for seen in jobs {
            match (seen.status.as_deref(), &seen.runner_name) {
                (Some("queued"), _) => {
                    let since = seen.created_at.or(seen.started_at);
                    let since = since.or(runs.get(&seen.run_id).and_then(|run| run.created_at));
                    queued.push(Job {
                        id: seen.id,
                        run_id: seen.run_id,
                        repo: repo.clone(),
                        scope: scope.clone(),
                        name: name(&seen),
                        url: self.url(&seen),
                        labels: Labels::of_strangers(seen.labels.iter().flatten()),
                        queued_at: since.unwrap_or(now),
                        seen_at: now,
                    });
                }
                (Some("in_progress"), Some(runner)) if !runner.is_empty() => {
                    in_progress.push(RunningJob {
                        job: JobRef {
                            id: seen.id,
                            run_id: seen.run_id,
                            name: name(&seen),
                            url: self.url(&seen),
                        },
                        runner_name: runner_name(runner),
                        started_at: seen.started_at,
                    })
                }
                _ => {}
            }
        }
        let waits = |run: &&Run| {
            run.status.as_deref() != Some("in_progress")
                || queued.iter().any(|job| job.run_id == run.id)
        };
        let pending = runs.values().filter(waits).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        RepoDemand {
            repo: repo.clone(),
            running: count(runs.len() - pending),
            failed: 0,
            pending: count(pending),
            queued,
            in_progress,
        }
    }

    /// The job's page, if it is GitHub's own.
    fn url(&self, job: &SeenJob) -> String {
        let url = job.html_url.as_deref().unwrap_or_default();
        let own = url.strip_prefix(&self.server_url).is_some_and(|rest| rest.starts_with('/'));
        if own { clean_text(url, 300) } else { String::new() }
    }
}

/// Of ours or not: one that had to be changed must not become the name of one of ours.
fn runner_name(name: &str) -> String {
    let clean = clean_text(name, NAME);
    if clean == name { clean } else { format!("{clean}…") }
}

fn name(job: &SeenJob) -> String {
    clean_text(job.name.as_deref().unwrap_or_default(), NAME)
}
