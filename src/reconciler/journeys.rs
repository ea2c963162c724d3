//! Where each runner is on its way, and since when each queued job is known: what the metrics are
//! told of. Nothing is decided by it, so it may be lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::metrics::{Metrics, Step};
use crate::model::{Demand, JobResult, Phase, Repo, Runner};

/// How long a job is remembered that no longer waits: until whoever tells of runners tells who took it.
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);
/// How long a runner is remembered that was started and is never seen.
const UNSEEN: TimeDelta = TimeDelta::hours(1);

/// All that is under way.
pub(super) struct Journeys {
    metrics: Arc<Metrics>,
    runners: BTreeMap<String, Journey>,
    jobs: HashMap<u64, Known>,
    /// The demand that `jobs` are from.
    revision: Option<u64>,
    /// Since when somebody looks: jobs that were queued before were not slow to be seen.
    since: Option<DateTime<Utc>>,
}

struct Known {
    repo: Repo,
    queued_at: DateTime<Utc>,
    /// When it was first known to wait, and last.
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

#[derive(Default)]
struct Journey {
    /// When it was ordered here; none of one that was found.
    ordered: Option<DateTime<Utc>>,
    started: Option<DateTime<Utc>>,
    /// What it was seen doing last.
    phase: Option<Phase>,
    busy: Option<DateTime<Utc>>,
    /// When it was first seen to have ended.
    ended: Option<DateTime<Utc>>,
    /// The repository of the job that was counted, and since when it runs.
    job: Option<(Option<Repo>, DateTime<Utc>)>,
}

impl Journeys {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            runners: BTreeMap::new(),
            jobs: HashMap::new(),
            revision: None,
            since: None,
        }
    }

    /// How many runners and jobs are remembered.
    pub(super) fn len(&self) -> usize {
        self.runners.len() + self.jobs.len()
    }

    /// The loop begins.
    pub(super) fn begin(&mut self, now: DateTime<Utc>) {
        // GitHub tells whole seconds.
        self.since = Some(now.trunc_subsecs(0));
        self.revision = None;
    }

    /// These jobs wait.
    pub(super) fn know(&mut self, demand: &Demand, now: DateTime<Utc>) {
        // Most decisions are about runners.
        if self.revision.replace(demand.revision) == Some(demand.revision) && demand.revision > 0 {
            return;
        }
        for job in demand.jobs() {
            let known = self.jobs.entry(job.id).or_insert_with(|| {
                if self.since.is_some_and(|since| since <= job.queued_at) {
                    self.metrics.took(Step::Detect, between(job.queued_at, now));
                }
                let (repo, queued_at) = (job.repo.clone(), job.queued_at);
                Known { repo, queued_at, first: now, last: now }
            });
            known.last = now;
        }
        self.jobs.retain(|_, known| now - known.last < REMEMBERED);
    }

    /// A runner is ordered, for `job` perhaps.
    pub(super) fn order(&mut self, name: &str, job: Option<u64>, now: DateTime<Utc>) {
        if let Some(known) = job.and_then(|job| self.jobs.get(&job)) {
            self.metrics.took(Step::Decide, between(known.first, now));
        }
        let journey = Journey { ordered: Some(now), ..Journey::default() };
        self.runners.insert(name.to_owned(), journey);
    }

    /// It has been started; how long that took from the order on.
    pub(super) fn started(&mut self, name: &str, now: DateTime<Utc>) -> Option<Duration> {
        let journey = self.runners.get_mut(name)?;
        journey.started = Some(now);
        Some(between(journey.ordered?, now))
    }

    /// It will not be.
    pub(super) fn failed(&mut self, name: &str, now: DateTime<Utc>) -> Option<Duration> {
        let journey = self.runners.remove(name)?;
        Some(between(journey.ordered?, now))
    }

    /// The runners as they are now.
    pub(super) fn see(&mut self, runners: &[Runner], now: DateTime<Utc>) {
        for runner in runners {
            self.see_one(runner, now);
        }
        let there: std::collections::HashSet<&str> =
            runners.iter().map(|runner| runner.container.name.as_str()).collect();
        self.runners.retain(|name, journey| {
            let is_young = |from: DateTime<Utc>| now - from < UNSEEN;
            let awaited = journey.phase.is_none() && journey.ordered.is_some_and(is_young);
            awaited || there.contains(name.as_str())
        });
    }

    fn see_one(&mut self, runner: &Runner, now: DateTime<Utc>) {
        let Self { metrics, runners, jobs, .. } = self;
        let known = runners.entry(runner.container.name.clone()).or_default();
        let before = known.phase.replace(runner.phase);
        // What was found at work began before anybody looked.
        let is_found = before.is_none() && known.ordered.is_none();
        let is_online = matches!(runner.phase, Phase::Idle | Phase::Busy);
        let was_online = matches!(before, Some(Phase::Idle | Phase::Busy));
        if let (true, false, Some(started)) = (is_online, was_online, known.started) {
            metrics.took(Step::Online, between(started, now));
            known.started = None;
        }
        match runner.phase {
            Phase::Busy if known.busy.is_none() && !is_found => known.busy = Some(now),
            // It was only said to be busy.
            Phase::Idle => known.busy = None,
            Phase::Exited => {
                known.ended.get_or_insert(now);
                if let Some(busy) = known.busy.take() {
                    metrics.took(Step::Busy, between(busy, now));
                }
            }
            _ => {}
        }
        let Some(job) = &runner.job else { return };
        if known.job.is_some() {
            return;
        }
        let began = job.started_at.unwrap_or(now);
        let waiting = jobs.get(&job.job.id);
        let repo = waiting.map(|job| job.repo.clone()).or_else(|| runner.container.repo.clone());
        if !is_found {
            let waited = waiting.map(|job| between(job.queued_at, began));
            metrics.job_started(repo.as_ref(), waited);
        }
        known.job = Some((repo, began));
    }

    /// It is gone, after it did its job perhaps, on whose repository nobody may have told.
    pub(super) fn gone(
        &mut self,
        runner: &Runner,
        has_served: bool,
        result: Option<JobResult>,
        now: DateTime<Utc>,
    ) {
        let Some(journey) = self.runners.remove(&runner.container.name) else { return };
        if let Some(busy) = journey.busy {
            self.metrics.took(Step::Busy, between(busy, now));
        }
        match journey.job {
            Some((repo, began)) => {
                let ended = journey.ended.unwrap_or(now);
                self.metrics.job_completed(repo.as_ref(), result, Some(between(began, ended)));
            }
            // Too short for anybody to see it.
            None if has_served => {
                let repo = runner.container.repo.as_ref();
                self.metrics.job_started(repo, None);
                self.metrics.job_completed(repo, result, None);
            }
            None => {}
        }
    }
}

/// Clocks may be set back.
fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Reading;
    use crate::model::{Container, Job, JobRef, Labels, Origin, RepoDemand, RunningJob, Scope};

    const NAME: &str = "ipfs-1";

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn repo() -> Repo {
        "o/r".parse().unwrap()
    }

    /// The demand with these jobs, by id and the second in which they were queued.
    fn demand(revision: u64, jobs: &[(u64, i64)]) -> Demand {
        let job = |&(id, second): &(u64, i64)| Job {
            id,
            run_id: 1,
            repo: repo(),
            scope: Scope::Repo(repo()),
            name: "build".into(),
            url: String::new(),
            labels: Labels::new(["self-hosted"]),
            queued_at: at(second),
            seen_at: at(second),
            beside_sets: false,
        };
        let queued = jobs.iter().map(job).collect();
        let (running, failed, pending, in_progress) = (0, 0, 1, Vec::new());
        let seen = RepoDemand { repo: repo(), running, failed, pending, queued, in_progress };
        Demand { repos: vec![seen], revision, ..Demand::default() }
    }

    fn runner(phase: Phase, job: Option<(u64, i64)>) -> Runner {
        let container = Container {
            id: "c1".into(),
            name: NAME.into(),
            scope: Scope::Repo(repo()),
            repo: Some(repo()),
            labels: Labels::new(["self-hosted"]),
            created_at: at(0),
            origin: Origin::Queue,
            runner_id: None,
            status: "running".into(),
            ended: phase == Phase::Exited,
        };
        let job = job.map(|(id, second)| RunningJob {
            job: JobRef { id, run_id: 1, name: "build".into(), url: String::new() },
            runner_name: NAME.into(),
            started_at: Some(at(second)),
        });
        Runner {
            container,
            registered: None,
            certain: true,
            phase,
            since: at(0),
            lost_since: None,
            heartbeat: None,
            at_work_until: None,
            spent_at: None,
            job,
        }
    }

    /// All steps that were told of, and the seconds that they took in all.
    fn steps(reading: &Reading) -> Vec<(&'static str, u64, f64)> {
        let told = reading.steps.iter().filter(|(_, histogram)| histogram.count() > 0);
        told.map(|(step, histogram)| (step.as_str(), histogram.count(), histogram.sum())).collect()
    }

    #[test]
    fn each_step_from_a_queued_job_to_its_end_is_told_once_and_the_job_counted() {
        let mut all = Journeys::new(Arc::default());
        all.begin(at(10));
        all.know(&demand(1, &[(5, 11), (6, 3)]), at(13));
        all.know(&demand(2, &[(5, 11)]), at(14));
        all.order(NAME, Some(5), at(17));
        assert_eq!(all.started(NAME, at(18)), Some(Duration::from_secs(1)));
        for (phase, job, second) in [
            (Phase::Starting, None, 19),
            (Phase::Idle, None, 22),
            (Phase::Idle, None, 23),
            (Phase::Busy, Some((5, 24)), 25),
            (Phase::Busy, Some((5, 24)), 30),
            (Phase::Exited, None, 35),
            (Phase::Exited, None, 36),
        ] {
            all.see(&[runner(phase, job)], at(second));
        }
        all.gone(&runner(Phase::Exited, None), true, Some(JobResult::Failed), at(37));
        let reading = all.metrics.read();
        let told = [("detect", 1, 2.0), ("decide", 1, 4.0), ("online", 1, 4.0), ("busy", 1, 10.0)];
        assert_eq!(steps(&reading), told);
        let jobs = &reading.jobs[&Some(repo())];
        let ends = &jobs.ended[&Some(JobResult::Failed)];
        assert_eq!((jobs.started, ends.count), (1, 1));
        assert_eq!((jobs.startup.sum(), ends.execution.sum()), (13.0, 11.0));
        assert!(all.runners.is_empty());
    }

    #[test]
    fn a_job_that_began_before_its_runner_was_first_seen_is_counted() {
        let mut all = Journeys::new(Arc::default());
        all.order(NAME, Some(5), at(1));
        all.see(&[runner(Phase::Busy, Some((5, 2)))], at(3));
        all.see(&[runner(Phase::Exited, None)], at(9));
        assert_eq!(all.metrics.read().jobs[&Some(repo())].started, 1);
        assert_eq!(steps(&all.metrics.read()), [("busy", 1, 6.0)]);
    }

    #[test]
    fn of_what_was_found_at_work_only_the_end_is_known() {
        let mut all = Journeys::new(Arc::default());
        all.begin(at(100));
        all.see(&[runner(Phase::Busy, Some((5, 90)))], at(101));
        all.gone(&runner(Phase::Exited, None), true, None, at(110));
        let reading = all.metrics.read();
        assert_eq!(steps(&reading), []);
        let jobs = &reading.jobs[&Some(repo())];
        let ends = &jobs.ended[&None];
        assert_eq!((jobs.started, ends.count, ends.execution.sum()), (0, 1, 20.0));
    }

    #[test]
    fn a_runner_that_was_idle_in_between_was_only_said_to_be_busy_before() {
        let mut all = Journeys::new(Arc::default());
        all.order(NAME, None, at(1));
        all.started(NAME, at(2));
        for (phase, second) in
            [(Phase::Busy, 3), (Phase::Idle, 4), (Phase::Busy, 10), (Phase::Exited, 15)]
        {
            all.see(&[runner(phase, None)], at(second));
        }
        assert_eq!(steps(&all.metrics.read()), [("online", 1, 1.0), ("busy", 1, 5.0)]);
    }

    #[test]
    fn how_long_a_launch_took_that_failed_is_told_and_nothing_else_of_it_remembered() {
        let mut all = Journeys::new(Arc::default());
        all.order(NAME, None, at(1));
        assert_eq!(all.failed(NAME, at(4)), Some(Duration::from_secs(3)));
        assert!(all.runners.is_empty());
    }

    #[test]
    fn a_job_too_short_to_be_seen_is_counted_and_a_runner_without_one_is_not() {
        let mut all = Journeys::new(Arc::default());
        for has_served in [true, false] {
            all.order(NAME, None, at(1));
            all.started(NAME, at(2));
            all.gone(&runner(Phase::Exited, None), has_served, None, at(3));
        }
        let jobs = &all.metrics.read().jobs[&Some(repo())];
        assert_eq!((jobs.started, jobs.completed(), jobs.startup.count()), (1, 1, 0));
    }

    #[test]
    fn nothing_is_remembered_for_ever() {
        let mut all = Journeys::new(Arc::default());
        all.know(&demand(1, &[(5, 1)]), at(1));
        all.order(NAME, Some(5), at(1));
        all.see(&[], at(60));
        assert_eq!((all.runners.len(), all.jobs.len()), (1, 1));
        all.see(&[], at(2) + UNSEEN);
        all.know(&demand(2, &[]), at(2) + REMEMBERED);
        assert_eq!((all.runners.len(), all.jobs.len()), (0, 0));
        assert_eq!(all.failed(NAME, at(3)), None);
    }
}
