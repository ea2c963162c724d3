//! Many jobs at once: how fast their runners start, beside a bare loop over the engine's API; and
//! how fast they are registered one by one under GitHub's limit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use runner_kit::simulator::{JobStatus, Options, RepoSpec, Request};
use serde_json::{Value, json};

use super::bare::Bare;
use super::world::{Told, World, now, remove};
use super::{percentile, round};

const INSTANCE: &str = "bench-burst";
/// The jobs are spread over so many repositories.
const REPOS: usize = 10;
/// How many launches the bare loop has under way: the best of these counts, which as many as this
/// tell.
const WIDTHS: [usize; 4] = [4, 8, 16, 32];
const TRIAL: usize = 60;
/// GitHub's secondary limit: points a minute, of which a registration costs five
/// (docs.github.com: "Rate limits for the REST API").
const POINTS: u64 = 900;

/// Bursts of `count` jobs, with a registration token, each between two bare ones of as many.
pub(crate) async fn burst(count: usize, rounds: usize) -> Value {
    let world = world(count, Options::default(), &[]).await;
    let bare = sample(&world).await;
    let mut tried = Vec::new();
    for width in WIDTHS {
        tried.push((bare_rate(&world, &bare, width, count.min(TRIAL)).await, width));
    }
    let (best, width) = tried.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    // No job ends before the last runner has started: removals would be measured too.
    let takes = Duration::from_secs_f64(10.0 + 3.0 * count as f64 / best);
    let mark = world.events.mark();
    let mut bares = vec![bare_rate(&world, &bare, width, count).await];
    let (mut rates, mut lasts, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (rate, last) = burst_rate(&world, count, takes).await;
        bares.push(bare_rate(&world, &bare, width, count).await);
        // What else the machine does changes by the minute.
        ratios.push(rate / ((bares[bares.len() - 2] + bares[bares.len() - 1]) / 2.0));
        rates.push(rate);
        lasts.push(last);
    }
    let is_start = |told: &&Told| told.is_ours && told.action == "start";
    let starts = world.events.since(mark).iter().filter(is_start).count();
    // Without the sample.
    let jobs: Vec<_> = world.github.jobs().into_iter().skip(1).collect();
    let served = jobs.iter().filter(|job| job.status == JobStatus::Completed).count();
    let workers: BTreeSet<_> = jobs.into_iter().filter_map(|job| job.runner_name).collect();
    world.end().await;
    json!({
        "row": "burst", "jobs": count, "rounds": rounds, "served": served, "workers": workers.len(),
        "runners": starts, "rate": round(percentile(&rates, 0.5), 2),
        "last_start_s": round(percentile(&lasts, 0.5) / 1e3, 1),
        "bare_rate": round(percentile(&bares, 0.5), 2), "bare_width": width,
        "tried": tried.iter().map(|(rate, width)| json!([width, round(*rate, 2)])).collect::<Vec<_>>(),
        "ratio": round(percentile(&ratios, 0.5), 3),
        "ratios": ratios.iter().map(|ratio| round(*ratio, 2)).collect::<Vec<_>>(),
    })
}

/// The rate of the service's starts, and the time from the burst to the last of them.
async fn burst_rate(world: &World, count: usize, takes: Duration) -> (f64, f64) {
    let (mark, queued) = (world.events.mark(), now());
    queue(world, count, takes);
    let is_start = |told: &Told| told.is_ours && told.action == "start";
    world.events.count(mark, count, is_start).await;
    world.github.wait_until(|state| state.is_all_done()).await;
    world.calm().await;
    let starts: Vec<_> = world.events.since(mark).into_iter().filter(is_start).collect();
    let last = starts.iter().map(|told| told.at).fold(0.0, f64::max);
    (rate(&starts), last - queued)
}

/// A burst of `count` jobs, each runner with a configuration of its own from GitHub, which limits
/// how many it makes. Jobs that take less than the burst add removals, which GitHub counts too.
pub(crate) async fn jit(count: usize, takes: Duration) -> Value {
    let options =
        Options { secondary_limit: Some(POINTS), rate_limit: 15_000, ..Options::default() };
    let world = world(count, options, &[("RUNNER_KIT_REGISTRATION", "jit")]).await;
    world.github.clear_requests();
    let mark = world.events.mark();
    queue(&world, count, takes);
    let is_start = |told: &Told| told.is_ours && told.action == "start";
    world.events.count(mark, count, is_start).await;
    world.github.wait_until(|state| state.is_all_done()).await;
    let requests = world.github.requests();
    let refused = requests.iter().filter(|one| matches!(one.status, Some(403 | 429))).count();
    let points = |request: &Request| if request.method == "GET" { 1 } else { 5 };
    let (mut busiest, mut begin, mut sum) = (0, 0, 0);
    for request in &requests {
        sum += points(request);
        while request.at - requests[begin].at >= chrono::TimeDelta::seconds(60) {
            sum -= points(&requests[begin]);
            begin += 1;
        }
        busiest = busiest.max(sum);
    }
    let made: Vec<_> =
        requests.iter().filter(|one| one.path.ends_with("/generate-jitconfig")).collect();
    let took = (made[made.len() - 1].at - made[0].at).as_seconds_f64();
    // The limit is one of whole minutes.
    let minutes = (took / 60.0).floor().max(1.0);
    let whole = made[0].at + chrono::TimeDelta::seconds(60 * minutes as i64);
    let within = made.iter().filter(|one| one.at < whole).count();
    world.calm().await;
    let starts: Vec<_> = world.events.since(mark).into_iter().filter(is_start).collect();
    world.end().await;
    let last = made[made.len() - 1].at;
    let by = |method: &str| {
        let asked = |one: &&Request| one.method == method && one.at <= last;
        requests.iter().filter(asked).count()
    };
    let (reads, removals) = (by("GET"), by("DELETE"));
    let a_minute = within as f64 / minutes;
    json!({
        "row": "jit", "jobs": count, "takes_s": takes.as_secs(), "runners": starts.len(), "registered": made.len(),
        "took_s": round(took, 1), "a_minute": round(a_minute, 1), "refused": refused,
        "busiest_minute_points": busiest, "reads": reads, "removals": removals, "starts_a_minute": round(rate(&starts) * 60.0, 1),
        "ratio": round(a_minute / (POINTS as f64 / 5.0), 3),
    })
}

async fn world(count: usize, options: Options, env: &[(&str, &str)]) -> World {
    let repos: Vec<_> = (0..REPOS).map(|number| RepoSpec::new(repo(number))).collect();
    let most = count.to_string();
    let env: Vec<_> = env.iter().copied().chain([("RUNNER_KIT_MAX_RUNNERS", &*most)]).collect();
    let world = World::new(INSTANCE, &repos, options, &env).await;
    world.start().await;
    world.hook().await;
    world
}

fn repo(number: usize) -> String {
    format!("octo-org/r{number}")
}

fn queue(world: &World, count: usize, takes: Duration) {
    for number in 0..REPOS {
        let share = (count + number) / REPOS;
        if share > 0 {
            world.queue(&repo(number), u32::try_from(share).unwrap(), takes);
        }
    }
}

/// What a container of the service is.
async fn sample(world: &World) -> Bare {
    let mark = world.events.mark();
    world.queue(&repo(0), 1, Duration::from_secs(1));
    let first = world.events.first(mark, |told| told.is_ours && told.action == "start").await;
    let bare = Bare::like(world, &first.name).await;
    world.calm().await;
    bare
}

/// Starts in a second, from the first to the last.
fn rate(starts: &[Told]) -> f64 {
    let first = starts.iter().map(|told| told.at).fold(f64::MAX, f64::min);
    let last = starts.iter().map(|told| told.at).fold(0.0, f64::max);
    (starts.len() - 1) as f64 / (last - first) * 1e3
}

/// The rate of a bare loop with `width` launches under way.
async fn bare_rate(world: &World, bare: &Bare, width: usize, count: usize) -> f64 {
    let mark = world.events.mark();
    let bodies: Vec<_> = (0..count)
        .map(|number| format!("bare-{mark}-{number}"))
        .map(|name| (bare.prepare(world, &name), name))
        .collect();
    let bare = Arc::new(bare.clone());
    let launches = bodies.into_iter().map(|(body, name)| {
        let bare = bare.clone();
        async move { bare.launch(&name, body).await.1 }
    });
    let ids: Vec<_> = futures::stream::iter(launches).buffer_unordered(width).collect().await;
    let is_start = |told: &Told| !told.is_ours && told.action == "start";
    world.events.count(mark, count, is_start).await;
    let starts: Vec<_> = world.events.since(mark).into_iter().filter(is_start).collect();
    let removals = ids.iter().map(|id| remove(&world.docker, id));
    futures::stream::iter(removals).buffer_unordered(8).collect::<Vec<_>>().await;
    for runner in world.github.runners() {
        let _ = world.github.delete_runner(runner.id);
    }
    rate(&starts)
}
