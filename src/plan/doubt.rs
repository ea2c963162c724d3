//! Which runners have to speak for themselves.

use chrono::{DateTime, TimeDelta, Utc};

use super::cover::Waiting;
use super::is_live;
use crate::model::{Container, Demand, Phase, Runner};

/// A healthy runner is online and has its job after a few seconds: its log is never asked.
const PATIENCE: TimeDelta = TimeDelta::seconds(15);

/// The containers of the runners that engine and GitHub do not agree about, or that have been
/// waited for too long: what their logs say may decide. One that GitHub calls busy is in no doubt.
pub fn doubtful<'a>(
    runners: &'a [Runner],
    demand: Option<&'a Demand>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'a Container> {
    let waiting = Waiting::of(demand);
    let is_doubtful = move |runner: &&Runner| {
        let is_late = now - runner.since >= PATIENCE;
        let is_busy = runner.registered.as_ref().is_some_and(|found| found.busy);
        let is_strange = match runner.phase {
            Phase::Starting => is_late,
            Phase::Idle => is_late && waiting.has_one_for(runner, now - PATIENCE),
            Phase::Busy | Phase::Exited => false,
        };
        is_live(runner) && runner.certain && !is_busy && (is_strange || runner.lost_since.is_some())
    };
    runners.iter().filter(is_doubtful).map(|runner| &runner.container)
}
