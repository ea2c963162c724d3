//! Which repositories a pass looks at. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Error;
use crate::model::{Repo, RepoDemand};

/// Every repository is looked at within this time, as far as GitHub's limits allow.
const SWEEP: TimeDelta = TimeDelta::minutes(10);
/// Failed runs are told, nothing hangs on them.
const FAILURES: TimeDelta = TimeDelta::minutes(10);
/// Requests of a look at a repository where nothing goes on: the runs that are queued, and those that
/// are in progress.
const READS: u32 = 2;
/// One in so many requests of a pass is kept for repositories where nothing is known to go on.
const PART: u32 = 4;
/// A little early is on time: the loop's own timer is not exact.
const ON_TIME: i64 = 900;
/// As late as one that was never looked at.
const NEVER: i64 = 1_000_000;
/// Requests that the first look at a repository is charged, its failed runs included.
const FIRST: u32 = 3;

/// The rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) poll_interval: TimeDelta,
    recent: TimeDelta,
}

/// What GitHub's limits leave to a pass, in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Requests that need not wait for their turn.
    pub(super) reads: u32,
    /// Requests that may be charged for repositories that were never looked at, beyond those where
    /// work is likely: it takes thousands to know thousands of quiet ones.
    pub(super) firsts: u32,
}

/// What a pass looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    /// The repositories, in this order.
    pub(super) repos: Vec<Repo>,
    /// Whether others were due too, and have to wait for the next pass.
    pub(super) is_behind: bool,
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
    /// Runs that were not finished: each costs a request.
    open: u32,
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
            self.open = seen.running + seen.pending;
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

    /// The repositories to look at now, as many as there is room for: those where something goes on,
    /// or of which events have told (`restless`), then those that are most overdue. These have a part
    /// of the room however much goes on elsewhere: a job may wait there too. Where a limit ends a pass
    /// before its end, the next one goes on with the others.
    pub(super) fn due<'r>(
        &self,
        repos: &'r BTreeMap<Repo, State>,
        restless: &BTreeSet<Repo>,
        room: Room,
        now: DateTime<Utc>,
    ) -> Due {
        let mut due: Vec<_> = repos
            .iter()
            .filter_map(|(repo, state)| {
                let is_hot = state.is_hot() || restless.contains(repo);
                let lateness = self.lateness(state, now);
                (is_hot || lateness >= ON_TIME).then_some((
                    (!is_hot, Reverse(lateness), state.looked_at),
                    repo,
                    state,
                ))
            })
            .collect();
        due.sort_by(|(left, a, _), (right, b, _)| (left, a).cmp(&(right, b)));
        let Room { mut reads, mut firsts } = room;
        let mut taken = Vec::new();
        let mut take = |repos: Vec<(&'r Repo, &'r State)>, kept: u32| {
            let mut left = Vec::new();
            for (repo, state) in repos {
                let is_likely = self.is_recent(state, now) || restless.contains(repo);
                let is_first = state.looked_at.is_none() && !is_likely;
                if is_first && firsts < FIRST {
                    // Its turn comes in the next hour.
                    continue;
                }
                // One goes in any case: a limit that leaves less than this would stop everything.
                if reads < READS + kept && !taken.is_empty() {
                    left.push((repo, state));
                    continue;
                }
                reads = reads.saturating_sub(READS + state.open);
                firsts = firsts.saturating_sub(if is_first { FIRST } else { 0 });
                taken.push(repo.clone());
            }
            left
        };
        let (quiet, hot): (Vec<_>, Vec<_>) = due.into_iter().partition(|((quiet, ..), ..)| *quiet);
        let plain = |due: Vec<(_, _, _)>| due.into_iter().map(|(_, repo, state)| (repo, state));
        let kept = if quiet.is_empty() { 0 } else { (room.reads / PART).max(READS) };
        let hot = take(plain(hot).collect(), kept);
        let quiet = take(plain(quiet).collect(), 0);
        let hot = take(hot, 0);
        Due { repos: taken, is_behind: !hot.is_empty() || !quiet.is_empty() }
    }

    /// How late a look is, in thousandths of the interval that it should have.
    fn lateness(&self, state: &State, now: DateTime<Utc>) -> i64 {
        let interval = match self.is_recent(state, now) {
            true => self.poll_interval,
            false => SWEEP.max(self.poll_interval),
        };
        // Far in the future it was before the clock was set back.
        let age = state.looked_at.map(|looked| (now - looked).num_milliseconds().abs());
        let thousandths = |age: i64| age.saturating_mul(1_000) / interval.num_milliseconds().max(1);
        age.map_or(NEVER, thousandths)
    }

    fn is_recent(&self, state: &State, now: DateTime<Utc>) -> bool {
        state.pushed_at.is_some_and(|pushed| now - pushed <= self.recent)
    }

    /// Whether the failed runs of a repository are to be counted again.
    pub(super) fn failures_due(&self, state: &State, now: DateTime<Utc>) -> bool {
        state.failures_at.is_none_or(|at| (now - at).abs() >= FAILURES)
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
        with_room(repos, PLENTY).repos
    }

    const PLENTY: Room = Room { reads: 10_000, firsts: 10_000 };

    fn with_room(repos: impl IntoIterator<Item = (Repo, State)>, room: Room) -> Due {
        schedule().due(&repos.into_iter().collect(), &BTreeSet::new(), room, NOW)
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
    fn quiet_repositories_are_swept_the_longest_unseen_first_as_many_as_there_is_room_for() {
        assert!(!is_due(state(90_000, Some(500))));
        assert!(is_due(state(90_000, Some(600))));
        let quiet =
            (0..250).map(|index| (repo(&format!("r{index}")), state(90_000, Some(1_000 + index))));
        let Due { repos, is_behind } = with_room(quiet, Room { reads: 100, firsts: 0 });
        assert_eq!((repos.len(), &repos[0], is_behind), (50, &repo("r249"), true));
    }

    #[test]
    fn quiet_repositories_that_were_never_looked_at_cost_no_more_than_they_may() {
        let all = (0..250).map(|index| (repo(&format!("r{index}")), state(90_000, None)));
        let Due { repos, is_behind } = with_room(all, Room { firsts: 31, ..PLENTY });
        assert_eq!((repos.len(), is_behind), (10, false), "the others can wait for the next hour");
        let pushed = (0..20).map(|index| (repo(&format!("r{index}")), state(60, None)));
        let due = with_room(pushed, Room { firsts: 0, ..PLENTY });
        assert_eq!(due.repos.len(), 20, "work is likely there");
    }

    #[test]
    fn where_there_is_little_room_work_goes_first_then_what_is_most_overdue_and_something_always() {
        let repos = [
            (repo("quiet"), state(90_000, Some(650))),
            (repo("recent"), state(60, Some(300))),
            (repo("hot"), seen(3, state(60, Some(1)))),
            (repo("recent-late"), state(60, Some(400))),
        ];
        let due = |reads| with_room(repos.clone(), Room { reads, ..PLENTY });
        assert_eq!(due(0), Due { repos: vec![repo("hot")], is_behind: true });
        assert_eq!(due(5).repos, [repo("hot")], "its runs cost requests as well");
        assert_eq!(due(7).repos, [repo("hot"), repo("recent-late")]);
        let all = ["hot", "recent-late", "recent", "quiet"].map(repo);
        assert_eq!(due(20), Due { repos: all.into(), is_behind: false });
    }

    #[test]
    fn however_much_goes_on_elsewhere_what_is_overdue_has_its_part_of_the_room() {
        let hot = (0..100).map(|index| (repo(&format!("hot{index}")), seen(1, state(60, Some(5)))));
        let late = [(repo("recent"), state(60, Some(240))), (repo("quiet"), state(90_000, None))];
        let due = with_room(hot.chain(late), Room { reads: 100, firsts: 100 });
        assert!(due.is_behind);
        for name in ["recent", "quiet"] {
            assert!(due.repos.contains(&repo(name)), "{name}: a job may wait there");
        }
        let hot = due.repos.iter().filter(|repo| repo.name().starts_with("hot")).count();
        assert!(hot >= 25, "{hot}: most of the room is for where something goes on");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nothing_from_being_looked_at() {
        assert!(is_due(state(60, Some(-3_600))) && is_due(state(90_000, Some(-3_600))));
        assert!(!is_due(state(60, Some(-5))), "by moments it is corrected all the time");
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
        assert_eq!(schedule().due(&repos, &[repo("a")].into(), PLENTY, NOW).repos, [repo("a")]);
        assert!(schedule().due(&repos, &[repo("b")].into(), PLENTY, NOW).repos.is_empty());
        let new = [(repo("a"), state(90_000, None))].into();
        let room = Room { firsts: 0, ..PLENTY };
        let due = schedule().due(&new, &[repo("a")].into(), room, NOW).repos;
        assert_eq!(due, [repo("a")], "work is there, although it was never looked at");
    }

    #[test]
    fn a_repository_that_was_never_pushed_is_swept() {
        assert!(is_due(State { pushed_at: None, ..state(0, None) }));
    }
}
