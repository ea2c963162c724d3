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
use crate::metrics::{Histogram, Jobs, Reading};
use crate::model::Repo;
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

/// `runner_kit_runners`, `runner_kit_phase_seconds` and `runner_kit_failures_total`.
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
        type Count = fn(&Jobs) -> u64;
        type Time = fn(&Jobs) -> &Histogram;
        let counters: [(_, _, Count); 2] = [
            ("started_jobs", "Jobs that runners of ours began", |jobs| jobs.started),
            ("completed_jobs", "Jobs that runners of ours ended", |jobs| jobs.completed),
        ];
        for (name, help, count) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (repo, jobs) in &self.0.jobs {
                let labels = of(repo.as_ref());
                ConstCounter::new(count(jobs)).encode(family.encode_family(&labels)?)?;
            }
        }
        let times: [(_, _, Time); 2] = [
            ("job_startup_duration_seconds", "From queued to begun", |jobs| &jobs.startup),
            ("job_execution_duration_seconds", "From begun to ended", |jobs| &jobs.execution),
        ];
        for (name, help, time) in times {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (repo, jobs) in &self.0.jobs {
                let labels = of(repo.as_ref());
                draw(time(jobs), family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
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
