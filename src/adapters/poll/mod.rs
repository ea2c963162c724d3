//! Demand by polling: which repositories there are, and what each of them asks for.
//!
//! What is busy is looked at every time, what was pushed lately once in a poll interval, the rest
//! in a slow sweep: schedules, dispatches and re-runs don't push. Each answer goes to the board as it
//! arrives, so that a slow repository delays no other. Unchanged answers are "not modified" and cost
//! nothing.

mod discover;
mod look;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use tokio::sync::Mutex;

use self::discover::{Discovery, Listing};
use self::look::Looker;
use self::schedule::{Due, Room, Schedule, State};
use crate::adapters::github::{GithubClient, Readiness};
use crate::config::RunnerConfig;
use crate::demand::{Board, Standing, Watched};
use crate::error::{Code, Error, Result};
use crate::model::{Allowance, Demand, Repo};

/// Repositories that are looked at side by side; the client bounds the requests, of which each
/// repository has one at a time at least.
const LOOKS: usize = 32;
/// A repository that takes longer to look at must not hold up the others.
const PATIENCE: Duration = Duration::from_secs(20);
/// A list of repositories is used for at most this long.
const LISTING: TimeDelta = TimeDelta::seconds(60);
/// After this long the list is read to its end: what was deleted or archived comes to no front.
const WHOLE: TimeDelta = TimeDelta::minutes(10);
/// The least time until a pass goes on with what limits made the last one leave.
const GO_ON: Duration = Duration::from_secs(5);

/// Asks GitHub for the demand, and puts it on the board.
pub struct Poller {
    client: Arc<GithubClient>,
    board: Arc<Board>,
    owner: Option<String>,
    discovery: Discovery,
    looker: Looker,
    schedule: Schedule,
    patience: Duration,
    /// Held for the length of a pass: two at once would only pay twice.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    listed_at: Option<DateTime<Utc>>,
    /// When the list was last read to its end.
    all_listed_at: Option<DateTime<Utc>>,
    repos: BTreeMap<Repo, State>,
    /// Named one by one, or of an account that cannot be listed, and not found by the last listing.
    lost: BTreeMap<Repo, Error>,
}

impl Poller {
    /// A poller that watches what `config` says and tells `board`.
    pub fn new(
        client: Arc<GithubClient>,
        board: Arc<Board>,
        config: &RunnerConfig,
    ) -> Result<Self> {
        Ok(Self {
            discovery: Discovery::new(client.clone(), config)?,
            looker: Looker::new(client.clone(), config),
            schedule: Schedule::new(config.poll_interval, config.since_days),
            patience: PATIENCE,
            owner: config.owner.clone(),
            client,
            board,
            known: Mutex::default(),
        })
    }

    /// The repositories that are watched, the last pushed to first, each with whether an organisation
    /// owns it; and why those that are named, or whole accounts, cannot be seen.
    pub async fn watched(&self) -> Result<(Vec<(Repo, bool)>, Vec<Error>)> {
        let Listing { mut found, lost, unlisted } = self.discovery.list(true).await?;
        found.sort_by_key(|found| std::cmp::Reverse(found.pushed_at));
        let found = found.into_iter().map(|found| (found.repo, found.in_org)).collect();
        Ok((found, lost.into_values().chain(unlisted.into_values()).collect()))
    }

    /// Looks at what is due. Where nothing at all could be seen, that is the answer: not a list of
    /// repositories without jobs.
    pub async fn pass(&self) -> Result<()> {
        let mut known = self.known.lock().await;
        let passed = self.look(&mut known).await;
        let is_behind = passed.as_ref().is_ok_and(|is_behind| *is_behind);
        let wait = self.client.readiness(self.owner.as_deref()).more_in.max(GO_ON);
        self.board.stand(Standing {
            rate_limit: self.client.budget(),
            allowance: self.client.allowance(self.owner.as_deref()),
            go_on_at: is_behind.then(|| self.client.now() + wait),
        });
        // Where a limit forbids to look, what was seen before is the best that is known.
        let blind = passed.as_ref().err().filter(|error| error.code != Code::RateLimited);
        self.board.blind(blind.cloned());
        passed.map(drop)
    }

    /// What GitHub's limits leave to a pass.
    fn room(&self) -> Room {
        let owner = self.owner.as_deref();
        // Half of the hour's share is kept for where work is likely.
        let firsts = |allowance: Allowance| allowance.left.saturating_sub(allowance.share / 2);
        Room {
            reads: self.client.readiness(owner).reads,
            firsts: self.client.allowance(owner).map_or(u32::MAX, firsts),
        }
    }

    /// Looks at what is due, and tells the demand with all else that is known.
    pub async fn demand(&self) -> Result<Demand> {
        self.pass().await?;
        Ok(self.board.demand(self.client.now()))
    }

    /// Whether something that was due had to be left for the next pass.
    async fn look(&self, known: &mut Known) -> Result<bool> {
        let now = self.client.now();
        self.refresh_list(known, now).await?;
        let Due { repos: due, is_behind } =
            self.schedule.due(&known.repos, &self.board.restless(), self.room(), now);
        let looks = due.into_iter().filter_map(|repo| {
            let state = known.repos.get(&repo)?;
            let (in_org, failures) = (state.in_org, self.schedule.failures_due(state, now));
            let before = state.failed;
            Some(async move {
                let began = self.client.now();
                let look = self.looker.look(&repo, in_org, before, failures, began);
                let seen = tokio::time::timeout(self.patience, look).await;
                let seen = seen.unwrap_or_else(|_| Err(self.too_slow(&repo)));
                if !seen.as_ref().is_err_and(|error| error.code == Code::RateLimited) {
                    self.board.saw(&repo, seen.clone(), began);
                }
                (repo, seen, failures)
            })
        });
        let looks: Vec<_> = looks.collect();
        let mut looked = futures::stream::iter(looks).buffer_unordered(LOOKS);
        while let Some((repo, seen, failures)) = looked.next().await {
            if let Some(state) = known.repos.get_mut(&repo) {
                state.learn(&seen, failures, now);
            }
        }
        let mut errors = known.repos.values().filter_map(|state| state.error.as_ref());
        let seen = known.repos.values().any(|state| state.is_seen);
        match known.lost.values().next().or_else(|| errors.next()) {
            Some(error) if !seen => Err(error.clone()),
            _ => Ok(is_behind),
        }
    }

    /// Why a look was given up: `repo` is slow, or its turn did not come.
    fn too_slow(&self, repo: &Repo) -> Error {
        let Readiness { reads, more_in } = self.client.readiness(self.owner.as_deref());
        if reads == 0 {
            return Error::new(
                Code::RateLimited,
                "GitHub's limits leave no room for looks just now: launches go first.",
                "Nothing has to be done; they go on in a minute.",
            )
            .retry_after(more_in.max(GO_ON));
        }
        Error::new(
            Code::GithubUnreachable,
            format!("GitHub took more than {} s for repository {repo}.", self.patience.as_secs()),
            "It is looked at again; exclude it with exclude_repos if it is always slow.",
        )
    }

    async fn refresh_list(&self, known: &mut Known, now: DateTime<Utc>) -> Result<()> {
        let patience = self.schedule.poll_interval.min(LISTING);
        if known.listed_at.is_some_and(|listed| (now - listed).abs() < patience) {
            return Ok(());
        }
        // Nothing is touched before: whoever stops waiting here loses nothing of what is known.
        let all = known.all_listed_at.is_none_or(|listed| (now - listed).abs() >= WHOLE);
        let Listing { found, mut lost, unlisted } = self.discovery.list(all).await?;
        if all {
            known.all_listed_at = Some(now);
        }
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
        let repos = known.repos.keys().cloned().collect();
        self.board.watch(Watched { repos, lost: lost.clone(), unlisted, at: now });
        known.lost = lost;
        known.listed_at = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
