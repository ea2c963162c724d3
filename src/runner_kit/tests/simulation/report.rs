//! Many runs, and what they came to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::drive::{Outcome, run};
use super::setting::Fault;
use super::world::Invariant;
use crate::reconciler::Planner;

/// Seeds that failed and are told one by one.
const MOST_TOLD: usize = 30;

/// What many runs came to.
#[derive(Default)]
pub(super) struct Report {
    seeds: u64,
    simulated: Duration,
    took: Duration,
    jobs: usize,
    launched: usize,
    faults: BTreeMap<Fault, u64>,
    violations: BTreeMap<Invariant, u64>,
    /// Seeds that failed, each with its first violation.
    pub(super) bad: BTreeMap<u64, (Invariant, String)>,
}

impl Report {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.simulated += outcome.simulated;
        self.jobs += outcome.jobs;
        self.launched += outcome.launched;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        let kinds: std::collections::BTreeSet<_> =
            outcome.violations.iter().map(|(kind, _)| *kind).collect();
        for kind in kinds {
            *self.violations.entry(kind).or_default() += 1;
        }
        if let Some(first) = outcome.violations.into_iter().next() {
            self.bad.insert(seed, first);
        }
    }
}

/// Plays the runs of `seeds` on all processors.
pub(super) fn play(seeds: Range<u64>, planner: Planner, report: Report) -> Report {
    let (begin, next, report) = (Instant::now(), AtomicU64::new(seeds.start), Mutex::new(report));
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed, planner, false);
                    report.lock().unwrap().add(seed, outcome);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap();
    report.took = begin.elapsed();
    report
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated.as_secs_f64() / 3_600.0;
        let each = self.seeds as f64 / self.took.as_secs_f64();
        writeln!(f, "seeds            {:>10}   ({each:.1} a second)", self.seeds)?;
        writeln!(f, "simulated hours  {hours:>10.1}")?;
        writeln!(f, "jobs             {:>10}", self.jobs)?;
        writeln!(f, "runners          {:>10}", self.launched)?;
        writeln!(f, "faults           {:>10}", self.faults.values().sum::<u64>())?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {:<20}{count:>10}", format!("{fault:?}"))?;
        }
        writeln!(f, "seeds that failed{:>10}", self.bad.len())?;
        for (invariant, count) in &self.violations {
            writeln!(f, "  {:<20}{count:>10}", format!("{invariant:?}"))?;
        }
        for (seed, (invariant, what)) in self.bad.iter().take(MOST_TOLD) {
            writeln!(f, "seed {seed}: {invariant:?}, {what}")?;
        }
        if let Some(seed) = self.bad.keys().next() {
            let replay = "cargo test --lib replay_of_a_seed -- --ignored --nocapture";
            writeln!(f, "Again with all that happens: SEEDS={seed} {replay}")?;
        }
        Ok(())
    }
}
