//! Many runs, and what they came to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::drive::{Guise, Outcome, run};
use super::mutants::{MUTANTS, Mutant};
use super::setting::Fault;
use super::world::Invariant;

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
pub(super) fn play(seeds: Range<u64>, guise: Guise) -> Report {
    let (begin, next) = (Instant::now(), AtomicU64::new(seeds.start));
    let report = Mutex::new(Report::default());
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed, guise, false);
                    report.lock().unwrap().add(seed, outcome);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap();
    report.took = begin.elapsed();
    report
}

/// How many seeds it took until a broken service was caught, and by what.
pub(super) struct Caught {
    mutant: Mutant,
    by: Option<(u64, Invariant, String)>,
}

impl Caught {
    /// Whether it was caught by what it breaks.
    pub(super) fn rightly(&self) -> bool {
        self.by.as_ref().is_some_and(|(_, by, _)| self.mutant.breaks.contains(by))
    }
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.mutant.name;
        match &self.by {
            None => write!(f, "  {name:<42}  survives"),
            Some((seeds, by, _)) if self.rightly() => {
                write!(f, "  {name:<42}{seeds:>4} seeds, by {by:?}")
            }
            Some((seeds, by, what)) => {
                write!(f, "  {name:<42}{seeds:>4} seeds, wrongly by {by:?}: {what}")
            }
        }
    }
}

/// Plays each broken service until it is caught, on `most` seeds at most.
pub(super) fn hunt(most: u64) -> Vec<Caught> {
    let hunt = |mutant: Mutant| {
        let by = (0..most).find_map(|seed| {
            let first = run(seed, mutant.guise, false).violations.into_iter().next();
            first.map(|(by, what)| (seed + 1, by, what))
        });
        Caught { mutant, by }
    };
    MUTANTS.map(hunt).into()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated.as_secs_f64() / 3_600.0;
        let each = self.seeds as f64 / self.took.as_secs_f64();
        writeln!(f, "seeds                {:>12}   ({each:.1} a second)", self.seeds)?;
        writeln!(f, "simulated hours      {hours:>12.1}")?;
        writeln!(f, "jobs                 {:>12}", self.jobs)?;
        writeln!(f, "runners              {:>12}", self.launched)?;
        writeln!(f, "faults               {:>12}", self.faults.values().sum::<u64>())?;
        for pair in Fault::ALL.chunks(2) {
            for (fault, _) in pair {
                let count = self.faults.get(fault).copied().unwrap_or_default();
                write!(f, "  {:<19}{count:>12}", format!("{fault:?}"))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "seeds with violations{:>12}", self.bad.len())?;
        for invariant in Invariant::ALL {
            let count = self.violations.get(&invariant).copied().unwrap_or_default();
            writeln!(f, "  {:<19}{count:>12}", format!("{invariant:?}"))?;
        }
        for (seed, (invariant, what)) in self.bad.iter().take(MOST_TOLD) {
            writeln!(f, "seed {seed}: {invariant:?}, {what}")?;
        }
        if let Some(seed) = self.bad.keys().next() {
            writeln!(f, "Again with all that happens: tests/simulation --replay {seed}")?;
        }
        Ok(())
    }
}
