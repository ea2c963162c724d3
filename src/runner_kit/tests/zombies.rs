//! Runners that are alive for the engine and of no use to anybody: what GitHub, the engine and their
//! own logs say of them, and how long they keep others out.
//!
//! Each has the only place there is, so that whoever waits is served when it is gone.

use tokio::time::Instant;

use super::world::{Fate, World, repo};
use crate::config::StartInput;
use crate::model::{Phase, Registered};
use crate::runner_kit::RunnerKit;

/// A zombie is gone within a minute; until then comes what a look takes that is due, what a runner
/// takes to be online, and what the steps of this test take.
const SOON: u64 = 60 + 15 + 3 + 2;

/// A world with one place, whose first runner has the first job and comes to this.
async fn with(fate: Fate, takes: u64) -> World {
    let world = World::new(1);
    world.github.change(|state| state.fate = Some(fate));
    world.github.queue("a", 1, takes);
    world.kit.start_autoscaler().await.unwrap();
    let taken = |world: &World| world.github.change(|state| state.fate.is_none());
    world.until("a runner has the job", taken).await;
    world
}

/// Until `done`; in seconds.
async fn time(world: &World, what: &str, done: impl Fn(&World) -> bool) -> u64 {
    let begun = Instant::now();
    world.until(what, done).await;
    begun.elapsed().as_secs()
}

/// What was said of the removal of the first runner.
fn reason(kit: &RunnerKit) -> String {
    let events = kit.subscribe().borrow().events.clone();
    let mut removed = events.iter().filter(|event| event.message.contains(" removed: "));
    removed.next().unwrap().message.clone()
}

async fn first_is_there(world: &World) -> bool {
    let first = world.engine.launched()[0].clone();
    world.parts.engine.containers().await.unwrap().iter().any(|one| one.name == first && !one.ended)
}

/// actions/runner#4617: the job that GitHub had given to a runner was given to another, its registration
/// was gone, and it listened for ever.
#[tokio::test(start_paused = true)]
async fn a_ghost_that_listens_and_is_registered_no_more_is_replaced_within_a_minute() {
    let world = with(Fate::Ghost, 30).await;
    let waited = time(&world, "the job is at work", |world| world.github.running() == 1).await;
    assert!(waited <= SOON, "{waited} s");
    let reason = reason(&world.kit);
    assert!(
        reason.contains("it is alive and takes no job any more; its log says that it listens"),
        "{reason}"
    );
    world.until("the job is done", |world| world.github.done() == 1).await;
    assert_eq!(world.engine.launched().len(), 2);
}

/// actions/runner#4617, actions/runner#4668, actions/runner#4703: whoever comes after a restart has never seen
/// the zombie online.
#[tokio::test(start_paused = true)]
async fn a_ghost_that_was_there_before_the_service_is_replaced_as_soon() {
    for mute in [false, true] {
        let world = World::new(1);
        world.github.change(|state| (state.fate, state.mute) = (Some(Fate::Ghost), mute));
        world.github.queue("a", 1, 30);
        world.kit.start_autoscaler().await.unwrap();
        let taken = |world: &World| world.github.change(|state| state.fate.is_none());
        world.until("a runner has the job", taken).await;
        world.kit.stop_autoscaler().await.unwrap();
        world.pass(600).await;
        let kit = world.restarted();
        kit.start_autoscaler().await.unwrap();
        let waited = time(&world, "the job is at work", |world| world.github.running() == 1).await;
        // Without a log it might be one that starts.
        let least_and_most = if mute { 180..=180 + SOON - 60 } else { 60..=SOON };
        assert!(least_and_most.contains(&waited), "{waited} s");
    }
}

/// actions/runner#4668, actions/runner#4703: a runner accepted a job and hung. GitHub called it busy for ten
/// minutes, gave the job up and dropped it; it kept its place for hours.
#[tokio::test(start_paused = true)]
async fn a_runner_that_hangs_is_spared_while_github_calls_it_busy_and_then_replaced() {
    let world = with(Fate::Hangs, 30).await;
    world.github.queue("a", 1, 30);
    world.pass(598).await;
    assert!(first_is_there(&world).await && world.github.done() == 0);
    world.until("GitHub gives up", |world| world.github.done() == 1).await;
    let waited = time(&world, "the other is at work", |world| world.github.running() == 1).await;
    assert!(waited <= SOON, "{waited} s");
    assert!(reason(&world.kit).contains("it listens for jobs"), "{}", reason(&world.kit));
}

/// ARC#4603: a job was over, its runner's process hung, and its place was lost for seven hours.
#[tokio::test(start_paused = true)]
async fn a_runner_that_stays_after_its_job_gives_its_place_back_within_a_minute() {
    let fates = [
        (Fate::Stays, "its job is done"),
        (Fate::StaysListed, "its job is done"),
        (Fate::StaysAtWork, "it works on a job"),
    ];
    for (fate, words) in fates {
        let world = with(fate, 300).await;
        world.github.queue("a", 1, 30);
        world.until("its job is over", |world| world.github.done() == 1).await;
        let waited = time(&world, "the other is at work", |w| w.github.running() == 1).await;
        assert!(waited <= SOON, "{fate:?}: {waited} s");
        assert!(reason(&world.kit).contains(words), "{fate:?}: {}", reason(&world.kit));
    }
}

/// ARC#4603, where GitHub goes on listing the runner as idle: it must not count as one that will take a job.
#[tokio::test(start_paused = true)]
async fn a_job_counts_no_longer_on_an_idle_runner_that_says_that_its_job_is_done() {
    let input =
        StartInput { max_runners: Some(2), poll_interval: Some(5), ..StartInput::default() };
    let world = World::with(input);
    world.github.change(|state| state.fate = Some(Fate::StaysListed));
    world.github.queue("a", 1, 300);
    world.kit.start_autoscaler().await.unwrap();
    world.until("its job is over", |world| world.github.done() == 1).await;
    world.github.queue("a", 1, 30);
    let waited = time(&world, "the other is at work", |world| world.github.running() == 1).await;
    assert!(waited <= 30, "there is room for another: {waited} s");
}

/// actions/runner#4598: a runner's worker never began, the runner ended well, and its job was given to nobody
/// while GitHub waited for it.
#[tokio::test(start_paused = true)]
async fn a_job_whose_runner_deserted_is_served_when_github_gives_it_again_and_no_other_waits() {
    let world = with(Fate::Deserts, 30).await;
    world.github.queue("b", 1, 30);
    let waited = time(&world, "the other is done", |world| world.github.done() == 1).await;
    assert!(waited <= SOON + 30, "{waited} s");
    assert!(reason(&world.kit).contains("without having done its job"), "{}", reason(&world.kit));
    world.until("GitHub gives it again", |w| w.github.change(|s| !s.has_bound())).await;
    let waited = time(&world, "it is at work", |world| world.github.running() == 1).await;
    assert!(waited <= SOON, "{waited} s");
    world.until("it is done", |world| world.github.done() == 2).await;
    // One that waits for it is replaced each minute, since it might be the runner's fault.
    let launched = world.engine.launched().len();
    assert!(launched <= 14, "{launched} runners");
    world.pass(60).await;
    assert_eq!((world.containers().await, world.github.change(|s| s.runners.len())), (0, 0));
}

/// What GitHub lists is out of order for so many seconds, and then as it was.
async fn blip(world: &World, seconds: u64, shown: &[Registered]) {
    let before = world.github.change(|state| std::mem::replace(&mut state.runners, shown.into()));
    world.pass(seconds).await;
    world.github.change(|state| state.runners = before);
}

#[tokio::test(start_paused = true)]
async fn a_runner_at_work_that_github_does_not_see_for_minutes_does_its_job_and_counts_on_no_other()
{
    for listed in [true, false] {
        let world = World::new(2);
        world.github.queue("a", 1, 900);
        world.kit.start_autoscaler().await.unwrap();
        world.until("it is at work", |world| world.github.running() == 1).await;
        world.pass(130).await;
        let name = world.engine.launched()[0].clone();
        let offline = Registered { id: 1, name: name.clone(), online: false, busy: false };
        blip(&world, 400, if listed { std::slice::from_ref(&offline) } else { &[] }).await;
        assert!(first_is_there(&world).await, "{listed}");
        let warnings = world.kit.get_status().await.unwrap().warnings;
        let doubt = format!("{name} is in doubt since ");
        assert!(warnings.iter().any(|one| one.starts_with(&doubt)), "{warnings:?}");
        world.github.queue("a", 1, 5);
        world.until("the other is done", |world| world.github.done() == 1).await;
        world.until("so is it", |world| world.github.done() == 2).await;
        assert_eq!(world.engine.launched().len(), 2);
        world.pass(130).await;
        assert_eq!(world.containers().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_word_of_a_runner_that_it_works_is_believed_as_long_as_github_waits_for_its_job() {
    let world = World::new(1);
    world.github.queue("a", 1, 7_200);
    world.kit.start_autoscaler().await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    world.github.queue("a", 1, 30);
    world.pass(20).await;
    world.github.change(|state| state.runners.clear());
    let gone = |world: &World| world.engine.launched().len() == 2;
    let waited = time(&world, "it is replaced", gone).await;
    assert!((600..=600 + 30).contains(&waited), "{waited} s");
}

/// actions/runner#4617: and while GitHub calls a runner busy, nobody else's word counts.
#[tokio::test(start_paused = true)]
async fn a_runner_that_github_calls_busy_is_never_touched_whatever_its_log_says() {
    for words in [
        "Listening for Jobs",
        "Job build completed with result: Succeeded",
        "Runner connect error: no route. Retrying until reconnected.",
        "Runner listener exit with 0 return code, stop the service, no retry needed.",
    ] {
        let world = World::new(1);
        world.github.queue("a", 2, 2_000);
        world.kit.start_autoscaler().await.unwrap();
        world.until("it is at work", |world| world.github.running() == 1).await;
        let name = world.engine.launched()[0].clone();
        world.github.print(&name, words);
        // Not even when it is seen for the first time.
        world.kit.stop_autoscaler().await.unwrap();
        let kit = world.restarted();
        kit.start_autoscaler().await.unwrap();
        world.pass(900).await;
        assert!(first_is_there(&world).await, "{words}");
        let runners = kit.subscribe().borrow().runners.clone();
        assert_eq!((runners[0].phase, runners[0].lost_since), (Phase::Busy, None), "{words}");
    }
}

/// A log that lies: a runner that GitHub does not see and that says that its job is done is ended only when
/// GitHub agrees.
#[tokio::test(start_paused = true)]
async fn a_runner_that_lies_about_its_job_is_not_ended_while_github_gives_it_one() {
    let world = World::new(1);
    world.kit.start_autoscaler().await.unwrap();
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    world.pass(10).await;
    let name = world.engine.launched()[0].clone();
    world.github.print(&name, "Job build completed with result: Succeeded");
    world.github.change(|state| {
        state.runners.iter_mut().for_each(|runner| runner.online = false);
        state.late_job = Some(100);
    });
    let tried = |world: &World| world.github.change(|state| state.late_job.is_none());
    let waited = time(&world, "it is to go", tried).await;
    assert!(waited <= SOON, "{waited} s");
    world.until("it does its job", |world| world.github.done() == 1).await;
    assert_eq!(world.github.workers(), [name]);
}
