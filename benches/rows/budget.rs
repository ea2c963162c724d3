//! What an hour of polling costs of GitHub's budget: the real service for some minutes of real time
//! after every repository was looked at once, times what an hour has more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use runner_kit::simulator::{Options, RepoSpec};
use serde_json::{Value, json};

use super::world::World;
use super::{percentile, round};

/// An active repository has a run of one job so often, which takes this long.
const EVERY: Duration = Duration::from_secs(15 * 60);
const TAKES: Duration = Duration::from_secs(30);
/// docs.github.com, "Rate limits for the REST API": of a user's token.
const AN_HOUR: u64 = 5_000;

/// `repos` repositories of which `active` are active, watched for some minutes, by polls alone.
pub(crate) async fn budget(repos: usize, active: usize, interval: u32, minutes: f64) -> Value {
    let long_ago = Utc::now() - TimeDelta::days(90);
    let specs: Vec<_> = (0..repos)
        .map(|number| match RepoSpec::new(repo(number)) {
            spec if number < active => spec,
            quiet => quiet.pushed_at(long_ago),
        })
        .collect();
    // Wide limits: what is needed is counted, and not what they leave.
    let options = Options { rate_limit: 20 * AN_HOUR, ..Options::default() };
    let interval = interval.to_string();
    let env = [("RUNNER_KIT_POLL_INTERVAL", &*interval), ("RUNNER_KIT_MAX_RUNNERS", "20")];
    let world = World::new(&format!("bench-budget-{repos}"), &specs, options, &env).await;
    let begun = Instant::now();
    world.start().await;
    let mut looked = BTreeSet::new();
    while looked.len() < repos {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let requests = world.github.requests();
        let runs = requests.iter().filter_map(|one| one.path.strip_suffix("/actions/runs"));
        looked.extend(runs.map(str::to_owned));
    }
    let (first, first_s) = (world.github.counters().charged, begun.elapsed().as_secs_f64());
    world.github.clear_requests();
    let measured = Instant::now();
    let mut queued = 0;
    while measured.elapsed().as_secs_f64() < minutes * 60.0 {
        // Spread evenly over the repositories and the time.
        let due = measured.elapsed().as_secs_f64() / EVERY.as_secs_f64() * active as f64;
        if active > 0 && (queued as f64) < due {
            world.queue(&repo(queued % active), 1, TAKES);
            queued += 1;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let hours = measured.elapsed().as_secs_f64() / 3_600.0;
    let counters = world.github.counters();
    let jobs = world.github.jobs();
    let waits: Vec<_> = jobs
        .iter()
        .filter_map(|job| Some((job.started_at? - job.queued_at).as_seconds_f64()))
        .collect();
    world.end().await;
    let an_hour = counters.charged as f64 / hours;
    let wait = |share| (!waits.is_empty()).then(|| round(percentile(&waits, share), 1));
    json!({
        "row": "budget", "repositories": repos, "active": active, "interval_s": interval,
        "minutes": round(hours * 60.0, 1), "charged": counters.charged, "requests": counters.total,
        "charged_an_hour": round(an_hour, 0), "share": round(an_hour / AN_HOUR as f64, 3),
        "first_charged": first, "first_s": round(first_s, 1),
        "jobs": queued, "begun_p50_s": wait(0.5), "begun_p99_s": wait(0.99),
    })
}

fn repo(number: usize) -> String {
    format!("octo-org/r{number:04}")
}
