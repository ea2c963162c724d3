//! The loop: look, plan, act, publish. One task owns all of its state; what takes time runs beside it
//! and reports back, so that nothing slow delays anything else.
//!
//! Runners and demand are looked at side by side, each at its own pace, and every answer is acted
//! upon at once: a look at the runners, a pass over the demand, and what was told between two passes.
//!
//! It exists also while the autoscaler is off, and then does only what it is asked: every launch
//! of a process goes through here, so that the bound is kept in one place.

mod acts;
mod answers;
mod doubts;
mod flight;
mod journeys;
mod leftovers;
mod looks;
mod passes;
mod remembered;
mod rounds;
mod tidy;
mod told;
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
use self::doubts::Heard;
use self::flight::{Flights, Removals};
use self::journeys::Journeys;
use self::looks::{Asked, AskedAll, Looked};
use self::passes::{Passed, changed};
use self::remembered::Remembered;
use self::rounds::{Due, Rounds, SPACING, until};
use self::tidy::Tidied;
use self::told::{About, Told};
use self::trouble::Troubles;
use crate::error::{Error, Result};
use crate::lifecycle::Parts;
use crate::model::{Container, Demand, Registered, Runner, Scope};
use crate::pace::Rate;
use crate::plan::{Action, Ask, Held, Limits, Turns, View, plan, used};
use crate::ports::Registration;
use crate::snapshot::Snapshot;
use crate::supply::Memory;
use crate::views::ProvisionedRunner;

/// How long a stop waits for launches that were accepted.
const GRACE: Duration = Duration::from_secs(10);

/// What decides: tests of the tests put a broken one in.
pub(crate) type Planner = fn(&View<'_>) -> Vec<Action>;

/// What the loop can be asked for.
pub(crate) enum Command {
    /// Start; answers whether it was off.
    Start(oneshot::Sender<bool>),
    /// Stop; answers, when what was accepted is done or undone, whether it was on.
    Stop(oneshot::Sender<bool>),
    /// Answer with how much is remembered: whoever asks wants to know whether the loop still goes round.
    Pulse(oneshot::Sender<Remembered>),
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
    planner: Planner,
    limits: Limits,
    instance: String,
    /// What our runners' names begin with.
    prefix: String,
    poll_interval: Duration,
    commands: mpsc::Receiver<Command>,
    published: Arc<watch::Sender<Snapshot>>,
    memory: Memory,
    /// As the last listing showed them.
    containers: Vec<Container>,
    /// These, joined with what GitHub says of them.
    runners: Arc<Vec<Runner>>,
    /// What is known of the demand; none when it cannot be seen.
    demand: Option<Arc<Demand>>,
    registered: BTreeMap<Scope, Vec<Registered>>,
    /// Scopes where jobs wait: there, too, runners of ours are looked for.
    scopes: BTreeSet<Scope>,
    flights: Flights,
    removals: Removals,
    journeys: Journeys,
    troubles: Troubles,
    /// Bounds launches by hand; those of the loop are bounded by the jobs there are.
    by_hand: Rate,
    /// Numbers the looks, so that what settled before one began is known to show in it.
    epoch: u64,
    /// The look that `containers` are from.
    shown: u64,
    /// Whether the last look at the runners succeeded: without it nothing is decided.
    sighted: bool,
    looks: JoinSet<Looked>,
    counts: JoinSet<Looked>,
    passes: JoinSet<Passed>,
    tidyings: JoinSet<Tidied>,
    works: JoinSet<Worked>,
    hearings: JoinSet<Heard>,
    /// The last runner whose log was asked: the turn of the others comes next.
    last_heard: String,
    rounds: Rounds,
    /// What the last pass left of what looks may cost.
    last_left: Option<u32>,
    /// Requests that the last pass was charged.
    last_cost: u32,
    /// The least time between two looks, by what they cost.
    spacing: Duration,
    /// What the engine's host has to say.
    warnings: Vec<String>,
    /// What there is to say of it now.
    concerns: Vec<String>,
    /// Why a scope's runners could not be listed.
    trouble: Option<Error>,
    /// Whether no pass is over yet, or the last one saw nothing: what is known is not the whole.
    blind: bool,
    /// Why each queued job waits, by the last decision.
    held: Arc<BTreeMap<u64, Held>>,
    /// Whose turn it was.
    turns: Turns,
    /// Requests for "one runner for every queued job" that wait for a pass.
    all_asked: Vec<AskedAll>,
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
        let journeys = Journeys::new(parts.metrics.clone());
        Self {
            parts,
            planner: plan,
            limits,
            instance,
            // Without the engine's id: no name begins like this, so nothing is taken for ours.
            prefix: "?".into(),
            poll_interval,
            commands,
            published,
            memory: Memory::default(),
            containers: Vec::new(),
            runners: Arc::default(),
            demand: None,
            registered: BTreeMap::new(),
            scopes: BTreeSet::new(),
            flights: Flights::default(),
            removals: Removals::default(),
            journeys,
            troubles: Troubles::default(),
            by_hand,
            epoch: 0,
            shown: 0,
            sighted: false,
            looks: JoinSet::new(),
            counts: JoinSet::new(),
            passes: JoinSet::new(),
            tidyings: JoinSet::new(),
            works: JoinSet::new(),
            hearings: JoinSet::new(),
            last_heard: String::new(),
            rounds: Rounds::default(),
            last_left: None,
            last_cost: 0,
            spacing: SPACING,
            warnings: Vec::new(),
            concerns: Vec::new(),
            trouble: None,
            blind: false,
            held: Arc::default(),
            turns: Turns::default(),
            all_asked: Vec::new(),
            on: false,
            cancelled: CancellationToken::new(),
            stopping: Vec::new(),
            deadline: None,
        }
    }

    /// The same loop with another planner.
    pub(crate) fn deciding_by(self, planner: Planner) -> Self {
        Self { planner, ..self }
    }

    /// Runs until nobody can ask for anything any more.
    pub(crate) async fn run(mut self) {
        let parts = self.parts.clone();
        loop {
            let Due { look, count, pass, tidying } = self.due();
            tokio::select! {
                // In this order, so that the same events have the same consequences. Nothing before
                // the last two comes without an end, and these are rung once for many events.
                biased;
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
                Some(done) = self.counts.join_next() => match done {
                    Ok(looked) => self.consider(looked),
                    Err(error) => self.look_died(&error),
                },
                Some(done) = self.hearings.join_next() => self.heed_logs(done),
                Some(done) = self.passes.join_next() => match done {
                    Ok(passed) => self.heed(passed),
                    Err(error) => self.pass_died(&error),
                },
                Some(done) = self.tidyings.join_next() => self.tidied(done),
                () = until(look) => self.look(),
                () = until(count) => self.count(None),
                () = until(pass) => self.pass(),
                () = until(tidying) => self.tidy(),
                () = until(self.deadline) => self.works.abort_all(),
                () = changed(&*parts.source, self.rounds.deaf_until), if self.on => self.hear(),
                () = parts.engine.changed(), if self.on => self.engine_changed(),
            }
            self.finish_stopping();
        }
    }

    /// What is to begin next, and when: one of each kind at a time.
    fn due(&self) -> Due {
        let Rounds { next_look, next_count, next_pass, next_tidying, pass_follows, .. } =
            self.rounds;
        // What is known of jobs says nothing before it is known which runners there are.
        let may_pass = self.passes.is_empty() && !pass_follows;
        Due {
            look: next_look.filter(|_| self.looks.is_empty()),
            count: next_count.filter(|_| self.counts.is_empty()),
            pass: next_pass.filter(|_| may_pass),
            tidying: next_tidying.filter(|_| self.tidyings.is_empty()),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Pulse(reply) => drop(reply.send(self.sizes())),
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
                self.rounds = Rounds::default();
                // Aborting would not do: a look that is back already is not to be acted upon either.
                self.looks = JoinSet::new();
                self.counts = JoinSet::new();
                self.passes = JoinSet::new();
                self.tidyings = JoinSet::new();
                self.hearings = JoinSet::new();
                for asked in self.all_asked.drain(..) {
                    let _ = asked.reply.send(Err(stopping()));
                }
                self.cancelled.cancel();
                let parts = self.parts.clone();
                self.works.spawn(async move {
                    parts.source.rest().await;
                    Worked::Rested
                });
                self.deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
            Command::Provision { ask: None, asker, reply, .. } => {
                // Runners first, then the demand, both as they are from now on.
                let passes = self.rounds.passes + 1;
                self.all_asked.push(AskedAll { passes, asker, reply });
                self.rounds.pass_follows = true;
                self.rounds.next_look = Some(Instant::now());
            }
            Command::Provision { ask: Some(ask), with, asker, reply } => {
                self.count(Some(Asked { ask, with, asker, reply }));
            }
        }
    }

    fn start(&mut self) {
        self.on = true;
        self.sighted = false;
        self.demand = None;
        self.blind = true;
        self.rounds.next_look = Some(Instant::now());
        self.rounds.next_tidying = self.rounds.next_look;
        self.rounds.pass_follows = true;
        let now = (self.parts.clock)();
        self.journeys.begin(now);
        self.published.send_modify(|snapshot| {
            *snapshot = Snapshot {
                running: true,
                started_at: Some(now),
                events: std::mem::take(&mut snapshot.events),
                ..Snapshot::default()
            };
        });
        let about = About::default();
        self.tell(Told::Start, "autoscaler", "started".into(), &about);
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
        let message = "stopped; runners go on until their job is done".into();
        self.tell(Told::Stop, "autoscaler", message, &About::default());
        for reply in self.stopping.drain(..) {
            let _ = reply.send(true);
        }
    }

    /// Whether the autoscaler is on, and is not being stopped.
    fn goes_on(&self) -> bool {
        self.on && self.stopping.is_empty()
    }

    fn used(&self) -> usize {
        used(&self.runners, self.flights.runners())
    }
}
