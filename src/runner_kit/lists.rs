//! What is shown of demand and runners, computed from what was seen. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use chrono::SubsecRound;

use crate::lifecycle::subject;
use crate::model::{Container, Job, Labels, Phase, Repo, RepoDemand, Runner, is_hosted, served_by};
use crate::plan::Held;
use crate::views::{Paging, RunnerContainer, Unmatched, WorkflowQueue, short};

/// Groups of jobs that nobody can serve, as far as they are told one by one: workflows can make up
/// as many as they like.
const MOST_UNMATCHED: usize = 5;

/// Which workflow queues are wanted.
#[derive(Debug, Clone, Default)]
pub struct QueueFilter {
    /// Only this repository.
    pub repo: Option<Repo>,
    /// Also repositories where nothing runs, waits or failed.
    pub all: bool,
    /// Which part of the list.
    pub paging: Paging,
}

/// Which containers are wanted.
#[derive(Debug, Clone, Default)]
pub struct ContainerFilter {
    /// Only those of this repository.
    pub repo: Option<Repo>,
    /// Which part of the list.
    pub paging: Paging,
}

/// Which jobs runners here can serve.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) labels: Labels,
    pub(crate) filter_by_arch: bool,
}

impl Service {
    pub(crate) fn check(&self, job: &Job) -> Result<(), Labels> {
        served_by(&job.labels, &self.labels, self.filter_by_arch)
    }

    /// The queue of one repository.
    pub(crate) fn queue(&self, demand: &RepoDemand) -> WorkflowQueue {
        let mut queued_jobs = 0;
        let mut waiting_since = None;
        let mut unmatched: BTreeMap<&Labels, (usize, Labels)> = BTreeMap::new();
        for job in demand.queued.iter().filter(|job| !is_hosted(&job.labels)) {
            match self.check(job) {
                Ok(()) => {
                    queued_jobs += 1;
                    let since = waiting_since.get_or_insert(job.queued_at);
                    *since = job.queued_at.min(*since);
                }
                Err(missing) => unmatched.entry(&job.labels).or_insert((0, missing)).0 += 1,
            }
        }
        let mut unmatched: Vec<_> = unmatched.into_iter().collect();
        unmatched.sort_by_key(|(_, (jobs, _))| Reverse(*jobs));
        let others = unmatched.split_off(unmatched.len().min(MOST_UNMATCHED));
        let shown = unmatched.into_iter().map(|(labels, (jobs, missing))| Unmatched {
            labels: labels.shortened(),
            jobs,
            reason: Held::Unmatched { missing: missing.shortened() }.to_string(),
        });
        let rest = (!others.is_empty()).then(|| Unmatched {
            labels: Labels::default(),
            jobs: others.iter().map(|(_, (jobs, _))| jobs).sum(),
            reason: format!("no runner here has the labels of {} other groups", others.len()),
        });
        WorkflowQueue {
            repo: demand.repo.clone(),
            total_workflows: demand.running + demand.failed + demand.pending,
            running: demand.running,
            failed: demand.failed,
            pending: demand.pending,
            queued_jobs,
            waiting_since: waiting_since.map(|since| since.trunc_subsecs(0)),
            unmatched: shown.chain(rest).collect(),
        }
    }
}

/// Those that wait first, then by name: also the order of the cursor.
pub(crate) fn queue_key(queue: &WorkflowQueue) -> String {
    let rank = u8::from(queue.pending == 0 && queue.queued_jobs == 0);
    format!("{rank}:{}", queue.repo.as_str().to_ascii_lowercase())
}

/// Whether `text` may be a key of a queue.
pub(crate) fn is_queue_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(rank, repo)| matches!(rank, "0" | "1") && repo.contains('/'))
}

/// Newest first: also the order of the cursor.
pub(crate) fn container_key(container: &RunnerContainer) -> String {
    let newest_first = i64::MAX - container.created_at.timestamp_millis();
    format!("{newest_first:019}:{}", container.container_id)
}

/// Whether `text` may be a key of a container.
pub(crate) fn is_container_key(text: &str) -> bool {
    let parts = text.split_once(':');
    parts.is_some_and(|(time, _)| time.len() == 19 && time.bytes().all(|b| b.is_ascii_digit()))
}

/// A runner as lists show it.
pub(crate) fn shown(runner: &Runner) -> RunnerContainer {
    let Container { id, name, labels, created_at, status, .. } = &runner.container;
    RunnerContainer {
        container_id: short(id),
        repo: subject(&runner.container),
        status: status.clone(),
        created_at: created_at.trunc_subsecs(3),
        runner_name: name.clone(),
        labels: labels.clone(),
        phase: runner.phase,
        job: runner.job.as_ref().map(|running| running.job.clone()),
    }
}

/// The containers as they are now, with what the loop last knew of each.
pub(crate) fn refreshed(containers: Vec<Container>, known: &[Runner]) -> Vec<Runner> {
    let known: HashMap<&str, &Runner> =
        known.iter().map(|runner| (runner.container.id.as_str(), runner)).collect();
    let with_phase = |container: Container| {
        let before = known.get(container.id.as_str()).copied();
        let phase = match (container.ended, before) {
            (true, _) => Phase::Exited,
            (false, Some(runner)) => runner.phase,
            (false, None) => Phase::Starting,
        };
        let since = before.map_or(container.created_at, |runner| runner.since);
        Runner {
            registered: before.and_then(|runner| runner.registered.clone()),
            certain: before.is_some_and(|runner| runner.certain),
            phase,
            since,
            lost_since: before.and_then(|runner| runner.lost_since),
            heartbeat: None,
            at_work_until: None,
            spent_at: None,
            job: before.and_then(|runner| runner.job.clone()).filter(|_| phase == Phase::Busy),
            container,
        }
    };
    containers.into_iter().map(with_phase).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::model::{Demand, Scope};
    use crate::snapshot::Queued;

    fn job(id: u64, run_id: u64, labels: &[&str], second: i64) -> Job {
        let repo: Repo = "o/r".parse().unwrap();
        Job {
            id,
            run_id,
            scope: Scope::Repo(repo.clone()),
            repo,
            name: String::new(),
            url: String::new(),
            labels: Labels::new(labels),
            queued_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            seen_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            beside_sets: false,
        }
    }

    fn demand() -> Demand {
        let queued = vec![
            job(1, 1, &["self-hosted"], 9),
            job(2, 1, &["self-hosted"], 5),
            job(3, 2, &["self-hosted", "gpu"], 1),
            job(4, 3, &["self-hosted", "gpu"], 2),
            job(5, 4, &["ubuntu-latest"], 0),
        ];
        let repo = RepoDemand {
            repo: "o/r".parse().unwrap(),
            running: 1,
            failed: 2,
            pending: 4,
            queued,
            in_progress: vec![],
        };
        Demand {
            repos: vec![repo],
            unseen: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            rate_limit: None,
            is_listed: true,
            ..Demand::default()
        }
    }

    #[test]
    fn a_queue_counts_servable_jobs_and_explains_the_others_and_leaves_hosted_ones_out() {
        let labels = Labels::new(["self-hosted", "linux"]);
        let service = Service { labels: labels.clone(), filter_by_arch: true };
        let queue = service.queue(&demand().repos[0]);
        assert_eq!((queue.total_workflows, queue.queued_jobs), (7, 2));
        assert_eq!(queue.waiting_since.unwrap().timestamp(), 5);
        let expected = Unmatched {
            labels: Labels::new(["self-hosted", "gpu"]),
            jobs: 2,
            reason: "no runner here has the labels gpu".into(),
        };
        assert_eq!(queue.unmatched, [expected]);
        let queued = Queued::of(&demand(), &labels, true);
        assert_eq!((queued.jobs, queued.workflows), (2, 1));
        assert_eq!(queued.oldest.map(|(_, since)| since.timestamp()), Some(5));
    }

    #[test]
    fn what_workflows_make_up_takes_little_room_and_is_counted() {
        let labels = Labels::new(["self-hosted"]);
        let service = Service { labels: labels.clone(), filter_by_arch: true };
        let mut demand = demand();
        let long = |id: u64| (0..60).map(move |n| format!("{id}-{n}-{}", "x".repeat(240)));
        let made_up =
            |id: u64| Job { labels: Labels::of_strangers(long(id)), ..job(id, id, &[], 1) };
        demand.repos[0].queued = (1..=500).map(made_up).collect();
        let queue = service.queue(&demand.repos[0]);
        assert_eq!(queue.unmatched.iter().map(|group| group.jobs).sum::<usize>(), 500);
        let bytes = serde_json::to_vec(&queue).unwrap().len();
        assert!(bytes < 6_000, "{bytes} bytes");
    }
}
