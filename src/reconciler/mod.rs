//! The loop: wake, look, plan, act, publish. One task owns all of its state; what takes time runs
//! beside it and reports back, so that nothing slow delays anything else.
//!
//! It exists also while the autoscaler is off, and then does only what it is asked: every launch
//! of a process goes through here, so that the bound is kept in one place.

mod acts;
mod answers;
mod flight;
mod looks;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::acts::Worked;
use self::answers::stopping;
use self::flight::{Flights, Removals};
use self::looks::{Asked, Looked};
use self::trouble::Troubles;
use crate::error::Result;
use crate::lifecycle::Parts;
use crate::model::{Registered, Runner, Scope};
use crate::pace::Rate;
use crate::plan::{Ask, Limits, used};
use crate::ports::Registration;
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
    Provision {
        /// What for; every queued job when nothing is named.
        ask: Option<Ask>,
        /// How the runner registers, when whoever asks has seen to that.
        with: Option<Registration>,
        /// Who asks.
        asker: Asker,
        /// Who wants to know.
        reply: Reply,
    },
}

/// Somebody who asked for launches and waits for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    /// Told each step.
    pub(crate) steps: Option<mpsc::UnboundedSender<String>>,
    /// Cancelled when nobody waits any more: what was asked for is then undone.
    pub(crate) gone: CancellationToken,
}

impl Asker {
    /// Tells that `step` is done for `runner`.
    fn tell(&self, runner: &str, step: &str) {
        if let Some(steps) = &self.steps {
            // Who no longer listens is answered all the same.
            let _ = steps.send(format!("{runner}: {step}"));
        }
    }
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
    /// Scopes where this process has launched runners: some may have left a registration there.
    launched_in: BTreeSet<Scope>,
    flights: Flights,
    removals: Removals,
    troubles: Troubles,
    /// Bounds launches by hand; those of the loop are bounded by the jobs there are.
    by_hand: Rate,
    /// Numbers the looks, so that what settled before one began is known to show in it.
    epoch: u64,
    looks: JoinSet<Looked>,
    works: JoinSet<Worked>,
    next_look: Option<Instant>,
    last_look: Option<Instant>,
    last_budget: Option<u32>,
    /// The least time between two looks, by what they cost.
    spacing: Duration,
    /// Requests for "one runner for every queued job" that wait for a look.
    all_asked: Vec<(Asker, Reply)>,
    on: bool,
    cancelled: CancellationToken,
    stopping: Vec<oneshot::Sender<bool>>,
    deadline: Option<Instant>,
}

impl Reconciler {
    pub(crate) fn new(
        parts: Parts,
        limits: Limits,
        instance: String,
        poll_interval: Duration,
        by_hand: Rate,
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
            launched_in: BTreeSet::new(),
            flights: Flights::default(),
            removals: Removals::default(),
            troubles: Troubles::default(),
            by_hand,
            epoch: 0,
            looks: JoinSet::new(),
            works: JoinSet::new(),
            next_look: None,
            last_look: None,
            last_budget: None,
            spacing: SPACING,
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
            // Dropping the reply tells that the autoscaler was ended meanwhile: so it will be.
            Command::Start(_) if !self.stopping.is_empty() => {}
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
                // Aborting would not do: a look that is back already is not to be acted upon either.
                self.looks = JoinSet::new();
                for (_, reply) in self.all_asked.drain(..) {
                    let _ = reply.send(Err(stopping()));
                }
                self.cancelled.cancel();
                self.deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
            Command::Provision { ask: None, asker, reply, .. } => {
                self.all_asked.push((asker, reply));
                self.next_look = Some(Instant::now());
            }
            Command::Provision { ask: Some(ask), with, asker, reply } => {
                self.count(Asked { ask, with, asker, reply });
            }
        }
    }

    fn start(&mut self) {
        self.on = true;
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
        // What is asked for from now on is no part of what was stopped.
        self.cancelled = CancellationToken::new();
        self.flights.abandon(self.epoch);
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

    /// Something changed: look soon, but not more often than `spacing`.
    fn wake(&mut self) {
        if !self.stopping.is_empty() {
            return;
        }
        let now = Instant::now();
        let soon = self.last_look.map_or(now, |last| now.max(last + self.spacing));
        self.next_look = Some(self.next_look.map_or(soon, |next| next.min(soon)));
    }

    fn used(&self) -> usize {
        used(&self.runners, &self.flights.runners())
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
