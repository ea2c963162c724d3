//! Crash-only on a real engine: whatever fails under load, every job is run once and nothing is left.
//!
//! `tests/chaos` runs all of it and prints a table; a short form is among the tests. Faults strike
//! at moments that a seed decides, as far as a real system can repeat them. These tests wait for real
//! time to pass, because it is the moment of a fault that is tried.

mod daemon;
mod report;
mod world;

use runner_kit::simulator::Options;

use self::daemon::Containers;
use self::report::{Row, table};
use self::world::World;

/// Kills the service at `rounds` random moments, of which some are while it starts.
async fn kills(name: &'static str, seed: u64, rounds: usize, env: &[(&'static str, &str)]) -> Row {
    let mut world = World::new(name, seed, Containers::End, Options::default(), env).await;
    world.start();
    for round in 0..rounds {
        world.load();
        if round % 3 == 0 {
            world.recover(0).await;
        }
        world.live(10, 1_500).await;
        world.kill().await;
        world.row.faults += 1;
        world.start();
    }
    world.recover(0).await;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_again_and_again_loses_and_leaks_nothing() {
    let row = kills("kill -9, jit", 1, 8, &[("RUNNER_KIT_REGISTRATION", "jit")]).await;
    println!("{}", table(std::slice::from_ref(&row)));
    row.check();
}
