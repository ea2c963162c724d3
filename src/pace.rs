//! How long to wait: before the next look at the demand, before another try after a failure, and
//! before another launch by hand.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::error::{Code, Error, Result};
use crate::model::Allowance;

/// While something is about to happen at GitHub, which tells nobody.
const LIVELY: Duration = Duration::from_secs(5);
/// While jobs wait for room: a runner that ends wakes the loop anyway.
const CROWDED: Duration = Duration::from_secs(15);
/// First wait after a failure; each further failure doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// No failure is waited upon for longer.
const LAST_RETRY: Duration = Duration::from_secs(900);
/// Launches by hand are counted over this long.
const WINDOW: Duration = Duration::from_secs(60);

/// What is going on, as far as it decides when to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Nothing waits, nothing starts.
    Quiet,
    /// Jobs wait for room.
    Crowded,
    /// Runners start, or are about to take a job.
    Lively,
}

/// The time until the next look: `poll_interval`, less while work is queued or limits made the last
/// look leave something until `go_on_at`, more when looks at that rate would use up what they may
/// cost. `cost` is what the last look was charged.
pub fn until_next_look(
    poll_interval: Duration,
    mood: Mood,
    go_on_at: Option<DateTime<Utc>>,
    allowance: Option<Allowance>,
    cost: u32,
    now: DateTime<Utc>,
) -> Duration {
    let wanted = match mood {
        Mood::Quiet => poll_interval,
        Mood::Crowded => poll_interval.min(CROWDED),
        Mood::Lively => poll_interval.min(LIVELY),
    };
    let goes_on = go_on_at.map(|at| (at - now).to_std().unwrap_or_default());
    let wanted = goes_on.map_or(wanted, |goes_on| wanted.min(goes_on));
    wanted.max(affordable(allowance, cost, now))
}

/// The least time between two looks, however many changes there are: `spacing` while half of what
/// they may cost is left, then what the other half affords until it is renewed.
pub fn between_looks(
    spacing: Duration,
    allowance: Option<Allowance>,
    cost: u32,
    now: DateTime<Utc>,
) -> Duration {
    let scarce = allowance.filter(|allowance| allowance.left < allowance.share / 2);
    spacing.max(affordable(scarce, cost, now))
}

/// The time between looks of this `cost` that lets the allowance last.
fn affordable(allowance: Option<Allowance>, cost: u32, now: DateTime<Utc>) -> Duration {
    let Some(allowance) = allowance.filter(|_| cost > 0) else { return Duration::ZERO };
    let Ok(left) = (allowance.reset_at - now).to_std() else { return Duration::ZERO };
    let looks = f64::from(allowance.left) / f64::from(cost);
    if looks < 1.0 { left } else { left.div_f64(looks) }
}

/// The time until another try after `failures` in a row, the last of them `error`.
pub fn after_failure(failures: u32, error: &Error) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let asked = error.retry_after.map(Duration::from_secs).unwrap_or_default();
    doubled.min(LAST_RETRY).max(asked)
}

/// At most so many within a minute, whichever minute one looks at.
#[derive(Debug)]
pub struct Rate {
    most: usize,
    taken: VecDeque<Instant>,
}

impl Rate {
    /// A rate of at most `most` within a minute.
    pub fn new(most: usize) -> Self {
        Self { most, taken: VecDeque::new() }
    }

    /// How many more there may be now; otherwise the error that says when.
    pub fn left(&mut self, now: Instant) -> Result<usize> {
        let over = |taken: &Instant| now.saturating_duration_since(*taken) >= WINDOW;
        while self.taken.front().is_some_and(over) {
            self.taken.pop_front();
        }
        match (self.most.saturating_sub(self.taken.len()), self.taken.front()) {
            (0, Some(first)) => Err(self.exceeded(*first + WINDOW - now)),
            (0, None) => Err(Error {
                retryable: false,
                ..Error::new(
                    Code::RateLimited,
                    "The operator allows no runners to be provisioned by hand.",
                    "Start the autoscaler, which launches them for queued jobs, or ask the \
                     operator to raise provision_rate.",
                )
            }),
            (left, _) => Ok(left),
        }
    }

    /// Counts `count` of them.
    pub fn take(&mut self, count: usize, now: Instant) {
        self.taken.extend(std::iter::repeat_n(now, count));
    }

    fn exceeded(&self, wait: Duration) -> Error {
        let message = format!(
            "The operator allows {} runners a minute to be provisioned by hand.",
            self.most
        );
        let wait_s = wait.as_secs_f64().ceil();
        let remedy =
            format!("Try again in {wait_s} s, or ask the operator to raise provision_rate.");
        Error::new(Code::RateLimited, message, remedy).retry_after(wait)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const POLL: Duration = Duration::from_secs(120);

    fn allowance(left: u32) -> Option<Allowance> {
        let reset_at = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000);
        Some(Allowance { share: 4_000, left, reset_at })
    }

    fn next(mood: Mood, allowance: Option<Allowance>, cost: u32) -> u64 {
        until_next_look(POLL, mood, None, allowance, cost, DateTime::UNIX_EPOCH).as_secs()
    }

    #[test]
    fn the_interval_is_shorter_while_work_is_queued_and_never_longer_than_asked() {
        let moods = [Mood::Quiet, Mood::Crowded, Mood::Lively];
        assert_eq!(moods.map(|mood| next(mood, None, 0)), [120, 15, 5]);
        let second = Duration::from_secs(1);
        assert_eq!(
            until_next_look(second, Mood::Crowded, None, None, 0, DateTime::UNIX_EPOCH),
            second
        );
    }

    #[test]
    fn looks_are_spread_over_what_is_left_of_the_budget() {
        assert_eq!(next(Mood::Lively, allowance(4_000), 1), 5);
        // 80 requests may be spent in 1,000 s at 8 a look: every 100 s.
        assert_eq!(next(Mood::Lively, allowance(80), 8), 100);
        assert_eq!(next(Mood::Lively, allowance(0), 8), 1_000);
    }

    #[test]
    fn what_limits_made_a_look_leave_is_gone_on_with_as_soon_as_they_allow_it() {
        let go_on = |second, allowance, cost| {
            let at = Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(second));
            let wait =
                until_next_look(POLL, Mood::Quiet, at, allowance, cost, DateTime::UNIX_EPOCH);
            wait.as_secs()
        };
        assert_eq!((go_on(7, None, 0), go_on(500, None, 0), go_on(-1, None, 0)), (7, 120, 0));
        assert_eq!(go_on(7, allowance(80), 8), 100);
    }

    #[test]
    fn a_storm_of_changes_may_use_half_of_the_budget_and_no_more() {
        let between = |left, cost| {
            let spacing = Duration::from_secs(1);
            between_looks(spacing, allowance(left), cost, DateTime::UNIX_EPOCH).as_secs()
        };
        assert_eq!((between(2_000, 20), between(1_999, 20)), (1, 10));
        assert_eq!((between(80, 8), between(80, 0)), (100, 1));
    }

    #[test]
    fn a_look_that_costs_nothing_is_not_slowed_down_by_a_small_budget() {
        assert_eq!(next(Mood::Lively, allowance(1), 0), 5);
    }

    #[test]
    fn failures_are_waited_upon_longer_and_longer_but_as_long_as_github_asks() {
        let error = Error::new(Code::GithubUnreachable, "", "");
        let waits = [1, 2, 3, 40].map(|failures| after_failure(failures, &error).as_secs());
        assert_eq!(waits, [5, 10, 20, 900]);
        let limited = error.retry_after(Duration::from_secs(3_000));
        assert_eq!(after_failure(1, &limited).as_secs(), 3_000);
    }

    #[test]
    fn a_rate_holds_over_any_minute_and_says_when_there_is_room_again() {
        let (mut rate, begin) = (Rate::new(3), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(rate.left(at(0)), Ok(3));
        rate.take(1, at(0));
        rate.take(2, at(50));
        let error = rate.left(at(55)).unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::RateLimited, true));
        assert_eq!(error.retry_after, Some(5));
        assert_eq!(rate.left(at(60)), Ok(1));
        assert_eq!(rate.left(at(109)), Ok(1));
        assert_eq!(rate.left(at(110)), Ok(3));
    }

    #[test]
    fn a_rate_of_zero_never_has_room_and_does_not_ask_to_wait() {
        let error = Rate::new(0).left(Instant::now()).unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::RateLimited, false));
        assert_eq!(error.retry_after, None);
    }
}
