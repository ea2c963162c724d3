//! Worlds to plan for, made by a fluent builder.

use chrono::TimeDelta;

use crate::model::{Container, Job, Labels, Registered, RepoDemand};
use crate::plan::*;
use crate::ports::NewRunner;
use crate::supply::Unclaimed;

pub(super) const T0: DateTime<Utc> = DateTime::UNIX_EPOCH;

pub(super) fn at(second: i64) -> DateTime<Utc> {
    T0 + TimeDelta::seconds(second)
}

pub(super) fn repo(name: &str) -> Repo {
    format!("o/{name}").parse().unwrap()
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: DateTime<Utc>,
    pub(super) limits: Limits,
    pub(super) demand: Option<Demand>,
    pub(super) runners: Vec<Runner>,
    pub(super) registered: BTreeMap<Scope, Vec<Registered>>,
    pub(super) unclaimed: BTreeMap<(Scope, u64), Unclaimed>,
    pub(super) launching: Vec<NewRunner>,
    pub(super) spent: Vec<Spent>,
    pub(super) removing: BTreeSet<String>,
    pub(super) backoff: BTreeMap<Repo, DateTime<Utc>>,
    pub(super) turns: Turns,
    pub(super) paused: Option<&'static str>,
    pub(super) asked: Vec<Ask>,
}

/// An hour after every job was queued and every runner created, with room for four runners.
pub(super) fn world() -> World {
    World {
        now: at(3600),
        limits: Limits {
            max_runners: 4,
            max_per_repo: None,
            min_idle: 0,
            warm: vec![],
            idle_timeout: TimeDelta::seconds(300),
            job_timeout: None,
            labels: Labels::new(["self-hosted", "linux", "x64", "docker"]),
            filter_by_arch: true,
        },
        demand: Some(Demand {
            repos: vec![],
            unseen: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            rate_limit: None,
            is_listed: true,
            ..Demand::default()
        }),
        runners: vec![],
        registered: BTreeMap::new(),
        unclaimed: BTreeMap::new(),
        launching: vec![],
        spent: vec![],
        removing: BTreeSet::new(),
        backoff: BTreeMap::new(),
        turns: Turns::default(),
        paused: None,
        asked: vec![],
    }
}

impl World {
    pub(super) fn at(mut self, second: i64) -> Self {
        self.now = at(second);
        self
    }

    pub(super) fn max(mut self, max_runners: usize) -> Self {
        self.limits.max_runners = max_runners;
        self
    }

    pub(super) fn job(self, repo: &str, id: u64, queued: i64) -> Self {
        self.job_for(repo, id, queued, &["self-hosted"])
    }

    pub(super) fn job_for(mut self, name: &str, id: u64, queued: i64, labels: &[&str]) -> Self {
        let repo = repo(name);
        let job = Job {
            id,
            run_id: id,
            scope: Scope::Repo(repo.clone()),
            repo: repo.clone(),
            name: "build".into(),
            url: String::new(),
            labels: Labels::new(labels),
            queued_at: at(queued),
            seen_at: self.now,
            beside_sets: false,
        };
        let repos = &mut self.demand.as_mut().unwrap().repos;
        match repos.iter_mut().find(|demand| demand.repo == repo) {
            Some(demand) => demand.queued.push(job),
            None => repos.push(RepoDemand {
                repo,
                running: 0,
                failed: 0,
                pending: 1,
                queued: vec![job],
                in_progress: vec![],
            }),
        }
        self
    }

    pub(super) fn runner(mut self, name: &str, repo_name: &str, phase: Phase) -> Self {
        let busy = phase == Phase::Busy;
        let registered =
            Registered { id: 7, name: name.into(), online: phase != Phase::Starting, busy };
        self.runners.push(Runner {
            container: Container {
                id: format!("id-{name}"),
                name: name.into(),
                scope: Scope::Repo(repo(repo_name)),
                repo: Some(repo(repo_name)),
                labels: self.limits.labels.clone(),
                created_at: self.now - TimeDelta::seconds(20),
                origin: Origin::Queue,
                runner_id: None,
                status: "running".into(),
                ended: phase == Phase::Exited,
            },
            registered: (phase != Phase::Starting).then_some(registered),
            certain: true,
            phase,
            since: self.now,
            lost_since: None,
            heartbeat: None,
            at_work_until: None,
            spent_at: None,
            job: None,
        });
        self
    }

    pub(super) fn last(mut self, change: impl FnOnce(&mut Runner)) -> Self {
        change(self.runners.last_mut().unwrap());
        self
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            now: self.now,
            limits: &self.limits,
            demand: self.demand.as_ref(),
            runners: &self.runners,
            registered: &self.registered,
            unclaimed: &self.unclaimed,
            launching: &self.launching,
            spent: &self.spent,
            removing: &self.removing,
            backoff: &self.backoff,
            turns: &self.turns,
            paused: self.paused,
            asked: &self.asked,
        }
    }

    pub(super) fn plan(&self) -> Vec<Action> {
        plan(&self.view())
    }

    pub(super) fn launched_jobs(&self) -> Vec<u64> {
        launched(&self.plan()).iter().filter_map(|order| order.job).collect()
    }

    pub(super) fn removals(&self) -> Vec<(String, Removal)> {
        removals(&self.plan())
    }

    pub(super) fn why_held(&self, job: u64) -> String {
        let held = |action: Action| match action {
            Action::Hold { job: id, why } if id == job => Some(why.to_string()),
            _ => None,
        };
        self.plan().into_iter().find_map(held).unwrap()
    }
}

pub(super) fn launched(actions: &[Action]) -> Vec<&Order> {
    let mut orders = Vec::new();
    for action in actions {
        if let Action::Launch(order) = action {
            orders.push(order);
        }
    }
    orders
}

pub(super) fn removals(actions: &[Action]) -> Vec<(String, Removal)> {
    let removal = |action: &Action| match action {
        Action::Remove { name, why } => Some((name.clone(), *why)),
        _ => None,
    };
    actions.iter().filter_map(removal).collect()
}
