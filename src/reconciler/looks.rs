//! Looking at the runners, and what that leads to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::told::About;
use super::{Asker, Outcome, Reconciler, Reply, SPACING};
use crate::error::{Error, Result};
use crate::lifecycle::{Observation, Parts, name_prefix};
use crate::metrics::{Failing, Part};
use crate::model::{Container, Demand, Phase, Scope, is_hosted};
use crate::pace::{self, Mood};
use crate::plan::{Action, Ask, Held, LOST_TIMEOUT, View, counted};
use crate::ports::{Decided, NewRunner, Registration};

/// A look that came back.
pub(super) struct Looked {
    began: u64,
    took: Duration,
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

/// A runner for every queued job, asked for by hand.
pub(super) struct AskedAll {
    /// The first pass that can tell.
    pub(super) passes: u64,
    pub(super) asker: Asker,
    pub(super) reply: Reply,
}

/// What a look saw: containers and GitHub's runners, or the containers alone.
struct Seen {
    prefix: String,
    warnings: Vec<String>,
    what: What,
}

enum What {
    Runners(Observation, SystemTime),
    Containers(Vec<Container>),
}

impl Reconciler {
    /// Looks at the runners.
    pub(super) fn look(&mut self) {
        self.rounds.look_begins(Instant::now());
        let (scopes, at) = (self.where_to_look(), SystemTime::from((self.parts.clock)()));
        let look = self.observe(None, move |parts| async move {
            Ok(What::Runners(parts.look(scopes).await?, at))
        });
        self.looks.spawn(look);
    }

    /// Counts the containers; then decides on what was asked by hand, if something was.
    pub(super) fn count(&mut self, asked: Option<Asked>) {
        if asked.is_none() {
            self.rounds.next_count = None;
        }
        let count = self.observe(asked, |parts| async move {
            parts.engine.containers().await.map(What::Containers)
        });
        self.counts.spawn(count);
    }

    /// A look that sees what `see` says, and knows whose runners are ours.
    fn observe<F, S>(
        &mut self,
        asked: Option<Asked>,
        see: S,
    ) -> impl Future<Output = Looked> + Send + use<F, S>
    where
        S: FnOnce(Parts) -> F + Send + 'static,
        F: Future<Output = Result<What>> + Send,
    {
        self.epoch += 1;
        let (began, parts, instance) = (self.epoch, self.parts.clone(), self.instance.clone());
        async move {
            let start = Instant::now();
            let seen = async {
                let (prefix, warnings) = identify(&parts, &instance).await?;
                Ok(Seen { prefix, warnings, what: see(parts).await? })
            };
            let seen = seen.await;
            Looked { began, took: start.elapsed(), seen, asked }
        }
    }

    pub(super) fn consider(&mut self, looked: Looked) {
        let Looked { began, took, seen, asked } = looked;
        let Seen { prefix, warnings, what } = match (seen, &asked) {
            (Ok(seen), _) => seen,
            (Err(error), Some(_)) => {
                let _ = asked.map(|asked| asked.reply.send(Err(error)));
                return;
            }
            (Err(error), None) => return self.unsighted(&error),
        };
        self.prefix = prefix;
        match what {
            What::Runners(observation, at) => {
                self.memory.listed((self.parts.clock)() - took);
                self.parts.metrics.worked(Part::Look, took);
                self.digest(began, at, observation, warnings);
            }
            What::Containers(containers) => {
                self.show(began, containers);
                match asked {
                    Some(asked) => self.serve_asked(asked),
                    None => {
                        let begun = Instant::now();
                        self.go_on();
                        self.rounds.counted(took + begun.elapsed(), Instant::now());
                    }
                }
            }
        }
    }

    /// These are the containers that a look showed which began as number `began`. One that began
    /// before what is shown already came too late.
    fn show(&mut self, began: u64, containers: Vec<Container>) {
        if began > self.shown {
            self.shown = began;
            self.containers = containers;
            self.flights.settle(began);
            self.removals.settle(began);
        }
    }

    fn serve_asked(&mut self, asked: Asked) {
        let Asked { ask, with, asker, reply } = asked;
        self.join();
        let mut actions = self.decide(None, std::slice::from_ref(&ask));
        if asker.gone.is_cancelled() {
            actions.clear();
        }
        let accepted = self.act_by_hand(actions, with, &asker);
        let _ = reply.send(accepted);
        self.publish(|_| ());
    }

    /// The runners were not seen: nothing is decided, and the next look comes later and later.
    fn unsighted(&mut self, error: &Error) {
        self.sighted = false;
        for asked in self.all_asked.drain(..) {
            let _ = asked.reply.send(Err(error.clone()));
        }
        let about = About::default().because(error.code.as_str());
        self.tell_failure(Failing::Look, "look", error.message.clone(), &about);
        let wait = self.troubles.engine_failed(error, (self.parts.clock)());
        if self.goes_on() {
            self.parts.source.decided(&self.decided());
            // The outage of a second must not cost an interval.
            self.rounds.look_by(Instant::now() + wait.min(self.poll_interval));
        }
        self.publish(|_| ());
    }

    fn digest(
        &mut self,
        began: u64,
        at: SystemTime,
        observation: Observation,
        warnings: Vec<String>,
    ) {
        let Observation { containers, registered, mut unlisted } = observation;
        self.show(began, containers);
        (self.registered, self.sighted) = (registered, true);
        let now = (self.parts.clock)();
        self.see_leftovers(&mut unlisted, at, now);
        self.trouble = unlisted.into_values().next();
        self.published.send_modify(|snapshot| snapshot.seen_at = Some(now));
        self.troubles.engine_succeeded();
        if std::mem::take(&mut self.rounds.pass_follows) {
            self.rounds.pass_by(Instant::now());
        }
        self.warnings = warnings;
        self.go_on();
        if self.goes_on() {
            let wait = self.until_next(None);
            let ripe = self.until_ripe().unwrap_or(wait);
            self.rounds.look_by(Instant::now() + wait.min(ripe));
        }
        self.ask_logs();
    }

    /// A container started or ended. Where room has come, or a job may have followed another, the
    /// sooner that is seen the better.
    pub(super) fn engine_changed(&mut self) {
        if !self.stopping.is_empty() {
            return;
        }
        let now = Instant::now();
        self.rounds.count_soon(now);
        self.rounds.wake(now, self.spacing);
    }

    /// Acts on all that is known.
    pub(super) fn go_on(&mut self) {
        if self.on {
            // Nobody waits for the outcome; what fails is in the events.
            let _ = self.go_on_for(&Asker::default());
        } else {
            self.publish(|_| ());
        }
    }

    /// Acts on all that is known: the loop, or for `asker` who asks by hand while it is off.
    pub(super) fn go_on_for(&mut self, asker: &Asker) -> Result<Vec<Outcome>> {
        let begun = Instant::now();
        self.join();
        let demand = self.demand.clone();
        let is_blind = !self.sighted;
        let actions = if is_blind { Vec::new() } else { self.decide(demand.as_deref(), &[]) };
        let held = if is_blind {
            let waiting = demand.iter().flat_map(|demand| demand.jobs());
            let waiting = waiting.filter(|job| !is_hosted(&job.labels));
            waiting.map(|job| (job.id, Held::Paused(self.troubles.unsighted()))).collect()
        } else {
            actions.iter().filter_map(held).collect()
        };
        self.hold(held);
        let accepted = match self.on {
            true => self.act(actions, false, None, asker),
            false => self.act_by_hand(actions, None, asker),
        };
        if self.goes_on() {
            self.parts.source.decided(&self.decided());
            if self.sighted && self.looks.is_empty() {
                // What was told may be a reason to look sooner.
                self.rounds.look_by(Instant::now() + self.until_next(None));
            }
        }
        self.publish_all();
        self.parts.metrics.worked(Part::Decide, begun.elapsed());
        accepted
    }

    fn decided(&self) -> Decided {
        let mut used: BTreeMap<Scope, usize> = BTreeMap::new();
        for scope in counted(&self.runners, self.flights.runners()) {
            match used.get_mut(scope) {
                Some(count) => *count += 1,
                None => drop(used.insert(scope.clone(), 1)),
            }
        }
        let is_paused = self.troubles.paused((self.parts.clock)()).is_some();
        let free = self.limits.max_runners.saturating_sub(used.values().sum());
        // Nothing is acted upon while the runners are not seen, and nothing may come of more work.
        let demand = self.demand.as_ref().filter(|_| self.sighted);
        Decided {
            revision: demand.map_or(0, |demand| demand.revision),
            free: if is_paused || !self.sighted { 0 } else { free },
            used,
            orphans: self.memory.orphans().clone(),
        }
    }

    /// Joins the containers with what GitHub says of them.
    pub(super) fn join(&mut self) {
        let jump = self.rounds.jump(Instant::now(), (self.parts.clock)());
        if let Some(jump) = jump {
            tracing::warn!(seconds = jump.num_seconds(), "the clock was set");
            self.memory.shift(jump);
            self.troubles.shift(jump);
        }
        let before = self.runners.clone();
        let names = before.iter().map(|one| one.container.name.as_str());
        let online: HashSet<&str> = names.filter(|name| self.memory.was_online(name)).collect();
        let (demand, now) = (self.demand.as_deref(), (self.parts.clock)());
        let containers = self.containers.clone();
        self.runners = Arc::new(self.memory.join(containers, &self.registered, demand, now));
        self.journeys.see(&self.runners, now);
        demand.into_iter().for_each(|demand| self.journeys.know(demand, now));
        for Container { name, repo, .. } in self.runners.iter().map(|runner| &runner.container) {
            if self.memory.was_online(name) && !online.contains(name.as_str()) {
                self.troubles.launch_succeeded(repo.as_ref());
            }
        }
    }

    fn decide(&self, demand: Option<&Demand>, asked: &[Ask]) -> Vec<Action> {
        let now = (self.parts.clock)();
        let launching: Vec<NewRunner> = self.flights.runners().cloned().collect();
        let removing = self.removals.names();
        let backoff = self.troubles.backoff();
        (self.planner)(&View {
            now,
            limits: &self.limits,
            demand,
            runners: &self.runners,
            registered: &self.registered,
            unclaimed: self.memory.unclaimed(),
            launching: &launching,
            spent: self.memory.spent(),
            removing: &removing,
            backoff: &backoff,
            turns: &self.turns,
            paused: self.troubles.paused(now),
            asked,
        })
    }

    /// A look ended in a bug of its own: the next one may do better.
    pub(super) fn look_died(&mut self, error: &JoinError) {
        if !error.is_cancelled() {
            let report = "Please report it with the log.";
            self.unsighted(&Error::internal(format!("A look failed: {error}."), report));
        }
    }

    /// The time until the next pass, by what the last one cost.
    pub(super) fn pace(&mut self) -> Duration {
        let allowance = self.demand.as_ref().and_then(|demand| demand.allowance);
        let left = allowance.map(|allowance| allowance.left);
        self.last_cost =
            self.last_left.zip(left).map_or(0, |(before, now)| before.saturating_sub(now));
        self.last_left = left;
        let now = (self.parts.clock)();
        self.spacing = pace::between_looks(SPACING, allowance, self.last_cost, now);
        let go_on_at = self.demand.as_ref().and_then(|demand| demand.go_on_at);
        self.until_next(go_on_at)
    }

    fn until_next(&self, go_on_at: Option<DateTime<Utc>>) -> Duration {
        let allowance = self.demand.as_ref().and_then(|demand| demand.allowance);
        let (cost, now) = (self.last_cost, (self.parts.clock)());
        pace::until_next_look(self.poll_interval, self.mood(), go_on_at, allowance, cost, now)
    }

    fn mood(&self) -> Mood {
        // One that has ended goes as soon as GitHub no longer lists it.
        let is_moving = |phase| matches!(phase, Phase::Starting | Phase::Exited);
        let starting = self.runners.iter().any(|runner| is_moving(runner.phase));
        let covered = self.held.values().any(|why| matches!(why, Held::Covered { .. }));
        let crowded = self.held.values().any(|why| !matches!(why, Held::Unmatched { .. }));
        // Idle runners may have to be retired as soon as their grace is over.
        let idle = self.runners.iter().any(|runner| runner.phase == Phase::Idle);
        // One that is in doubt for longer has been decided about, and is kept.
        let now = (self.parts.clock)();
        let is_new = |since: DateTime<Utc>| now - since < LOST_TIMEOUT * 2;
        let doubt = self.runners.iter().any(|runner| runner.lost_since.is_some_and(is_new));
        let crowded = crowded || self.demand.iter().any(|demand| !demand.counted.is_empty());
        if starting || doubt || covered || idle || !self.flights.is_empty() {
            Mood::Lively
        } else if crowded {
            Mood::Crowded
        } else {
            Mood::Quiet
        }
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
