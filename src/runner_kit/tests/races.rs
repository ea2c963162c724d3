//! What happens at the same time, in the order that does the most harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::world::{World, repo};
use crate::adapters::memory::MemoryEngine;
use crate::error::{Code, Error, Result};
use crate::lifecycle::Parts;
use crate::model::{Container, Ended, Inspection, Phase, Runner, Usage};
use crate::plan::Removal;
use crate::ports::{Engine, Host, Launch, Report};
use crate::runner_kit::RunnerKit;
use crate::snapshot::EventKind;
use crate::views::{Mode, ProvisionedRunner};

pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Somebody asks for a runner for every queued job.
fn ask_for_all(world: &World) -> JoinHandle<Result<Vec<ProvisionedRunner>>> {
    let kit = world.kit.clone();
    tokio::spawn(async move { kit.provision(None).await })
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_look_when_the_autoscaler_is_stopped_is_told_so() {
    let world = World::new(2);
    world.github.change(|state| state.gated = true);
    world.kit.start_autoscaler().await.unwrap();
    let kit = world.kit.clone();
    let asked = tokio::spawn(async move { kit.provision(None).await });
    settle().await;
    world.kit.stop_autoscaler().await.unwrap();
    settle().await;
    assert!(asked.is_finished(), "it would wait for ever");
    assert!(asked.await.unwrap().unwrap_err().message.contains("stopped"));
}

#[tokio::test(start_paused = true)]
async fn runners_can_be_provisioned_after_a_stop() {
    let world = World::new(9);
    world.kit.start_autoscaler().await.unwrap();
    world.kit.stop_autoscaler().await.unwrap();
    for _ in 0..9 {
        world.kit.provision(Some(&repo("a"))).await.unwrap();
    }
    assert_eq!(world.live().await, 9);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_comes_back_together_with_a_stop_launches_nothing_after_it() {
    // Which of the two is heard first is a matter of chance.
    for _ in 0..40 {
        let world = World::new(2);
        world.github.queue("a", 2, 5);
        world.github.change(|state| state.gated = true);
        world.kit.start_autoscaler().await.unwrap();
        settle().await;
        world.github.gate.notify_one();
        let kit = world.kit.clone();
        tokio::spawn(async move { kit.stop_autoscaler().await }).await.unwrap().unwrap();
        world.pass(5).await;
        let last = world.kit.subscribe().borrow().events.back().cloned().unwrap();
        assert_eq!((last.kind, last.message.starts_with("stopped")), (EventKind::Loop, true));
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_all_jobs_while_a_look_is_under_way_is_answered_by_the_next() {
    let world = World::new(4);
    world.github.change(|state| state.gated = true);
    let first = ask_for_all(&world);
    settle().await;
    let second = ask_for_all(&world);
    settle().await;
    world.github.gate.notify_one();
    settle().await;
    assert!(first.is_finished() && !second.is_finished(), "that look may not show its jobs");
    world.github.gate.notify_one();
    settle().await;
    assert!(second.is_finished());
}

#[tokio::test(start_paused = true)]
async fn while_the_autoscaler_is_off_a_look_that_nobody_asked_for_launches_nothing() {
    let world = World::new(4);
    world.github.change(|state| state.gated = true);
    let first = ask_for_all(&world);
    settle().await;
    let second = ask_for_all(&world);
    settle().await;
    // Who asks while a pass is under way gets one that began after that.
    world.github.gate.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), []);
    world.github.gate.notify_one();
    assert_eq!(second.await.unwrap().unwrap(), []);
    world.github.queue("a", 1, 5);
    world.github.gate.notify_one();
    world.pass(5).await;
    assert_eq!(world.engine.launched().len(), 0, "the autoscaler is off and nobody asked for it");
}

/// An engine whose listings can be held back after they were made, as on a busy host.
pub(super) struct LateEngine {
    inner: Arc<MemoryEngine>,
    holds_listing: AtomicBool,
    holds_launch: AtomicBool,
    breaks_launch: AtomicBool,
    breaks_listing: AtomicBool,
    holds_stop: AtomicBool,
    /// Whether its disk is nearly full.
    pub(super) full: AtomicBool,
    /// How often its containers were asked for.
    listings: AtomicUsize,
    pub(super) release: Notify,
    held: AtomicBool,
    /// How many measurements there were, are under way, and were at once at most.
    pub(super) measured: AtomicUsize,
    measuring: AtomicUsize,
    pub(super) most_measuring: AtomicUsize,
}

impl LateEngine {
    pub(super) fn beside(world: &World) -> (Arc<Self>, RunnerKit) {
        let late = Arc::new(Self {
            inner: world.engine.clone(),
            holds_listing: AtomicBool::new(false),
            holds_launch: AtomicBool::new(false),
            breaks_launch: AtomicBool::new(false),
            breaks_listing: AtomicBool::new(false),
            holds_stop: AtomicBool::new(false),
            full: AtomicBool::new(false),
            listings: AtomicUsize::new(0),
            release: Notify::new(),
            held: AtomicBool::new(false),
            measured: AtomicUsize::new(0),
            measuring: AtomicUsize::new(0),
            most_measuring: AtomicUsize::new(0),
        });
        let Parts { source, registrar, history, leftovers, clock, .. } = world.parts.clone();
        let mut parts = Parts::new(source, registrar, late.clone(), history, clock);
        parts.leftovers = leftovers;
        let config = world.kit.config().clone();
        (late, RunnerKit::from_parts(config, parts, Mode::InProcess))
    }

    /// Holds the next launch back.
    pub(super) fn hold_launch(&self) {
        self.holds_launch.store(true, Ordering::SeqCst);
    }

    /// Holds the next end of a process back.
    pub(super) fn hold_stop(&self) {
        self.holds_stop.store(true, Ordering::SeqCst);
    }

    /// Whether something is held back.
    pub(super) fn is_holding(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    async fn wait_if(&self, held: &AtomicBool) {
        if held.swap(false, Ordering::SeqCst) {
            self.held.store(true, Ordering::SeqCst);
            self.release.notified().await;
        }
    }
}

#[async_trait]
impl Engine for LateEngine {
    async fn host(&self) -> Result<Host> {
        self.inner.host().await
    }

    async fn prepare(&self, report: Report<'_>) -> Result<()> {
        if self.full.load(Ordering::SeqCst) {
            let message = "Container failed to start: the disk is full.";
            return Err(Error::new(Code::ContainerFailed, message, "Free some."));
        }
        self.inner.prepare(report).await
    }

    async fn tidy(&self, report: Report<'_>) -> Vec<String> {
        if self.full.load(Ordering::SeqCst) {
            report("removed an image");
            return vec!["Nothing is launched: the disk is full.".to_owned()];
        }
        Vec::new()
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        assert!(!self.breaks_listing.swap(false, Ordering::SeqCst), "on purpose");
        let listed = self.inner.containers().await;
        self.wait_if(&self.holds_listing).await;
        listed
    }

    async fn launch(&self, launch: &Launch) -> Result<String> {
        self.wait_if(&self.holds_launch).await;
        assert!(!self.breaks_launch.swap(false, Ordering::SeqCst), "on purpose");
        self.inner.launch(launch).await
    }

    async fn stop(&self, container: &Container) -> Result<Ended> {
        self.wait_if(&self.holds_stop).await;
        self.inner.stop(container).await
    }

    async fn remove(&self, container: &Container) -> Result<()> {
        self.inner.remove(container).await
    }

    async fn inspect(&self, id: &str) -> Result<Inspection> {
        self.inner.inspect(id).await
    }

    async fn usage(&self, id: &str) -> Result<Usage> {
        self.measured.fetch_add(1, Ordering::SeqCst);
        let measuring = self.measuring.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_measuring.fetch_max(measuring, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.measuring.fetch_sub(1, Ordering::SeqCst);
        self.inner.usage(id).await
    }

    async fn logs(&self, id: &str, lines: usize) -> Result<String> {
        self.inner.logs(id, lines).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_comes_late_does_not_make_room_beyond_the_bound() {
    let world = World::new(1);
    let (late, kit) = LateEngine::beside(&world);
    late.holds_listing.store(true, Ordering::SeqCst);
    // The first listing is empty and held back; two more are made after the only launch.
    let asking = kit.clone();
    let first = tokio::spawn(async move { asking.provision(Some(&repo("a"))).await });
    settle().await;
    kit.provision(Some(&repo("a"))).await.unwrap();
    assert_eq!(kit.provision(Some(&repo("a"))).await.unwrap_err().code, Code::AtCapacity);
    late.release.notify_one();
    assert_eq!(first.await.unwrap().unwrap_err().code, Code::AtCapacity);
    assert_eq!(world.live().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_during_a_stop_is_not_told_that_the_autoscaler_runs() {
    let world = World::new(1);
    let (late, kit) = LateEngine::beside(&world);
    late.holds_launch.store(true, Ordering::SeqCst);
    world.github.queue("a", 1, 5);
    kit.start_autoscaler().await.unwrap();
    settle().await;
    let stopping = kit.clone();
    let stopped = tokio::spawn(async move { stopping.stop_autoscaler().await });
    settle().await;
    assert!(kit.start_autoscaler().await.is_err(), "it would end a moment later");
    late.release.notify_one();
    assert!(stopped.await.unwrap().unwrap().changed);
    assert!(kit.start_autoscaler().await.unwrap().changed);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_answered_in_time_also_when_the_engine_hangs() {
    let world = World::new(1);
    world.github.queue("a", 1, 600);
    world.kit.start_autoscaler().await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    world.pass(10).await;
    world.engine.set_hanging(true);
    let begun = tokio::time::Instant::now();
    let stopped = world.kit.stop_autoscaler().await.unwrap();
    assert!(begun.elapsed().as_secs() <= 10, "{:?}", begun.elapsed());
    assert_eq!((stopped.changed, stopped.runners_left), (true, 1));
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_breaks_off_in_a_bug_is_told_and_takes_no_room() {
    let world = World::new(1);
    let (late, kit) = LateEngine::beside(&world);
    late.breaks_launch.store(true, Ordering::SeqCst);
    assert_eq!(kit.provision(Some(&repo("a"))).await.unwrap_err().code, Code::Internal);
    kit.provision(Some(&repo("a"))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_breaks_off_in_a_bug_is_told_and_the_next_finds_what_waits() {
    let world = World::new(1);
    world.github.change(|state| state.breaks = true);
    world.github.queue("a", 1, 5);
    world.kit.start_unchecked().await.unwrap();
    settle().await;
    let error = world.kit.get_status().await.unwrap().last_error.unwrap();
    assert_eq!((error.code, error.message.contains("A pass failed")), (Code::Internal, true));
    world.until("it is done", |world| world.github.done() == 1).await;
    assert_eq!(world.kit.get_status().await.unwrap().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_breaks_off_in_a_bug_is_told_and_the_next_sees_what_there_is() {
    let world = World::new(1);
    let (engine, kit) = LateEngine::beside(&world);
    engine.breaks_listing.store(true, Ordering::SeqCst);
    kit.start_unchecked().await.unwrap();
    settle().await;
    let told = kit.subscribe().borrow().events.clone();
    assert!(told.iter().any(|event| event.message.contains("A look failed")), "{told:?}");
    world.github.queue("a", 1, 5);
    world.until("it is done", |world| world.github.done() == 1).await;
    assert_eq!(kit.get_status().await.unwrap().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_asked_ever_more_seldom() {
    let world = World::new(1);
    let (engine, kit) = LateEngine::beside(&world);
    kit.start_autoscaler().await.unwrap();
    world.pass(1).await;
    world.engine.set_reachable(false);
    let asked = || engine.listings.load(Ordering::SeqCst);
    let before = asked();
    world.pass(600).await;
    assert!((5..=20).contains(&(asked() - before)), "{} times", asked() - before);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_an_old_list_does_not_show_is_asked_for_before_it_is_removed() {
    let world = World::new(1);
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    world.pass(10).await;
    let container = world.parts.engine.containers().await.unwrap().remove(0);
    world.github.change(|state| state.runners[0].busy = true);
    let runner = Runner {
        // As with a token: GitHub's id is not known.
        container: Container { runner_id: None, ..container },
        registered: None,
        certain: true,
        phase: Phase::Starting,
        since: world.github.now(),
        lost_since: None,
        heartbeat: None,
        at_work_until: None,
        spent_at: None,
        job: None,
    };
    let removed = world.parts.remove(&runner, Removal::NeverOnline, false).await;
    assert_eq!((removed.unwrap(), world.live().await), (None, 1), "it has got a job meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_no_job_wait() {
    let world = World::new(2);
    let back = Arc::new(AtomicU64::new(0));
    let (seconds, clock) = (back.clone(), world.parts.clock.clone());
    let mut parts = world.parts.clone();
    parts.clock = Arc::new(move || clock() - Duration::from_secs(seconds.load(Ordering::Relaxed)));
    let kit = RunnerKit::from_parts(world.kit.config().clone(), parts, Mode::InProcess);
    world.github.change(|state| state.crash = Some(1));
    world.github.queue("a", 1, 5);
    kit.start_autoscaler().await.unwrap();
    world.until("a launch has failed", |world| !world.engine.launched().is_empty()).await;
    world.pass(2).await;
    back.store(3_600, Ordering::Relaxed);
    world.github.change(|state| state.crash = None);
    world.pass(300).await;
    assert_eq!(world.github.done(), 1, "not only when the clock is there again");
}

#[tokio::test(start_paused = true)]
async fn while_the_autoscaler_is_off_github_and_the_engine_are_asked_once_for_each_question() {
    let world = World::new(4);
    world.kit.provision(None).await.unwrap();
    world.pass(3_600).await;
    assert_eq!(world.github.change(|state| state.looks), 1);
    world.engine.set_reachable(false);
    assert!(world.kit.provision(None).await.is_err());
    let before = world.kit.subscribe().borrow().seen_at;
    world.engine.set_reachable(true);
    world.pass(3_600).await;
    assert_eq!(world.kit.subscribe().borrow().seen_at, before, "nobody looked again");
}
