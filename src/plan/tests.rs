//! Worlds made by a fluent builder; decisions compared as values.

use proptest::prelude::*;

use super::*;
use crate::error::{Code, Error};
use crate::model::{Container, JobRef, Registered, RepoDemand, RunningJob};
use crate::ports::NewRunner;

const T0: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn at(second: i64) -> DateTime<Utc> {
    T0 + TimeDelta::seconds(second)
}

fn repo(name: &str) -> Repo {
    format!("o/{name}").parse().unwrap()
}

#[derive(Debug)]
struct World {
    now: DateTime<Utc>,
    limits: Limits,
    demand: Option<Demand>,
    runners: Vec<Runner>,
    registered: BTreeMap<Scope, Vec<Registered>>,
    launching: Vec<NewRunner>,
    removing: BTreeSet<String>,
    backoff: BTreeMap<Repo, DateTime<Utc>>,
    paused: Option<&'static str>,
    asked: Vec<Ask>,
}

/// An hour after every job was queued and every runner created, with room for four runners.
fn world() -> World {
    World {
        now: at(3600),
        limits: Limits {
            max_runners: 4,
            max_per_repo: None,
            min_idle: 0,
            warm: vec![],
            idle_timeout: TimeDelta::seconds(300),
            job_timeout: None,
            labels: Labels::new(["self-hosted", "linux", "x64", "docker"]),
            filter_by_arch: true,
            name_prefix: "ipfs-".into(),
        },
        demand: Some(Demand { repos: vec![], unseen: BTreeMap::new(), rate_limit: None }),
        runners: vec![],
        registered: BTreeMap::new(),
        launching: vec![],
        removing: BTreeSet::new(),
        backoff: BTreeMap::new(),
        paused: None,
        asked: vec![],
    }
}

impl World {
    fn at(mut self, second: i64) -> Self {
        self.now = at(second);
        self
    }

    fn max(mut self, max_runners: usize) -> Self {
        self.limits.max_runners = max_runners;
        self
    }

    fn job(self, repo: &str, id: u64, queued: i64) -> Self {
        self.job_for(repo, id, queued, &["self-hosted"])
    }

    fn job_for(mut self, name: &str, id: u64, queued: i64, labels: &[&str]) -> Self {
        let repo = repo(name);
        let job = Job {
            id,
            run_id: id,
            scope: Scope::Repo(repo.clone()),
            repo: repo.clone(),
            name: "build".into(),
            url: String::new(),
            labels: Labels::new(labels),
            queued_at: at(queued),
        };
        let repos = &mut self.demand.as_mut().unwrap().repos;
        match repos.iter_mut().find(|demand| demand.repo == repo) {
            Some(demand) => demand.queued.push(job),
            None => repos.push(RepoDemand {
                repo,
                running: 0,
                failed: 0,
                pending: 1,
                queued: vec![job],
                in_progress: vec![],
            }),
        }
        self
    }

    fn runner(mut self, name: &str, repo_name: &str, phase: Phase) -> Self {
        let busy = phase == Phase::Busy;
        let registered =
            Registered { id: 7, name: name.into(), online: phase != Phase::Starting, busy };
        self.runners.push(Runner {
            container: Container {
                id: format!("id-{name}"),
                name: name.into(),
                scope: Scope::Repo(repo(repo_name)),
                repo: Some(repo(repo_name)),
                labels: self.limits.labels.clone(),
                created_at: self.now - TimeDelta::seconds(20),
                origin: Origin::Queue,
                runner_id: None,
                status: "running".into(),
                ended: phase == Phase::Exited,
            },
            registered: (phase != Phase::Starting).then_some(registered),
            certain: true,
            phase,
            since: self.now,
            lost_since: None,
            job: None,
        });
        self
    }

    fn last(mut self, change: impl FnOnce(&mut Runner)) -> Self {
        change(self.runners.last_mut().unwrap());
        self
    }

    fn view(&self) -> View<'_> {
        View {
            now: self.now,
            limits: &self.limits,
            demand: self.demand.as_ref(),
            runners: &self.runners,
            registered: &self.registered,
            launching: &self.launching,
            removing: &self.removing,
            backoff: &self.backoff,
            paused: self.paused,
            asked: &self.asked,
        }
    }

    fn plan(&self) -> Vec<Action> {
        plan(&self.view())
    }

    fn launched_jobs(&self) -> Vec<u64> {
        launched(&self.plan()).iter().filter_map(|order| order.job).collect()
    }

    fn removals(&self) -> Vec<(String, Removal)> {
        removals(&self.plan())
    }

    fn why_held(&self, job: u64) -> String {
        let held = |action: Action| match action {
            Action::Hold { job: id, why } if id == job => Some(why.to_string()),
            _ => None,
        };
        self.plan().into_iter().find_map(held).unwrap()
    }
}

fn launched(actions: &[Action]) -> Vec<&Order> {
    let mut orders = Vec::new();
    for action in actions {
        if let Action::Launch(order) = action {
            orders.push(order);
        }
    }
    orders
}

fn removals(actions: &[Action]) -> Vec<(String, Removal)> {
    let removal = |action: &Action| match action {
        Action::Remove { name, why } => Some((name.clone(), *why)),
        _ => None,
    };
    actions.iter().filter_map(removal).collect()
}

#[test]
fn nothing_waits_and_nothing_happens() {
    assert_eq!(world().plan(), vec![]);
}

#[test]
fn each_queued_job_gets_a_runner_with_our_labels_in_its_repository() {
    let actions = world().job_for("a", 1, 0, &["Self-Hosted", "X64"]).plan();
    let order = Order {
        scope: Scope::Repo(repo("a")),
        repo: Some(repo("a")),
        labels: world().limits.labels,
        origin: Origin::Queue,
        job: Some(1),
    };
    assert_eq!(actions, vec![Action::Launch(order)]);
}

#[test]
fn the_oldest_jobs_are_served_first_when_there_is_not_room_for_all() {
    let world = world().max(2).job("a", 1, 30).job("a", 2, 10).job("a", 3, 20);
    assert_eq!(world.launched_jobs(), [2, 3]);
    assert_eq!(world.why_held(1), "max_runners is 2 and no more may run");
}

#[test]
fn repositories_share_the_room_fairly_however_long_their_queues_are() {
    let mut world = world().max(4).job("small", 100, 50);
    for id in 0..10 {
        world = world.job("big", id, id as i64);
    }
    assert_eq!(world.launched_jobs(), [0, 100, 1, 2]);
    let crowded = world.runner("r1", "big", Phase::Busy).runner("r2", "big", Phase::Busy);
    assert_eq!(crowded.launched_jobs(), [100, 0]);
}

#[test]
fn starting_and_idle_runners_take_jobs_before_new_ones_are_launched() {
    let world = world().job("a", 1, 0).job("a", 2, 1).job("a", 3, 2);
    let world = world.runner("r1", "a", Phase::Starting).runner("r2", "a", Phase::Idle);
    assert_eq!(world.launched_jobs(), [3]);
    assert_eq!(world.why_held(1), "runner r2 is about to take it");
}

#[test]
fn a_runner_of_another_repository_or_a_busy_one_covers_nothing() {
    let world =
        world().job("a", 1, 0).runner("r1", "b", Phase::Starting).runner("r2", "a", Phase::Busy);
    assert_eq!(world.launched_jobs(), [1]);
}

#[test]
fn a_launch_that_is_under_way_counts_as_a_runner_once() {
    let mut world = world().job("a", 1, 0).runner("r1", "a", Phase::Starting);
    world.launching = ["r1", "r2"]
        .map(|name| NewRunner {
            name: name.into(),
            scope: Scope::Repo(repo("a")),
            repo: Some(repo("a")),
            labels: world.limits.labels.clone(),
            origin: Origin::Queue,
        })
        .into();
    assert_eq!(world.view().used(), 2);
    assert_eq!(world.job("a", 2, 1).job("a", 3, 2).launched_jobs(), [3]);
}

#[test]
fn a_runner_that_has_ended_takes_no_room_and_is_cleaned_up() {
    let world = world().max(1).job("a", 1, 0).runner("r1", "a", Phase::Exited);
    assert_eq!(world.launched_jobs(), [1]);
    assert_eq!(world.removals(), [("r1".into(), Removal::Finished)]);
}

#[test]
fn max_per_repo_bounds_one_repository_and_says_so() {
    let mut world = world().job("a", 1, 0).job("a", 2, 1).job("b", 3, 2);
    world.limits.max_per_repo = Some(1);
    assert_eq!(world.launched_jobs(), [1, 3]);
    assert_eq!(world.why_held(2), "max_per_repo is 1 and its repository has as many runners");
}

#[test]
fn with_no_room_at_all_every_job_is_told_why() {
    let world = world().max(0).job("a", 1, 0);
    assert_eq!(world.launched_jobs(), [0u64; 0]);
    assert!(world.why_held(1).contains("max_runners"));
}

#[test]
fn a_job_that_asks_for_more_than_we_have_is_held_with_the_missing_labels() {
    let world = world().job_for("a", 1, 0, &["self-hosted", "gpu"]);
    assert_eq!(world.launched_jobs(), [0u64; 0]);
    assert_eq!(world.why_held(1), "no runner here has the labels gpu");
}

#[test]
fn a_hosted_job_is_none_of_our_business() {
    assert_eq!(world().job_for("a", 1, 0, &["ubuntu-latest"]).plan(), vec![]);
}

#[test]
fn another_architecture_is_served_only_when_the_filter_is_off_and_then_by_a_runner_with_its_label()
{
    let mut world = world().job_for("a", 1, 0, &["self-hosted", "arm64"]);
    assert_eq!(world.why_held(1), "no runner here has the labels arm64");
    world.limits.filter_by_arch = false;
    let actions = world.plan();
    assert!(launched(&actions)[0].labels.contains("arm64"));
    // An ordinary runner is no cover for it.
    assert_eq!(world.runner("r1", "a", Phase::Idle).launched_jobs(), [1]);
}

#[test]
fn a_repository_whose_launches_failed_is_left_alone_until_its_time() {
    let mut world = world().job("a", 1, 0).job("b", 2, 0);
    world.backoff.insert(repo("a"), at(3660));
    assert_eq!(world.launched_jobs(), [2]);
    assert_eq!(world.why_held(1), "launches for its repository failed; next try at 01:01:00Z");
    assert_eq!(world.at(3660).launched_jobs(), [1, 2]);
}

#[test]
fn nothing_is_launched_while_launches_are_paused() {
    let mut world = world().job("a", 1, 0);
    world.paused = Some("the image is missing");
    assert_eq!(world.why_held(1), "the image is missing");
}

#[test]
fn an_idle_runner_goes_when_its_job_was_cancelled_but_not_at_once() {
    let world = world().runner("r1", "a", Phase::Idle).last(|r| r.since = at(3595));
    assert_eq!(world.removals(), []);
    assert_eq!(world.at(3605).removals(), [("r1".into(), Removal::Surplus)]);
}

#[test]
fn a_runner_provisioned_by_hand_stays_until_idle_timeout() {
    let by_hand = |since| {
        world()
            .runner("r1", "a", Phase::Idle)
            .last(|r| (r.container.origin, r.since) = (Origin::Manual, at(since)))
    };
    assert_eq!(by_hand(3301).removals(), []);
    assert_eq!(by_hand(3300).removals(), [("r1".into(), Removal::Surplus)]);
}

#[test]
fn no_runner_is_retired_when_the_demand_of_its_repository_was_not_seen() {
    let mut world = world().runner("r1", "a", Phase::Idle).last(|r| r.since = at(0));
    let outage = Error::new(Code::GithubUnreachable, "down", "wait");
    world.demand.as_mut().unwrap().unseen.insert(repo("a"), outage);
    assert_eq!(world.removals(), []);
    world.demand = None;
    assert_eq!(world.removals(), []);
}

#[test]
fn a_runner_that_never_came_online_is_removed_and_one_that_still_may_is_not() {
    let started = |second| {
        world().runner("r1", "a", Phase::Starting).last(|r| r.container.created_at = at(second))
    };
    assert_eq!(started(3421).removals(), []);
    assert_eq!(started(3420).removals(), [("r1".into(), Removal::NeverOnline)]);
}

#[test]
fn a_runner_that_github_dropped_stops_counting_and_is_replaced() {
    let lost = |second| {
        world()
            .job("a", 1, 0)
            .runner("r1", "a", Phase::Idle)
            .last(|r| r.lost_since = Some(at(second)))
    };
    assert_eq!((lost(3590).removals(), lost(3590).launched_jobs()), (vec![], vec![1]));
    assert_eq!(lost(3540).removals(), [("r1".into(), Removal::Lost)]);
}

#[test]
fn a_runner_that_stays_idle_while_its_jobs_wait_is_replaced() {
    let deaf = world().job("a", 1, 0).runner("r1", "a", Phase::Idle).last(|r| r.since = at(3500));
    assert_eq!(
        (deaf.removals(), deaf.launched_jobs()),
        (vec![("r1".into(), Removal::Deaf)], vec![1])
    );
    let fresh_job =
        world().job("a", 1, 3590).runner("r1", "a", Phase::Idle).last(|r| r.since = at(3500));
    assert_eq!(fresh_job.removals(), []);
}

#[test]
fn a_busy_runner_is_removed_only_beyond_job_timeout() {
    let job = JobRef { id: 1, run_id: 1, name: "b".into(), url: String::new() };
    let running = RunningJob { job, runner_name: "r1".into(), started_at: Some(at(0)) };
    let mut world = world().runner("r1", "a", Phase::Busy).last(|r| r.job = Some(running));
    assert_eq!(world.removals(), []);
    world.limits.job_timeout = Some(TimeDelta::seconds(3599));
    assert_eq!(world.removals(), [("r1".into(), Removal::Overtime)]);
}

#[test]
fn dead_registrations_of_ours_are_forgotten_and_nobody_elses() {
    let mut world = world().runner("ipfs-alive", "a", Phase::Starting);
    let named = |id, name: &str, online, busy| Registered { id, name: name.into(), online, busy };
    world.registered.insert(
        Scope::Repo(repo("a")),
        vec![
            named(1, "ipfs-dead", false, false),
            named(2, "ipfs-alive", false, false),
            named(3, "ipfs-online", true, false),
            named(4, "ipfs-busy", false, true),
            named(5, "somebody-elses", false, false),
            named(6, "ipfs-removing", false, false),
        ],
    );
    world.removing.insert("ipfs-removing".into());
    let forget = Action::Forget { scope: Scope::Repo(repo("a")), id: 1, name: "ipfs-dead".into() };
    assert_eq!(world.plan(), vec![forget]);
}

#[test]
fn what_is_asked_by_hand_is_launched_within_the_bound_and_refused_beyond_it() {
    let mut world = world().max(1);
    let ask = Ask { scope: Scope::Repo(repo("a")), repo: repo("a") };
    world.asked = vec![ask.clone(), ask.clone()];
    let actions = world.plan();
    assert_eq!(launched(&actions)[0].origin, Origin::Manual);
    assert_eq!(actions[1], Action::Refuse { ask, why: Held::AtCapacity { max: 1 } });
}

#[test]
fn warm_runners_are_kept_ready_beside_those_that_jobs_will_take() {
    let mut world = world().job("a", 1, 0).runner("r1", "a", Phase::Idle);
    world.limits.min_idle = 2;
    world.limits.warm = vec![Scope::Repo(repo("a"))];
    let actions = world.plan();
    assert_eq!(
        launched(&actions).iter().map(|o| o.origin).collect::<Vec<_>>(),
        [Origin::Warm, Origin::Warm]
    );
    let ready = world.runner("r2", "a", Phase::Idle).runner("r3", "a", Phase::Idle);
    assert!(launched(&ready.plan()).is_empty());
}

#[test]
fn of_more_warm_runners_than_needed_the_longest_idle_goes() {
    let mut world = world().runner("r1", "a", Phase::Idle).last(|r| r.since = at(3590));
    world = world.runner("r2", "a", Phase::Idle).last(|r| r.since = at(3580));
    world.limits.min_idle = 1;
    world.limits.warm = vec![Scope::Repo(repo("a"))];
    assert_eq!(world.removals(), [("r2".into(), Removal::Surplus)]);
}

prop_compose! {
    fn any_runner()(
        id in 0u32..40, home in 0usize..4, phase in 0usize..4, certain: bool, age in 0i64..400,
        idle in 0i64..400, lost in proptest::option::of(0i64..400), origin in 0usize..3,
    ) -> (u32, usize, Phase, bool, i64, i64, Option<i64>, Origin) {
        let phase = [Phase::Starting, Phase::Idle, Phase::Busy, Phase::Exited][phase];
        let origin = [Origin::Queue, Origin::Manual, Origin::Warm][origin];
        (id, home, phase, certain, age, idle, lost, origin)
    }
}

prop_compose! {
    fn any_world()(
        max in 0usize..8, per_repo in proptest::option::of(0usize..4), min_idle in 0usize..3,
        jobs in proptest::collection::vec((0usize..4, 0i64..3600, 0usize..4), 0..30),
        runners in proptest::collection::vec(any_runner(), 0..12),
        launching in 0usize..4, asked in 0usize..4, blind: bool, unseen: bool,
    ) -> World {
        const REPOS: [&str; 4] = ["a", "b", "c", "d"];
        const LABELS: [&[&str]; 4] = [&["self-hosted"], &["self-hosted", "x64"], &["gpu"], &["ubuntu-latest"]];
        let mut world = world().max(max);
        world.limits.max_per_repo = per_repo;
        world.limits.min_idle = min_idle;
        world.limits.warm = vec![Scope::Repo(repo("a"))];
        for (index, (home, queued, labels)) in jobs.into_iter().enumerate() {
            world = world.job_for(REPOS[home], index as u64, queued, LABELS[labels]);
        }
        for (id, home, phase, certain, age, idle, lost, origin) in runners {
            let name = format!("ipfs-{id}");
            if world.runners.iter().any(|runner| runner.container.name == name) {
                continue;
            }
            world = world.runner(&name, REPOS[home], phase).last(|r| {
                r.certain = certain;
                r.container.created_at = at(3600 - age);
                r.since = at(3600 - idle);
                r.lost_since = lost.map(|second| at(3600 - second));
                r.container.origin = origin;
            });
        }
        for index in 0..launching {
            world.launching.push(new_runner(&world, &format!("ipfs-{index}"), "a"));
        }
        world.asked = (0..asked).map(|_| Ask { scope: Scope::Repo(repo("b")), repo: repo("b") }).collect();
        if unseen {
            world.demand.as_mut().unwrap().repos.retain(|demand| demand.repo != repo("a"));
            world.demand.as_mut().unwrap().unseen.insert(repo("a"), Error::internal("x", "y"));
        }
        if blind {
            world.demand = None;
        }
        world
    }
}

fn new_runner(world: &World, name: &str, home: &str) -> NewRunner {
    NewRunner {
        name: name.into(),
        scope: Scope::Repo(repo(home)),
        repo: Some(repo(home)),
        labels: world.limits.labels.clone(),
        origin: Origin::Queue,
    }
}

proptest! {
    #[test]
    fn the_bound_is_never_exceeded_whatever_the_input(world in any_world()) {
        let actions = world.plan();
        let launches = launched(&actions);
        let used = world.view().used();
        prop_assert!(launches.is_empty() || used + launches.len() <= world.limits.max_runners);
        if let Some(max) = world.limits.max_per_repo {
            for name in ["a", "b", "c", "d"] {
                let new = launches.iter().filter(|order| order.repo == Some(repo(name))).count();
                let live = world.runners.iter().filter(|r| r.phase != Phase::Exited && r.container.repo == Some(repo(name))).count();
                prop_assert!(new == 0 || new + live <= max);
            }
        }
    }

    #[test]
    fn planning_again_after_the_launches_were_accepted_launches_nothing_more(mut world in any_world()) {
        let orders: Vec<Order> = launched(&world.plan()).into_iter().cloned().collect();
        for (index, order) in orders.into_iter().enumerate() {
            let Order { scope, repo, labels, origin, .. } = order;
            world.launching.push(NewRunner { name: format!("new-{index}"), scope, repo, labels, origin });
        }
        world.asked.clear();
        prop_assert!(launched(&world.plan()).is_empty());
    }

    #[test]
    fn a_busy_runner_is_never_retired(world in any_world()) {
        for (name, _) in world.removals() {
            let runner = world.runners.iter().find(|runner| runner.container.name == name).unwrap();
            let busy = runner.registered.as_ref().is_some_and(|registered| registered.busy);
            prop_assert!(runner.phase == Phase::Exited || !busy);
        }
    }

    #[test]
    fn what_was_not_seen_is_not_acted_upon(world in any_world()) {
        let actions = world.plan();
        if world.demand.is_none() {
            prop_assert!(launched(&actions).iter().all(|order| order.job.is_none()));
        }
        for (name, why) in removals(&actions) {
            let runner = world.runners.iter().find(|runner| runner.container.name == name).unwrap();
            prop_assert!(why == Removal::Finished || runner.certain);
            let seen = world.demand.as_ref().is_some_and(|demand| demand.has_seen(&runner.container.scope));
            prop_assert!(seen || !matches!(why, Removal::Surplus | Removal::Deaf));
        }
    }

    #[test]
    fn every_job_that_is_ours_to_serve_is_launched_for_or_told_why_not_exactly_once(world in any_world()) {
        let actions = world.plan();
        let Some(demand) = &world.demand else { return Ok(()) };
        for job in demand.jobs().filter(|job| !is_hosted(&job.labels)) {
            let named = |action: &&Action| match action {
                Action::Launch(order) => order.job == Some(job.id),
                Action::Hold { job: id, .. } => *id == job.id,
                _ => false,
            };
            prop_assert_eq!(actions.iter().filter(named).count(), 1);
        }
    }
}
