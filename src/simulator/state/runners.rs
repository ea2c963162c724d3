//! Self-hosted runners: how they register, get a job, finish it, and go.

use std::time::Duration;

use super::{State, Time, Unknown};
use crate::simulator::model::{Conclusion, Job, JobStatus, Runner, Scope};

/// docs.github.com: an ephemeral runner that has been offline for a day is removed.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// What a secret that GitHub handed out stands for.
#[derive(Debug, Clone)]
pub(in crate::simulator) enum Credential {
    /// Runners may be registered (or, with a remove token, removed) until it expires.
    Token { scope: Scope, removal: bool, expires_at: Time },
    /// A JIT configuration that no process has used yet.
    Jit { runner: u64 },
    /// The connection of a registered runner.
    Session { runner: u64 },
}

/// A runner to register.
#[derive(Debug, Clone)]
pub(in crate::simulator) struct NewRunner {
    pub(in crate::simulator) name: String,
    pub(in crate::simulator) labels: Vec<String>,
    pub(in crate::simulator) ephemeral: bool,
    pub(in crate::simulator) group_id: u64,
}

/// Why GitHub says no to a runner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::simulator) enum Refusal {
    #[error("The token is unknown, expired or used up.")]
    BadCredential,
    #[error("Already exists - A runner with the name {0} already exists.")]
    NameTaken(String),
    #[error("Runner {0} is currently running a job and cannot be deleted.")]
    Busy(String),
    #[error("Not Found")]
    NotFound,
}

/// What a polling runner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator) enum Message {
    Job(Box<Job>),
    Cancel,
    Deleted,
}

impl State {
    pub(in crate::simulator) fn issue_token(
        &mut self,
        scope: Scope,
        removal: bool,
        now: Time,
    ) -> (String, Time) {
        let expires_at = now + self.options.registration_token_lifetime;
        let token = self.random.secret("A");
        self.credentials.insert(token.clone(), Credential::Token { scope, removal, expires_at });
        (token, expires_at)
    }

    /// Registers a runner by a registration token; the answer is its session.
    pub(in crate::simulator) fn register(
        &mut self,
        token: &str,
        runner: NewRunner,
        now: Time,
    ) -> Result<(u64, String), Refusal> {
        match self.credentials.get(token) {
            Some(Credential::Token { scope, removal: false, expires_at }) if now < *expires_at => {
                let id = self.add_runner(scope.clone(), runner, now)?;
                Ok((id, self.open_session(id)))
            }
            _ => Err(Refusal::BadCredential),
        }
    }

    /// Registers a runner before its process exists; the answer is the secret that lets one
    /// process be it.
    pub(in crate::simulator) fn register_jit(
        &mut self,
        scope: Scope,
        runner: NewRunner,
        now: Time,
    ) -> Result<(u64, String), Refusal> {
        self.register_jit_of(None, scope, runner, now)
    }

    /// The same for a runner of a scale set.
    pub(in crate::simulator) fn register_jit_of(
        &mut self,
        set: Option<u64>,
        scope: Scope,
        runner: NewRunner,
        now: Time,
    ) -> Result<(u64, String), Refusal> {
        let id = self.add_runner(scope, NewRunner { ephemeral: true, ..runner }, now)?;
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.set = set;
        }
        let secret = self.random.secret("J");
        self.credentials.insert(secret.clone(), Credential::Jit { runner: id });
        Ok((id, secret))
    }

    /// Uses up a JIT configuration; the answer is the runner's session.
    pub(in crate::simulator) fn connect_jit(
        &mut self,
        secret: &str,
    ) -> Result<(u64, String), Refusal> {
        match self.credentials.get(secret) {
            Some(Credential::Jit { runner }) if self.runners.contains_key(runner) => {
                let id = *runner;
                self.credentials.remove(secret);
                Ok((id, self.open_session(id)))
            }
            _ => Err(Refusal::BadCredential),
        }
    }

    /// The runner that a session belongs to, whether or not it is still registered.
    pub(in crate::simulator) fn session(&self, secret: &str) -> Option<u64> {
        match self.credentials.get(secret) {
            Some(Credential::Session { runner }) => Some(*runner),
            _ => None,
        }
    }

    pub(in crate::simulator) fn connected(&mut self, id: u64, now: Time) {
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.connections += 1;
            runner.connected_once = true;
            runner.seen_at = now;
        }
    }

    pub(in crate::simulator) fn disconnected(&mut self, id: u64, now: Time) {
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.connections = runner.connections.saturating_sub(1);
            runner.seen_at = now;
        }
    }

    /// What there is to tell this runner now. The oldest queued job that it covers becomes its own:
    /// a job is given to one runner only. A job it was given and has not begun is told again,
    /// because the answer that told it may have been lost.
    pub(in crate::simulator) fn poll(&mut self, id: u64, now: Time) -> Option<Message> {
        let Some(runner) = self.runners.get(&id) else { return Some(Message::Deleted) };
        if let Some(job) = runner.job {
            let job = self.jobs.get(&job)?;
            return match job.status {
                _ if job.cancelled => Some(Message::Cancel),
                JobStatus::Queued => Some(Message::Job(Box::new(job.clone()))),
                _ => None,
            };
        }
        let taken: Vec<_> = self.runners.values().filter_map(|runner| runner.job).collect();
        let job = self
            .jobs
            .values()
            .filter(|job| job.status == JobStatus::Queued && !job.is_hosted())
            .filter(|job| !taken.contains(&job.id))
            .filter(|job| match runner.set {
                Some(set) => self.sets.is_waiting(set, job.id),
                None => !self.sets.has(job.id),
            })
            .filter(|job| Self::covers(&runner.scope, &job.repo) && runner.covers(&job.labels))
            .min_by_key(|job| (job.queued_at, job.id))?
            .clone();
        let runner = self.runners.get_mut(&id)?;
        runner.job = Some(job.id);
        runner.assigned_at = Some(now);
        Some(Message::Job(Box::new(job)))
    }

    /// The runner begins its job. False when the job is not, or no longer, its own.
    pub(in crate::simulator) fn started(&mut self, id: u64, job: u64, now: Time) -> bool {
        let own = self.runners.get(&id).is_some_and(|runner| runner.job == Some(job));
        if own {
            self.begin(job, Some(id), now);
        }
        own
    }

    /// The runner reports the end of its job; an ephemeral runner's registration goes with it.
    /// False when the job is not, or no longer, its own.
    pub(in crate::simulator) fn finished(
        &mut self,
        id: u64,
        job: u64,
        conclusion: Conclusion,
        now: Time,
    ) -> bool {
        let Some(runner) = self.runners.get_mut(&id).filter(|runner| runner.job == Some(job))
        else {
            return false;
        };
        runner.job = None;
        runner.assigned_at = None;
        runner.done.push(job);
        if runner.ephemeral {
            self.depart(id);
        }
        self.complete(job, conclusion, now);
        true
    }

    /// Removes a runner that holds no job, as GitHub's endpoint does.
    pub(in crate::simulator) fn remove_idle(&mut self, id: u64) -> Result<(), Refusal> {
        let runner = self.runners.get(&id).ok_or(Refusal::NotFound)?;
        if runner.job.is_some() {
            return Err(Refusal::Busy(runner.name.clone()));
        }
        self.depart(id);
        Ok(())
    }

    /// Drops a runner whatever it does; its job is lost.
    pub(in crate::simulator) fn drop_runner(&mut self, id: u64, now: Time) -> Result<(), Unknown> {
        let runner = self.depart(id).ok_or_else(|| Unknown(format!("runner {id}")))?;
        if let Some(job) = runner.job {
            self.lose(job, now);
        }
        Ok(())
    }

    /// The scope that a registration token is for.
    pub(in crate::simulator) fn scope_of_token(&self, token: &str, now: Time) -> Option<Scope> {
        match self.credentials.get(token) {
            Some(Credential::Token { scope, removal: false, expires_at }) if now < *expires_at => {
                Some(scope.clone())
            }
            _ => None,
        }
    }

    /// Forgets the runners of a scale set that is gone.
    pub(in crate::simulator) fn forget_runners_of(&mut self, set: u64, now: Time) {
        let own = self.runners.values().filter(|runner| runner.set == Some(set));
        let own: Vec<_> = own.filter(|runner| runner.job.is_none()).map(|one| one.id).collect();
        own.into_iter().for_each(|id| drop(self.drop_runner(id, now)));
    }

    /// The runners that are registered in this scope, oldest first.
    pub(in crate::simulator) fn runners_in(&self, scope: &Scope) -> impl Iterator<Item = &Runner> {
        self.runners.values().filter(move |runner| runner.scope == *scope)
    }

    /// Takes jobs from runners that died or never began them, and removes abandoned registrations.
    pub(super) fn advance_runners(&mut self, now: Time) -> bool {
        let due: Vec<_> = self
            .runners
            .values()
            .filter(|runner| {
                self.deadlines(runner).into_iter().flatten().any(|deadline| deadline <= now)
            })
            .map(|runner| (runner.id, runner.job))
            .collect();
        let changed = !due.is_empty();
        for (id, job) in due {
            match job {
                Some(job) => {
                    if self.runners.get(&id).is_some_and(|runner| runner.ephemeral) {
                        self.depart(id);
                    } else if let Some(runner) = self.runners.get_mut(&id) {
                        (runner.job, runner.assigned_at) = (None, None);
                    }
                    self.lose(job, now);
                }
                None => {
                    self.depart(id);
                }
            }
        }
        changed
    }

    /// Takes a job back from the runner that it was given to and that has not begun it.
    pub(super) fn withdraw(&mut self, job: u64) {
        for runner in self.runners.values_mut().filter(|runner| runner.job == Some(job)) {
            (runner.job, runner.assigned_at) = (None, None);
        }
    }

    pub(super) fn runner_deadlines(&self) -> impl Iterator<Item = Time> {
        self.runners.values().flat_map(|runner| self.deadlines(runner)).flatten()
    }

    /// When this runner's job is to be taken from it, or its registration is to go.
    fn deadlines(&self, runner: &Runner) -> [Option<Time>; 3] {
        let away = runner.connections == 0;
        let unstarted = runner
            .job
            .and_then(|job| self.jobs.get(&job))
            .is_some_and(|job| job.status == JobStatus::Queued);
        let lost = runner.seen_at + self.options.lost_after;
        let unclaimed = runner.assigned_at.map(|at| at + self.options.pickup_within);
        let abandoned = runner.seen_at + ABANDONED_AFTER;
        [
            (away && runner.job.is_some()).then_some(lost),
            unclaimed.filter(|_| unstarted),
            (away && runner.ephemeral && runner.job.is_none()).then_some(abandoned),
        ]
    }

    fn add_runner(&mut self, scope: Scope, new: NewRunner, now: Time) -> Result<u64, Refusal> {
        let taken = |runner: &Runner| runner.name.eq_ignore_ascii_case(&new.name);
        if self.runners_in(&scope).any(taken) {
            return Err(Refusal::NameTaken(new.name));
        }
        let id = self.fresh_id();
        let runner = Runner {
            id,
            name: new.name,
            scope,
            labels: new.labels,
            set: None,
            ephemeral: new.ephemeral,
            group_id: new.group_id,
            connected_once: false,
            connections: 0,
            seen_at: now,
            job: None,
            assigned_at: None,
            done: Vec::new(),
        };
        self.runners.insert(id, runner);
        Ok(id)
    }

    fn open_session(&mut self, runner: u64) -> String {
        let secret = self.random.secret("S");
        self.credentials.insert(secret.clone(), Credential::Session { runner });
        secret
    }

    fn depart(&mut self, id: u64) -> Option<Runner> {
        let runner = self.runners.remove(&id)?;
        self.departed.push(runner.clone());
        Some(runner)
    }
}
