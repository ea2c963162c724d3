//! The whole loop against a world that fails, in virtual time. One seed is one run.
//!
//! turmoil and madsim simulate the network below the adapters, and proptest's state machines a
//! sequence of calls; what fails here are the ports, beside each other and in time. So this is a
//! driver of our own over them, on tokio's paused clock and a single thread, with every random
//! number from one seed.

mod deliver;
mod drive;
mod engine;
mod github;
mod judge;
mod mutants;
mod port;
mod report;
mod rest;
mod runner;
mod setting;
mod world;

use std::ops::Range;

use self::drive::{HONEST, run};
use self::report::{hunt, play};

/// Runs of which `cargo test` makes sure; more of them by `tests/simulation`.
const SEEDS: Range<u64> = 0..2_000;

/// A range of seeds, as `10..20`, or one.
fn seeds() -> Option<Range<u64>> {
    let text = std::env::var("SEEDS").ok()?;
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
        None => (text.parse().unwrap(), text.parse::<u64>().unwrap() + 1),
    };
    Some(from..to)
}

#[test]
fn a_seed_is_a_run_and_the_same_each_time() {
    for seed in 0..10 {
        let (one, other) = (run(seed, HONEST, false), run(seed, HONEST, false));
        assert_eq!(one.fingerprint, other.fingerprint, "seed {seed}");
        assert!(one.lines.is_empty());
    }
}

#[test]
fn whatever_fails_nothing_is_lost_and_nothing_leaks() {
    let report = play(SEEDS, HONEST);
    println!("{report}");
    assert!(report.bad.is_empty(), "{report}");
}

/// Seeds that a broken service may survive.
const SURVIVED: u64 = 400;

#[test]
fn every_service_that_is_broken_on_purpose_is_caught_and_each_invariant_catches_one_alone() {
    let caught = hunt(SURVIVED);
    let table: Vec<String> = caught.iter().map(ToString::to_string).collect();
    println!("broken services\n{}", table.join("\n"));
    assert!(caught.iter().all(report::Caught::rightly), "{table:#?}");
    for invariant in world::Invariant::ALL {
        let alone = mutants::MUTANTS.iter().any(|mutant| mutant.breaks == [invariant]);
        assert!(alone, "nothing is known to be caught by {invariant:?} and nothing else");
    }
}

/// The seeds of `SEEDS`: `tests/simulation`.
#[test]
#[ignore = "as many seeds as one asks for"]
fn many_seeds() {
    let report = play(seeds().expect("SEEDS=from..to"), HONEST);
    println!("{report}broken services");
    hunt(SURVIVED).iter().for_each(|caught| println!("{caught}"));
    assert!(report.bad.is_empty());
}

/// Those of `SEEDS`, word by word: `tests/simulation --replay`.
#[test]
#[ignore = "tells what happens in the runs that one asks for"]
fn replay_of_a_seed() {
    for seed in seeds().expect("SEEDS=seed") {
        let outcome = run(seed, HONEST, true);
        println!("seed {seed}: {:#?}", outcome.setting);
        outcome.lines.iter().for_each(|line| println!("{line}"));
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
    }
}
