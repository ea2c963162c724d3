//! Crash-only on a real engine: whatever fails under load, every job is run once and nothing is left.
//!
//! `tests/chaos` runs all of it and prints a table; a short form is among the tests. Faults strike
//! at moments that a seed decides, as far as a real system can repeat them. These tests let real
//! time pass, because it is the moment of a fault that is tried.

mod daemon;
mod report;
mod scenarios;
mod world;

use std::future::Future;
use std::pin::Pin;

use futures::{FutureExt, StreamExt};

use self::daemon::Containers::{End, Live};
use self::report::{Row, table};
use self::scenarios::Failing::{Freezes, IsKilled, Restarts};
use self::scenarios::For::{Long, Moments};
use self::scenarios::{By, Holds, cuts, disks, engine, images, kills, many, outages};

/// Scenarios that run beside each other.
const BESIDE: usize = 3;

type Scenario = (&'static str, Pin<Box<dyn Future<Output = Row> + Send>>);

/// All scenarios, with so many faults each.
fn scenarios(seed: u64, rounds: usize) -> Vec<Scenario> {
    macro_rules! scenarios {
        ($($name:literal => $run:ident($($argument:expr),*);)*) => {
            vec![$(($name, Box::pin($run($name, $($argument),*)) as Pin<Box<_>>)),*]
        };
    }
    scenarios! {
        "service kill -9, token" => kills(By::Token, seed, rounds * 3);
        "service kill -9, jit" => kills(By::Jit, seed + 1, rounds * 3);
        "service kill -9, webhooks" => kills(By::Webhook, seed + 2, rounds * 3);
        "service kill -9, scale set" => kills(By::ScaleSet, seed + 3, rounds * 3);
        "engine restarted, containers end" => engine(Restarts, End, Moments, seed, rounds);
        "engine restarted, containers live" => engine(Restarts, Live, Moments, seed, rounds);
        "engine killed, containers end" => engine(IsKilled, End, Moments, seed, rounds);
        "engine killed, containers live" => engine(IsKilled, Live, Moments, seed, rounds);
        "engine frozen" => engine(Freezes, End, Moments, seed, rounds);
        "engine frozen for 40 s" => engine(Freezes, End, Long, seed, rounds.div_ceil(6));
        "GitHub away beyond token, token" => outages(Holds::Token, seed, rounds.div_ceil(3));
        "GitHub away beyond token, jit" => outages(Holds::Nothing, seed, rounds.div_ceil(3));
        "GitHub away beyond token, app" => outages(Holds::Installation, seed, rounds.div_ceil(3));
        "network cut" => cuts(seed, rounds);
        "image removed" => images(seed, rounds.div_ceil(2));
        "disk full" => disks(seed, rounds.div_ceil(2));
        "kill -9 with 200 runners" => many(seed, 200, 3);
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}?")))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: tests/chaos runs it"]
async fn the_whole_chaos_run() {
    let (seed, rounds) = (number("CHAOS_SEED", 1), number("CHAOS_ROUNDS", 6));
    let only = std::env::var("CHAOS_ONLY").unwrap_or_default();
    let scenarios = scenarios(seed, usize::try_from(rounds).expect("a number of rounds"));
    let chosen = scenarios.into_iter().filter(|(name, _)| name.contains(&only));
    // Each in a task of its own: one that fails does not hide what the others show.
    let run = chosen.map(|(name, run)| async move { (name, tokio::spawn(run).await) });
    let ended: Vec<_> = futures::stream::iter(run).buffered(BESIDE).collect().await;
    let failed: Vec<_> =
        ended.iter().filter(|(_, row)| row.is_err()).map(|(name, _)| *name).collect();
    let rows: Vec<_> = ended.into_iter().filter_map(|(_, row)| row.ok()).collect();
    println!("{}seed {seed}, rounds {rounds}", table(&rows));
    assert!(failed.is_empty(), "did not come to an end: {failed:?}");
    assert!(!rows.is_empty(), "there is no scenario like that: {only}");
    rows.iter().for_each(Row::check);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a network of its own: tests/chaos --short runs it"]
async fn a_service_and_an_engine_that_are_killed_under_load_lose_and_leak_nothing() {
    let killed = kills("service kill -9, jit", By::Jit, 1, 8);
    let of_set = kills("service kill -9, scale set", By::ScaleSet, 2, 6);
    let ended = engine("engine killed, containers end", IsKilled, End, Moments, 1, 2);
    let all = [killed.boxed(), of_set.boxed(), ended.boxed()].map(tokio::spawn);
    let ended = futures::future::join_all(all).await;
    let rows: Vec<_> = ended.into_iter().map(|row| row.expect("it ends")).collect();
    println!("{}", table(&rows));
    rows.iter().for_each(Row::check);
}
