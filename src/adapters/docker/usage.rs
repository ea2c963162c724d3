//! What a container uses: counters of the kernel, by way of the engine, made into what `docker stats`
//! shows.
//!
//! The engine can compare two readings itself, and takes a second for it. Asked for one reading it
//! answers at once, so the one before is kept here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptionsBuilder;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

use super::engine::Inner;
use crate::error::{Error, Result};
use crate::model::{Usage, clean_text, not_found};

/// The least time between two readings that are compared: the kernel counts in ticks of some
/// milliseconds.
const SPAN: TimeDelta = TimeDelta::milliseconds(100);
/// Between two readings of one look: a little more, for the engine's clock decides.
const PAUSE: Duration = Duration::from_millis(110);
/// Readings of one look at most: others may look at the same time.
const READINGS: usize = 3;
/// A reading older than this says nothing of now.
const STALE: TimeDelta = TimeDelta::seconds(30);

/// What was read of one container.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    /// By the engine's clock.
    at: DateTime<Utc>,
    /// Nanoseconds of processor that it has used so far.
    cpu_nanos: u64,
    memory_bytes: u64,
    memory_limit: u64,
}

/// The last readings, by container.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<HashMap<String, Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    at: DateTime<Utc>,
    cpu_nanos: u64,
    /// What it was compared to give; none for the first.
    cpu_percent: Option<f64>,
}

impl Readings {
    /// What `reading` of `id` says beside the one before; none when there is none to compare with.
    fn compare(&self, id: &str, reading: Reading) -> Option<Usage> {
        let Reading { at, cpu_nanos, memory_bytes, memory_limit } = reading;
        let usage = |cpu_percent| Usage { cpu_percent, memory_bytes, memory_limit };
        let mut known = self.lock();
        // Whoever is not asked about any more is forgotten.
        known.retain(|_, before| (at - before.at).abs() <= STALE);
        // A counter that went back is another process's.
        let compared = known.get(id).and_then(|before| {
            let used = cpu_nanos.checked_sub(before.cpu_nanos)?;
            Some((used, at - before.at, before.cpu_percent))
        });
        let cpu_percent = match compared {
            // Somebody else has asked just now: what he was told holds.
            Some((_, span, told)) if span < SPAN => return told.map(usage),
            Some((used, span, _)) => Some(percent(used, span)),
            None => None,
        };
        known.insert(id.to_owned(), Known { at, cpu_nanos, cpu_percent });
        cpu_percent.map(usage)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What the container `id` uses. The first look at it, and one after a long pause, takes two
    /// readings.
    pub(super) async fn usage(&self, id: &str) -> Result<Usage> {
        for _ in 0..READINGS {
            let told = self.reading(id).await.map_err(|error| self.unless_unknown(id, &error))?;
            let reading = told.and_then(reading).ok_or_else(|| not_running(id))?;
            if let Some(usage) = self.readings.compare(id, reading) {
                return Ok(usage);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(not_running(id))
    }

    async fn reading(&self, id: &str) -> Result<Option<ContainerStatsResponse>, EngineError> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        self.call(async |docker| docker.stats(id, Some(options)).try_next().await).await
    }
}

fn not_running(id: &str) -> Error {
    not_found(
        format!("A running process in the container {}", clean_text(id, 64)),
        "List the containers to see what runs.",
    )
}

/// What the engine tells of a running container; none of one that does not run, whose counters are
/// left out.
fn reading(told: ContainerStatsResponse) -> Option<Reading> {
    let memory = told.memory_stats?;
    Some(Reading {
        at: DateTime::parse_from_rfc3339(&told.read?).ok()?.to_utc(),
        cpu_nanos: told.cpu_stats?.cpu_usage?.total_usage?,
        memory_bytes: memory_bytes(&memory)?,
        memory_limit: memory.limit.unwrap_or_default(),
    })
}

/// The memory that `docker stats` shows: without pages of files that were not used for long.
/// Source: `calculateMemUsageUnixNoCache` in the Docker CLI's cli/command/container/stats_helpers.go.
fn memory_bytes(memory: &ContainerMemoryStats) -> Option<u64> {
    let usage = memory.usage?;
    let stats = memory.stats.as_ref();
    // The first is cgroup v1's, the second v2's.
    let inactive = ["total_inactive_file", "inactive_file"];
    let inactive = inactive.iter().find_map(|name| stats?.get(*name)).copied();
    Some(inactive.filter(|inactive| *inactive < usage).map_or(usage, |inactive| usage - inactive))
}

/// In tenths of a percent: more would be noise.
fn percent(cpu_nanos: u64, span: TimeDelta) -> f64 {
    let seconds = span.as_seconds_f64();
    (cpu_nanos as f64 / 1e9 / seconds * 1_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuStats, ContainerCpuUsage};

    use super::*;

    /// What the engine tells at `millis`.
    fn told(millis: i64, cpu_millis: u64, stats: &[(&str, u64)]) -> ContainerStatsResponse {
        let at = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis);
        let stats = stats.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
        let total_usage = Some(cpu_millis * 1_000_000);
        let cpu_usage = Some(ContainerCpuUsage { total_usage, ..ContainerCpuUsage::default() });
        ContainerStatsResponse {
            read: Some(at.to_rfc3339()),
            cpu_stats: Some(ContainerCpuStats { cpu_usage, ..ContainerCpuStats::default() }),
            memory_stats: Some(ContainerMemoryStats {
                usage: Some(1_000),
                limit: Some(4_000),
                stats: Some(stats),
                ..ContainerMemoryStats::default()
            }),
            ..ContainerStatsResponse::default()
        }
    }

    /// The percent that a look at `millis` tells, after `cpu_millis` on processors.
    fn look(readings: &Readings, millis: i64, cpu_millis: u64) -> Option<f64> {
        let reading = reading(told(millis, cpu_millis, &[])).unwrap();
        readings.compare("c", reading).map(|usage| usage.cpu_percent)
    }

    #[test]
    fn a_whole_processor_is_a_hundred_percent_since_the_look_before() {
        let readings = Readings::default();
        assert_eq!(look(&readings, 0, 70), None);
        assert_eq!(look(&readings, 1_000, 70), Some(0.0));
        assert_eq!(look(&readings, 3_000, 2_070), Some(100.0));
        assert_eq!(look(&readings, 4_000, 4_570), Some(250.0));
        assert_eq!(look(&readings, 5_000, 4_903), Some(33.3));
    }

    #[test]
    fn who_asks_right_after_another_is_told_the_same() {
        let readings = Readings::default();
        assert_eq!(look(&readings, 0, 0), None);
        assert_eq!(look(&readings, 60, 60), None, "there is nothing to be told yet");
        assert_eq!(look(&readings, 200, 100), Some(50.0));
        assert_eq!(look(&readings, 299, 199), Some(50.0));
        assert_eq!(look(&readings, 300, 200), Some(100.0));
    }

    #[test]
    fn what_is_old_or_another_processs_is_not_compared_with() {
        let readings = Readings::default();
        assert_eq!(look(&readings, 0, 0), None);
        assert_eq!(look(&readings, 30_001, 9_000), None, "it would tell of half a minute");
        assert_eq!(look(&readings, 31_001, 500), None, "it began anew");
        assert_eq!(look(&readings, 32_001, 600), Some(10.0));
        let other = reading(told(99_000, 0, &[])).unwrap();
        assert_eq!(readings.compare("d", other), None);
        assert_eq!(readings.lock().len(), 1, "one that nobody asks about is forgotten");
    }

    #[test]
    fn memory_is_told_without_files_that_are_only_cached_by_either_version_of_cgroups() {
        for (stats, expected) in [
            (&[("total_inactive_file", 300), ("inactive_file", 1)][..], 700),
            (&[("inactive_file", 400)], 600),
            (&[("inactive_file", 1_000)], 1_000),
            (&[], 1_000),
        ] {
            let reading = reading(told(0, 0, stats)).unwrap();
            assert_eq!((reading.memory_bytes, reading.memory_limit), (expected, 4_000));
        }
    }

    #[test]
    fn of_a_container_that_does_not_run_nothing_is_read() {
        // As Docker tells it: empty counters and the year one.
        let memory_stats = Some(ContainerMemoryStats::default());
        let ended = ContainerStatsResponse {
            read: Some("0001-01-01T00:00:00Z".to_owned()),
            memory_stats,
            ..told(0, 0, &[])
        };
        assert_eq!(reading(ended), None);
    }
}
