//! What a runner's process does, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use super::setting::Fault;
use super::world::World;
use crate::demand::JobState;
use crate::ports::{Launch, Registration};

/// What a process that was told to end ends with.
pub(super) const TERMINATED: i64 = 143;

/// What is wrong with a runner from the beginning.
#[derive(Debug, Default)]
struct Fate {
    crashes: bool,
    never_registers: bool,
    is_deaf: bool,
    is_dropped: bool,
    exits: bool,
    out_of_memory: bool,
    stays: bool,
    boots_slowly: bool,
}

impl World {
    /// Starts the process of the runner in the container of this name.
    pub(super) fn start(self: &Arc<Self>, launch: Launch) {
        let name = launch.runner.name.clone();
        let world = self.clone();
        let process = tokio::spawn(async move {
            let name = launch.runner.name.clone();
            let code = world.clone().be_runner(launch).await;
            world.ended(&name, code);
        });
        let mut state = self.state();
        let Some(container) = state.containers.get_mut(&name) else { return process.abort() };
        container.process = Some(process.abort_handle());
        container.container.status = "running".into();
    }

    fn fate(&self, name: &str) -> Fate {
        let mut state = self.state();
        let fate = Fate {
            crashes: state.happens(Fault::Crash),
            never_registers: state.happens(Fault::NeverRegisters),
            is_deaf: state.happens(Fault::Deaf),
            is_dropped: state.happens(Fault::Dropped),
            exits: state.happens(Fault::ExitsWithoutJob),
            out_of_memory: state.happens(Fault::OutOfMemory),
            stays: state.happens(Fault::Stays),
            boots_slowly: state.happens(Fault::SlowBoot),
        };
        let Fate { crashes, never_registers, is_deaf, is_dropped, exits, boots_slowly, .. } = fate;
        if let Some(container) = state.containers.get_mut(name) {
            container.is_faulty |=
                crashes || never_registers || is_deaf || is_dropped || exits || boots_slowly;
        }
        fate
    }

    async fn be_runner(self: Arc<Self>, launch: Launch) -> i64 {
        let runner = &launch.runner;
        let fate = self.fate(&runner.name);
        if fate.crashes {
            self.wait(0, 5_000).await;
            return 1;
        }
        match fate.boots_slowly {
            true => self.wait(20_000, 240_000).await,
            false => self.wait(1_000, 15_000).await,
        }
        if fate.never_registers {
            return std::future::pending().await;
        }
        // It gives up when GitHub does not answer.
        if self.is_away() {
            self.wait(30_000, 60_000).await;
            if self.is_away() {
                self.blame(&runner.name);
                return 1;
            }
        }
        let id = match launch.registration {
            Registration::Jit { runner_id, .. } => runner_id,
            Registration::Token(_) => self.change(|state| state.register(runner, false)),
        };
        let online = self.change(|state| {
            let registration = state.registrations.get_mut(&id)?;
            registration.state()?;
            registration.is_deaf = fate.is_deaf;
            state.set_registration(id, Some((true, false)));
            Some(())
        });
        if online.is_none() {
            return 1;
        }
        self.state().print(&runner.name, "Listening for Jobs");
        self.give();
        if fate.is_dropped {
            let world = self.clone();
            tokio::spawn(async move {
                world.wait(1_000, 120_000).await;
                world.change(|state| {
                    let found = state.registrations.get(&id).and_then(|one| one.state());
                    if found.is_some_and(|(_, busy)| !busy) {
                        state.set_registration(id, None);
                    }
                });
            });
        }
        self.work(&runner.name, id, &fate).await
    }

    /// The job that was given to the runner `name`, and whether GitHub knows it no more.
    fn assigned(&self, name: &str, id: u64) -> (Option<(u64, Duration)>, bool) {
        let state = self.state();
        let job = state.job_of(name).map(|job| (job.job.id, job.takes));
        (job, state.registrations.get(&id).is_none_or(|one| one.state().is_none()))
    }

    async fn work(self: &Arc<Self>, name: &str, id: u64, fate: &Fate) -> i64 {
        let (job, takes) = loop {
            let changed = self.changed.notified();
            let (job, is_gone) = self.assigned(name, id);
            if let Some(job) = job {
                break job;
            }
            if is_gone {
                if fate.stays {
                    return std::future::pending().await;
                }
                self.wait(0, 30_000).await;
                return 1;
            }
            changed.await;
        };
        self.state().print(name, "Running job: build");
        if fate.exits {
            self.wait(0, 2_000).await;
            return 0;
        }
        if fate.out_of_memory {
            let most = u64::try_from(takes.as_millis()).unwrap();
            self.wait(0, most).await;
            return 137;
        }
        tokio::time::sleep(takes).await;
        self.state().print(name, "Job build completed with result: Succeeded");
        if self.state().job_of(name).is_some_and(|running| running.job.id == job) {
            self.bring(job, JobState::Completed);
        }
        self.change(|state| state.set_registration(id, None));
        if fate.stays {
            return std::future::pending().await;
        }
        self.wait(0, 3_000).await;
        0
    }

    /// The process of the runner `name` ended by itself or was ended.
    pub(super) fn ended(self: &Arc<Self>, name: &str, code: i64) {
        let (left, exits) = {
            let mut state = self.state();
            let Some(container) = state.containers.get_mut(name) else { return };
            if container.exit_code.is_some() {
                return;
            }
            container.exit_code = Some(code);
            container.container.status = "exited".into();
            let exits = code == 0;
            state.note(format_args!("{name} ended with {code}"));
            (
                state
                    .registration_of(name)
                    .map(|id| (id, state.job_of(name).map(|job| job.job.id))),
                exits,
            )
        };
        self.ring();
        let Some((id, job)) = left else { return };
        let (world, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            // GitHub notices late that nobody is there any more.
            world.wait(0, 30_000).await;
            let busy = job.is_some();
            world.change(|state| {
                let known = state.registrations.get(&id).and_then(|one| one.state());
                if known.is_some() {
                    state.set_registration(id, Some((false, busy)));
                }
            });
            let Some(job) = job else { return };
            world.wait(30_000, 300_000).await;
            if world.state().job_of(&name).is_some_and(|running| running.job.id == job) {
                // One that never began is given to another.
                world.bring(job, if exits { JobState::Queued } else { JobState::Completed });
            }
            world.change(|state| state.set_registration(id, None));
        });
    }

    /// A container started or ended.
    pub(super) fn ring(&self) {
        let mut state = self.state();
        let lost = state.happens(Fault::EventLost);
        if let Some(port) = state.port.as_ref().filter(|_| !lost) {
            port.events.notify_one();
        }
    }

    pub(super) fn is_away(&self) -> bool {
        let state = self.state();
        state.now < state.github_down_until
    }

    /// Nothing has been wrong with the runner `name` so far.
    pub(super) fn absolve(&self, name: &str) {
        if let Some(container) = self.state().containers.get_mut(name) {
            container.is_faulty = false;
        }
    }

    /// Something was wrong around the runner `name`.
    pub(super) fn blame(&self, name: &str) {
        if let Some(container) = self.state().containers.get_mut(name) {
            container.is_faulty = true;
        }
    }
}
