//! Demand by polling: which repositories there are, and what each of them asks for.
//!
//! What is busy is looked at every time, what was pushed lately once in a poll interval, the rest
//! in a slow sweep: schedules, dispatches and re-runs don't push. What was seen is kept, so that
//! the demand is a level. Unchanged answers are "not modified" and cost nothing.

mod discover;
mod look;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use tokio::sync::Mutex;

use self::discover::{Discovery, Listing};
use self::look::Looker;
use self::schedule::{Schedule, State};
use crate::adapters::github::GithubClient;
use crate::config::RunnerConfig;
use crate::error::{Code, Error, Result};
use crate::model::{Demand, Repo};
use crate::ports::DemandSource;

/// Repositories that are looked at side by side; the client bounds the requests, of which each
/// repository has one at a time at least.
const LOOKS: usize = 32;
/// A repository that takes longer to look at must not hold up the others.
const PATIENCE: Duration = Duration::from_secs(20);
/// A list of repositories is used for at most this long.
const LISTING: TimeDelta = TimeDelta::seconds(60);

/// Asks GitHub for the demand.
pub struct Poller {
    client: Arc<GithubClient>,
    discovery: Discovery,
    looker: Looker,
    schedule: Schedule,
    patience: Duration,
    /// Held for the length of a look: two at once would only pay twice.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    listed_at: Option<DateTime<Utc>>,
    repos: BTreeMap<Repo, State>,
    /// Named one by one, and not found by the last listing.
    lost: BTreeMap<Repo, Error>,
    /// Accounts whose repositories the last listing could not see.
    unlisted: BTreeMap<String, Error>,
}

impl Poller {
    /// A poller that watches what `config` says.
    pub fn new(client: Arc<GithubClient>, config: &RunnerConfig) -> Result<Self> {
        Ok(Self {
            discovery: Discovery::new(client.clone(), config)?,
            looker: Looker::new(client.clone(), config),
            schedule: Schedule::new(config.poll_interval, config.since_days),
            patience: PATIENCE,
            client,
            known: Mutex::default(),
        })
    }

    /// The repositories that are watched, the last pushed to first, each with whether an organisation
    /// owns it; and why those that are named, or whole accounts, cannot be seen.
    pub async fn watched(&self) -> Result<(Vec<(Repo, bool)>, Vec<Error>)> {
        let Listing { mut found, lost, unlisted } = self.discovery.list().await?;
        found.sort_by_key(|found| std::cmp::Reverse(found.pushed_at));
        let found = found.into_iter().map(|found| (found.repo, found.in_org)).collect();
        Ok((found, lost.into_values().chain(unlisted.into_values()).collect()))
    }

    async fn refresh_list(&self, known: &mut Known, now: DateTime<Utc>) -> Result<()> {
        let patience = self.schedule.poll_interval.min(LISTING);
        if known.listed_at.is_some_and(|listed| now - listed < patience) {
            return Ok(());
        }
        // Nothing is touched before: whoever stops waiting here loses nothing of what is known.
        let Listing { found, mut lost, unlisted } = self.discovery.list().await?;
        let mut before = std::mem::take(&mut known.repos);
        for found in found {
            let mut state = before.remove(&found.repo).unwrap_or_default();
            state.pushed_at = found.pushed_at;
            state.in_org = found.in_org;
            known.repos.insert(found.repo, state);
        }
        // What an account had is there still, for all we know.
        for repo in before.into_keys().chain(std::mem::take(&mut known.lost).into_keys()) {
            if let Some(error) = unlisted.get(&repo.owner().to_ascii_lowercase()) {
                lost.entry(repo).or_insert_with(|| error.clone());
            }
        }
        known.lost = lost;
        known.unlisted = unlisted;
        known.listed_at = Some(now);
        Ok(())
    }
}

#[async_trait]
impl DemandSource for Poller {
    async fn demand(&self) -> Result<Demand> {
        let mut known = self.known.lock().await;
        let now = Utc::now();
        self.refresh_list(&mut known, now).await?;
        let due = self.schedule.due(&known.repos, now);
        let looks = due.into_iter().filter_map(|repo| {
            let state = known.repos.get(&repo)?;
            let (in_org, failures) = (state.in_org, self.schedule.failures_due(state, now));
            let before = state
                .last
                .as_ref()
                .and_then(|last| last.as_ref().ok())
                .map_or(0, |last| last.failed);
            Some(async move {
                let look = self.looker.look(&repo, in_org, before, failures, now);
                let seen = tokio::time::timeout(self.patience, look).await;
                let seen = seen.unwrap_or_else(|_| Err(too_slow(&repo, self.patience)));
                (repo, seen, failures)
            })
        });
        let looked: Vec<_> = futures::stream::iter(looks.collect::<Vec<_>>())
            .buffer_unordered(LOOKS)
            .collect()
            .await;
        for (repo, seen, failures) in looked {
            if let Some(state) = known.repos.get_mut(&repo) {
                if !seen.as_ref().is_err_and(|error| error.retryable) {
                    state.looked_at = Some(now);
                }
                if failures && seen.is_ok() {
                    state.failures_at = Some(now);
                }
                state.last = Some(seen);
            }
        }
        let mut demand = Demand {
            repos: Vec::new(),
            unseen: known.lost.clone(),
            unlisted: known.unlisted.clone(),
            rate_limit: self.client.budget(),
        };
        for (repo, state) in &known.repos {
            match &state.last {
                Some(Ok(seen)) => demand.repos.push(seen.clone()),
                Some(Err(error)) => drop(demand.unseen.insert(repo.clone(), error.clone())),
                // Its turn in the sweep comes; until then nothing is known of it.
                None => {}
            }
        }
        everything_failed(&demand)?;
        Ok(demand)
    }
}

fn too_slow(repo: &Repo, patience: Duration) -> Error {
    Error::new(
        Code::GithubUnreachable,
        format!("GitHub took more than {} s for repository {repo}.", patience.as_secs()),
        "It is looked at again; exclude it with exclude_repos if it is always slow.",
    )
}

/// Where nothing at all could be seen, that is the answer: not a list of repositories without jobs.
fn everything_failed(demand: &Demand) -> Result<()> {
    match demand.unseen.values().next() {
        Some(error) if demand.repos.is_empty() => Err(error.clone()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
