use std::time::Duration;

use chrono::DateTime;

use super::{Message, NewRunner, Refusal, State, Time};
use crate::simulator::{
    Conclusion, JobSpec, JobStatus, LostJob, Options, RepoSpec, RunSpec, Scope,
};

const REPO: &str = "acme/api";

fn at(second: i64) -> Time {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn world() -> State {
    world_with(Options::default())
}

fn world_with(options: Options) -> State {
    let mut state = State::new(options, at(0));
    state.add_repo(RepoSpec::new(REPO), at(0));
    state
}

fn scope() -> Scope {
    Scope::Repo(REPO.into())
}

fn new(name: &str, labels: &[&str]) -> NewRunner {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    NewRunner { name: name.into(), labels, ephemeral: true, group_id: 1 }
}

/// A connected runner.
fn runner_in(state: &mut State, scope: Scope, name: &str, labels: &[&str]) -> u64 {
    let (id, _) = state.register_jit(scope, new(name, labels), at(0)).unwrap();
    state.connected(id, at(0));
    id
}

fn runner(state: &mut State, name: &str) -> u64 {
    runner_in(state, scope(), name, &["self-hosted", "linux"])
}

fn queue(state: &mut State, run: RunSpec, second: i64) -> u64 {
    state.queue_run(REPO, run, at(second)).unwrap()
}

fn one_job() -> RunSpec {
    RunSpec::new("ci").job(JobSpec::new("build"))
}

fn given(message: Option<Message>) -> u64 {
    match message {
        Some(Message::Job(job)) => job.id,
        other => panic!("no job but {other:?}"),
    }
}

fn statuses(state: &State, run: u64) -> Vec<(String, JobStatus, Option<Conclusion>)> {
    state.jobs_of(run).map(|job| (job.name.clone(), job.status, job.conclusion)).collect()
}

#[test]
fn a_job_is_given_to_one_runner_only() {
    let mut state = world();
    queue(&mut state, one_job(), 0);
    let (one, two) = (runner(&mut state, "one"), runner(&mut state, "two"));
    given(state.poll(one, at(1)));
    assert_eq!(state.poll(two, at(1)), None);
}

#[test]
fn a_job_is_told_again_until_its_runner_begins_it() {
    let mut state = world();
    queue(&mut state, one_job(), 0);
    let one = runner(&mut state, "one");
    let job = given(state.poll(one, at(1)));
    assert_eq!(given(state.poll(one, at(2))), job);
    assert!(state.started(one, job, at(3)));
    assert_eq!(state.poll(one, at(4)), None);
}

#[test]
fn the_oldest_job_is_given_first() {
    let mut state = world();
    let later = queue(&mut state, one_job(), 20);
    let earlier = queue(&mut state, one_job(), 10);
    let one = runner(&mut state, "one");
    let job = given(state.poll(one, at(30)));
    assert_eq!(state.job(job).unwrap().run_id, earlier);
    assert_ne!(earlier, later);
}

#[test]
fn a_job_goes_only_to_a_runner_that_has_all_its_labels_whatever_their_case() {
    let mut state = world();
    queue(
        &mut state,
        RunSpec::new("ci").job(JobSpec::new("fit").labels(["Self-Hosted", "GPU"])),
        0,
    );
    let plain = runner(&mut state, "plain");
    let fitting = runner_in(&mut state, scope(), "fitting", &["self-hosted", "gpu", "more"]);
    assert_eq!(state.poll(plain, at(1)), None);
    given(state.poll(fitting, at(1)));
}

#[test]
fn a_repository_runner_takes_no_job_of_another_repository_and_an_organisations_runner_does() {
    let mut state = world();
    state.add_repo(RepoSpec::new("acme/web"), at(0));
    state.add_repo(RepoSpec::new("other/web"), at(0));
    state.queue_run("other/web", one_job(), at(0)).unwrap();
    let of_org = runner_in(&mut state, Scope::Org("acme".into()), "org", &["self-hosted"]);
    let of_repo = runner(&mut state, "repo");
    assert_eq!(state.poll(of_org, at(1)), None);
    state.queue_run("acme/web", one_job(), at(2)).unwrap();
    assert_eq!(state.poll(of_repo, at(3)), None);
    given(state.poll(of_org, at(3)));
}

#[test]
fn an_ephemeral_runner_goes_with_its_one_job() {
    let mut state = world();
    let run = queue(&mut state, one_job(), 0);
    let one = runner(&mut state, "one");
    let job = given(state.poll(one, at(1)));
    state.started(one, job, at(2));
    assert!(state.finished(one, job, Conclusion::Success, at(3)));
    assert!(state.runner(one).is_none());
    assert_eq!(state.departed()[0].done, [job]);
    assert_eq!(state.run(run).unwrap().conclusion, Some(Conclusion::Success));
    assert_eq!(state.poll(one, at(4)), Some(Message::Deleted));
    assert!(state.is_all_done());
}

#[test]
fn a_runs_status_follows_its_jobs() {
    let mut state = world();
    let run = queue(&mut state, one_job().job(JobSpec::new("test")), 0);
    assert_eq!(state.run(run).unwrap().status, JobStatus::Queued);
    for (name, left) in [("one", JobStatus::InProgress), ("two", JobStatus::Completed)] {
        let runner = runner(&mut state, name);
        let job = given(state.poll(runner, at(1)));
        state.started(runner, job, at(2));
        assert_eq!(state.run(run).unwrap().status, JobStatus::InProgress);
        state.finished(runner, job, Conclusion::Success, at(3));
        assert_eq!(state.run(run).unwrap().status, left);
    }
}

#[test]
fn a_job_is_not_listed_before_all_legs_of_the_matrix_that_it_needs_are_done() {
    let mut state = world();
    let spec =
        RunSpec::new("ci")
            .job(JobSpec::new("publish").needs(["test"]))
            .matrix("test", 2, |job| job.labels(["ubuntu-latest"]).takes(Duration::from_secs(10)));
    let run = queue(&mut state, spec, 0);
    let names = |state: &State| state.jobs_of(run).map(|job| job.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&state), ["test (1)", "test (2)"]);
    assert!(!state.is_all_done());
    state.advance(at(9));
    assert_eq!(names(&state).len(), 2);
    state.advance(at(10));
    assert_eq!(names(&state), ["test (1)", "test (2)", "publish"]);
    assert_eq!(state.run(run).unwrap().status, JobStatus::InProgress);
    assert_eq!(state.count(JobStatus::Queued), 1);
}

#[test]
fn a_job_is_skipped_when_one_that_it_needs_fails() {
    let mut state = world();
    let failing = JobSpec::new("test").labels(["ubuntu-latest"]).concludes(Conclusion::Failure);
    let spec = RunSpec::new("ci").job(failing).job(JobSpec::new("publish").needs(["test"]));
    let run = queue(&mut state, spec, 0);
    state.advance(at(1));
    let publish = state.jobs_of(run).last().unwrap();
    assert_eq!(publish.conclusion, Some(Conclusion::Skipped));
    assert_eq!(state.run(run).unwrap().conclusion, Some(Conclusion::Failure));
}

#[test]
fn hosted_jobs_run_by_themselves_and_no_runner_gets_them() {
    let mut state = world();
    let lint = JobSpec::new("lint").labels(["ubuntu-latest"]).takes(Duration::from_secs(60));
    let run = queue(&mut state, RunSpec::new("ci").job(lint), 0);
    let hungry = runner_in(&mut state, scope(), "hungry", &["ubuntu-latest"]);
    assert_eq!(state.poll(hungry, at(1)), None);
    assert_eq!(state.count(JobStatus::InProgress), 1);
    assert_eq!(state.next_deadline(), Some(at(60)));
    assert!(!state.advance(at(59)));
    assert!(state.advance(at(60)));
    assert_eq!(state.run(run).unwrap().conclusion, Some(Conclusion::Success));
}

#[test]
fn a_held_job_waits_until_it_is_released() {
    let mut state = world();
    let run = queue(
        &mut state,
        RunSpec::new("ci").job(JobSpec::new("deploy").held(JobStatus::Waiting)),
        0,
    );
    let one = runner(&mut state, "one");
    assert_eq!(state.run(run).unwrap().status, JobStatus::Waiting);
    assert_eq!(state.poll(one, at(1)), None);
    let job = state.jobs_of(run).next().unwrap().id;
    state.release_job(job, at(2)).unwrap();
    assert_eq!(state.run(run).unwrap().status, JobStatus::Queued);
    assert_eq!(given(state.poll(one, at(3))), job);
}

#[test]
fn cancelling_ends_what_waits_at_once_and_tells_the_runner_of_what_runs() {
    let mut state = world();
    let spec =
        one_job().job(JobSpec::new("test")).job(JobSpec::new("publish").needs(["build", "test"]));
    let run = queue(&mut state, spec, 0);
    let one = runner(&mut state, "one");
    let running = given(state.poll(one, at(1)));
    state.started(one, running, at(2));
    state.cancel_run(run, at(3)).unwrap();
    assert_eq!(
        statuses(&state, run),
        [
            ("build".into(), JobStatus::InProgress, None),
            ("test".into(), JobStatus::Completed, Some(Conclusion::Cancelled)),
        ]
    );
    assert_eq!(state.poll(one, at(4)), Some(Message::Cancel));
    state.finished(one, running, Conclusion::Cancelled, at(5));
    assert_eq!(state.run(run).unwrap().conclusion, Some(Conclusion::Cancelled));
    assert!(state.is_all_done());
}

#[test]
fn a_job_that_is_cancelled_before_its_runner_begins_it_is_taken_back() {
    let mut state = world();
    let run = queue(&mut state, one_job(), 0);
    let one = runner(&mut state, "one");
    let job = given(state.poll(one, at(1)));
    state.cancel_run(run, at(2)).unwrap();
    assert!(!state.started(one, job, at(3)));
    assert_eq!(state.poll(one, at(4)), None);
    assert!(state.runner(one).is_some());
}

#[test]
fn the_job_of_a_dead_runner_fails_after_a_while() {
    let mut state = world();
    queue(&mut state, one_job(), 0);
    let one = runner(&mut state, "one");
    let job = given(state.poll(one, at(1)));
    state.started(one, job, at(2));
    state.disconnected(one, at(3));
    assert_eq!(state.next_deadline(), Some(at(13)));
    assert!(!state.advance(at(12)));
    assert!(state.advance(at(13)));
    assert_eq!(state.job(job).unwrap().conclusion, Some(Conclusion::Failure));
    assert!(state.runner(one).is_none());
}

#[test]
fn the_job_of_a_dead_runner_is_queued_again_where_that_is_chosen() {
    let mut state = world_with(Options { lost_job: LostJob::IsQueuedAgain, ..Options::default() });
    queue(&mut state, one_job(), 0);
    let one = runner(&mut state, "one");
    let job = given(state.poll(one, at(1)));
    state.started(one, job, at(2));
    state.drop_runner(one, at(3)).unwrap();
    let two = runner(&mut state, "two");
    assert_eq!(given(state.poll(two, at(4))), job);
    assert_eq!(state.job(job).unwrap().runner_id, None);
    // The first runner's late report counts for nothing.
    assert!(!state.finished(one, job, Conclusion::Success, at(5)));
}

#[test]
fn a_job_that_is_not_begun_in_time_is_given_to_another_runner() {
    let mut state = world();
    queue(&mut state, one_job(), 0);
    let (stuck, other) = (runner(&mut state, "stuck"), runner(&mut state, "other"));
    let job = given(state.poll(stuck, at(1)));
    assert!(!state.advance(at(60)));
    assert!(state.advance(at(61)));
    assert_eq!(given(state.poll(other, at(62))), job);
}

#[test]
fn an_ephemeral_runner_that_is_offline_for_a_day_is_removed() {
    let mut state = world();
    let (id, _) = state.register_jit(scope(), new("one", &["self-hosted"]), at(0)).unwrap();
    assert!(!state.advance(at(86_399)));
    assert!(state.runner(id).is_some());
    assert!(state.advance(at(86_400)));
    assert!(state.runner(id).is_none());
}

#[test]
fn a_runner_is_online_while_it_is_connected_and_shortly_after() {
    let mut state = world();
    let (id, _) = state.register_jit(scope(), new("one", &["self-hosted"]), at(0)).unwrap();
    let online = |state: &State, second| state.is_online(state.runner(id).unwrap(), at(second));
    assert!(!online(&state, 0));
    state.connected(id, at(1));
    assert!(online(&state, 100));
    state.disconnected(id, at(101));
    assert!(online(&state, 102));
    assert!(!online(&state, 103));
}

#[test]
fn a_taken_name_is_refused_in_its_scope_only() {
    let mut state = world();
    runner(&mut state, "one");
    let refusal = state.register_jit(scope(), new("ONE", &["x"]), at(0)).unwrap_err();
    assert_eq!(refusal, Refusal::NameTaken("ONE".into()));
    assert!(state.register_jit(Scope::Org("acme".into()), new("one", &["x"]), at(0)).is_ok());
}

#[test]
fn a_jit_configuration_can_be_used_once() {
    let mut state = world();
    let (id, secret) = state.register_jit(scope(), new("one", &["x"]), at(0)).unwrap();
    let (connected, session) = state.connect_jit(&secret).unwrap();
    assert_eq!((connected, state.session(&session)), (id, Some(id)));
    assert_eq!(state.connect_jit(&secret), Err(Refusal::BadCredential));
}

#[test]
fn a_registration_token_registers_many_runners_until_it_expires() {
    let mut state = world();
    let (token, expires_at) = state.issue_token(scope(), false, at(0));
    assert_eq!(expires_at, at(3_600));
    for (name, second) in [("one", 1), ("two", 3_599)] {
        assert!(state.register(&token, new(name, &["x"]), at(second)).is_ok());
    }
    let late = state.register(&token, new("three", &["x"]), at(3_600));
    assert_eq!(late, Err(Refusal::BadCredential));
}

#[test]
fn a_remove_token_registers_nothing() {
    let mut state = world();
    let (token, _) = state.issue_token(scope(), true, at(0));
    let refused = state.register(&token, new("one", &["x"]), at(1));
    assert_eq!(refused, Err(Refusal::BadCredential));
}

#[test]
fn a_busy_runner_is_not_removed_and_an_idle_one_is() {
    let mut state = world();
    queue(&mut state, one_job(), 0);
    let (busy, idle) = (runner(&mut state, "busy"), runner(&mut state, "idle"));
    given(state.poll(busy, at(1)));
    assert_eq!(state.remove_idle(busy), Err(Refusal::Busy("busy".into())));
    assert_eq!(state.remove_idle(idle), Ok(()));
    assert_eq!(state.remove_idle(idle), Err(Refusal::NotFound));
}

#[test]
fn what_does_not_exist_is_named() {
    let mut state = world();
    let error = state.queue_run("acme/apj", one_job(), at(0)).unwrap_err();
    assert_eq!(error.to_string(), "The simulated GitHub has no repository acme/apj.");
}
