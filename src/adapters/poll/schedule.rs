//! Which repositories a look looks at. Pure.

use std::collections::BTreeMap;
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
    pub(super) looked_at: Option<DateTime<Utc>>,
    pub(super) failures_at: Option<DateTime<Utc>>,
    pub(super) last: Option<Result<RepoDemand, Error>>,
}

impl State {
    /// Something goes on there, or it is not known whether. A lack of rights does not pass by itself.
    fn is_hot(&self) -> bool {
        match &self.last {
            Some(Ok(seen)) => seen.running + seen.pending > 0 || !seen.queued.is_empty(),
            Some(Err(error)) => error.retryable,
            None => false,
        }
    }
}

impl Schedule {
    pub(super) fn new(poll_interval: Duration, since_days: u32) -> Self {
        let poll_interval = TimeDelta::from_std(poll_interval).unwrap_or(SWEEP);
        Self { poll_interval, recent: TimeDelta::days(since_days.into()) }
    }

    /// The repositories to look at now, the longest unseen first: where a limit ends the look before
    /// its end, the next one goes on with the others.
    pub(super) fn due(&self, repos: &BTreeMap<Repo, State>, now: DateTime<Utc>) -> Vec<Repo> {
        let (mut due, mut unknown, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
        for (repo, state) in repos {
            let age = state.looked_at.map(|looked| now - looked);
            let recent = state.pushed_at.is_some_and(|pushed| now - pushed <= self.recent);
            // A little early is on time: the loop's own timer is not exact.
            let late = |interval: TimeDelta| age.is_none_or(|age| age >= interval * 9 / 10);
            let entry = (state.looked_at, repo);
            if state.is_hot() || (recent && late(self.poll_interval)) {
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

    fn seen(pending: u32) -> Option<Result<RepoDemand, Error>> {
        let (repo, queued, in_progress) = (repo("r"), vec![], vec![]);
        Some(Ok(RepoDemand { repo, running: 0, failed: 0, pending, queued, in_progress }))
    }

    fn is_due(state: State) -> bool {
        !schedule().due(&[(repo("r"), state)].into(), NOW).is_empty()
    }

    #[test]
    fn recently_pushed_repositories_are_due_once_in_a_poll_interval() {
        assert!(is_due(state(60, None)));
        assert!(!is_due(state(60, Some(60))));
        assert!(is_due(state(60, Some(119))));
    }

    #[test]
    fn a_repository_where_work_waits_is_due_every_time_and_one_that_failed_too() {
        assert!(is_due(State { last: seen(1), ..state(60, Some(1)) }));
        assert!(!is_due(State { last: seen(0), ..state(60, Some(1)) }));
        let failed =
            |code| State { last: Some(Err(Error::new(code, "", ""))), ..state(60, Some(1)) };
        assert!(is_due(failed(Code::GithubUnreachable)));
        assert!(!is_due(failed(Code::TokenDenied)));
    }

    #[test]
    fn quiet_repositories_are_swept_the_longest_unseen_first_a_slice_at_a_time() {
        assert!(!is_due(state(90_000, Some(500))));
        assert!(is_due(state(90_000, Some(600))));
        let quiet = |looked: Option<i64>| {
            let all = (0..250).map(|index| {
                (repo(&format!("r{index}")), state(90_000, looked.map(|looked| looked + index)))
            });
            schedule().due(&all.collect(), NOW)
        };
        assert_eq!((quiet(Some(1_000)).len(), &quiet(Some(1_000))[0]), (SWEPT, &repo("r249")));
        assert_eq!(quiet(None).len(), FIRST_LOOKS);
    }

    #[test]
    fn what_a_look_could_not_reach_comes_first_in_the_next() {
        let cut = |looked| State {
            last: Some(Err(Error::new(Code::RateLimited, "", ""))),
            ..state(60, looked)
        };
        let hot = State { last: seen(1), ..state(60, Some(1)) };
        let repos = [(repo("a"), hot), (repo("y"), cut(Some(240))), (repo("z"), cut(None))];
        let due = schedule().due(&repos.into(), NOW);
        assert_eq!(due, [repo("z"), repo("y"), repo("a")]);
    }

    #[test]
    fn a_repository_that_was_never_pushed_is_swept() {
        assert!(is_due(State { pushed_at: None, ..state(0, None) }));
    }
}
