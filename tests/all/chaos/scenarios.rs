//! What fails, one kind of fault after the other.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use runner_kit::simulator::{Fault, JobStatus, Often, Options};
use rustix::process::Signal;

use super::daemon::Containers;
use super::report::Row;
use super::world::World;

/// How long a registration token lives here; GitHub's live for an hour.
const TOKEN_LIFE: u64 = 8_000;

const JIT: (&str, &str) = ("RUNNER_KIT_REGISTRATION", "jit");

fn env(registration: &'static str) -> [(&'static str, &'static str); 1] {
    [(JIT.0, registration)]
}

/// Kills the service at `rounds` random moments, of which some are while it starts.
pub(crate) async fn kills(
    name: &'static str,
    registration: &'static str,
    seed: u64,
    rounds: usize,
) -> Row {
    let options = Options::default();
    let mut world = World::new(name, seed, Containers::End, options, &env(registration)).await;
    world.start();
    for round in 0..rounds {
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

/// How an engine fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// It is told to end, and started again.
    Restarts,
    /// It is killed, and started again.
    IsKilled,
    /// It stops for a while in the middle of whatever it does.
    Freezes,
}

/// The engine fails so, `rounds` times.
pub(crate) async fn engine(
    name: &'static str,
    failing: Failing,
    containers: Containers,
    seed: u64,
    rounds: usize,
) -> Row {
    let mut world = World::new(name, seed, containers, Options::default(), &env("jit")).await;
    // One that is told to end seems to stop what it is just starting, whatever it is to let live.
    world.row.ends_jobs = match failing {
        Failing::Restarts => true,
        Failing::IsKilled => containers == Containers::End,
        Failing::Freezes => false,
    };
    world.start();
    world.recover(0).await;
    for _ in 0..rounds {
        world.live(200, 1_500).await;
        let looks = world.looks().await;
        match failing {
            Failing::Restarts => world.engine.down(Signal::TERM).await,
            Failing::IsKilled => world.engine.down(Signal::KILL).await,
            Failing::Freezes => world.engine.signal(Signal::STOP),
        }
        world.row.faults += 1;
        world.live(100, 3_000).await;
        match failing {
            Failing::Freezes => world.engine.signal(Signal::CONT),
            _ => world.engine.up().await,
        }
        world.recover(looks).await;
    }
    world.end().await
}

/// GitHub's API refuses connections for longer than a registration token lives. Runners that are
/// connected stay so: the API and the runners' service are not one.
pub(crate) async fn outages(
    name: &'static str,
    registration: &'static str,
    seed: u64,
    rounds: usize,
) -> Row {
    let options = Options {
        registration_token_lifetime: Duration::from_millis(TOKEN_LIFE),
        ..Options::default()
    };
    let mut world = World::new(name, seed, Containers::End, options, &env(registration)).await;
    world.start();
    world.recover(0).await;
    for _ in 0..rounds {
        world.live(200, 1_500).await;
        let looks = world.looks().await;
        for path in ["/repos*", "/orgs*", "/user*", "/rate_limit"] {
            let inject = world.github.inject(Fault::Reset, &format!("* {path}"), Often::Always);
            inject.expect("a pattern");
        }
        world.row.faults += 1;
        world
            .until_status("the outage is told", |status| {
                status["last_error"]["code"] == "github_unreachable"
            })
            .await;
        // The token that is held runs out meanwhile.
        world.live(TOKEN_LIFE, TOKEN_LIFE + 2_000).await;
        world.github.clear_faults();
        world.recover(looks).await;
    }
    world.end().await
}

/// The network is cut: requests of the service hang or are reset, or took effect before their
/// answer was lost; runners lose their connections.
pub(crate) async fn cuts(name: &'static str, seed: u64, rounds: usize) -> Row {
    let mut world = World::new(name, seed, Containers::End, Options::default(), &env("jit")).await;
    world.row.ends_jobs = true;
    world.start();
    world.recover(0).await;
    for round in 0..rounds {
        world.live(200, 1_500).await;
        let looks = world.looks().await;
        let fault = [Fault::Hang, Fault::Reset, Fault::LostAfterEffect].into_iter().nth(round % 3);
        let inject = |fault, pattern| world.github.inject(fault, pattern, Often::Always);
        // A simulated runner has no timeouts, and would hang for ever.
        inject(Fault::Reset, "* /_runner/*").expect("a pattern");
        inject(fault.unwrap_or(Fault::Reset), "* *").expect("a pattern");
        world.row.faults += 1;
        world.live(500, 5_000).await;
        world.github.clear_faults();
        world.recover(looks).await;
    }
    world.end().await
}

/// The image is removed, and comes again.
pub(crate) async fn images(name: &'static str, seed: u64, rounds: usize) -> Row {
    let mut world =
        World::new(name, seed, Containers::End, Options::default(), &env("token")).await;
    world.start();
    world.recover(0).await;
    for _ in 0..rounds {
        world.live(200, 1_000).await;
        let looks = world.looks().await;
        world.remove_image().await;
        world.row.faults += 1;
        world.live(500, 3_000).await;
        world.make_image().await;
        world.recover(looks).await;
    }
    world.end().await
}

/// A small file system, for as long as it is held.
struct Disk(PathBuf);

impl Disk {
    fn new(place: PathBuf) -> Self {
        std::fs::create_dir_all(&place).expect("a directory");
        let mount = ["-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(&place).status().expect("mount runs");
        assert!(mounted.success(), "these tests mount a small file system, and so run as root");
        Self(place)
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let written = std::fs::write(self.0.join("ballast"), vec![1; 17 << 20]);
        assert!(written.is_err(), "there is no room for so much");
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("the ballast is ours");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The disk of the work directories is full for a while. Jobs that run then cannot write.
pub(crate) async fn disks(name: &'static str, seed: u64, rounds: usize) -> Row {
    let env = [JIT, ("RUNNER_KIT_MIN_FREE_DISK", "8m")];
    let mut world = World::new(name, seed, Containers::End, Options::default(), &env).await;
    world.row.ends_jobs = true;
    let disk = Disk::new(world.work_dir());
    world.start();
    world.recover(0).await;
    for _ in 0..rounds {
        world.live(200, 1_500).await;
        let looks = world.looks().await;
        disk.fill();
        world.row.faults += 1;
        world.live(500, 3_000).await;
        disk.free();
        world.recover(looks).await;
    }
    world.end().await
}

/// Kills the service while `count` runners are at work; how long the next one takes to tell them all.
pub(crate) async fn many(name: &'static str, seed: u64, count: u32, rounds: usize) -> Row {
    let mut world = World::new(name, seed, Containers::End, Options::default(), &env("jit")).await;
    world.max_runners = count as usize;
    let run = world.queue(count, Duration::from_secs(3_600));
    world.start();
    let at_work =
        world.github.wait_until(|state| state.count(JobStatus::InProgress) == count as usize);
    tokio::time::timeout(Duration::from_secs(240), at_work).await.expect("all are at work");
    for _ in 0..rounds {
        world.kill().await;
        world.row.faults += 1;
        world.start();
        let since = Instant::now();
        world
            .until_status("all are told", |status| {
                status["active_runners"] == count && status["iterations"].as_u64() > Some(0)
            })
            .await;
        world.row.recovered.push(since.elapsed());
    }
    world.github.cancel_run(run).expect("the run is there");
    world.end().await
}
