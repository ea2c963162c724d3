//! What the loop of this process has counted and measured, for Prometheus: under the names that
//! dashboards of the Actions Runner Controller know where the meaning is the same (`gha_…`,
//! cmd/ghalistener/metrics/metrics.go), and by step.
//!
//! Names of jobs and runners are no labels here: strangers choose them, and each new one costs
//! whoever stores the series.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::config::RunnerConfig;
use crate::metrics::{Ends, Histogram, Jobs, Reading};
use crate::model::{JobResult, Repo};
use crate::runner_kit::{Census, RunnerKit};

/// Labels of one series.
type Labels = Vec<(&'static str, String)>;

/// The registries of what `kit` tells: ours, and the one with the names of others.
pub(super) fn registries(kit: &RunnerKit) -> [Registry; 2] {
    let (census, config) = (kit.census(), kit.config());
    let label = |(key, value): (&'static str, String)| (key.into(), value.into());
    // The labels of a scale set there: this service is one.
    let name = config.scale_set.clone().unwrap_or_else(|| config.instance.clone());
    let organization = config.owner.clone().unwrap_or_default();
    let mut theirs = Registry::with_prefix_and_labels("gha", [label(("name", name))].into_iter());
    let whose = [("organization", organization), ("repository", String::new())];
    let whole = theirs.sub_registry_with_labels(whose.map(label).into_iter());
    for (name, help, value) in levels(&census, config) {
        whole.register(name, help, gauge(value));
    }
    theirs.register_collector(Box::new(Work(kit.measured())));
    let mut ours = Registry::with_prefix("runner_kit");
    ours.register_collector(Box::new(Steps { census, measured: kit.measured() }));
    [ours, theirs]
}

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn levels(census: &Census, config: &RunnerConfig) -> [(&'static str, &'static str, usize); 8] {
    let assigned = census.queued + census.running;
    let desired = config.max_runners.min(assigned + config.min_idle);
    [
        ("assigned_jobs", "Jobs that are to be served here: waiting and running", assigned),
        ("running_jobs", "Jobs that runners of ours have", census.running),
        ("registered_runners", "Runners of ours that GitHub lists", census.registered),
        ("busy_runners", "Runners at work", census.busy),
        ("idle_runners", "Runners that listen for a job", census.idle),
        ("min_runners", "Idle runners that are kept ready", config.min_idle),
        ("max_runners", "Runners that are allowed", config.max_runners),
        ("desired_runners", "Runners that all these jobs need, as far as allowed", desired),
    ]
}

/// `runner_kit_runners`, `runner_kit_phase_seconds`, `runner_kit_loop_seconds` and
/// `runner_kit_failures_total`.
#[derive(Debug)]
struct Steps {
    census: Census,
    measured: Reading,
}

impl Collector for Steps {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Runner containers by what they are doing";
        let mut family = encoder.encode_descriptor("runners", help, None, MetricType::Gauge)?;
        let Census { starting, idle, busy, exited, .. } = self.census;
        for (phase, count) in
            [("starting", starting), ("idle", idle), ("busy", busy), ("exited", exited)]
        {
            gauge(count).encode(family.encode_family(&[("phase", phase)])?)?;
        }
        let help = "How long each step takes on the way from a queued job to a clean host";
        let mut family =
            encoder.encode_descriptor("phase_seconds", help, None, MetricType::Histogram)?;
        for (step, histogram) in &self.measured.steps {
            let labels = [("phase", step.as_str())];
            draw(histogram, family.encode_family(&labels)?)?;
        }
        let help = "How long each part of the loop takes: to see the runners, to act on what is known, \
                    to ask for the demand and act on it";
        let mut family =
            encoder.encode_descriptor("loop_seconds", help, None, MetricType::Histogram)?;
        for (part, histogram) in &self.measured.parts {
            let labels = [("part", part.as_str())];
            draw(histogram, family.encode_family(&labels)?)?;
        }
        let help = "What failed since the start";
        let mut family = encoder.encode_descriptor("failures", help, None, MetricType::Counter)?;
        for (what, count) in &self.measured.failures {
            let labels = [("what", what.as_str())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The jobs, by repository.
#[derive(Debug)]
struct Work(Reading);

impl Collector for Work {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let jobs = || self.0.jobs.iter().map(|(repo, jobs)| (of(repo.as_ref()), jobs));
        let ends = || jobs().flat_map(|(labels, jobs)| with_result(labels, jobs));

        let help = "Jobs that runners of ours began";
        let mut started =
            encoder.encode_descriptor("started_jobs", help, None, MetricType::Counter)?;
        for (labels, jobs) in jobs() {
            ConstCounter::new(jobs.started).encode(started.encode_family(&labels)?)?;
        }
        let help = "Jobs that runners of ours ended";
        let mut completed =
            encoder.encode_descriptor("completed_jobs", help, None, MetricType::Counter)?;
        for (labels, ends) in ends() {
            ConstCounter::new(ends.count).encode(completed.encode_family(&labels)?)?;
        }
        let (name, help) = ("job_startup_duration_seconds", "From queued to begun");
        let mut startup = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, jobs) in jobs() {
            draw(&jobs.startup, startup.encode_family(&labels)?)?;
        }
        let (name, help) = ("job_execution_duration_seconds", "From begun to ended");
        let mut execution = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, ends) in ends() {
            draw(&ends.execution, execution.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The jobs by how they ended, with `labels` and that.
fn with_result(labels: Labels, jobs: &Jobs) -> impl Iterator<Item = (Labels, &Ends)> {
    jobs.ended.iter().map(move |(result, ends)| {
        let mut labels = labels.clone();
        let result = result.map(JobResult::as_str).unwrap_or_default();
        labels.push(("job_result", result.to_owned()));
        (labels, ends)
    })
}

fn of(repo: Option<&Repo>) -> Labels {
    let (organization, repository) = repo.map(|repo| (repo.owner(), repo.name())).unzip();
    let text = |word: Option<&str>| word.unwrap_or_default().to_owned();
    vec![("organization", text(organization)), ("repository", text(repository))]
}

fn draw(histogram: &Histogram, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
    // The library's own way to say that a bucket has no bound.
    let buckets: Vec<_> =
        histogram.buckets().map(|(bound, count)| (bound.unwrap_or(f64::MAX), count)).collect();
    encoder.encode_histogram::<NoLabelSet>(histogram.sum(), histogram.count(), &buckets, None)
}
