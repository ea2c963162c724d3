//! How long each step on a runner's way and each part of the loop takes, and how many jobs began and
//! ended, since the process began. Numbers alone: who shows them knows a format for them. Nothing is decided by them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{JobResult, Repo};

/// Repositories that are told apart; the jobs of further ones are counted together, for every series
/// costs whoever stores it.
const MOST_REPOS: usize = 100;

/// Upper bounds of what a step takes, in seconds: from an answer of the engine to a long job.
const STEPS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    1_800.0, 3_600.0, 21_600.0,
];

/// Upper bounds of what a part of the loop takes, in seconds: from a decision about nothing to a pass
/// that waits for GitHub's limits.
const PARTS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];

/// Upper bounds of what jobs take, in seconds, as the Actions Runner Controller has them
/// (cmd/ghalistener/metrics/metrics.go, `runtimeBuckets`).
const JOBS: &[f64] = &[
    0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0, 18.0,
    20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 150.0, 180.0, 210.0,
    240.0, 300.0, 360.0, 420.0, 480.0, 540.0, 600.0, 900.0, 1_200.0, 1_800.0, 2_400.0, 3_000.0,
    3_600.0,
];

/// A step on the way from a queued job to a host without a trace of its runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The job waits at GitHub, until it is known here.
    Detect,
    /// It is known, until a runner is ordered for it: longer where there is no room.
    Decide,
    /// The runner is registered with GitHub.
    Register,
    /// Its container is created.
    Create,
    /// Its container is started.
    Start,
    /// It has been started, until GitHub sees it online.
    Online,
    /// It has a job.
    Busy,
    /// It and what it leaves are removed.
    Clean,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Detect,
        Self::Decide,
        Self::Register,
        Self::Create,
        Self::Start,
        Self::Online,
        Self::Busy,
        Self::Clean,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Decide => "decide",
            Self::Register => "register",
            Self::Create => "create",
            Self::Start => "start",
            Self::Online => "online",
            Self::Busy => "busy",
            Self::Clean => "clean",
        }
    }
}

/// A part of what the loop does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Engine and GitHub are asked for the runners.
    Look,
    /// All that is known is acted upon; the loop does nothing else meanwhile.
    Decide,
    /// The demand is asked for, until it is acted upon.
    Pass,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Look, Self::Decide, Self::Pass];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Decide => "decide",
            Self::Pass => "pass",
        }
    }
}

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failing {
    /// A look at the runners, or a pass over the demand.
    Look,
    /// A launch.
    Launch,
    /// A removal.
    Remove,
}

impl Failing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Look, Self::Launch, Self::Remove];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Launch => "launch",
            Self::Remove => "remove",
        }
    }
}

/// How often something took how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is beyond.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
            self.sum += seconds;
        }
    }

    /// Upper bounds and how many were within each but not within the one before; the last has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().copied())
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All their seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// The jobs of a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Jobs {
    /// Those that our runners began.
    pub started: u64,
    /// From queued to begun.
    pub startup: Histogram,
    /// Those that our runners ended, by how they ended; none where nobody told.
    pub ended: BTreeMap<Option<JobResult>, Ends>,
}

/// Jobs that ended alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Ends {
    /// How many.
    pub count: u64,
    /// From begun to ended.
    pub execution: Histogram,
}

impl Ends {
    fn none() -> Self {
        Self { count: 0, execution: Histogram::new(JOBS) }
    }
}

/// All numbers at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// How long each step took.
    pub steps: BTreeMap<Step, Histogram>,
    /// How long each part of the loop took.
    pub parts: BTreeMap<Part, Histogram>,
    /// Jobs by repository; those of further repositories, and of unknown ones, are under none.
    pub jobs: BTreeMap<Option<Repo>, Jobs>,
    /// What failed, and how often.
    pub failures: BTreeMap<Failing, u64>,
}

/// Where the numbers are gathered.
#[derive(Debug)]
pub struct Metrics(Mutex<Reading>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Mutex::new(Reading {
            // Those that have not happened yet are told too.
            steps: Step::ALL.map(|step| (step, Histogram::new(STEPS))).into(),
            parts: Part::ALL.map(|part| (part, Histogram::new(PARTS))).into(),
            jobs: [(None, Jobs::none())].into(),
            failures: Failing::ALL.map(|what| (what, 0)).into(),
        }))
    }
}

impl Jobs {
    fn none() -> Self {
        Self { started: 0, startup: Histogram::new(JOBS), ended: BTreeMap::new() }
    }

    /// How many our runners ended.
    pub fn completed(&self) -> u64 {
        self.ended.values().map(|ends| ends.count).sum()
    }
}

impl Metrics {
    /// `step` took this long, once.
    pub fn took(&self, step: Step, took: Duration) {
        if let Some(histogram) = self.lock().steps.get_mut(&step) {
            histogram.add(took);
        }
    }

    /// `part` of the loop took this long, once.
    pub fn worked(&self, part: Part, took: Duration) {
        if let Some(histogram) = self.lock().parts.get_mut(&part) {
            histogram.add(took);
        }
    }

    /// A runner of ours began a job of `repo` after it had waited so long, where that is known.
    pub fn job_started(&self, repo: Option<&Repo>, waited: Option<Duration>) {
        self.with_jobs(repo, |jobs| {
            jobs.started += 1;
            waited.into_iter().for_each(|waited| jobs.startup.add(waited));
        });
    }

    /// A runner of ours ended a job of `repo` in this way, and it took so long, where that is known.
    pub fn job_completed(
        &self,
        repo: Option<&Repo>,
        result: Option<JobResult>,
        took: Option<Duration>,
    ) {
        self.with_jobs(repo, |jobs| {
            let ends = jobs.ended.entry(result).or_insert_with(Ends::none);
            ends.count += 1;
            took.into_iter().for_each(|took| ends.execution.add(took));
        });
    }

    /// This failed, once.
    pub fn failed(&self, what: Failing) {
        *self.lock().failures.entry(what).or_default() += 1;
    }

    /// All numbers as they are now.
    pub fn read(&self) -> Reading {
        self.lock().clone()
    }

    fn with_jobs(&self, repo: Option<&Repo>, change: impl FnOnce(&mut Jobs)) {
        let jobs = &mut self.lock().jobs;
        let known = repo
            .filter(|repo| jobs.len() <= MOST_REPOS || jobs.contains_key(&Some((*repo).clone())));
        change(jobs.entry(known.cloned()).or_insert_with(Jobs::none));
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(number: usize) -> Repo {
        format!("o/r{number}").parse().unwrap()
    }

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it_and_beyond_the_last() {
        let metrics = Metrics::default();
        for millis in [0, 5, 6, 86_400_000] {
            metrics.took(Step::Create, Duration::from_millis(millis));
        }
        let reading = metrics.read();
        let create = &reading.steps[&Step::Create];
        let filled: Vec<_> = create.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(0.005), 2), (Some(0.01), 1), (None, 1)]);
        assert_eq!((create.count(), create.sum()), (4, 86_400.011));
        assert_eq!(reading.steps[&Step::Start].count(), 0);
    }

    #[test]
    fn jobs_are_told_apart_by_repository_up_to_a_bound_and_none_is_lost() {
        let metrics = Metrics::default();
        for number in 0..MOST_REPOS + 20 {
            metrics.job_started(Some(&repo(number)), Some(Duration::from_secs(2)));
        }
        let (result, took) = (Some(JobResult::Failed), Some(Duration::from_secs(7)));
        metrics.job_completed(Some(&repo(0)), result, took);
        metrics.job_completed(None, None, None);
        let jobs = metrics.read().jobs;
        assert_eq!(jobs.len(), MOST_REPOS + 1);
        assert_eq!(jobs.values().map(|jobs| jobs.started).sum::<u64>(), 120);
        let (first, rest) = (&jobs[&Some(repo(0))], &jobs[&None]);
        assert_eq!((first.started, first.ended[&result].execution.sum()), (1, 7.0));
        assert_eq!((rest.started, rest.ended[&None].execution.count()), (20, 0));
        assert_eq!((first.completed(), rest.completed()), (1, 1));
        assert_eq!(rest.startup.sum(), 40.0);
    }

    #[test]
    fn bounds_grow() {
        for bounds in [STEPS, PARTS, JOBS] {
            assert!(bounds.is_sorted_by(|one, next| one < next));
        }
    }
}
