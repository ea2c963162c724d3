//! When the loop looks: at the runners, at the containers alone, at the demand.

use std::time::Duration;

use tokio::time::Instant;

/// Looks are at least this far apart, however many events come: a burst is one change.
pub(super) const SPACING: Duration = Duration::from_millis(500);
/// Containers are counted for at most this part of the time.
const COUNTING: u32 = 10;

/// What has been begun and is to begin.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) next_look: Option<Instant>,
    pub(super) next_count: Option<Instant>,
    pub(super) next_pass: Option<Instant>,
    /// A pass begins as soon as the runners are seen.
    pub(super) pass_follows: bool,
    /// Passes that have begun.
    pub(super) passes: u64,
    last_look: Option<Instant>,
    last_pass: Option<Instant>,
    /// Not before, so that the engine has time for other things.
    rested: Option<Instant>,
    /// Until then nothing is heard, so that the loop has time for other things.
    pub(super) deaf_until: Option<Instant>,
}

/// What may begin, and when.
pub(super) struct Due {
    pub(super) look: Option<Instant>,
    pub(super) count: Option<Instant>,
    pub(super) pass: Option<Instant>,
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

    /// Counting took this long.
    pub(super) fn counted(&mut self, took: Duration, now: Instant) {
        self.rested = Some(now + took * COUNTING);
    }

    /// Acting on what was heard took this long: a storm of news is heard for half of the time.
    pub(super) fn heard(&mut self, took: Duration, now: Instant) {
        self.deaf_until = Some(now + took);
    }
}

fn sooner(next: &mut Option<Instant>, at: Instant) {
    *next = Some(next.map_or(at, |next| next.min(at)));
}
