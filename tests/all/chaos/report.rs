//! What a scenario did and what came of it, as a table.

use std::fmt::Write;
use std::time::Duration;

/// One scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// How many jobs its faults may have ended: an engine that ends its containers ends theirs.
    pub(crate) may_end: usize,
    pub(crate) faults: usize,
    pub(crate) queued: usize,
    /// Jobs that runners say they have begun.
    pub(crate) run: usize,
    /// Jobs that have not ended, or with a success that no runner speaks of.
    pub(crate) lost: usize,
    /// Jobs that failed because a fault took their runner, as GitHub counts it.
    pub(crate) ended: usize,
    /// Jobs that were begun more than once, as GitHub or as the runners tell it.
    pub(crate) twice: usize,
    /// Runners whose process has begun.
    pub(crate) runners: usize,
    /// How many of them, beyond one for each job, a fault explains.
    pub(crate) wasted: usize,
    pub(crate) leaked: usize,
    /// The longest that a job waited for its runner.
    pub(crate) waited: Duration,
    /// The longest that it may have, where the faults leave room for a bound.
    pub(crate) patience: Option<Duration>,
    /// From the end of each fault until the service was without trouble.
    pub(crate) recovered: Vec<Duration>,
    /// From the last fault until all jobs had ended and nothing was left.
    pub(crate) settled: Duration,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            may_end: 0,
            faults: 0,
            queued: 0,
            run: 0,
            lost: 0,
            ended: 0,
            twice: 0,
            runners: 0,
            wasted: 0,
            leaked: 0,
            waited: Duration::ZERO,
            patience: None,
            recovered: Vec::new(),
            settled: Duration::ZERO,
        }
    }

    /// Fails unless each job was run once by our doing, and nothing is left.
    pub(crate) fn check(&self) {
        let wrong = [self.lost, self.twice, self.leaked];
        assert_eq!(wrong, [0, 0, 0], "lost, run twice, leaked: {self:?}");
        assert!(self.ended <= self.may_end, "jobs failed, and no fault has ended them: {self:?}");
        assert!(self.run + self.ended >= self.queued, "not all jobs were run: {self:?}");
        assert!(self.runners >= self.run, "more jobs than runners: {self:?}");
        let explained = self.run + self.faults * self.wasted;
        assert!(self.runners <= explained, "runners without need: {self:?}");
        let patience = self.patience.unwrap_or(Duration::MAX);
        assert!(self.waited <= patience, "a job waited too long: {self:?}");
        assert!(self.faults > 0 && self.queued > 0, "nothing was tried: {self:?}");
    }
}

/// The table that people read.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<34}{:>7}{:>7}{:>6}{:>6}{:>7}{:>7}{:>8}{:>8}{:>9}{:>10}{:>8}{:>8}\n",
        "fault",
        "faults",
        "queued",
        "run",
        "lost",
        "ended*",
        "twice",
        "leaked",
        "runners",
        "waited",
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
            "{:<34}{:>7}{:>7}{:>6}{:>6}{:>7}{:>7}{:>8}{:>8}{:>7.1} s{:>8.1} s{:>6.1} s{:>6.1} s",
            row.name,
            row.faults,
            row.queued,
            row.run,
            row.lost,
            row.ended,
            row.twice,
            row.leaked,
            row.runners,
            row.waited.as_secs_f64(),
            median,
            max,
            row.settled.as_secs_f64(),
        );
    }
    text + "* jobs whose runner the fault itself has ended; GitHub counts them as failed\n\
            twice: by GitHub's account or by the runners' own; waited: the longest of all jobs\n\
            recovery: median and most, from a fault's end until all is seen and without trouble\n"
}
