//! The engine: containers, and calls that fail, hang, or take effect without an answer.

use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::task::AbortHandle;

use super::port::Port;
use super::runner::TERMINATED;
use super::setting::Fault;
use super::world::{Invariant, SimContainer, State};
use crate::demand::JobState;
use crate::error::{Code, Error, Result};
use crate::model::{Container, Ended, Inspection, Usage, not_found};
use crate::ports::{Engine, Host, Launch, Registration, Report};

/// A container that was created and never started has ended after this long.
const HALF_MADE: std::time::Duration = std::time::Duration::from_secs(60);

/// The time between a question for a registration and the end of a process.
const ASKED: TimeDelta = TimeDelta::seconds(25);

/// What a log says that lies.
const LIES: [&str; 5] = [
    "Listening for Jobs",
    "Running job: build",
    "Job build completed with result: Succeeded",
    "Runner connect error: no route. Retrying until reconnected.",
    "Runner listener exit with 0 return code, stop the service, no retry needed.",
];

fn failed(message: &str) -> Error {
    Error::new(Code::DockerUnreachable, message, "Wait.")
}

impl Port {
    /// One call to the engine, with its effect there.
    async fn call<T>(
        &self,
        what: &str,
        effect: impl FnOnce(&mut State) -> Result<T> + Send,
    ) -> Result<T> {
        let (slow, hangs) = {
            let mut state = self.world.state();
            (state.happens(Fault::EngineSlow), state.happens(Fault::EngineHang))
        };
        self.wait(5, if slow { 20_000 } else { 100 }).await;
        if hangs {
            self.wait(30_000, 60_000).await;
            return Err(failed("The engine did not answer in time."));
        }
        let (answer, lost) = {
            let mut state = self.world.state();
            if state.now < state.engine_down_until || state.happens(Fault::EngineError) {
                state.note(format_args!("{what} fails"));
                return Err(failed("The engine does not answer."));
            }
            (effect(&mut state), state.happens(Fault::EngineAnswerLost))
        };
        self.wait(1, if lost { 30_000 } else { 50 }).await;
        if lost { Err(failed("The engine's answer was lost.")) } else { answer }
    }
}

#[async_trait]
impl Engine for Port {
    async fn host(&self) -> Result<Host> {
        self.call("a question for the host", |_| {
            Ok(Host {
                engine_id: "sim".into(),
                engine: "simulated".into(),
                cpus: 1,
                memory: 0,
                warnings: Vec::new(),
            })
        })
        .await
    }

    async fn prepare(&self, _: Report<'_>) -> Result<()> {
        self.call("a look at the image", |_| Ok(())).await
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        let names = std::sync::Mutex::new(Vec::new());
        let listed = self
            .call("a list of containers", |state| {
                let now = state.now;
                let listed: Vec<_> = state.containers.values().map(|one| one.listed(now)).collect();
                names.lock().unwrap().extend(listed.iter().map(|one| one.name.clone()));
                Ok(listed)
            })
            .await?;
        let names = names.into_inner().unwrap();
        names.iter().for_each(|name| self.knows(name));
        Ok(listed)
    }

    async fn launch(&self, launch: &Launch) -> Result<String> {
        let half = self.world.state().happens(Fault::HalfMade);
        let name = launch.runner.name.clone();
        let made = self.call("a creation", |state| state.create(launch)).await;
        let started = match made {
            Ok(_) if half => Err(failed("The container was not started.")),
            Ok(id) => {
                let world = self.world.clone();
                let start = launch.clone();
                // Until it has started nobody can blame it for being removed.
                world.blame(&name);
                let started = self.call("a start", |state| {
                    let there = state.containers.contains_key(&start.runner.name);
                    if there { Ok(start) } else { Err(failed("It is gone.")) }
                });
                match started.await {
                    Ok(start) => {
                        world.absolve(&name);
                        world.start(start);
                        world.ring();
                        Ok(id)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        match started {
            Ok(id) => {
                self.knows(&name);
                Ok(id)
            }
            Err(error) => {
                self.world.blame(&name);
                // What was begun is undone as far as the engine answers.
                if let Some(begun) = self.found(&name) {
                    let _ = self.call("an undoing", |_| Ok(())).await.map(|()| self.erase(&begun));
                }
                Err(error)
            }
        }
    }

    async fn stop(&self, container: &Container) -> Result<Ended> {
        let name = container.name.clone();
        let there = self.call("a stop", |state| {
            state.judge_stop(&name);
            let container = state.containers.get_mut(&name);
            Ok(container.map(|one| one.process.iter().for_each(AbortHandle::abort)).is_some())
        });
        let there = there.await;
        // Also when the answer was lost.
        let aborted = self.world.state().containers.get(&name).and_then(|one| one.process.clone());
        if aborted.is_some_and(|process| process.is_finished()) || matches!(there, Ok(true)) {
            self.world.ended(&name, TERMINATED);
        }
        there?;
        let state = self.world.state();
        let exit_code = state.containers.get(&name).and_then(|one| one.exit_code);
        Ok(Ended { exit_code, log_tail: String::new() })
    }

    async fn remove(&self, container: &Container) -> Result<()> {
        self.call("a removal", |_| Ok(())).await?;
        self.erase(container);
        Ok(())
    }

    async fn inspect(&self, id: &str) -> Result<Inspection> {
        Err(not_found(id, "Nobody asks."))
    }

    async fn usage(&self, id: &str) -> Result<Usage> {
        Err(not_found(id, "Nobody asks."))
    }

    async fn logs(&self, id: &str, _: usize) -> Result<String> {
        let read = self.call("a look into a log", |state| {
            let (lies, lie) = (state.happens(Fault::LogLies), state.rng.usize(..LIES.len()));
            let lie = state.stamped(LIES[lie]);
            let mut all = state.containers.values_mut();
            let one = all.find(|one| one.container.id == id);
            let one = one.ok_or_else(|| not_found(id, "It is gone."))?;
            one.is_faulty |= lies;
            Ok(if lies { lie } else { one.log.join("\n") })
        });
        read.await
    }

    async fn changed(&self) {
        self.events.notified().await;
        self.alive().await;
    }
}

impl Port {
    /// The service knows of the container from now on.
    fn knows(&self, name: &str) {
        let mut state = self.world.state();
        let now = state.now;
        if let Some(container) = state.containers.get_mut(name)
            && container.known.is_none_or(|(life, _)| life != self.life)
        {
            container.known = Some((self.life, now));
        }
    }

    fn found(&self, name: &str) -> Option<Container> {
        self.world.state().containers.get(name).map(|one| one.container.clone())
    }

    fn erase(&self, container: &Container) {
        let name = &container.name;
        self.world.state().judge_stop(name);
        let process =
            self.world.state().containers.get_mut(name).and_then(|one| one.process.take());
        if let Some(process) = process {
            process.abort();
        }
        self.world.ended(name, TERMINATED);
        let mut state = self.world.state();
        let Some(gone) = state.containers.remove(name) else { return };
        state.note(format_args!("{name} is removed"));
        state.bury(&gone);
    }
}

impl State {
    fn create(&mut self, launch: &Launch) -> Result<String> {
        let runner = &launch.runner;
        let (now, date) = (self.now, self.date() + self.clock_is_off_by);
        if self.containers.contains_key(&runner.name) {
            self.violated(Invariant::Justified, format!("{} was launched twice", runner.name));
            return Err(failed("The name is in use."));
        }
        let id = format!("{:032x}", self.rng.u128(..));
        let container = Container {
            id: id.clone(),
            name: runner.name.clone(),
            scope: runner.scope.clone(),
            repo: runner.repo.clone(),
            labels: runner.labels.clone(),
            created_at: date,
            origin: runner.origin,
            runner_id: match launch.registration {
                Registration::Jit { runner_id, .. } => Some(runner_id),
                Registration::Token(_) => None,
            },
            status: "created".into(),
            ended: false,
        };
        self.note(format_args!("{} is created for {}", runner.name, runner.subject()));
        self.containers.insert(
            runner.name.clone(),
            SimContainer {
                container,
                made: now,
                exit_code: None,
                process: None,
                log: Vec::new(),
                worked: false,
                is_faulty: false,
                known: None,
            },
        );
        self.judge_bound(&runner.name);
        Ok(id)
    }

    /// A runner that has a job may be ended for its time only.
    fn judge_stop(&mut self, name: &str) {
        let (date, jumps) = (self.date(), self.faults.contains_key(&Fault::ClockJump));
        let live = self.containers.get(name).is_some_and(|one| one.exit_code.is_none());
        let Some(job) = self.job_of(name).filter(|_| live) else { return };
        let JobState::InProgress { started_at: Some(started), .. } = job.state() else { return };
        let (id, took) = (job.job.id, date - *started);
        // One that registers itself may do so, and get a job, while it is being ended.
        if !self.setting.jit && took < ASKED {
            return;
        }
        let limit = self.setting.job_timeout.map(|limit| TimeDelta::from_std(limit).unwrap());
        if limit.is_none_or(|limit| took < limit && !jumps) {
            self.violated(Invariant::Spared, format!("{name} was stopped during job {id}"));
        }
    }
}

impl SimContainer {
    /// What the engine lists of it.
    pub(super) fn listed(&self, now: std::time::Duration) -> Container {
        let stillborn = self.container.status == "created" && now - self.made > HALF_MADE;
        Container { ended: self.exit_code.is_some() || stillborn, ..self.container.clone() }
    }
}
