//! Runners that are in doubt: their logs are asked beside everything else, and what they say is acted
//! upon like any other answer. A fleet in which all agree is never asked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinError;

use super::Reconciler;
use crate::model::{Container, Ended, Heartbeat, Runner, Said};
use crate::plan::{Removal, doubtful, is_live};

/// Logs that are read at a time: the engine has other things to do. The others' turn comes next.
const MOST: usize = 16;
/// A log that cannot be read in time says nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// The lines of a log in which a runner's last word is looked for.
const LINES: usize = 100;
/// Runners in doubt that the status names.
const NAMED: usize = 5;

/// What the logs of some runners say.
pub(super) struct Heard(Vec<(Container, Option<Heartbeat>)>);

impl Reconciler {
    /// Asks the logs of the runners that are in doubt.
    pub(super) fn ask_logs(&mut self) {
        if !self.hearings.is_empty() {
            return;
        }
        let now = (self.parts.clock)();
        let mut asked: Vec<_> =
            doubtful(&self.runners, self.demand.as_deref(), now).cloned().collect();
        asked.sort_by(|one, other| one.name.cmp(&other.name));
        let turn = asked.partition_point(|one| one.name <= self.last_heard);
        asked.rotate_left(turn);
        asked.truncate(MOST);
        let Some(last) = asked.last() else { return };
        self.last_heard.clone_from(&last.name);
        let parts = self.parts.clone();
        self.hearings.spawn(async move {
            let ask = |container: Container| async {
                let log = parts.engine.logs(&container.id, LINES);
                let log = tokio::time::timeout(PATIENCE, log).await.ok().and_then(Result::ok);
                (container, log.and_then(|log| Heartbeat::read(&log)))
            };
            Heard(futures::future::join_all(asked.into_iter().map(ask)).await)
        });
    }

    pub(super) fn heed_logs(&mut self, heard: Result<Heard, JoinError>) {
        let heard = match heard {
            Ok(Heard(heard)) => heard,
            Err(error) => return tracing::error!(%error, "logs were not read"),
        };
        let now = (self.parts.clock)();
        for (container, beat) in heard {
            if let Some(beat) = beat {
                self.memory.hear(&container, beat, now);
            }
        }
        self.go_on();
    }

    /// What is to be known of runners that are there and don't count.
    pub(super) fn doubts(&self) -> Vec<String> {
        let lost = self.runners.iter().filter(is_live);
        let mut lost: Vec<_> = lost.filter_map(|one| Some((one, one.lost_since?))).collect();
        lost.sort_by_key(|(_, since)| *since);
        let more = lost.len().saturating_sub(NAMED);
        let named = lost.into_iter().take(NAMED).map(|(runner, since)| doubt(runner, since));
        let more = (more > 0).then(|| format!("{more} more runners are in doubt."));
        named.chain(more).collect()
    }
}

fn doubt(runner: &Runner, since: DateTime<Utc>) -> String {
    let name = &runner.container.name;
    let is_listed = runner.registered.as_ref().is_some_and(|found| found.online);
    let seen = if is_listed { "calls it idle" } else { "does not see it" };
    let since = since.format("%H:%M:%SZ");
    let said = in_its_words(runner);
    format!("{name} is in doubt since {since}, and no job counts on it: GitHub {seen}{said}.")
}

/// What the log of `runner` says, to be added to a sentence.
pub(super) fn in_its_words(runner: &Runner) -> String {
    runner.heartbeat.map(|beat| format!("; {beat}")).unwrap_or_default()
}

/// Whether a runner ended well and says itself that it has not done its job: its worker never began,
/// and GitHub may go on waiting for it (actions/runner#4598).
pub(super) fn is_deserter(why: Removal, ended: &Ended) -> bool {
    let said = Heartbeat::read(&ended.log_tail).map(|beat| beat.said);
    why == Removal::Finished && ended.exit_code == Some(0) && said == Some(Said::Working)
}
