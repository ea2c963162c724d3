//! What is under way: launches that were accepted and removals that were begun.
//!
//! Both stay until a look that began after they settled, since only such a look is sure to show
//! their effect. Until then they are counted from here.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use super::Outcome;
use crate::error::{Error, Result};
use crate::model::Phase;
use crate::ports::NewRunner;
use crate::views::{ProvisionedRunner, short};

/// Launches that were accepted.
#[derive(Default)]
pub(super) struct Flights(Vec<Flight>);

struct Flight {
    runner: NewRunner,
    /// Who waits for the outcome, until it is told.
    told: Option<oneshot::Sender<Result<ProvisionedRunner>>>,
    settled: Option<u64>,
}

impl Flights {
    pub(super) fn begin(&mut self, runner: NewRunner) -> Outcome {
        let (told, outcome) = oneshot::channel();
        self.0.push(Flight { runner, told: Some(told), settled: None });
        outcome
    }

    /// `runner` has the container `id`; looks that begin after `epoch` show it.
    pub(super) fn succeeded(&mut self, runner: &NewRunner, id: &str, epoch: u64) {
        let Some(flight) = self.0.iter_mut().find(|flight| flight.runner.name == runner.name)
        else {
            return;
        };
        flight.settled = Some(epoch);
        if let Some(told) = flight.told.take() {
            // Nobody has to be listening.
            let _ = told.send(Ok(ProvisionedRunner {
                repo: runner.subject(),
                container_id: short(id),
                runner_name: runner.name.clone(),
                labels: runner.labels.clone(),
                status: Phase::Starting,
                origin: runner.origin,
            }));
        }
    }

    /// `runner` will not be: nothing is left of it.
    pub(super) fn failed(&mut self, runner: &NewRunner, error: Error) {
        let found = self.0.iter().position(|flight| flight.runner.name == runner.name);
        let Some(told) = found.and_then(|index| self.0.swap_remove(index).told) else { return };
        let _ = told.send(Err(error));
    }

    /// `runner` could not be launched, and whether something is left of it is not certain: the engine
    /// may have done what it gave no answer to. Looks that begin after `epoch` show it.
    pub(super) fn doubted(&mut self, runner: &NewRunner, error: Error, epoch: u64) {
        let Some(flight) = self.0.iter_mut().find(|flight| flight.runner.name == runner.name)
        else {
            return;
        };
        flight.settled = Some(epoch);
        if let Some(told) = flight.told.take() {
            let _ = told.send(Err(error));
        }
    }

    /// A look that began at `epoch` is at hand: what settled before it shows in it.
    pub(super) fn settle(&mut self, epoch: u64) {
        self.0.retain(|flight| flight.settled.is_none_or(|settled| settled >= epoch));
    }

    /// Nobody accounts for what is under way any more; it may come about all the same, and counts
    /// until a look that begins after `epoch` shows whether it did.
    pub(super) fn abandon(&mut self, epoch: u64) {
        for flight in &mut self.0 {
            flight.settled.get_or_insert(epoch);
            flight.told = None;
        }
    }

    pub(super) fn runners(&self) -> impl Iterator<Item = &NewRunner> {
        self.0.iter().map(|flight| &flight.runner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Removals that were begun, by the runner's name, and when they settled.
#[derive(Default)]
pub(super) struct Removals(BTreeMap<String, Option<u64>>);

impl Removals {
    pub(super) fn begin(&mut self, name: &str) {
        self.0.insert(name.to_owned(), None);
    }

    pub(super) fn settled(&mut self, name: &str, epoch: u64) {
        self.0.insert(name.to_owned(), Some(epoch));
    }

    /// It did not work: it is decided again.
    pub(super) fn failed(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn settle(&mut self, epoch: u64) {
        self.0.retain(|_, settled| settled.is_none_or(|settled| settled >= epoch));
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Origin, Scope};

    fn runner() -> NewRunner {
        let repo: crate::model::Repo = "o/r".parse().unwrap();
        NewRunner {
            name: "ipfs-1".into(),
            scope: Scope::Repo(repo.clone()),
            repo: Some(repo),
            labels: Labels::new(["self-hosted"]),
            origin: Origin::Queue,
            beside_sets: false,
        }
    }

    #[test]
    fn a_launch_counts_until_a_look_that_began_after_it_settled() {
        let mut flights = Flights::default();
        let _outcome = flights.begin(runner());
        flights.settle(9);
        flights.succeeded(&runner(), "c1", 3);
        flights.settle(3);
        assert!(flights.runners().eq(&[runner()]));
        flights.settle(4);
        assert!(flights.is_empty());
    }

    #[test]
    fn a_launch_that_was_abandoned_counts_until_the_next_look() {
        let mut flights = Flights::default();
        let mut outcome = flights.begin(runner());
        flights.abandon(3);
        assert!(outcome.try_recv().is_err());
        flights.settle(3);
        assert!(flights.runners().eq(&[runner()]));
        flights.settle(4);
        assert!(flights.is_empty());
    }

    #[test]
    fn a_launch_that_failed_counts_no_more_and_says_why() {
        let mut flights = Flights::default();
        let mut outcome = flights.begin(runner());
        flights.failed(&runner(), Error::internal("no", "try"));
        assert!(flights.is_empty());
        assert_eq!(outcome.try_recv().unwrap().unwrap_err().message, "no");
    }

    #[test]
    fn a_launch_that_may_have_left_something_counts_until_a_look_shows_what() {
        let mut flights = Flights::default();
        let mut outcome = flights.begin(runner());
        flights.doubted(&runner(), Error::internal("no answer", "wait"), 3);
        assert_eq!(outcome.try_recv().unwrap().unwrap_err().message, "no answer");
        flights.settle(3);
        assert!(flights.runners().eq(&[runner()]));
        flights.settle(4);
        assert!(flights.is_empty());
    }

    #[test]
    fn a_removal_that_failed_is_decided_again_and_one_that_settled_is_not() {
        let mut removals = Removals::default();
        removals.begin("a");
        removals.begin("b");
        removals.failed("a");
        removals.settled("b", 2);
        removals.settle(2);
        assert_eq!(removals.names(), ["b".to_owned()].into());
        removals.settle(3);
        assert_eq!(
            removals.names(),
            [].into(),
            "the look has shown it: it is remembered no longer"
        );
    }
}
