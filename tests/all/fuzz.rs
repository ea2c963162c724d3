//! What the fuzzer tries, with fixed seeds.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[allow(unreachable_pub)] // Pub for the fuzzer.
#[path = "../../fuzz/src/lib.rs"]
mod body;

const SEEDS: u32 = 5_000;

fn with_seeds(tried: fn(&[u8]) -> usize) {
    let config = Config { cases: SEEDS, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let taken = AtomicUsize::new(0);
    let done = runner.run(&vec(any::<u8>(), 0..200), |data| {
        taken.fetch_add(tried(&data), Ordering::Relaxed);
        Ok(())
    });
    done.unwrap();
    let taken = taken.into_inner();
    assert!(taken > SEEDS as usize / 10, "{taken} calls had arguments that make sense");
}

#[test]
fn whatever_the_arguments_of_the_tools_are_they_are_taken_or_refused_well() {
    with_seeds(body::tools);
}

#[test]
fn whatever_a_client_sends_is_read_or_refused_and_calls_reach_their_tools() {
    with_seeds(body::messages);
}
