//! The whole loop against a world that fails, in virtual time. One seed is one run.
//!
//! turmoil and madsim simulate the network below the adapters, and proptest's state machines a
//! sequence of calls; what fails here are the ports, beside each other and in time. So this is a
//! driver of our own over them, on tokio's paused clock and a single thread, with every random
//! number from one seed.

mod drive;
mod engine;
mod github;
mod judge;
mod port;
mod runner;
mod setting;
mod world;

use self::drive::run;
use crate::plan::plan;

#[test]
fn a_seed_is_a_run_and_the_same_each_time() {
    for seed in 0..20 {
        let (one, other) = (run(seed, plan, false), run(seed, plan, false));
        assert_eq!(one.fingerprint, other.fingerprint, "seed {seed}");
    }
}

#[test]
fn whatever_fails_nothing_is_lost_and_nothing_leaks() {
    let seeds: std::ops::Range<u64> = 0..300;
    let begin = std::time::Instant::now();
    let mut bad = 0;
    let mut hours = 0.0;
    let mut kinds = std::collections::BTreeMap::<_, Vec<u64>>::new();
    for seed in seeds {
        let outcome = run(seed, plan, false);
        hours += outcome.simulated.as_secs_f64() / 3600.0;
        bad += usize::from(!outcome.violations.is_empty());
        if let Some((kind, what)) = outcome.violations.first() {
            println!("seed {seed}: {kind:?} {what}");
            kinds.entry(*kind).or_default().push(seed);
        }
    }
    println!("{hours} h in {:?}", begin.elapsed());
    println!("{kinds:?}");
    assert_eq!(bad, 0);
}

#[test]
#[ignore]
fn replay() {
    let seed = std::env::var("SEED").unwrap().parse().unwrap();
    let outcome = run(seed, plan, true);
    outcome.lines.iter().for_each(|line| println!("{line}"));
    println!("{:?}", outcome.violations);
}
