//! The ports as one life of the service has them: requests that are lost, late, refused or answered
//! with what was so some time ago. A service that was killed is never answered again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::sync::Notify;

use super::rest::Rest;
use super::setting::Fault;
use super::world::{Share, SimJob, State, World, as_of};
use crate::config::{RunnerConfig, ScopeKind};
use crate::demand::{Assigned, Board, JobState, Watched};
use crate::error::{Code, Error, Result};
use crate::model::{Demand, Job, Labels, Registered, Repo, RepoDemand, RunningJob, Scope};
use crate::ports::{
    Decided, DemandSource, Deregistered, NewRunner, Registrar, Registration, RegistrationToken,
};
use crate::webhook::Inbox;

/// What one life of the service sees of the world.
pub(super) struct Port {
    pub(super) world: Arc<World>,
    pub(super) life: u64,
    pub(super) board: Arc<Board>,
    pub(super) events: Notify,
    /// Whether a session of the scale set lives.
    pub(super) session: AtomicBool,
    /// What the loop last said of its room.
    pub(super) room: Mutex<Decided>,
    /// What reads GitHub's deliveries.
    pub(super) inbox: Inbox,
    /// The real adapters, where they are played.
    pub(super) rest: Option<Rest>,
}

impl Port {
    /// What the service that has just begun sees.
    pub(super) fn new(world: &Arc<World>, config: &RunnerConfig) -> Self {
        let (life, rest) = {
            let state = world.state();
            (state.services, state.setting.rest)
        };
        // It watches whatever there is.
        let config = RunnerConfig { repos: Vec::new(), scope: ScopeKind::Org, ..config.clone() };
        let (board, world, session, room) =
            (Arc::<Board>::default(), world.clone(), Default::default(), Default::default());
        let rest = rest.then(|| Rest::new(&world, life, &board, &config));
        let inbox = Inbox::new(&config).unwrap();
        Self { world, life, board, events: Notify::new(), session, room, inbox, rest }
    }

    /// Goes on only as long as the service is alive.
    pub(super) async fn alive(&self) {
        let dead = self.world.state().services != self.life;
        if dead {
            std::future::pending::<()>().await;
        }
    }

    pub(super) async fn wait(&self, least: u64, most: u64) {
        self.world.wait(least, most).await;
        self.alive().await;
    }

    /// One request to GitHub, with its effect there.
    async fn request<T>(
        &self,
        what: &str,
        effect: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T> {
        let slow = self.world.state().happens(Fault::SlowAnswer);
        self.wait(30, if slow { 15_000 } else { 300 }).await;
        let (answer, lost) = {
            let mut state = self.world.state();
            if let Some(error) = trouble(&mut state) {
                state.note(format_args!("{what} fails: {}", error.message));
                return Err(error);
            }
            let answer = effect(&mut state);
            (answer, state.happens(Fault::AnswerLost))
        };
        self.world.changed.notify_waiters();
        self.wait(10, if lost { 10_000 } else { 100 }).await;
        if lost { Err(unreachable("The answer was lost.")) } else { Ok(answer) }
    }
}

fn unreachable(message: &str) -> Error {
    Error::new(Code::GithubUnreachable, message, "Wait.")
}

/// What goes wrong before GitHub does anything.
fn trouble(state: &mut State) -> Option<Error> {
    if state.now < state.github_down_until || state.happens(Fault::RequestLost) {
        return Some(unreachable("GitHub does not answer."));
    }
    if state.happens(Fault::ServerError) {
        return Some(unreachable("GitHub answers with 502."));
    }
    if state.happens(Fault::Denied) {
        return Some(Error::new(Code::TokenDenied, "GitHub refuses.", "Give it the right."));
    }
    state.happens(Fault::RateLimited).then(|| {
        let wait = Duration::from_secs(state.rng.u64(1..60));
        Error::new(Code::RateLimited, "GitHub asks to wait.", "Wait.").retry_after(wait)
    })
}

#[async_trait]
impl Registrar for Port {
    async fn check(&self) -> Result<()> {
        if let Some(rest) = &self.rest {
            return rest.registrar.check().await;
        }
        self.request("a check", |_| ()).await
    }

    async fn register(&self, runner: &NewRunner) -> Result<Registration> {
        let is_set = runner.scope == set_scope() && self.session.load(Ordering::Relaxed);
        let by_set = is_set && !runner.beside_sets;
        if let Some(rest) = self.rest.as_ref().filter(|_| !by_set) {
            return rest.registrar.register(runner).await;
        }
        let registered = self.request("a registration", |state| {
            let ahead = by_set || state.setting.jit;
            let runner_id = ahead.then(|| state.register(runner, by_set));
            match runner_id {
                Some(runner_id) => Registration::Jit { runner_id, config: "jit".into() },
                None => Registration::Token("token".into()),
            }
        });
        registered.await
    }

    async fn token(&self, scope: &Scope) -> Result<RegistrationToken> {
        if let Some(rest) = &self.rest {
            return rest.registrar.token(scope).await;
        }
        let expires_at = self.world.clock() + TimeDelta::hours(1);
        self.request("a token", |_| RegistrationToken { token: "token".into(), expires_at }).await
    }

    async fn deregister(&self, scope: &Scope, id: u64) -> Result<Deregistered> {
        if let Some(rest) = &self.rest {
            return rest.registrar.deregister(scope, id).await;
        }
        let removed = self.request("a deregistration", |state| {
            let known = state.registrations.get(&id).and_then(|one| one.state());
            match known {
                Some((_, true)) => Deregistered::Busy,
                Some(_) => {
                    state.set_registration(id, None);
                    Deregistered::Gone
                }
                None => Deregistered::Gone,
            }
        });
        removed.await
    }

    /// A question for one runner is answered as it is.
    async fn find(&self, scope: &Scope, name: &str) -> Result<Option<u64>> {
        if let Some(rest) = &self.rest {
            return rest.registrar.find(scope, name).await;
        }
        let found = self.request("a question for a runner", |state| {
            let id = state.registration_of(name)?;
            state.registrations.get(&id).is_some_and(|one| one.scope == *scope).then_some(id)
        });
        found.await
    }

    async fn registered(&self, scope: &Scope) -> Result<Vec<Registered>> {
        if let Some(rest) = &self.rest {
            return rest.registrar.registered(scope).await;
        }
        let listed = self.request("a list of runners", |state| {
            let at = state.moment();
            let all = state.registrations.iter().filter(|(_, one)| one.scope == *scope);
            all.filter_map(|(id, one)| one.listed(*id, at)).collect()
        });
        listed.await
    }
}

#[async_trait]
impl DemandSource for Port {
    async fn demand(&self) -> Result<Demand> {
        if let Some(rest) = &self.rest {
            return rest.poller.demand().await;
        }
        let repos = self.world.state().setting.repos.clone();
        let began = self.world.clock();
        let listed = self.request("a list of repositories", |_| ()).await;
        self.board.blind(listed.as_ref().err().cloned());
        listed?;
        let (lost, unlisted) = Default::default();
        let names = repos.iter().map(|(repo, _)| repo.clone()).collect();
        self.board.watch(Watched { repos: names, lost, unlisted, at: began });
        for (repo, _) in &repos {
            self.look(repo).await;
        }
        Ok(self.board.demand(self.world.clock()))
    }

    fn known(&self) -> Option<Demand> {
        Some(self.board.demand(self.world.clock()))
    }

    async fn changed(&self) {
        self.board.changed().await;
    }

    fn decided(&self, decided: &Decided) {
        self.room.lock().unwrap().clone_from(decided);
    }
}

impl Port {
    /// Looks at one repository.
    async fn look(&self, repo: &Repo) {
        let began = self.world.clock();
        let unseen = self.world.state().happens(Fault::Unseen);
        let seen = self.request("a look at a repository", |state| {
            let at = state.moment();
            state.shown(repo, at, began)
        });
        let seen = match seen.await {
            Ok(_) if unseen => Err(unreachable("The repository cannot be seen.")),
            seen => seen,
        };
        self.board.saw(repo, seen, began);
    }
}

impl Port {
    /// Tells what the scale set says, as long as its session lasts, and again when it has another.
    pub(super) async fn listen(self: Arc<Self>) {
        let scope = set_scope();
        loop {
            self.wait(200, 2_000).await;
            let lost = self.world.state().happens(Fault::SessionLost) || self.world.is_away();
            self.session.store(!lost, Ordering::Relaxed);
            if lost {
                self.board.assign(&scope, None);
                self.wait(5_000, 60_000).await;
                continue;
            }
            let room = self.room.lock().unwrap().room(&scope);
            let assigned = self.world.change(|state| state.assign(&scope, room));
            self.board.assign(&scope, Some(assigned));
            self.world.give();
        }
    }
}

/// Where there is a scale set.
pub(super) fn set_scope() -> Scope {
    Scope::org("acme")
}

impl State {
    /// Gives the set of `scope` what there is room for, and tells what it has then.
    fn assign(&mut self, scope: &Scope, room: usize) -> Assigned {
        let is_its_own =
            |job: &SimJob| job.set == Share::Given && *job.state() != JobState::Completed;
        let mut has = self.jobs.values().filter(|job| is_its_own(job)).count();
        for job in self.jobs.values_mut() {
            let waits =
                job.is_servable && job.set == Share::Open && *job.state() == JobState::Queued;
            if waits && job.job.scope == *scope && has < room {
                job.set = Share::Given;
                has += 1;
            }
        }
        Assigned { is_full: has >= room, ..self.assigned(scope) }
    }

    /// The jobs of `scope` as a scale set tells them.
    fn assigned(&self, scope: &Scope) -> Assigned {
        let labels = Labels::new(["self-hosted"]);
        let at = self.date() + self.clock_is_off_by;
        let (mut queued, mut in_progress, mut more) = (Vec::new(), Vec::new(), 0);
        let ours = |job: &&SimJob| job.job.scope == *scope && job.set == Share::Given;
        for job in self.jobs.values().filter(ours) {
            match job.state() {
                JobState::Queued if self.setting.counts_only => more += 1,
                JobState::Queued => queued.push(Job { seen_at: at, ..job.job.clone() }),
                JobState::InProgress { runner_name, started_at } => {
                    let (runner_name, started_at) = (runner_name.clone(), *started_at);
                    let running = RunningJob { job: job.job.named(), runner_name, started_at };
                    in_progress.push((job.job.repo.clone(), running));
                }
                _ => {}
            }
        }
        Assigned { labels, queued, in_progress, more, is_full: false, at }
    }

    /// The jobs of `repo` as they were at `at`.
    fn shown(
        &self,
        repo: &Repo,
        at: Duration,
        seen_at: chrono::DateTime<chrono::Utc>,
    ) -> RepoDemand {
        let (mut queued, mut in_progress) = (Vec::new(), Vec::new());
        let (mut waiting, mut running) = (0, 0);
        for job in self.jobs.values().filter(|job| job.job.repo == *repo) {
            match as_of(&job.states, at) {
                Some(JobState::Queued) => {
                    waiting += 1;
                    queued.push(Job { seen_at, ..job.job.clone() });
                }
                Some(JobState::InProgress { runner_name, started_at }) => {
                    running += 1;
                    let (runner_name, started_at) = (runner_name.clone(), *started_at);
                    in_progress.push(RunningJob { job: job.job.named(), runner_name, started_at });
                }
                _ => {}
            }
        }
        let repo = repo.clone();
        RepoDemand { repo, running, failed: 0, pending: waiting, queued, in_progress }
    }
}
