//! The simulator's time: the wall clock, which a test may put forward.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::time::Instant;

/// Wall time at the start, carried on by tokio's clock, so that a paused tokio clock pauses GitHub.
#[derive(Debug)]
pub(super) struct Clock {
    origin: DateTime<Utc>,
    started: Instant,
    skipped: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            origin: Utc::now().trunc_subsecs(3),
            started: Instant::now(),
            skipped: Duration::ZERO,
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.origin + self.started.elapsed() + self.skipped
    }

    pub(super) fn skip(&mut self, time: Duration) {
        self.skipped += time;
    }
}
