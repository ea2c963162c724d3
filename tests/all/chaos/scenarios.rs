//! What fails, one kind of fault after the other.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use runner_kit::simulator::{AppSpec, Fault, JobStatus, Often, Options};
use rustix::process::Signal;

use super::daemon::Containers;
use super::report::Row;
use super::world::World;
use crate::support::app_key;
use crate::support::hook::SECRET;

/// How long registration tokens and those of an app live here; GitHub's live for an hour.
const TOKEN_LIFE: Duration = Duration::from_secs(8);

/// No job waits longer when it is only the service that fails, though its launch is cut again and
/// again and the machine is busy. Were cut launches counted for a minute each, it would.
const PATIENCE: Duration = Duration::from_secs(90);

const JIT: (&str, &str) = ("RUNNER_KIT_REGISTRATION", "jit");
const TOKEN: (&str, &str) = (JIT.0, "token");

/// How the service comes to know of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// It asks every second, and registers by token.
    Token,
    /// It asks every second, and registers by JIT configuration.
    Jit,
    /// It is told by webhook, and asks once an hour beside.
    Webhook,
    /// It listens to a scale set, and asks once an hour beside.
    ScaleSet,
}

/// Kills the service at `rounds` random moments, of which some are while it starts.
pub(crate) async fn kills(name: &'static str, by: By, seed: u64, rounds: usize) -> Row {
    const HOURLY: (&str, &str) = ("RUNNER_KIT_POLL_INTERVAL", "3600");
    let env: &[_] = match by {
        By::Token => &[TOKEN],
        By::Jit => &[JIT],
        By::Webhook => &[JIT, HOURLY, ("RUNNER_KIT_WEBHOOK_SECRET", SECRET)],
        By::ScaleSet => {
            &[HOURLY, ("RUNNER_KIT_SCALE_SET", "pool"), ("RUNNER_KIT_REPOS", "octo-org/0")]
        }
    };
    let mut world = World::new(name, seed, Containers::End, Options::default(), env).await;
    match by {
        By::Token | By::Jit => {}
        By::Webhook => {
            // The same address after each start: nobody else is in this network.
            let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            let address = free.expect("a free port");
            world.flags = format!("--http {address}");
            world.github.hook(&format!("http://{address}/webhooks/github"), SECRET);
        }
        By::ScaleSet => (world.repos, world.label) = (1, "pool"),
    }
    // A session whose killed owner had not yet heard of it keeps its jobs until it times out.
    world.row.patience = (by != By::ScaleSet).then_some(PATIENCE);
    world.row.wasted = 1;
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

/// For how long an engine is away or frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Up to three seconds.
    Moments,
    /// Longer than the service waits for an answer of the engine, which is 30 seconds.
    Long,
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
    lasting: For,
    seed: u64,
    rounds: usize,
) -> Row {
    let mut world = World::new(name, seed, containers, Options::default(), &[JIT]).await;
    if containers == Containers::End && failing != Failing::Freezes {
        world.row.may_end = usize::MAX;
    }
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
        match lasting {
            For::Moments => world.live(100, 3_000).await,
            For::Long => world.live(40_000, 40_000).await,
        }
        match failing {
            Failing::Freezes => world.engine.signal(Signal::CONT),
            _ => world.engine.up().await,
        }
        world.recover(looks).await;
    }
    if containers == Containers::Live {
        // One that is told to end and sees no container running ends those that it is just starting,
        // whatever it is to let live (moby's `Daemon.Shutdown`), and says so.
        let all = world.engine.log();
        world.row.may_end =
            all.lines().filter(|line| line.contains("shutting down container")).count();
    }
    world.end().await
}

/// What the service holds that runs out while GitHub is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A registration token.
    Token,
    /// Nothing: each runner is registered by a configuration of its own.
    Nothing,
    /// The token of an app's installation, which all its requests need.
    Installation,
}

/// GitHub's API refuses connections for longer than a token lives. Runners that are connected stay
/// so: the API and the runners' service are not one.
pub(crate) async fn outages(name: &'static str, holds: Holds, seed: u64, rounds: usize) -> Row {
    let options = Options {
        registration_token_lifetime: TOKEN_LIFE,
        installation_token_lifetime: TOKEN_LIFE,
        ..Options::default()
    };
    let (private, public) = app_key();
    let env: &[_] = match holds {
        Holds::Token => &[TOKEN],
        Holds::Nothing => &[JIT],
        Holds::Installation => {
            &[JIT, ("RUNNER_KIT_APP_ID", "7"), ("RUNNER_KIT_APP_KEY", private.as_str())]
        }
    };
    let mut world = World::new(name, seed, Containers::End, options, env).await;
    world.github.add_app(AppSpec::new(7, public));
    world.github.install_app(7, "octo-org", None).expect("the organisation is there");
    world.start();
    world.recover(0).await;
    for _ in 0..rounds {
        world.live(200, 1_500).await;
        let looks = world.looks().await;
        let since = Instant::now();
        for path in ["/repos*", "/orgs*", "/user*", "/rate_limit", "/app*", "/installation*"] {
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
        let life = u64::try_from(TOKEN_LIFE.as_millis()).unwrap_or_default();
        world.live(life, life + 2_000).await;
        let lasted = since.elapsed();
        assert!(lasted > TOKEN_LIFE, "the token has outlived the outage of {lasted:?}");
        world.github.clear_faults();
        world.recover(looks).await;
    }
    world.end().await
}

/// The network is cut: requests of the service hang or are reset, or took effect before their
/// answer was lost; runners lose their connections.
pub(crate) async fn cuts(name: &'static str, seed: u64, rounds: usize) -> Row {
    let mut world = World::new(name, seed, Containers::End, Options::default(), &[JIT]).await;
    world.row.may_end = usize::MAX;
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
    let mut world = World::new(name, seed, Containers::End, Options::default(), &[TOKEN]).await;
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
    world.row.may_end = usize::MAX;
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
    let mut world = World::new(name, seed, Containers::End, Options::default(), &[JIT]).await;
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
