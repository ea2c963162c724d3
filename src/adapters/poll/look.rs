//! One look at one repository: its runs, and the jobs of those that are not finished.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;

use crate::adapters::github::GithubClient;
use crate::adapters::github::models::{Jobs, Run, Runs};
use crate::config::{RunnerConfig, ScopeKind};
use crate::error::Result;
use crate::model::{Repo, RepoDemand, Scope, ToldJob};

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
        let jobs: BTreeMap<u64, ToldJob> =
            jobs.into_iter().flatten().map(|job| (job.id, job)).collect();
        let jobs = jobs.into_values();
        let mut seen = self.sort_out(repo, in_org, &runs, jobs, now);
        seen.failed = if failures { self.failed(repo, now).await? } else { before };
        Ok(seen)
    }

    /// Runs that failed within `since_days`. The address has no date in it, so that GitHub can answer
    /// "not modified" until another run fails.
    async fn failed(&self, repo: &Repo, now: DateTime<Utc>) -> Result<u32> {
        let since = now - TimeDelta::days(self.since_days.into());
        let path = format!("/repos/{repo}/actions/runs?exclude_pull_requests=true&status=failure");
        let recent = |run: &&Run| run.created_at.is_none_or(|created| created >= since);
        let mut failed = 0;
        for number in 1.. {
            let page = self.client.get_page::<Runs>(&path, number).await?;
            let count = page.items.iter().filter(recent).count();
            failed += count;
            // The newest come first: where one is too old, so are all that follow.
            if count < page.items.len() || !page.more {
                break;
            }
        }
        Ok(u32::try_from(failed).unwrap_or(u32::MAX))
    }

    fn sort_out(
        &self,
        repo: &Repo,
        in_org: bool,
        runs: &BTreeMap<u64, Run>,
        jobs: impl Iterator<Item = ToldJob>,
        now: DateTime<Utc>,
    ) -> RepoDemand {
        let scope = match self.scope {
            ScopeKind::Org if in_org => Scope::org(repo.owner()),
            // An account that is no organisation has runners of its repositories only.
            _ => Scope::Repo(repo.clone()),
        };
        let (mut queued, mut in_progress) = (Vec::new(), Vec::new());
        for seen in jobs {
            match seen.status.as_deref() {
                Some("queued") => {
                    let since = seen.created_at.or(seen.started_at);
                    let since = since.or(runs.get(&seen.run_id).and_then(|run| run.created_at));
                    let since = since.unwrap_or(now);
                    queued.push(seen.job(repo, &scope, &self.server_url, since, now));
                }
                Some("in_progress") => in_progress.extend(seen.running(&self.server_url)),
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
}
