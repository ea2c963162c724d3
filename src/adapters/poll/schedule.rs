//! Which repositories a look looks at. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Error;
use crate::model::{Repo, RepoDemand};

/// Every repository is looked at within this time.
const SWEEP: TimeDelta = TimeDelta::minutes(10);
/// Quiet repositories of one look that were never looked at: each costs three requests of the
/// hourly budget.
const FIRST_LOOKS: usize = 100;
/// Quiet repositories of one look that are swept again: "not modified" is free of the hourly budget,
/// and counts for the 900 points a minute of the secondary limit (docs.github.com: rate limits).
const SWEPT: usize = 200;
/// Failed runs are told, nothing hangs on them.
const FAILURES: TimeDelta = TimeDelta::minutes(10);

/// The rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) poll_interval: TimeDelta,
    recent: TimeDelta,
}

/// What is known of a repository.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) pushed_at: Option<DateTime<Utc>>,
    pub(super) in_org: bool,
    /// When it was last seen, or refused for good; what may pass is no look.
    looked_at: Option<DateTime<Utc>>,
    failures_at: Option<DateTime<Utc>>,
    /// Runs that failed lately, as they were last counted.
    pub(super) failed: u32,
    /// The last look saw it.
    pub(super) is_seen: bool,
    /// Something went on there.
    is_busy: bool,
    /// Why the last look did not see it.
    pub(super) error: Option<Error>,
}

impl State {
    /// Remembers what a look saw that was part of the pass of `now`.
    pub(super) fn learn(
        &mut self,
        seen: &Result<RepoDemand, Error>,
        failures: bool,
        now: DateTime<Utc>,
    ) {
        if !seen.as_ref().is_err_and(|error| error.retryable) {
            self.looked_at = Some(now);
        }
        self.is_seen = seen.is_ok();
        self.error = seen.as_ref().err().cloned();
        if let Ok(seen) = seen {
            self.failed = seen.failed;
            self.is_busy = seen.running + seen.pending > 0 || !seen.queued.is_empty();
            if failures {
                self.failures_at = Some(now);
            }
        }
    }

    /// Something goes on there, or it is not known whether. A lack of rights does not pass by itself.
    fn is_hot(&self) -> bool {
        self.error.as_ref().map_or(self.is_busy, |error| error.retryable)
    }
}

impl Schedule {
    pub(super) fn new(poll_interval: Duration, since_days: u32) -> Self {
        let poll_interval = TimeDelta::from_std(poll_interval).unwrap_or(SWEEP);
        Self { poll_interval, recent: TimeDelta::days(since_days.into()) }
    }

    /// The repositories to look at now, the longest unseen first: where a limit ends the look before
    /// its end, the next one goes on with the others. Those of which events have told are `restless`.
    pub(super) fn due(
        &self,
        repos: &BTreeMap<Repo, State>,
        restless: &BTreeSet<Repo>,
        now: DateTime<Utc>,
    ) -> Vec<Repo> {
        let (mut due, mut unknown, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
        for (repo, state) in repos {
            let age = state.looked_at.map(|looked| now - looked);
            let recent = state.pushed_at.is_some_and(|pushed| now - pushed <= self.recent);
            // A little early is on time: the loop's own timer is not exact.
            let late = |interval: TimeDelta| age.is_none_or(|age| age >= interval * 9 / 10);
            let entry = (state.looked_at, repo);
            if state.is_hot() || restless.contains(repo) || (recent && late(self.poll_interval)) {
                due.push(entry);
            } else if !recent && late(SWEEP.max(self.poll_interval)) {
                if age.is_none() { unknown.push(entry) } else { quiet.push(entry) }
            }
        }
        quiet.sort();
        due.extend(unknown.into_iter().take(FIRST_LOOKS));
        due.extend(quiet.into_iter().take(SWEPT));
        due.sort();
        due.into_iter().map(|(_, repo)| repo.clone()).collect()
    }

    /// Whether the failed runs of a repository are to be counted again.
    pub(super) fn failures_due(&self, state: &State, now: DateTime<Utc>) -> bool {
        state.failures_at.is_none_or(|at| now - at >= FAILURES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn repo(name: &str) -> Repo {
        format!("o/{name}").parse().unwrap()
    }

    fn schedule() -> Schedule {
        Schedule::new(Duration::from_secs(120), 1)
    }

    fn state(pushed: i64, looked: Option<i64>) -> State {
        let ago = |seconds| NOW - TimeDelta::seconds(seconds);
        State { pushed_at: Some(ago(pushed)), looked_at: looked.map(ago), ..State::default() }
    }

    fn seen(pending: u32, before: State) -> State {
        let (repo, queued, in_progress) = (repo("r"), vec![], vec![]);
        let seen = RepoDemand { repo, running: 0, failed: 0, pending, queued, in_progress };
        learned(Ok(seen), before)
    }

    fn failed(code: Code, before: State) -> State {
        learned(Err(Error::new(code, "", "")), before)
    }

    fn learned(seen: Result<RepoDemand, Error>, mut state: State) -> State {
        let at = state.looked_at.unwrap_or(NOW);
        let before = state.looked_at;
        state.learn(&seen, false, at);
        state.looked_at = before;
        state
    }

    fn due(repos: impl IntoIterator<Item = (Repo, State)>) -> Vec<Repo> {
        schedule().due(&repos.into_iter().collect(), &BTreeSet::new(), NOW)
    }

    fn is_due(state: State) -> bool {
        !due([(repo("r"), state)]).is_empty()
    }

    #[test]
    fn recently_pushed_repositories_are_due_once_in_a_poll_interval() {
        assert!(is_due(state(60, None)));
        assert!(!is_due(state(60, Some(60))));
        assert!(is_due(state(60, Some(119))));
    }

    #[test]
    fn a_repository_where_work_waits_is_due_every_time_and_one_that_failed_too() {
        assert!(is_due(seen(1, state(60, Some(1)))));
        assert!(!is_due(seen(0, state(60, Some(1)))));
        assert!(is_due(failed(Code::GithubUnreachable, state(60, Some(1)))));
        assert!(!is_due(failed(Code::TokenDenied, state(60, Some(1)))));
    }

    #[test]
    fn quiet_repositories_are_swept_the_longest_unseen_first_a_slice_at_a_time() {
        assert!(!is_due(state(90_000, Some(500))));
        assert!(is_due(state(90_000, Some(600))));
        let quiet = |looked: Option<i64>| {
            let all = (0..250).map(|index| {
                (repo(&format!("r{index}")), state(90_000, looked.map(|looked| looked + index)))
            });
            due(all)
        };
        assert_eq!((quiet(Some(1_000)).len(), &quiet(Some(1_000))[0]), (SWEPT, &repo("r249")));
        assert_eq!(quiet(None).len(), FIRST_LOOKS);
    }

    #[test]
    fn what_a_look_could_not_reach_comes_first_in_the_next() {
        let cut = |looked| failed(Code::RateLimited, state(60, looked));
        let hot = seen(1, state(60, Some(1)));
        let repos = [(repo("a"), hot), (repo("y"), cut(Some(240))), (repo("z"), cut(None))];
        assert_eq!(due(repos), [repo("z"), repo("y"), repo("a")]);
    }

    #[test]
    fn a_repository_of_which_events_have_told_is_due_every_time() {
        let repos = [(repo("a"), seen(0, state(90_000, Some(1))))].into();
        assert_eq!(schedule().due(&repos, &[repo("a")].into(), NOW), [repo("a")]);
        assert!(schedule().due(&repos, &[repo("b")].into(), NOW).is_empty());
    }

    #[test]
    fn a_repository_that_was_never_pushed_is_swept() {
        assert!(is_due(State { pushed_at: None, ..state(0, None) }));
    }
}
