//! What GitHub does by itself: gives jobs to runners and tells of it.

use std::sync::Arc;
use std::time::Duration;

use crate::demand::JobState;
use crate::model::{Job, Labels, Scope};

use super::setting::Fault;
use super::world::{Registration, Share, SimJob, State, World};
use crate::ports::NewRunner;
use crate::webhook::Delivered;

impl World {
    /// A job is queued in the repository number `repo`.
    pub(super) fn queue(self: &Arc<Self>, repo: usize, run: u64, takes: Duration, wants: &[&str]) {
        let id = self.change(|state| {
            let id = state.jobs.len() as u64 + 1;
            let (repo, scope) = state.setting.repos[repo].clone();
            let (name, queued_at) = (format!("job-{id}"), state.date());
            let url = format!("https://github.example/{repo}/{id}");
            let labels = Labels::new(wants);
            let job = Job {
                id,
                run_id: run,
                repo,
                scope,
                name,
                url,
                labels,
                queued_at,
                seen_at: queued_at,
                beside_sets: false,
            };
            let is_servable = job.labels.is_subset(&Labels::new(["self-hosted"]));
            let in_set = state.setting.scale_set && is_servable && job.scope == Scope::org("acme");
            let never = in_set && state.happens(Fault::Unassigned);
            let set = if never { Share::Never } else { Share::Open };
            state.note(format_args!("job {id} of {} for {takes:?}", job.repo));
            state.jobs.insert(id, SimJob { job, takes, is_servable, set, states: Vec::new() });
            id
        });
        self.bring(id, JobState::Queued);
    }

    /// The job `id` comes to stand like this.
    pub(super) fn bring(self: &Arc<Self>, id: u64, to: JobState) {
        self.change(|state| {
            let now = state.now;
            state.note(format_args!("job {id} is {to:?}"));
            if to != JobState::Queued {
                state.tally.progress = now;
            }
            if let Some(job) = state.jobs.get_mut(&id) {
                job.states.push((now, to.clone()));
            }
        });
        self.tell(id, &to);
        self.give();
    }

    /// Gives waiting jobs to runners that are idle, the oldest first.
    pub(super) fn give(self: &Arc<Self>) {
        loop {
            let given = self.state().give();
            let Some((id, to)) = given else { return };
            self.tell(id, &to);
            self.changed.notify_waiters();
        }
    }

    /// Sends the deliveries about a change: none, one or several, at once or later.
    fn tell(self: &Arc<Self>, id: u64, to: &JobState) {
        let delays = self.state().deliveries();
        let number = self.state().deliveries;
        for delay in delays {
            let (world, to) = (self.clone(), to.clone());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let (port, delivery) = {
                    let state = world.state();
                    (state.port.clone(), state.delivery(number, id, &to))
                };
                let Some((port, delivery)) = port.zip(delivery) else { return };
                if let Delivered::Heard(heard) = port.inbox.read(&delivery, world.clock()).unwrap()
                {
                    port.board.hear(*heard);
                }
            });
        }
    }
}

impl State {
    fn give(&mut self) -> Option<(u64, JobState)> {
        let (now, date) = (self.now, self.date());
        let waiting = self.jobs.iter().filter(|(_, job)| *job.state() == JobState::Queued);
        let mut idle = self
            .registrations
            .iter_mut()
            .filter(|(_, one)| one.state() == Some((true, false)) && !one.is_deaf);
        let fits = |one: &Registration, job: &Job, set: Share| {
            let may = !one.is_of_set || set == Share::Given;
            may && one.scope == job.scope && job.labels.is_subset(&one.labels)
        };
        let waiting: Vec<_> = waiting.map(|(id, job)| (*id, job.job.clone(), job.set)).collect();
        let (id, runner) = idle.find_map(|(_, one)| {
            let found = waiting.iter().find(|(_, job, set)| fits(one, job, *set))?;
            Some((found.0, one))
        })?;
        runner.set(now, Some((true, true)));
        let runner_name = runner.name.clone();
        if let Some(container) = self.containers.get_mut(&runner_name) {
            container.worked = true;
        }
        let to = JobState::InProgress { runner_name, started_at: Some(date) };
        self.note(format_args!("job {id} is {to:?}"));
        self.tally.progress = now;
        self.jobs.get_mut(&id)?.states.push((now, to.clone()));
        Some((id, to))
    }

    fn deliveries(&mut self) -> Vec<Duration> {
        if !self.setting.hooks || self.happens(Fault::HookLost) {
            return Vec::new();
        }
        self.deliveries += 1;
        let count = 1 + usize::from(self.happens(Fault::HookTwice));
        let delay = |state: &mut Self| {
            let most = if state.happens(Fault::HookLate) { 60_000 } else { 1_500 };
            Duration::from_millis(state.rng.u64(100..most))
        };
        (0..count).map(|_| delay(self)).collect()
    }

    /// Registers `runner`, in the place of one of the same name.
    pub(super) fn register(&mut self, runner: &NewRunner, is_of_set: bool) -> u64 {
        self.last_registration += 1;
        let (id, now) = (self.last_registration, self.now);
        let of_set = if is_of_set { ", of the set" } else { "" };
        self.note(format_args!("{} is registered as {id}{of_set}", runner.name));
        let mut registration = Registration {
            name: runner.name.clone(),
            scope: runner.scope.clone(),
            labels: runner.labels.clone(),
            is_deaf: false,
            is_of_set,
            states: Vec::new(),
        };
        registration.set(now, Some((false, false)));
        self.registrations.insert(id, registration);
        id
    }

    pub(super) fn set_registration(&mut self, id: u64, to: Option<(bool, bool)>) {
        let now = self.now;
        if let Some(registration) = self.registrations.get_mut(&id) {
            registration.set(now, to);
            let name = registration.name.clone();
            self.note(format_args!("registration {id} of {name} is {to:?}"));
        }
    }
}
