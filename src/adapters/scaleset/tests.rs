//! Against the simulated GitHub, over TCP, on a clock that jumps from one deadline to the next.

mod lessons;
mod recovery;

use std::collections::HashMap;
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::adapters::github::{GithubClient, GithubRegistrar};
use crate::config::{ScopeKind, Sources, StartInput, load};
use crate::demand::Assigned;
use crate::model::{Labels, Origin};
use crate::simulator::{
    JobSpec, JobStatus, Options, RepoSpec, RunSpec, ScaleSetOptions, Simulator, Stage, TOKEN,
    runner,
};

const SET: &str = "pool";
const REPO: &str = "acme/api";

/// In the place of the loop.
struct Noted {
    /// All that the board said, each different from the one before.
    told: watch::Sender<Vec<Option<Assigned>>>,
    /// How many more runners can be started; none: nothing is decided.
    room: watch::Sender<Option<usize>>,
}

struct World {
    github: Simulator,
    config: RunnerConfig,
    registrar: Arc<dyn Registrar>,
    board: Arc<Board>,
    sets: Arc<ScaleSets>,
    noted: Arc<Noted>,
    loop_: JoinHandle<()>,
    _state: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.loop_.abort();
    }
}

impl World {
    async fn new() -> Self {
        Self::with(ScaleSetOptions::default(), |_| ()).await
    }

    async fn with(scale_sets: ScaleSetOptions, change: impl FnOnce(&mut RunnerConfig)) -> Self {
        let options = Options {
            scale_sets,
            // Hours of the simulator's time go by, and none of the client's wall clock.
            registration_token_lifetime: Duration::from_secs(24 * 3_600),
            ..Options::default()
        };
        let github = Simulator::start(options).await.unwrap();
        github.add_repo(RepoSpec::new(REPO));
        let state = TempDir::new().unwrap();
        let env = [
            ("HOME", "/nowhere".to_owned()),
            ("GITHUB_API_URL", github.api_url()),
            ("GITHUB_SERVER_URL", github.url()),
        ];
        let sources = Sources { env: env.into_iter().collect(), ..Sources::default() };
        let mut config = load(&sources, &StartInput::default()).unwrap().config;
        config.owner = Some("acme".to_owned());
        config.scope = ScopeKind::Org;
        config.scale_set = Some(SET.to_owned());
        config.max_runners = 100;
        config.state_dir = state.path().to_owned();
        config.runner_work_dir = state.path().join("work");
        change(&mut config);
        let client = GithubClient::new(&config, TOKEN.into()).unwrap();
        let registrar: Arc<dyn Registrar> = Arc::new(GithubRegistrar::new(client, &config));
        let noted = Noted { told: watch::Sender::default(), room: watch::Sender::new(Some(100)) };
        let (board, noted) = (Arc::new(Board::default()), Arc::new(noted));
        let sets = ScaleSets::new(&config, board.clone(), &registrar).unwrap().unwrap();
        let sets = Arc::new(sets);
        let loop_ = tokio::spawn(std::future::pending());
        Self { github, config, registrar, board, sets, noted, loop_, _state: state }
    }

    /// The same after a crash: what was in memory is gone.
    fn crash(&mut self) {
        self.loop_.abort();
        self.sets.running().take();
        self.board = Arc::new(Board::default());
        let sets = ScaleSets::new(&self.config, self.board.clone(), &self.registrar).unwrap();
        self.sets = Arc::new(sets.unwrap());
    }

    fn start(&mut self) {
        self.loop_.abort();
        let (sets, board, noted) = (self.sets.clone(), self.board.clone(), self.noted.clone());
        self.loop_ = tokio::spawn(decide(sets, board, noted));
    }

    /// The loop's end.
    async fn stop(&mut self) {
        self.loop_.abort();
        self.sets.stop().await;
        self.noted.told.send_modify(|told| told.push(self.board.assigned(self.scope())));
    }

    fn scope(&self) -> &Scope {
        self.sets.scopes.keys().next().unwrap()
    }

    async fn live(&mut self) {
        self.start();
        self.told(|last| last.is_some()).await;
    }

    /// Waits until the last that was told is such.
    async fn told(&self, is_so: impl Fn(Option<&Assigned>) -> bool) -> Option<Assigned> {
        let mut told = self.noted.told.subscribe();
        let such = told.wait_for(|told| told.last().is_some_and(|last| is_so(last.as_ref())));
        let told = timeout(Duration::from_secs(7_200), such).await;
        let Ok(told) = told else { panic!("never told; {:?}", self.sets.warnings()) };
        told.unwrap().last().cloned().flatten()
    }

    async fn queued(&self, jobs: usize) -> Assigned {
        let such = |last: Option<&Assigned>| last.is_some_and(|last| last.queued.len() == jobs);
        self.told(such).await.unwrap()
    }

    fn queue(&self, jobs: u32) -> u64 {
        let labelled = |job: JobSpec| job.labels([SET]).takes(Duration::from_secs(5));
        self.github.queue_run(REPO, RunSpec::new("ci").matrix("test", jobs, labelled)).unwrap()
    }

    fn set(&self) -> crate::simulator::ScaleSet {
        self.github.scale_set(SET).expect("there is a set")
    }

    fn runner(&self, name: &str) -> NewRunner {
        NewRunner {
            name: name.to_owned(),
            scope: self.scope().clone(),
            repo: None,
            labels: self.config.labels.clone(),
            origin: Origin::Queue,
            beside_sets: false,
        }
    }

    /// A runner of the set, which runs until it is done or dropped; its id.
    async fn launch(&self, name: &str) -> (u64, JoinHandle<i32>) {
        let registered = self.sets.register(&self.runner(name)).await.expect("a live session");
        let Registration::Jit { runner_id, config } = registered.unwrap() else { panic!() };
        let config = config.expose_secret().to_owned();
        let env = HashMap::from([("ACTIONS_RUNNER_INPUT_JITCONFIG", config)]);
        let env = move |name: &str| env.get(name).cloned();
        let run = runner::run_until(env, std::future::pending(), |_| ());
        (runner_id, tokio::spawn(run))
    }

    async fn acknowledged(&self, message: u64) {
        self.until(|world| world.set().acknowledged.contains(&message)).await;
    }

    /// Waits until it is so, for two hours of the simulated time at most.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let so = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(7_200), so).await.expect("it is so within two hours");
    }
}

/// Decides on whatever is told, as the loop does.
async fn decide(sets: Arc<ScaleSets>, board: Arc<Board>, noted: Arc<Noted>) {
    let mut room = noted.room.subscribe();
    let scope = sets.scopes.keys().next().unwrap().clone();
    loop {
        let revision = board.demand(chrono::Utc::now()).revision;
        noted.told.send_modify(|told| told.push(board.assigned(&scope)));
        if let Some(free) = *room.borrow_and_update() {
            sets.decided(&Decided { revision, free, ..Decided::default() });
        }
        tokio::select! {
            () = board.changed() => {}
            Ok(()) = room.changed() => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_comes_by_the_set_and_a_jit_runner_of_it_runs_it() {
    let mut world = World::new().await;
    world.live().await;
    let run = world.queue(1);
    let told = world.queued(1).await;
    assert_eq!((told.queued[0].run_id, told.queued[0].repo.as_str()), (run, REPO));
    assert_eq!(told.queued[0].labels, Labels::new([SET]));
    assert_eq!((told.more, told.labels.contains(SET)), (0, true));
    let (id, process) = world.launch("one").await;
    // The REST API lists it under the same id.
    let listed = world.registrar.registered(&Scope::org("acme")).await.unwrap();
    assert_eq!(listed.iter().map(|one| (one.id, &*one.name)).collect::<Vec<_>>(), [(id, "one")]);
    let told = world.told(|last| last.is_some_and(|last| !last.in_progress.is_empty())).await;
    assert_eq!(told.unwrap().in_progress[0].1.runner_name, "one");
    assert_eq!(process.await.unwrap(), 0);
    let nothing = |last: Option<&Assigned>| {
        last.is_some_and(|last| last.queued.is_empty() && last.in_progress.is_empty())
    };
    world.told(nothing).await;
    assert!(world.github.look(|state| state.is_all_done()));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_only_when_it_was_decided_upon_and_told_again_until_then() {
    let mut world = World::new().await;
    world.live().await;
    world.noted.room.send_replace(None);
    world.queue(1);
    world.queued(1).await;
    world.until(|world| world.set().delivered.len() > 1).await;
    let set = world.set();
    assert!(set.acknowledged.is_empty(), "{set:?}");
    assert!(set.delivered.starts_with(&[1, 1]), "{set:?}");
    assert_eq!(world.noted.told.borrow().last().cloned().flatten().unwrap().queued.len(), 1);
    world.noted.room.send_replace(Some(5));
    world.acknowledged(1).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_burst_fifty_jobs_are_named_and_the_rest_is_counted() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(80);
    let told = world.queued(50).await;
    assert_eq!((told.queued.len(), told.more), (50, 30));
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_are_assigned_than_there_is_room_for_and_more_room_is_told_at_once() {
    let mut world = World::new().await;
    world.noted.room.send_replace(Some(2));
    world.live().await;
    world.queue(5);
    world.queued(2).await;
    assert_eq!(world.set().jobs().count(), 2);
    world.acknowledged(1).await;
    // The next poll is under way by then, and would last for 50 seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    world.noted.room.send_replace(Some(5));
    world.queued(5).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "no poll was waited for");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_picks_up_is_taken_back_and_assigned_again() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(1);
    for _ in 0..2 {
        world.queued(1).await;
        world.queued(0).await;
    }
    world.queued(1).await;
    let (_, process) = world.launch("late").await;
    assert_eq!(process.await.unwrap(), 0);
    assert!(world.github.look(|state| state.is_all_done()));
}

#[tokio::test(start_paused = true)]
async fn offered_jobs_are_acquired_within_the_room_with_the_queues_token() {
    let options = ScaleSetOptions { offers: true, ..ScaleSetOptions::default() };
    let mut world = World::with(options, |_| ()).await;
    world.live().await;
    world.queue(3);
    assert_eq!(world.queued(3).await.more, 0);
    assert!(world.set().jobs().all(|(_, stage)| stage == Stage::Assigned));
}

/// ARC#4000: an idle runner was killed as its job arrived.
#[tokio::test(start_paused = true)]
async fn a_busy_runner_is_kept_and_one_that_is_gone_is_no_trouble() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(1);
    world.queued(1).await;
    let scope = Scope::org("acme");
    let (busy, _process) = world.launch("busy").await;
    world.github.wait_until(|state| state.count(JobStatus::InProgress) == 1).await;
    assert_eq!(world.sets.deregister(&scope, busy).await, Some(Deregistered::Busy));
    let idle = world.sets.register(&world.runner("idle")).await.unwrap().unwrap();
    let Registration::Jit { runner_id: idle, .. } = idle else { panic!() };
    // The second time it is for the others to know: it may have been registered beside the set.
    for done in [Some(Deregistered::Gone), None] {
        assert_eq!(world.sets.deregister(&scope, idle).await, done);
    }
    assert!(!world.github.runners().iter().any(|runner| runner.id == idle));
}

#[tokio::test(start_paused = true)]
async fn every_repository_that_is_named_has_a_set_of_its_own() {
    let mut world = World::with(ScaleSetOptions::default(), |config| {
        config.scope = ScopeKind::Repo;
        config.repos = vec![REPO.to_owned(), "acme/web".to_owned()];
    })
    .await;
    world.github.add_repo(RepoSpec::new("acme/web"));
    world.start();
    let scopes = [REPO, "acme/web"].map(|repo| Scope::Repo(repo.parse().unwrap()));
    let both = |_: Option<&Assigned>| scopes.iter().all(|scope| world.sets.is_live(scope));
    world.told(both).await;
    assert_eq!(world.github.scale_sets().len(), 2);
}
