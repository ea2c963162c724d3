//! Looking, and what a look leads to.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answers::answer;
use super::{Asker, Reconciler, Reply, SPACING};
use crate::error::{Error, Result};
use crate::lifecycle::{Observation, Parts, name_prefix};
use crate::model::{Container, Demand, Phase, Runner};
use crate::pace::{self, Mood};
use crate::plan::{Action, Ask, Held, View, plan};
use crate::ports::Registration;
use crate::snapshot::EventKind;

/// A look that came back.
pub(super) struct Looked {
    began: u64,
    seen: Result<Seen>,
    asked: Option<Asked>,
}

/// A runner asked for by hand.
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) with: Option<Registration>,
    pub(super) asker: Asker,
    pub(super) reply: Reply,
}

/// What a look saw: everything, or the containers alone.
struct Seen {
    prefix: String,
    warnings: Vec<String>,
    what: What,
}

enum What {
    Everything(Box<Observation>),
    Containers(Vec<Container>),
}

impl Reconciler {
    pub(super) fn look(&mut self) {
        self.last_look = Some(Instant::now());
        self.next_look = None;
        let scopes = self.scopes.clone();
        self.observe(None, |parts| async move {
            parts.look(scopes).await.map(Box::new).map(What::Everything)
        });
    }

    /// Counts the containers, then decides on what was asked by hand.
    pub(super) fn count(&mut self, asked: Asked) {
        self.observe(Some(asked), |parts| async move {
            parts.engine.containers().await.map(What::Containers)
        });
    }

    /// Begins a look that sees what `see` says, and knows whose runners are ours.
    fn observe<F>(&mut self, asked: Option<Asked>, see: impl FnOnce(Parts) -> F + Send + 'static)
    where
        F: Future<Output = Result<What>> + Send,
    {
        self.epoch += 1;
        let (began, parts, instance) = (self.epoch, self.parts.clone(), self.instance.clone());
        self.looks.spawn(async move {
            let seen = async {
                let (prefix, warnings) = identify(&parts, &instance).await?;
                Ok(Seen { prefix, warnings, what: see(parts).await? })
            };
            Looked { began, seen: seen.await, asked }
        });
    }

    pub(super) fn consider(&mut self, looked: Looked) {
        let Looked { began, seen, asked } = looked;
        match (seen, asked) {
            (Ok(Seen { what: What::Everything(observation), prefix, warnings }), _) => {
                self.limits.name_prefix = prefix;
                self.digest(began, *observation, warnings);
            }
            (
                Ok(Seen { what: What::Containers(containers), prefix, .. }),
                Some(Asked { ask, with, asker, reply }),
            ) => {
                self.limits.name_prefix = prefix;
                // Another look that is under way may be older, and counts on what is kept.
                if self.looks.is_empty() {
                    self.flights.settle(began);
                }
                self.runners = self.join(containers, None);
                let mut actions = self.decide(None, std::slice::from_ref(&ask));
                if asker.gone.is_cancelled() {
                    actions.clear();
                }
                let accepted = self.act_by_hand(actions, with, &asker);
                let _ = reply.send(accepted);
                self.publish(|_| ());
            }
            (Ok(_), None) => {}
            (Err(error), Some(Asked { reply, .. })) => {
                let _ = reply.send(Err(error));
            }
            (Err(error), None) => {
                self.blind(&error);
            }
        }
    }

    /// Nothing was seen: nothing is decided, and the next look comes later and later.
    fn blind(&mut self, error: &Error) {
        for (_, reply) in self.all_asked.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        let wait = self.failed_look(error);
        if self.on && self.stopping.is_empty() {
            self.next_look = Some(Instant::now() + wait);
        }
        self.publish(|_| ());
    }

    /// The time until the next look: the outage of a second must not cost an interval.
    fn failed_look(&mut self, error: &Error) -> Duration {
        self.event(EventKind::Failure, "look", error.message.clone());
        let wait = self.troubles.look_failed(error, (self.parts.clock)());
        let asked = error.retry_after.map(Duration::from_secs).unwrap_or_default();
        wait.min(self.poll_interval.max(asked))
    }

    fn digest(&mut self, began: u64, observation: Observation, warnings: Vec<String>) {
        let Observation { containers, registered, demand, trouble } = observation;
        self.flights.settle(began);
        self.removals.settle(began);
        self.registered = registered;
        let (demand, failed) = match demand {
            Ok(demand) => (Some(demand), None),
            Err(error) => (None, Some(error)),
        };
        let before = self.memory.clone();
        self.runners = self.join(containers, demand.as_ref());
        for Container { name, repo, .. } in self.runners.iter().map(|runner| &runner.container) {
            if self.memory.was_online(name) && !before.was_online(name) {
                self.troubles.launch_succeeded(repo.as_ref());
            }
        }
        let mut actions = self.decide(demand.as_ref(), &[]);
        let held: BTreeMap<u64, Held> = actions.iter().filter_map(held).collect();
        let mut asked = std::mem::take(&mut self.all_asked);
        asked.retain(|(asker, _)| !asker.gone.is_cancelled());
        let (askers, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let by_hand = !self.on;
        let mut asker = askers.into_iter().next().unwrap_or_default();
        if !by_hand {
            // The loop wants these runners whoever asked for them.
            asker.gone = CancellationToken::new();
        }
        if by_hand && asked.is_empty() {
            // Whoever this look was made for was answered by the one before.
            actions.clear();
        }
        let accepted = match by_hand {
            true => self.act_by_hand(actions, None, &asker),
            false => self.act(actions, false, None, &asker),
        };
        answer(asked, accepted, failed.clone(), &held, self.used());

        let now = (self.parts.clock)();
        let wait = match &failed {
            Some(error) => Some(self.failed_look(error)),
            None => self.troubles.look_succeeded(demand.as_ref(), trouble.as_ref(), now),
        };
        if let Some(demand) = &demand {
            // Where none of ours is listed any more there is nothing left to look for.
            let (prefix, registered) = (&self.limits.name_prefix, &self.registered);
            let launching = self.flights.runners();
            self.launched_in.retain(|scope| {
                let listed = registered.get(scope);
                listed.is_none_or(|all| all.iter().any(|runner| runner.name.starts_with(prefix)))
                    || launching.iter().any(|runner| runner.scope == *scope)
            });
            let queued = demand.jobs().map(|job| job.scope.clone());
            self.scopes = queued.chain(self.launched_in.iter().cloned()).collect();
            self.scopes.sort();
            self.scopes.dedup();
        }
        if self.on && self.stopping.is_empty() {
            let paced = self.pace(demand.as_ref(), &held);
            // A change that came while this look was under way has set an earlier time.
            let next = Instant::now()
                + wait.map_or(paced, |wait| if failed.is_some() { wait } else { wait.min(paced) });
            self.next_look = Some(self.next_look.map_or(next, |set| set.min(next)));
        }
        let seen_at = demand.is_some().then_some(now);
        self.publish(|snapshot| {
            snapshot.warnings = warnings;
            if demand.is_some() {
                snapshot.iterations += 1;
                snapshot.last_check = seen_at;
                snapshot.demand = demand;
                snapshot.held = held;
            }
        });
    }

    fn join(&mut self, containers: Vec<Container>, demand: Option<&Demand>) -> Vec<Runner> {
        self.memory.join(containers, &self.registered, demand, (self.parts.clock)())
    }

    fn decide(&self, demand: Option<&Demand>, asked: &[Ask]) -> Vec<Action> {
        let now = (self.parts.clock)();
        let (launching, removing) = (self.flights.runners(), self.removals.names());
        let backoff = self.troubles.backoff();
        plan(&View {
            now,
            limits: &self.limits,
            demand,
            runners: &self.runners,
            registered: &self.registered,
            launching: &launching,
            removing: &removing,
            backoff: &backoff,
            paused: self.troubles.paused(now),
            asked,
        })
    }

    /// A look ended in a bug of its own: the next one may do better.
    pub(super) fn look_died(&mut self, error: &tokio::task::JoinError) {
        if !error.is_cancelled() {
            let report = "Please report it with the log.";
            self.blind(&Error::internal(format!("A look failed: {error}."), report));
        }
    }

    fn pace(&mut self, demand: Option<&Demand>, held: &BTreeMap<u64, Held>) -> Duration {
        let starting = self.runners.iter().any(|runner| runner.phase == Phase::Starting);
        let covered = held.values().any(|why| matches!(why, Held::Covered { .. }));
        let crowded = held.values().any(|why| !matches!(why, Held::Unmatched { .. }));
        // Idle runners may have to be retired as soon as their grace is over.
        let idle = self.runners.iter().any(|runner| runner.phase == Phase::Idle);
        let mood = if starting || covered || idle || !self.flights.is_empty() {
            Mood::Lively
        } else if crowded {
            Mood::Crowded
        } else {
            Mood::Quiet
        };
        let budget = demand.and_then(|demand| demand.rate_limit.as_ref());
        let remaining = budget.map(|budget| budget.remaining);
        let cost =
            self.last_budget.zip(remaining).map_or(0, |(before, now)| before.saturating_sub(now));
        self.last_budget = remaining;
        self.spacing = pace::between_looks(SPACING, budget, cost, (self.parts.clock)());
        pace::until_next_look(self.poll_interval, mood, budget, cost, (self.parts.clock)())
    }
}

/// The beginning of our runners' names on this engine, and what its host has to say.
async fn identify(parts: &Parts, instance: &str) -> Result<(String, Vec<String>)> {
    let host = parts.host().await?;
    Ok((name_prefix(instance, &host.engine_id), host.warnings.clone()))
}

fn held(action: &Action) -> Option<(u64, Held)> {
    match action {
        Action::Hold { job, why } => Some((*job, why.clone())),
        _ => None,
    }
}
