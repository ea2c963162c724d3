//! What is told between two passes, and acted upon at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;

use super::races::settle;
use super::world::{Github, World, repo};
use crate::config::StartInput;
use crate::demand::{Assigned, Board, Heard, JobState, Watched};
use crate::error::{Code, Error, Result};
use crate::lifecycle::Parts;
use crate::model::{Demand, Job, JobRef, Labels, RunningJob, Scope};
use crate::ports::{Decided, DemandSource};
use crate::runner_kit::RunnerKit;
use crate::views::Mode;

/// A GitHub whose polls, and whoever else tells of jobs, write on a board.
pub(super) struct Boarded {
    github: Arc<Github>,
    pub(super) board: Arc<Board>,
    decided: Mutex<Vec<Option<Decided>>>,
}

#[async_trait]
impl DemandSource for Boarded {
    async fn demand(&self) -> Result<Demand> {
        let began = self.github.now();
        let polled = self.github.demand().await;
        self.board.blind(polled.as_ref().err().cloned());
        let repos: Vec<_> = polled?.repos;
        let watched = ["a", "b"].map(repo).into();
        let (lost, unlisted) = Default::default();
        self.board.watch(Watched { repos: watched, lost, unlisted, at: began });
        for name in ["a", "b"].map(repo) {
            let nothing = || crate::model::RepoDemand {
                repo: name.clone(),
                running: 0,
                failed: 0,
                pending: 0,
                queued: vec![],
                in_progress: vec![],
            };
            let seen = repos.iter().find(|seen| seen.repo == name).cloned();
            self.board.saw(&name, Ok(seen.unwrap_or_else(nothing)), began);
        }
        Ok(self.board.demand(self.github.now()))
    }

    fn known(&self) -> Option<Demand> {
        Some(self.board.demand(self.github.now()))
    }

    async fn changed(&self) {
        self.board.changed().await;
    }

    fn decided(&self, decided: &Decided) {
        self.decided.lock().unwrap().push(Some(decided.clone()));
    }

    async fn rest(&self) {
        self.decided.lock().unwrap().push(None);
    }
}

/// A service that hears of jobs, an hour between its passes.
async fn hearing(max_runners: i64) -> (World, Arc<Boarded>, RunnerKit) {
    polling(max_runners, 3_600).await
}

/// A service that hears of jobs, so many seconds between its passes.
pub(super) async fn polling(max_runners: i64, interval: i64) -> (World, Arc<Boarded>, RunnerKit) {
    let input = StartInput {
        max_runners: Some(max_runners),
        poll_interval: Some(interval),
        ..StartInput::default()
    };
    let world = World::with(input);
    let (github, board) = (world.github.clone(), Arc::<Board>::default());
    let source = Arc::new(Boarded { github, board: board.clone(), decided: Mutex::default() });
    let Parts { registrar, engine, history, clock, .. } = world.parts.clone();
    let mut parts = Parts::new(source.clone(), registrar, engine, history, clock);
    parts.board = board;
    let kit = RunnerKit::from_parts(world.kit.config().clone(), parts, Mode::InProcess);
    kit.start_autoscaler().await.unwrap();
    world.pass(1).await;
    (world, source, kit)
}

impl Boarded {
    pub(super) fn hear(&self, id: u64, state: JobState) {
        let (repo, at) = (repo("a"), self.github.now());
        let scope = self.github.change(|state| state.scope.clone());
        let job = Job {
            id,
            run_id: id,
            scope: scope.unwrap_or(Scope::Repo(repo.clone())),
            repo,
            name: "build".into(),
            url: String::new(),
            labels: Labels::new(["self-hosted"]),
            queued_at: at,
            seen_at: at,
            beside_sets: false,
        };
        self.board.hear(Heard { job, state, ending: None, at });
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_heard_of_is_launched_for_in_the_same_instant_and_once() {
    let (world, source, _kit) = hearing(4).await;
    world.github.queue("a", 1, 60);
    world.github.change(|state| state.gated = true);
    source.hear(1, JobState::Queued);
    settle().await;
    assert_eq!(world.engine.launched().len(), 1, "without a pass, and without time going by");
    world.github.change(|state| state.gated = false);
    world.github.gate.notify_one();
    source.hear(1, JobState::Queued);
    world.pass(30).await;
    assert_eq!((world.engine.launched().len(), world.github.running()), (1, 1));
}

/// ARC#3953, ARC#3704, ARC#3534: 20 seconds to an hour went by between queued and started.
#[tokio::test(start_paused = true)]
async fn an_answer_is_acted_upon_while_others_are_still_waited_for() {
    let (world, source, _kit) = hearing(4).await;
    world.github.change(|state| state.gated = true);
    world.pass(3_700).await;
    // The pass hangs; what arrives of it meanwhile is on the board.
    source.hear(1, JobState::Queued);
    settle().await;
    assert_eq!(world.engine.launched().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn however_much_happens_one_pass_is_under_way_at_a_time() {
    let (world, source, _kit) = hearing(4).await;
    world.github.change(|state| state.gated = true);
    for id in 1..=3 {
        // A runner for it comes, and that is a reason to ask again.
        source.hear(id, JobState::Queued);
        world.pass(10).await;
    }
    assert_eq!(world.engine.launched().len(), 3);
    let before = world.github.change(|state| state.looks);
    // All that wait there; the next one is held again.
    world.github.gate.notify_waiters();
    settle().await;
    assert_eq!(world.github.change(|state| state.looks), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_has_come_and_gone_is_not_launched_again_on_the_word_of_an_old_event() {
    let (world, source, _kit) = hearing(4).await;
    world.github.queue("a", 1, 2);
    source.hear(1, JobState::Queued);
    // That it began and ended is never told, and polls are blind.
    world.until("it has begun", |world| world.github.running() == 1).await;
    world.github.change(|state| state.down = true);
    world.pass(1_200).await;
    assert_eq!((world.engine.launched().len(), world.github.done()), (1, 1));
    world.github.change(|state| state.down = false);
    world.pass(1_200).await;
    assert_eq!((world.engine.launched().len(), world.containers().await), (1, 0));
}

/// terraform-aws-github-runner#4262, terraform-aws-github-runner#3130: the other job waited for 11 hours.
#[tokio::test(start_paused = true)]
async fn of_two_jobs_that_swap_their_runners_neither_is_forgotten() {
    let (world, source, _kit) = hearing(4).await;
    world.github.queue("a", 2, 600);
    source.hear(1, JobState::Queued);
    source.hear(2, JobState::Queued);
    settle().await;
    let launched = world.engine.launched();
    assert_eq!(launched.len(), 2);
    // The second job went to the first runner; a third job comes.
    let second = |runner_name: String| JobState::InProgress { runner_name, started_at: None };
    source.hear(2, second(launched[0].clone()));
    settle().await;
    assert_eq!(world.engine.launched().len(), 2, "the other one has a runner still");
    source.hear(3, JobState::Queued);
    settle().await;
    assert_eq!(world.engine.launched().len(), 3, "and this one has none");
}

/// ARC#2788, ARC#2073: a missed webhook meant no runner, ever.
#[tokio::test(start_paused = true)]
async fn a_missed_event_is_made_good_by_the_next_pass() {
    let (world, _source, _kit) = hearing(4).await;
    world.github.queue("a", 1, 5);
    world.pass(3_000).await;
    assert_eq!(world.engine.launched().len(), 0, "nobody has told");
    world.until("the pass sees it", |world| world.github.done() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn events_are_served_while_polls_are_blind_and_the_last_queue_is_still_shown() {
    let (world, source, kit) = hearing(1).await;
    world.github.queue("a", 3, 6_000);
    world.until("a pass sees them", |world| world.github.running() == 1).await;
    world.pass(20).await;
    assert_eq!(kit.get_status().await.unwrap().queued_jobs, 2);
    world.github.change(|state| state.down = true);
    world.pass(60).await;
    source.hear(7, JobState::Queued);
    world.pass(10).await;
    let status = kit.get_status().await.unwrap();
    assert_eq!((status.queued_jobs, status.active_runners), (2, 1), "an outage is no empty queue");
    assert_eq!(status.last_error.unwrap().code, Code::GithubUnreachable);
}

/// ARC#3953, ARC#3704, ARC#3534: 20 seconds to an hour went by between queued and started.
#[tokio::test(start_paused = true)]
async fn room_that_a_runner_leaves_is_filled_at_once() {
    let (world, source, _kit) = hearing(1).await;
    world.github.queue("a", 2, 5);
    source.hear(1, JobState::Queued);
    source.hear(2, JobState::Queued);
    settle().await;
    let launched = world.engine.launched();
    assert_eq!(launched.len(), 1);
    let runner_name = launched[0].clone();
    source.hear(1, JobState::InProgress { runner_name, started_at: None });
    world.github.change(|state| state.gated = true);
    world.until("the first is done", |world| world.github.done() == 1).await;
    world.pass(1).await;
    assert_eq!(world.engine.launched().len(), 2, "although no pass came to its end");
}

pub(super) fn set(more: usize, at: i64) -> Assigned {
    let at = chrono::DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(at);
    let labels = Labels::new(["self-hosted"]);
    Assigned { labels, queued: vec![], in_progress: vec![], more, is_full: false, at }
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_only_counted_are_launched_for_once_for_each_time_they_are_told() {
    let (world, source, _kit) = hearing(10).await;
    let scope = Scope::Repo(repo("a"));
    source.board.assign(&scope, Some(set(3, 1)));
    settle().await;
    assert_eq!(world.engine.launched().len(), 3);
    source.board.assign(&scope, Some(set(3, 2)));
    settle().await;
    assert_eq!(world.engine.launched().len(), 3, "the same three");
    source.board.assign(&scope, Some(set(5, 3)));
    settle().await;
    assert_eq!(world.engine.launched().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_source_is_told_what_was_acted_upon_and_how_much_room_there_is_and_when_it_may_rest() {
    let (world, source, kit) = hearing(3).await;
    let last = || source.decided.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last().unwrap().free, last().unwrap().used.len()), (3, 0));
    world.github.queue("a", 2, 600);
    source.hear(1, JobState::Queued);
    source.hear(2, JobState::Queued);
    settle().await;
    let told = last().unwrap();
    let scope = Scope::Repo(repo("a"));
    assert_eq!((told.free, told.used[&scope], told.room(&scope)), (1, 2, 3));
    assert_eq!(told.room(&Scope::org("elsewhere")), 1);
    assert_eq!(told.revision, source.known().unwrap().revision);
    kit.stop_autoscaler().await.unwrap();
    assert_eq!(last(), None, "the loop has ended");
    source.hear(3, JobState::Queued);
    world.pass(5).await;
    assert_eq!(last(), None);
}

/// actions/runner#4598: GitHub goes on waiting for the job, and it fills a scale set.
#[tokio::test(start_paused = true)]
async fn a_job_whose_runner_is_gone_takes_up_no_room_though_github_gives_it_up_much_later() {
    let (world, source, _kit) = polling(1, 10).await;
    let room = || source.decided.lock().unwrap().last().cloned().unwrap().unwrap();
    let scope = Scope::Repo(repo("a"));
    world.github.queue("a", 1, 10);
    world.until("it runs", |_| room().used.contains_key(&scope)).await;
    let name = world.engine.launched()[0].clone();
    let job = JobRef { id: 1, run_id: 1, name: "build".into(), url: String::new() };
    let running = RunningJob { job, runner_name: name, started_at: None };
    let bound = Assigned { in_progress: vec![(repo("a"), running)], is_full: true, ..set(0, 1) };
    source.board.assign(&scope, Some(bound));
    world.until("it has gone", |_| room().used.is_empty()).await;
    assert_eq!(room().room(&scope), 1, "its end may only not be told yet");
    world.pass(45).await;
    assert_eq!(room().room(&scope), 2, "the set has a job that nobody runs, and may have one more");
    source.board.assign(&scope, Some(set(0, 60)));
    world.pass(15).await;
    assert_eq!(room().room(&scope), 1);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_never_came_online_is_no_excuse_for_its_job() {
    let (world, source, _kit) = hearing(4).await;
    world.github.change(|state| (state.crash, state.gated) = (Some(1), true));
    source.hear(1, JobState::Queued);
    world.pass(1).await;
    assert_eq!((world.engine.launched().len(), world.containers().await), (1, 0));
    world.github.change(|state| state.crash = None);
    world.pass(20).await;
    assert_eq!(world.engine.launched().len(), 2, "it is tried again without another word");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_pass_does_not_stop_what_others_tell() {
    let (world, source, _kit) = hearing(4).await;
    let down = Error::new(Code::GithubUnreachable, "GitHub does not answer.", "Wait.");
    source.board.blind(Some(down));
    source.hear(1, JobState::Queued);
    settle().await;
    assert_eq!(world.engine.launched().len(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_runners_cannot_be_seen_nothing_is_told_as_decided_and_no_work_is_asked_for() {
    let (world, source, _kit) = hearing(3).await;
    let last = || source.decided.lock().unwrap().last().cloned().unwrap().unwrap();
    let heard = || source.board.demand(source.github.now()).revision;
    world.engine.set_reachable(false);
    world.until("the outage is known", |_| last().free == 0).await;
    source.hear(1, JobState::Queued);
    settle().await;
    assert!(last().revision < heard(), "a scale set's message would be acknowledged");
    world.engine.set_reachable(true);
    world.until("it is decided", |_| last().revision == heard()).await;
    assert_eq!((last().room(&Scope::Repo(repo("a"))), world.engine.launched().len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn while_jobs_that_are_only_counted_wait_for_room_it_is_looked_often() {
    let (world, source, _kit) = hearing(1).await;
    world.github.queue("b", 1, 7_000);
    world.until("there is no room", |world| world.github.running() == 1).await;
    world.pass(60).await;
    let looks = || world.github.change(|state| state.listings.len());
    let before = looks();
    world.pass(60).await;
    assert_eq!(looks(), before, "nothing waits");
    source.board.assign(&Scope::Repo(repo("a")), Some(set(3, 4_000)));
    world.pass(60).await;
    assert!((3..=5).contains(&(looks() - before)), "{}", looks() - before);
}

#[tokio::test(start_paused = true)]
async fn while_github_is_away_what_was_last_seen_whole_is_shown() {
    let (world, source, kit) = hearing(1).await;
    world.github.queue("b", 2, 7_000);
    world.until("there is no room", |world| world.github.running() == 1).await;
    let queued = async || kit.get_status().await.unwrap().queued_jobs;
    let before = queued().await;
    assert!(before > 0);
    let down = Error::new(Code::GithubUnreachable, "GitHub does not answer.", "Wait.");
    world.github.change(|state| state.down = true);
    source.board.blind(Some(down));
    world.pass(30).await;
    assert_eq!(queued().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_failed_is_tried_again_when_its_wait_is_over_and_not_a_look_later() {
    let (world, source, _kit) = hearing(1).await;
    let broken = Error::new(Code::ContainerFailed, "Container failed to start: no.", "Look.");
    // For five seconds, and then for ten.
    world.engine.fail_next_launches(2, &broken);
    source.hear(1, JobState::Queued);
    world.pass(14).await;
    assert_eq!(world.engine.launched().len(), 0);
    world.pass(3).await;
    assert_eq!(world.engine.launched().len(), 1);
}
