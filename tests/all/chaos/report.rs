//! What a scenario did and what came of it, as a table.

use std::fmt::Write;
use std::time::Duration;

/// One scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Whether its faults may end jobs that run: an engine that ends its containers does.
    pub(crate) ends_jobs: bool,
    pub(crate) faults: usize,
    pub(crate) queued: usize,
    /// Jobs that a runner has begun.
    pub(crate) run: usize,
    /// Jobs that have not ended.
    pub(crate) lost: usize,
    /// Jobs that failed because a fault took their runner, as GitHub counts it.
    pub(crate) ended: usize,
    pub(crate) twice: usize,
    /// Runners that were registered.
    pub(crate) runners: usize,
    pub(crate) leaked: usize,
    /// From the end of each fault until the service was without trouble.
    pub(crate) recovered: Vec<Duration>,
    /// From the last fault until all jobs had ended and nothing was left.
    pub(crate) settled: Duration,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            ends_jobs: false,
            faults: 0,
            queued: 0,
            run: 0,
            lost: 0,
            ended: 0,
            twice: 0,
            runners: 0,
            leaked: 0,
            recovered: Vec::new(),
            settled: Duration::ZERO,
        }
    }

    /// How many jobs may have ended otherwise than with success.
    pub(crate) fn spared(&self) -> usize {
        if self.ends_jobs { self.queued } else { 0 }
    }

    /// Fails unless each job was run once by our doing, and nothing is left.
    pub(crate) fn check(&self) {
        let wrong = [self.lost, self.twice, self.leaked];
        assert_eq!(wrong, [0, 0, 0], "lost, run twice, leaked: {self:?}");
        assert!(self.ended <= self.spared(), "jobs failed, and no fault ends jobs here: {self:?}");
        assert!(self.run + self.ended >= self.queued, "not all jobs were run: {self:?}");
        assert!(self.faults > 0 && self.queued > 0, "nothing was tried: {self:?}");
    }
}

/// The table that people read.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<34}{:>7}{:>7}{:>6}{:>6}{:>7}{:>7}{:>8}{:>8}{:>10}{:>8}{:>8}\n",
        "fault",
        "faults",
        "queued",
        "run",
        "lost",
        "ended*",
        "twice",
        "leaked",
        "runners",
        "recovery",
        "max",
        "at rest"
    );
    for row in rows {
        let mut times: Vec<_> = row.recovered.iter().map(Duration::as_secs_f64).collect();
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
        let max = times.last().copied().unwrap_or(f64::NAN);
        let _ = writeln!(
            text,
            "{:<34}{:>7}{:>7}{:>6}{:>6}{:>7}{:>7}{:>8}{:>8}{:>8.1} s{:>6.1} s{:>6.1} s",
            row.name,
            row.faults,
            row.queued,
            row.run,
            row.lost,
            row.ended,
            row.twice,
            row.leaked,
            row.runners,
            median,
            max,
            row.settled.as_secs_f64(),
        );
    }
    text + "* jobs whose runner the fault itself has ended; GitHub counts them as failed\n"
}
