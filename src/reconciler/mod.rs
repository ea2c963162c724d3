//! The loop: wake, look, plan, act, publish. One task owns all of its state; what takes time runs
//! beside it and reports back, so that nothing slow delays anything else.
//!
//! It exists also while the autoscaler is off, and then does only what it is asked: every launch
//! of a process goes through here, so that the bound is kept in one place.

mod flight;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::flight::{Flights, Removals};
use self::trouble::Troubles;
use crate::error::{Code, Error, Result};
use crate::lifecycle::{Failure, Observation, Parts, subject};
use crate::model::{Container, Demand, Origin, Phase, Registered, Runner, Scope};
use crate::pace::{self, Mood};
use crate::plan::{Action, Ask, Held, Limits, Order, Removal, View, plan};
use crate::ports::NewRunner;
use crate::snapshot::{Event, EventKind, Snapshot};
use crate::supply::Memory;
use crate::views::ProvisionedRunner;

/// Looks are at least this far apart, however many events come: a burst is one change.
const SPACING: Duration = Duration::from_millis(500);
/// How long a stop waits for launches that were accepted.
const GRACE: Duration = Duration::from_secs(10);

/// What the loop can be asked for.
pub(crate) enum Command {
    /// Start; answers whether it was off.
    Start(oneshot::Sender<bool>),
    /// Stop; answers, when what was accepted is done or undone, whether it was on.
    Stop(oneshot::Sender<bool>),
    /// Launch a runner for `ask`, or one for every queued job.
    Provision(Option<Ask>, Reply),
}

/// Where the launches that were accepted are told, each with its outcome to come.
pub(crate) type Reply = oneshot::Sender<Result<Vec<Outcome>>>;
/// The outcome of a launch.
pub(crate) type Outcome = oneshot::Receiver<Result<ProvisionedRunner>>;

/// The loop and its state.
pub(crate) struct Reconciler {
    parts: Parts,
    limits: Limits,
    instance: String,
    poll_interval: Duration,
    commands: mpsc::Receiver<Command>,
    published: Arc<watch::Sender<Snapshot>>,
    memory: Memory,
    runners: Vec<Runner>,
    registered: BTreeMap<Scope, Vec<Registered>>,
    /// Scopes where work was seen: leftovers of ours are looked for there.
    scopes: Vec<Scope>,
    flights: Flights,
    removals: Removals,
    troubles: Troubles,
    /// Numbers the looks, so that what settled before one began is known to show in it.
    epoch: u64,
    /// Whether a look at everything is under way.
    looking: bool,
    looks: JoinSet<Looked>,
    works: JoinSet<Worked>,
    next_look: Option<Instant>,
    last_look: Option<Instant>,
    last_budget: Option<u32>,
    /// Requests for "one runner for every queued job" that wait for a look.
    all_asked: Vec<Reply>,
    on: bool,
    cancelled: CancellationToken,
    stopping: Vec<oneshot::Sender<bool>>,
    deadline: Option<Instant>,
}

/// A look that came back.
struct Looked {
    began: u64,
    seen: Result<Seen>,
    asked: Option<(Ask, Reply)>,
}

/// What a look saw: everything, or the containers alone.
struct Seen {
    prefix: String,
    warnings: Vec<String>,
    what: What,
}

enum What {
    Everything(Observation),
    Containers(Vec<Container>),
}

/// A piece of work that came back.
enum Worked {
    Launched(NewRunner, Result<String, Failure>),
    Removed(Box<Runner>, Removal, Result<bool>),
    Forgotten(String, Result<()>),
}

impl Reconciler {
    pub(crate) fn new(
        parts: Parts,
        limits: Limits,
        instance: String,
        poll_interval: Duration,
        commands: mpsc::Receiver<Command>,
        published: Arc<watch::Sender<Snapshot>>,
    ) -> Self {
        Self {
            parts,
            limits,
            instance,
            poll_interval,
            commands,
            published,
            memory: Memory::default(),
            runners: Vec::new(),
            registered: BTreeMap::new(),
            scopes: Vec::new(),
            flights: Flights::default(),
            removals: Removals::default(),
            troubles: Troubles::default(),
            epoch: 0,
            looking: false,
            looks: JoinSet::new(),
            works: JoinSet::new(),
            next_look: None,
            last_look: None,
            last_budget: None,
            all_asked: Vec::new(),
            on: false,
            cancelled: CancellationToken::new(),
            stopping: Vec::new(),
            deadline: None,
        }
    }

    /// Runs until nobody can ask for anything any more.
    pub(crate) async fn run(mut self) {
        let parts = self.parts.clone();
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        loop {
            let may_look = self.looks.is_empty();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some(done) = self.works.join_next() => match done {
                    Ok(worked) => self.account(worked),
                    Err(error) => tracing::error!(%error, "a task of the loop failed"),
                },
                Some(done) = self.looks.join_next() => match done {
                    Ok(looked) => self.consider(looked),
                    Err(error) => self.look_died(&error),
                },
                () = parts.engine.changed(), if self.on => self.wake(),
                () = parts.source.changed(), if self.on => self.wake(),
                () = tokio::time::sleep_until(self.next_look.unwrap_or(far)),
                    if may_look && self.next_look.is_some() => self.look(),
                () = tokio::time::sleep_until(self.deadline.unwrap_or(far)),
                    if self.deadline.is_some() => self.works.abort_all(),
            }
            self.finish_stopping();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(reply) => {
                let changed = !self.on;
                if changed {
                    self.start();
                }
                // Who asked may be gone; the loop runs all the same.
                let _ = reply.send(changed);
            }
            Command::Stop(reply) if !self.on => {
                let _ = reply.send(false);
            }
            Command::Stop(reply) => {
                self.stopping.push(reply);
                self.next_look = None;
                self.looks.abort_all();
                self.looking = false;
                self.cancelled.cancel();
                self.deadline = Some(Instant::now() + GRACE);
            }
            Command::Provision(None, reply) => {
                self.all_asked.push(reply);
                self.next_look = Some(Instant::now());
            }
            Command::Provision(Some(ask), reply) => self.count(ask, reply),
        }
    }

    fn start(&mut self) {
        self.on = true;
        self.cancelled = CancellationToken::new();
        self.next_look = Some(Instant::now());
        let now = (self.parts.clock)();
        self.published.send_modify(|snapshot| {
            *snapshot = Snapshot {
                running: true,
                started_at: Some(now),
                events: std::mem::take(&mut snapshot.events),
                ..Snapshot::default()
            };
        });
        self.event(EventKind::Loop, "autoscaler", "started".into());
    }

    fn finish_stopping(&mut self) {
        if self.stopping.is_empty() || !self.works.is_empty() {
            return;
        }
        self.on = false;
        self.deadline = None;
        self.flights = Flights::default();
        self.removals = Removals::default();
        self.published.send_modify(|snapshot| snapshot.running = false);
        self.event(
            EventKind::Loop,
            "autoscaler",
            "stopped; runners go on until their job is done".into(),
        );
        for reply in self.stopping.drain(..) {
            let _ = reply.send(true);
        }
    }

    /// A look ended in a bug of its own: the next one may do better.
    fn look_died(&mut self, error: &tokio::task::JoinError) {
        self.looking = false;
        if !error.is_cancelled() {
            let report = "Please report it with the log.";
            self.blind(&Error::internal(format!("A look failed: {error}."), report));
        }
    }

    /// Something changed: look soon, but not more often than `SPACING`.
    fn wake(&mut self) {
        if !self.stopping.is_empty() {
            return;
        }
        let now = Instant::now();
        let soon = self.last_look.map_or(now, |last| now.max(last + SPACING));
        self.next_look = Some(self.next_look.map_or(soon, |next| next.min(soon)));
    }

    fn look(&mut self) {
        self.epoch += 1;
        self.last_look = Some(Instant::now());
        self.next_look = None;
        self.looking = true;
        let (began, parts, scopes) = (self.epoch, self.parts.clone(), self.scopes.clone());
        let instance = self.instance.clone();
        self.looks.spawn(async move {
            let seen = async {
                let (prefix, warnings) = identify(&parts, &instance).await?;
                let what = What::Everything(parts.look(scopes).await?);
                Ok(Seen { prefix, warnings, what })
            };
            Looked { began, seen: seen.await, asked: None }
        });
    }

    /// Counts the containers, then decides on what was asked by hand.
    fn count(&mut self, ask: Ask, reply: Reply) {
        self.epoch += 1;
        let (began, parts) = (self.epoch, self.parts.clone());
        let instance = self.instance.clone();
        self.looks.spawn(async move {
            let seen = async {
                let (prefix, warnings) = identify(&parts, &instance).await?;
                let what = What::Containers(parts.engine.containers().await?);
                Ok(Seen { prefix, warnings, what })
            };
            Looked { began, seen: seen.await, asked: Some((ask, reply)) }
        });
    }

    fn consider(&mut self, looked: Looked) {
        let Looked { began, seen, asked } = looked;
        match (seen, asked) {
            (Ok(Seen { what: What::Everything(observation), prefix, warnings }), _) => {
                self.limits.name_prefix = prefix;
                self.digest(began, observation, warnings);
            }
            (Ok(Seen { what: What::Containers(containers), prefix, .. }), Some((ask, reply))) => {
                self.limits.name_prefix = prefix;
                // A look that is under way may be older than this one, and counts on what is kept.
                if !self.looking {
                    self.flights.settle(began);
                }
                self.runners = self.join(containers, None);
                let actions = self.decide(None, std::slice::from_ref(&ask));
                let accepted = self.act(actions, true);
                let _ = reply.send(accepted);
                self.publish(|_| ());
            }
            (Ok(_), None) => {}
            (Err(error), Some((_, reply))) => {
                let _ = reply.send(Err(error));
            }
            (Err(error), None) => {
                self.looking = false;
                for reply in self.all_asked.drain(..) {
                    let _ = reply.send(Err(error.clone()));
                }
                self.blind(&error);
            }
        }
    }

    /// Nothing was seen: nothing is decided, and the next look comes later and later.
    fn blind(&mut self, error: &Error) {
        let wait = self.failed_look(error);
        if self.on {
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
        self.looking = false;
        self.flights.settle(began);
        self.removals.settle(began);
        self.registered = registered;
        let (demand, failed) = match demand {
            Ok(demand) => (Some(demand), None),
            Err(error) => (None, Some(error)),
        };
        self.runners = self.join(containers, demand.as_ref());
        let actions = self.decide(demand.as_ref(), &[]);
        let held: BTreeMap<u64, Held> = actions.iter().filter_map(held).collect();
        let asked = std::mem::take(&mut self.all_asked);
        let by_hand = !self.on;
        let accepted = self.act(actions, by_hand);
        answer(asked, accepted, failed.clone(), &held, self.used());

        let now = (self.parts.clock)();
        let wait = match &failed {
            Some(error) => Some(self.failed_look(error)),
            None => self.troubles.look_succeeded(demand.as_ref(), trouble.as_ref(), now),
        };
        if let Some(demand) = &demand {
            self.scopes = demand
                .repos
                .iter()
                .filter(|repo| !repo.in_progress.is_empty() || !repo.queued.is_empty())
                .flat_map(|repo| repo.queued.iter().map(|job| job.scope.clone()))
                .collect();
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

    /// Sets the actions going. While the autoscaler is off only launches are done: what was asked.
    fn act(&mut self, actions: Vec<Action>, launches_only: bool) -> Result<Vec<Outcome>> {
        if !self.stopping.is_empty() {
            return Err(stopping());
        }
        let mut accepted = Vec::new();
        let mut refused = None;
        for action in actions {
            match action {
                Action::Launch(order) => accepted.push(self.launch(order)?),
                Action::Refuse { why, .. } => refused = Some(refusal(&why, self.used())),
                Action::Hold { job, why } => tracing::debug!(job, %why, "a job waits"),
                Action::Remove { name, why } if !launches_only => self.remove(&name, why),
                Action::Forget { scope, id, name } if !launches_only => {
                    self.forget(scope, id, name)
                }
                Action::Remove { .. } | Action::Forget { .. } => {}
            }
        }
        match refused {
            Some(error) if accepted.is_empty() => Err(error),
            _ => Ok(accepted),
        }
    }

    fn launch(&mut self, order: Order) -> Result<Outcome> {
        let Order { scope, repo, labels, origin, job } = order;
        let name = format!("{}{}", self.limits.name_prefix, random_suffix()?);
        let runner = NewRunner { name, scope, repo, labels, origin };
        let outcome = self.flights.begin(runner.clone());
        let about = match (job, origin) {
            (Some(job), _) => format!("launching {} for job {job}", runner.name),
            (None, Origin::Manual) => format!("launching {}, asked for by hand", runner.name),
            (None, _) => format!("launching {}, to be kept ready", runner.name),
        };
        self.event(EventKind::Launch, &runner.subject(), about);
        let (parts, cancelled, published) =
            (self.parts.clone(), self.cancelled.clone(), self.published.clone());
        self.works.spawn(async move {
            let clock = parts.clock.clone();
            let report = |step: &str| {
                let (subject, message) = (runner.subject(), step.to_owned());
                let event = Event { at: clock(), kind: EventKind::Image, subject, message };
                published.send_modify(|snapshot| snapshot.push(event));
            };
            let launched = parts.launch(&runner, &report, &cancelled).await;
            Worked::Launched(runner, launched)
        });
        Ok(outcome)
    }

    fn remove(&mut self, name: &str, why: Removal) {
        let Some(runner) = self.runners.iter().find(|runner| runner.container.name == name) else {
            return;
        };
        self.removals.begin(name);
        let (parts, runner) = (self.parts.clone(), Box::new(runner.clone()));
        self.works.spawn(async move {
            let removed = parts.remove(&runner, why, false).await;
            Worked::Removed(runner, why, removed)
        });
    }

    fn forget(&mut self, scope: Scope, id: u64, name: String) {
        self.removals.begin(&name);
        let parts = self.parts.clone();
        self.works.spawn(async move {
            let forgotten = parts.registrar.deregister(&scope, id).await.map(drop);
            Worked::Forgotten(name, forgotten)
        });
    }

    fn account(&mut self, worked: Worked) {
        let now = (self.parts.clock)();
        match worked {
            Worked::Launched(runner, Ok(id)) => {
                self.troubles.launch_succeeded(runner.repo.as_ref());
                self.event(
                    EventKind::Launch,
                    &runner.subject(),
                    format!("{} started", runner.name),
                );
                self.published.send_modify(|snapshot| snapshot.provisioned += 1);
                self.flights.succeeded(&runner, &id, self.epoch);
            }
            Worked::Launched(runner, Err(failure)) => {
                let error = match failure {
                    Failure::Image(error) => {
                        self.troubles.image_failed(&error, now);
                        error
                    }
                    Failure::Runner(error) => {
                        self.troubles.launch_failed(runner.repo.as_ref(), &error, now);
                        error
                    }
                    Failure::Cancelled => stopping(),
                };
                let message = format!("{} was not launched: {}", runner.name, error.message);
                self.event(EventKind::Failure, &runner.subject(), message);
                self.flights.failed(&runner, error);
                self.wake_for_retry();
            }
            Worked::Removed(runner, why, removed) => {
                let name = &runner.container.name;
                match removed {
                    Ok(true) => {
                        let message = format!("{name} removed: {why}");
                        self.event(EventKind::Remove, &subject(&runner.container), message);
                        self.removals.settled(name, self.epoch);
                    }
                    Ok(false) => self.removals.failed(name),
                    Err(error) => {
                        let message = format!("{name} was not removed: {}", error.message);
                        self.event(EventKind::Failure, &subject(&runner.container), message);
                        self.removals.failed(name);
                    }
                }
            }
            Worked::Forgotten(name, forgotten) => match forgotten {
                Ok(()) => {
                    self.event(
                        EventKind::Remove,
                        &name,
                        "registration without a container removed".into(),
                    );
                    self.removals.settled(&name, self.epoch);
                }
                Err(error) => {
                    tracing::warn!(%name, %error, "a registration was not removed");
                    self.removals.failed(&name);
                }
            },
        }
        self.publish(|_| ());
    }

    /// After a failed launch the loop looks again when the wait is over, not a whole interval later.
    fn wake_for_retry(&mut self) {
        let now = (self.parts.clock)();
        let Some(wait) =
            self.troubles.next_retry(now).filter(|_| self.on && self.stopping.is_empty())
        else {
            return;
        };
        let retry = Instant::now() + wait;
        self.next_look = Some(self.next_look.map_or(retry, |next| next.min(retry)));
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
        pace::until_next_look(self.poll_interval, mood, budget, cost, (self.parts.clock)())
    }

    fn used(&self) -> usize {
        let live = self.runners.iter().filter(|runner| runner.phase != Phase::Exited);
        let names: BTreeSet<&str> = live.map(|runner| runner.container.name.as_str()).collect();
        names.len()
            + self.flights.runners().iter().filter(|r| !names.contains(r.name.as_str())).count()
    }

    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let used = self.used();
        self.published.send_modify(|snapshot| {
            change(snapshot);
            snapshot.used = used;
            snapshot.runners.clone_from(&self.runners);
            snapshot.last_error = self.troubles.last();
        });
    }

    fn event(&self, kind: EventKind, subject: &str, message: String) {
        match kind {
            EventKind::Failure => tracing::warn!(subject, "{message}"),
            _ => tracing::info!(subject, "{message}"),
        }
        let event = Event { at: (self.parts.clock)(), kind, subject: subject.to_owned(), message };
        self.published.send_modify(|snapshot| snapshot.push(event));
    }
}

/// The beginning of our runners' names on this engine, and what its host has to say.
async fn identify(parts: &Parts, instance: &str) -> Result<(String, Vec<String>)> {
    let host = parts.host().await?;
    Ok((crate::lifecycle::name_prefix(instance, &host.engine_id), host.warnings.clone()))
}

fn held(action: &Action) -> Option<(u64, Held)> {
    match action {
        Action::Hold { job, why } => Some((*job, why.clone())),
        _ => None,
    }
}

/// Tells those who asked for a runner for every queued job what became of it.
fn answer(
    asked: Vec<Reply>,
    accepted: Result<Vec<Outcome>>,
    failed: Option<Error>,
    held: &BTreeMap<u64, Held>,
    used: usize,
) {
    // A covered job is no reason to complain, and one that nobody can serve no question of room.
    let refused =
        held.values().find(|why| !matches!(why, Held::Covered { .. } | Held::Unmatched { .. }));
    let outcome = match (failed, accepted) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(launches)) => match refused {
            Some(why) if launches.is_empty() => Err(refusal(why, used)),
            _ => Ok(launches),
        },
    };
    // Two who ask at once ask for the same: the launches are told to the first.
    let again = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
    let others = asked.len().saturating_sub(1);
    let told =
        std::iter::once(outcome).chain((0..others).map(|_| again.clone().map(|()| Vec::new())));
    for (reply, told) in asked.into_iter().zip(told) {
        let _ = reply.send(told);
    }
}

/// The error for a launch that `why` forbids.
fn refusal(why: &Held, used: usize) -> Error {
    match why {
        Held::AtCapacity { max } => Error::new(
            Code::AtCapacity,
            format!("At capacity: {used}/{max} runners active."),
            "Increase max_runners, or stop containers that are not needed.",
        ),
        Held::RepoAtCapacity { max } => Error::new(
            Code::AtCapacity,
            format!("At capacity: {max}/{max} runners active for this repository."),
            "Increase max_per_repo, or stop containers of the repository that are not needed.",
        ),
        other => Error::new(
            Code::ContainerFailed,
            format!("Container failed to start: {other}"),
            "See last_error in the status; the next try is made by itself.",
        ),
    }
}

fn stopping() -> Error {
    Error::new(Code::Internal, "The autoscaler is being stopped.", "Start it again.")
}

/// Eight letters and digits that no other runner has.
fn random_suffix() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::internal(
            format!("The system gives no random numbers: {error}."),
            "Check /dev/urandom.",
        )
    })?;
    let letter = |byte: u8| ALPHABET.get(usize::from(byte) % ALPHABET.len()).copied();
    Ok(bytes.into_iter().filter_map(letter).map(char::from).collect())
}
