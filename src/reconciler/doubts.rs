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
        let doubtful = doubtful(&self.runners, self.demand.as_deref(), now);
        let asked = in_turn(doubtful.cloned().collect(), &self.last_heard);
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
        doubts(&self.runners)
    }
}

/// Those whose turn it is to be asked, after the one that was asked last.
fn in_turn(mut all: Vec<Container>, last: &str) -> Vec<Container> {
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let turn = all.partition_point(|one| one.name.as_str() <= last);
    all.rotate_left(turn);
    all.truncate(MOST);
    all
}

fn doubts(runners: &[Runner]) -> Vec<String> {
    let lost = runners.iter().filter(is_live);
    let mut lost: Vec<_> = lost.filter_map(|one| Some((one, one.lost_since?))).collect();
    lost.sort_by_key(|(_, since)| *since);
    let more = lost.len().saturating_sub(NAMED);
    let named = lost.into_iter().take(NAMED).map(|(runner, since)| doubt(runner, since));
    let more = (more > 0).then(|| format!("{more} more runners are in doubt."));
    named.chain(more).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Origin, Phase, Scope};

    fn container(number: usize) -> Container {
        Container {
            id: number.to_string(),
            name: format!("ipfs-{number:02}"),
            scope: Scope::org("o"),
            repo: None,
            labels: Labels::new(["self-hosted"]),
            created_at: DateTime::UNIX_EPOCH,
            origin: Origin::Queue,
            runner_id: None,
            status: "running".into(),
            ended: false,
        }
    }

    fn names(asked: &[Container]) -> Vec<&str> {
        asked.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn a_deserter_has_ended_well_by_itself_and_says_last_that_it_works() {
        let ended = |exit_code, said: &str| Ended {
            exit_code: Some(exit_code),
            log_tail: format!("2026-01-02 03:04:05Z: {said}"),
        };
        let works = "Running job: build";
        assert!(is_deserter(Removal::Finished, &ended(0, works)));
        assert!(!is_deserter(Removal::Overtime, &ended(0, works)));
        assert!(!is_deserter(Removal::Finished, &ended(1, works)));
        let done = "Job build completed with result: Succeeded";
        assert!(!is_deserter(Removal::Finished, &ended(0, done)));
    }

    #[test]
    fn of_more_than_are_asked_at_a_time_each_has_its_turn() {
        let all: Vec<_> = (0..MOST + 4).rev().map(container).collect();
        let first = in_turn(all.clone(), "");
        assert_eq!((first.len(), names(&first)[0]), (MOST, "ipfs-00"));
        let second = in_turn(all.clone(), &first[MOST - 1].name);
        assert_eq!(
            names(&second)[..6],
            ["ipfs-16", "ipfs-17", "ipfs-18", "ipfs-19", "ipfs-00", "ipfs-01"]
        );
        assert_eq!(names(&in_turn(all, "ipfs-99"))[0], "ipfs-00");
    }

    #[test]
    fn of_many_in_doubt_those_that_are_so_for_longest_are_named_and_the_others_counted() {
        let lost = |number: usize| Runner {
            container: container(number),
            registered: None,
            certain: true,
            phase: Phase::Idle,
            since: DateTime::UNIX_EPOCH,
            lost_since: DateTime::from_timestamp(100 - number as i64, 0),
            heartbeat: None,
            at_work_until: None,
            spent_at: None,
            job: None,
        };
        let told = |count| doubts(&(0..count).map(lost).collect::<Vec<_>>());
        assert_eq!(told(NAMED).len(), NAMED);
        let many = told(NAMED + 2);
        assert_eq!(many.len(), NAMED + 1);
        assert!(many[0].starts_with("ipfs-06 is in doubt since 00:01:34Z"), "{}", many[0]);
        assert_eq!(many[NAMED], "2 more runners are in doubt.");
    }
}
