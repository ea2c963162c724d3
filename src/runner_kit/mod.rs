//! The service object: one [`RunnerKit`] holds a configuration, the adapters and the loop, and
//! has a method for each thing that people, assistants and programs may ask for.

mod containers;
mod deliver;
mod follow;
mod health;
mod inspect;
mod lists;
mod sampling;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use once_cell::sync::OnceCell;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use self::health::{Census, Unready};
pub use self::lists::{ContainerFilter, QueueFilter};
use self::lists::{
    Service, container_key, is_container_key, is_queue_key, queue_key, refreshed, shown,
};
use self::usage::Measured;
use crate::config::{RunnerConfig, ScopeKind};
use crate::error::{Error, Result};
use crate::lifecycle::Parts;
use crate::model::{Container, Demand, Phase, Repo, Runner, Scope};
use crate::pace::Rate;
use crate::plan::{Ask, Limits, plan};
use crate::ports::{Registration, RegistrationToken};
use crate::reconciler::{Asker, Command, Outcome, Planner, Reconciler};
use crate::snapshot::Snapshot;
use crate::supply::Memory;
use crate::views::{
    Capacity, Mode, Page, ProvisionedRunner, RunnerContainer, Started, Status, Stopped,
    WorkflowQueue,
};
use crate::webhook::Inbox;

/// How long a stop waits for the number of the runners that it leaves, and a status for that of
/// those that it found.
const COUNT: Duration = Duration::from_secs(2);
/// Entries of a list when nobody says how many.
const PAGE: usize = 100;

/// The autoscaler with its adapters. Clones share one loop; it ends with the last of them.
#[derive(Clone)]
pub struct RunnerKit {
    config: Arc<RunnerConfig>,
    parts: Parts,
    mode: Mode,
    commands: mpsc::Sender<Command>,
    published: watch::Receiver<Snapshot>,
    measured: Measured,
    inbox: Arc<OnceCell<Inbox>>,
}

impl RunnerKit {
    /// A service object with these parts. Must be called within a tokio runtime.
    pub fn from_parts(config: RunnerConfig, parts: Parts, mode: Mode) -> Self {
        Self::planned(config, parts, mode, plan)
    }

    fn planned(config: RunnerConfig, parts: Parts, mode: Mode, planner: Planner) -> Self {
        let (commands, received) = mpsc::channel(64);
        let (published, seen) = watch::channel(Snapshot::default());
        let reconciler = Reconciler::new(
            parts.clone(),
            limits(&config),
            config.instance.clone(),
            config.poll_interval,
            Rate::new(config.bounds.provision_rate),
            received,
            Arc::new(published),
        );
        tokio::spawn(reconciler.deciding_by(planner).run());
        let config = Arc::new(config);
        tokio::spawn(sampling::run(config.clone(), parts.clone(), seen.clone()));
        Self {
            config,
            parts,
            mode,
            commands,
            published: seen,
            measured: Measured::default(),
            inbox: Arc::default(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &RunnerConfig {
        &self.config
    }

    /// The state of the loop, and each change of it.
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.published.clone()
    }

    /// Starts the loop after a look at credential, GitHub and engine. Succeeds without a change
    /// when it runs already.
    pub async fn start_autoscaler(&self) -> Result<Started> {
        if !self.published.borrow().running {
            self.parts.host().await?;
            self.parts.registrar.check().await?;
        }
        self.start_unchecked().await
    }

    /// Starts the loop whether GitHub and engine answer or not: for supervisors at boot.
    pub async fn start_unchecked(&self) -> Result<Started> {
        let changed = self.ask(Command::Start).await?;
        Ok(Started { changed, status: self.get_status().await? })
    }

    /// Stops the loop after what it had accepted is finished or undone. Runners go on.
    pub async fn stop_autoscaler(&self) -> Result<Stopped> {
        let changed = self.ask(Command::Stop).await?;
        // A stop must succeed, and at once, also when the engine is away: then the last look counts.
        let listed = tokio::time::timeout(COUNT, self.parts.engine.containers()).await;
        let runners_left = match listed {
            Ok(Ok(containers)) => containers.iter().filter(|container| !container.ended).count(),
            _ => self.status_of(&self.published.borrow()).active_runners,
        };
        Ok(Stopped { running: false, changed, runners_left })
    }

    /// The state of the autoscaler. While it is off, and before its first look is over, runners are
    /// counted afresh.
    pub async fn get_status(&self) -> Result<Status> {
        let (mut status, is_running, used) = {
            let snapshot = self.published.borrow();
            (self.status_of(&snapshot), snapshot.running, snapshot.used)
        };
        if is_running && status.last_check.is_some() {
            return Ok(status);
        }
        let counting = self.parts.engine.containers();
        let counted = if is_running {
            // The loop tells what is wrong with the engine.
            tokio::time::timeout(COUNT, counting).await.ok().and_then(Result::ok).map(Ok)
        } else {
            Some(counting.await)
        };
        match counted {
            Some(Ok(containers)) => {
                let live = containers.iter().filter(|container| !container.ended).count();
                status.active_runners = live;
                status.capacity = capacity(self.config.max_runners, live.max(used));
            }
            Some(Err(error)) => {
                status.last_error =
                    Some(crate::views::LastError::new(&error, (self.parts.clock)()));
            }
            None => {}
        }
        Ok(status)
    }

    /// The state that `snapshot` tells.
    pub fn status_of(&self, snapshot: &Snapshot) -> Status {
        let demand = snapshot.demand.as_deref();
        let live = snapshot.runners.iter().filter(|runner| runner.phase != Phase::Exited);
        Status {
            running: snapshot.running,
            start_time: snapshot.started_at.map(|at| at.trunc_subsecs(0)),
            iterations: snapshot.iterations,
            active_runners: live.count(),
            queued_workflows: snapshot.queued.workflows,
            queued_jobs: snapshot.queued.jobs,
            repositories_monitored: demand.map_or(0, |d| d.repos.len() + d.unseen.len()),
            last_check: snapshot.last_check.map(|at| at.trunc_subsecs(0)),
            provisioned_runners: snapshot.provisioned,
            capacity: capacity(self.config.max_runners, snapshot.used),
            mode: self.mode,
            last_error: snapshot.last_error.clone(),
            warnings: snapshot.warnings.clone(),
            rate_limit: demand.and_then(|demand| demand.rate_limit.clone()),
        }
    }

    /// The workflow queues, those that wait first. While the loop runs they are as it last saw
    /// them; otherwise GitHub is asked.
    pub async fn get_workflow_queues(&self, filter: &QueueFilter) -> Result<Page<WorkflowQueue>> {
        filter.paging.check(is_queue_key)?;
        let demand = self.demand().await?;
        self.must_be_seen(&demand, filter)?;
        let service = self.service();
        let wanted = |queue: &WorkflowQueue| match &filter.repo {
            Some(repo) => queue.repo == *repo,
            None => filter.all || queue.total_workflows > 0 || queue.waits(),
        };
        let mut queues: Vec<_> =
            demand.repos.iter().map(|repo| service.queue(repo)).filter(wanted).collect();
        queues.sort_by_cached_key(queue_key);
        Ok(filter.paging.cut(queues, PAGE, queue_key))
    }

    /// A token with which runners of `repo` can be registered: a secret, valid for an hour.
    pub async fn generate_runner_token(&self, repo: &Repo) -> Result<RegistrationToken> {
        self.config.bounds.check(repo)?;
        self.parts.registrar.token(&self.scope_of(repo).await?).await
    }

    /// Launches a runner for `repo` with `token`, within the capacity and the operator's bounds.
    pub async fn launch_runner_container(
        &self,
        repo: &Repo,
        token: &RegistrationToken,
    ) -> Result<ProvisionedRunner> {
        let with = Registration::Token(token.token.clone());
        let ask = self.ask_for(Some(repo)).await?;
        let launched = self.launch(ask, Some(with), None).await?;
        launched.into_iter().next().ok_or_else(gone)
    }

    /// Launches one runner for `repo`, or without it one for every servable queued job; never
    /// beyond the capacity and the operator's bounds. Dropping the future takes back what has not
    /// become a runner yet.
    pub async fn provision(&self, repo: Option<&Repo>) -> Result<Vec<ProvisionedRunner>> {
        self.launch(self.ask_for(repo).await?, None, None).await
    }

    /// The runner containers, newest first.
    pub async fn list_runner_containers(
        &self,
        filter: &ContainerFilter,
    ) -> Result<Page<RunnerContainer>> {
        filter.paging.check(is_container_key)?;
        let containers = self.parts.engine.containers().await?;
        let runners = self.known(containers).await;
        let wanted = |runner: &&Runner| {
            filter.repo.as_ref().is_none_or(|repo| runner.container.repo.as_ref() == Some(repo))
        };
        let mut shown: Vec<_> = runners.iter().filter(wanted).map(shown).collect();
        shown.sort_by_cached_key(container_key);
        Ok(filter.paging.cut(shown, PAGE, container_key))
    }

    /// Containers with what the loop knows of them; while it is off, with what GitHub says now.
    async fn known(&self, containers: Vec<Container>) -> Vec<Runner> {
        let (is_running, runners) = {
            let snapshot = self.published.borrow();
            (snapshot.running, snapshot.runners.clone())
        };
        if is_running { refreshed(containers, &runners) } else { self.join(containers).await }
    }

    /// Containers joined with what GitHub says of them now.
    async fn join(&self, containers: Vec<Container>) -> Vec<Runner> {
        let listed = self.parts.list(&containers, Vec::new()).await;
        let registered =
            listed.into_iter().filter_map(|(scope, list)| Some((scope, list.ok()?))).collect();
        let demand = self.published.borrow().demand.clone();
        Memory::default().join(containers, &registered, demand.as_deref(), (self.parts.clock)())
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.parts.clock)()
    }

    async fn demand(&self) -> Result<Arc<Demand>> {
        let seen = {
            let snapshot = self.published.borrow();
            snapshot.demand.clone().filter(|_| snapshot.running)
        };
        match seen {
            Some(demand) => Ok(demand),
            None => self.parts.source.demand().await.map(Arc::new),
        }
    }

    async fn launch(
        &self,
        ask: Option<Ask>,
        with: Option<Registration>,
        steps: Option<mpsc::UnboundedSender<String>>,
    ) -> Result<Vec<ProvisionedRunner>> {
        let asker = Asker { steps, gone: CancellationToken::new() };
        let unless_answered = asker.gone.clone().drop_guard();
        let accepted: Vec<Outcome> =
            self.ask(|reply| Command::Provision { ask, with, asker, reply }).await??;
        let outcomes = futures::future::join_all(accepted).await;
        unless_answered.disarm();
        let (launched, failed): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|_| Err(gone())))
            .partition(Result::is_ok);
        // What started is told even when a sibling failed: that one shows in the events.
        match failed.into_iter().find_map(Result::err) {
            Some(error) if launched.is_empty() => Err(error),
            _ => Ok(launched.into_iter().filter_map(Result::ok).collect()),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// What is asked for `repo`; for every queued job, when there is none.
    async fn ask_for(&self, repo: Option<&Repo>) -> Result<Option<Ask>> {
        let Some(repo) = repo else { return Ok(None) };
        self.config.bounds.check(repo)?;
        Ok(Some(Ask { scope: self.scope_of(repo).await?, repo: repo.clone() }))
    }

    async fn scope_of(&self, repo: &Repo) -> Result<Scope> {
        match self.config.scope {
            ScopeKind::Repo => Ok(Scope::Repo(repo.clone())),
            ScopeKind::Org => self.parts.registrar.home(repo).await,
        }
    }

    fn service(&self) -> Service {
        service(&self.config)
    }
}

fn service(config: &RunnerConfig) -> Service {
    Service { labels: config.served(), filter_by_arch: config.filter_by_arch }
}

fn limits(config: &RunnerConfig) -> Limits {
    let seconds =
        |duration: std::time::Duration| TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    Limits {
        max_runners: config.max_runners,
        max_per_repo: config.max_per_repo,
        min_idle: config.min_idle,
        warm: config.named_scopes(),
        idle_timeout: seconds(config.idle_timeout),
        job_timeout: config.job_timeout.map(seconds),
        labels: config.served(),
        filter_by_arch: config.filter_by_arch,
    }
}

fn capacity(max: usize, used: usize) -> Capacity {
    Capacity { max, used, free: max.saturating_sub(used) }
}

fn gone() -> Error {
    Error::internal("The autoscaler was ended while it was asked.", "Start it again.")
}

#[cfg(test)]
mod tests;
