//! When the loop looks: at the runners, at the containers alone, at the demand.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// Looks are at least this far apart, however many events come: a burst is one change.
pub(super) const SPACING: Duration = Duration::from_millis(500);
/// After counting containers or hearing news, and acting on that, the loop rests this many times as long:
/// a storm of either costs at most a tenth of the time.
const RESTS: u32 = 9;

/// Leftovers are rare, and each search for them costs the engine some listings.
pub(super) const BETWEEN_TIDYINGS: Duration = Duration::from_secs(60);

/// Clocks are corrected by less all the time.
const JUMP: TimeDelta = TimeDelta::seconds(2);

/// What has been begun and is to begin.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) next_look: Option<Instant>,
    pub(super) next_count: Option<Instant>,
    pub(super) next_pass: Option<Instant>,
    pub(super) next_tidying: Option<Instant>,
    /// A pass begins as soon as the runners are seen.
    pub(super) pass_follows: bool,
    /// Passes that have begun.
    pub(super) passes: u64,
    last_look: Option<Instant>,
    last_pass: Option<Instant>,
    /// Not before, so that the engine has time for other things.
    rested: Option<Instant>,
    /// What the clock said, and when.
    clock: Option<(Instant, DateTime<Utc>)>,
    /// Until then nothing is heard, so that the loop has time for other things.
    pub(super) deaf_until: Option<Instant>,
}

/// What may begin, and when.
pub(super) struct Due {
    pub(super) look: Option<Instant>,
    pub(super) count: Option<Instant>,
    pub(super) pass: Option<Instant>,
    pub(super) tidying: Option<Instant>,
}

impl Rounds {
    /// Something changed: look soon, but not more often than `spacing`.
    pub(super) fn wake(&mut self, now: Instant, spacing: Duration) {
        let soon = |last: Option<Instant>| last.map_or(now, |last| now.max(last + spacing));
        self.look_by(soon(self.last_look));
        self.pass_by(soon(self.last_pass));
    }

    /// Looks at the runners no later than `at`.
    pub(super) fn look_by(&mut self, at: Instant) {
        sooner(&mut self.next_look, at);
    }

    /// Asks for the demand no later than `at`.
    pub(super) fn pass_by(&mut self, at: Instant) {
        sooner(&mut self.next_pass, at);
    }

    /// Counts the containers as soon as it may be.
    pub(super) fn count_soon(&mut self, now: Instant) {
        let at = self.rested.map_or(now, |rested| rested.max(now));
        sooner(&mut self.next_count, at);
    }

    pub(super) fn look_begins(&mut self, now: Instant) {
        self.next_look = None;
        self.last_look = Some(now);
    }

    /// Begins a pass and tells its number.
    pub(super) fn pass_begins(&mut self, now: Instant) -> u64 {
        self.next_pass = None;
        self.last_pass = Some(now);
        self.passes += 1;
        self.passes
    }

    /// By how much the clock was set since this was last asked, if it was.
    pub(super) fn jump(&mut self, now: Instant, clock: DateTime<Utc>) -> Option<TimeDelta> {
        let before = self.clock.replace((now, clock));
        let (then, told) = before?;
        let passed = TimeDelta::from_std(now - then).ok()?;
        Some(clock - told - passed).filter(|jump| jump.abs() >= JUMP)
    }

    /// Counting, and acting on it, took this long.
    pub(super) fn counted(&mut self, took: Duration, now: Instant) {
        self.rested = Some(now + took * RESTS);
    }

    /// Hearing, and acting on it, took this long.
    pub(super) fn heard(&mut self, took: Duration, now: Instant) {
        self.deaf_until = Some(now + took * RESTS);
    }
}

fn sooner(next: &mut Option<Instant>, at: Instant) {
    *next = Some(next.map_or(at, |next| next.min(at)));
}

/// Resolves at `time`; never where there is none.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_from_time_that_went_by() {
        let (begin, zero) = (Instant::now(), DateTime::UNIX_EPOCH);
        let mut rounds = Rounds::default();
        let mut jump = |passed: u64, clock: i64| {
            let clock = zero + TimeDelta::seconds(clock);
            rounds.jump(begin + Duration::from_secs(passed), clock).map(|jump| jump.num_seconds())
        };
        assert_eq!([jump(0, 100), jump(50, 151), jump(60, 3_761)], [None, None, Some(3_600)]);
        assert_eq!([jump(70, 3_771), jump(80, 181)], [None, Some(-3_600)]);
    }

    #[test]
    fn a_storm_of_news_or_of_containers_costs_a_tenth_of_the_time() {
        let (now, took) = (Instant::now(), Duration::from_millis(20));
        let rested = Some(now + took * 9);
        let mut rounds = Rounds::default();
        rounds.heard(took, now);
        rounds.counted(took, now);
        rounds.count_soon(now);
        assert_eq!([rounds.deaf_until, rounds.next_count], [rested, rested]);
    }

    #[test]
    fn a_burst_of_changes_is_one_look_and_one_pass_a_while_after_the_last() {
        let (now, spacing) = (Instant::now(), Duration::from_secs(5));
        let later = |seconds| Some(now + Duration::from_secs(seconds));
        let mut rounds = Rounds::default();
        rounds.wake(now, spacing);
        assert_eq!([rounds.next_look, rounds.next_pass], [Some(now); 2], "nobody has looked yet");
        rounds.look_begins(now);
        assert_eq!(rounds.pass_begins(now), 1);
        (0..9).for_each(|second| rounds.wake(now + Duration::from_secs(second), spacing));
        assert_eq!([rounds.next_look, rounds.next_pass], [later(5); 2]);
        rounds.look_begins(now);
        rounds.wake(now + Duration::from_secs(7), spacing);
        assert_eq!(rounds.next_look, later(7), "that long ago it was already");
    }
}
