use super::*;
use crate::model::JobResult;

fn level() -> Level {
    Level::new(Scope::org("acme"), "https://github.com", Labels::new(["pool"]))
}

fn apply(level: &mut Level, message: &Message) -> Applied {
    level.apply(message, DateTime::UNIX_EPOCH)
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn event(kind: &str, request: u64) -> Event {
    Event {
        message_type: kind.into(),
        runner_request_id: request,
        owner_name: "acme".into(),
        repository_name: "api".into(),
        runner_name: format!("runner-{request}"),
        request_labels: vec!["Pool".into()],
        workflow_run_id: 5,
        ..Event::default()
    }
}

fn message(id: u64, assigned: u32, running: u32, events: Vec<Event>) -> Message {
    let statistics = Statistics {
        total_assigned_jobs: assigned,
        total_running_jobs: running,
        ..Statistics::default()
    };
    Message { id, events, statistics: Some(statistics) }
}

fn all(kind: &str, requests: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    requests.map(|request| event(kind, request)).collect()
}

/// Requests that wait, those that run, and how many more there are.
fn told(level: &Level) -> (Vec<u64>, Vec<u64>, usize) {
    let Assigned { queued, in_progress, more, .. } = level.assigned(9, DateTime::UNIX_EPOCH);
    let request = |id: u64| id.checked_sub(OWN_IDS).expect("no id of GitHub's");
    let queued = queued.iter().map(|job| request(job.id)).collect();
    (queued, in_progress.iter().map(|(_, job)| request(job.job.id)).collect(), more)
}

#[test]
fn a_job_is_assigned_starts_and_completes() {
    let mut level = level();
    apply(&mut level, &message(1, 1, 0, all("JobAssigned", 7..=7)));
    let queued = level.assigned(9, DateTime::UNIX_EPOCH).queued;
    assert_eq!(queued[0].url, "https://github.com/acme/api/actions/runs/5");
    assert_eq!(queued[0].labels, Labels::new(["pool"]));
    apply(&mut level, &message(2, 1, 1, all("JobStarted", 7..=7)));
    let (repo, running) = level.assigned(9, DateTime::UNIX_EPOCH).in_progress.remove(0);
    assert_eq!((repo.as_str(), running.runner_name.as_str()), ("acme/api", "runner-7"));
    let over = Event { result: "failed".into(), ..event("JobCompleted", 7) };
    let applied = apply(&mut level, &message(3, 0, 0, vec![over]));
    let ending = Ending { runner: "runner-7".into(), result: JobResult::Failed };
    assert_eq!(applied.ended, [ending]);
    assert_eq!(told(&level), (vec![], vec![], 0));
}

#[test]
fn jobs_beyond_the_fifty_of_a_message_are_known_by_number() {
    let mut level = level();
    assert!(!apply(&mut level, &message(1, 80, 0, all("JobAssigned", 1..=50))).doubtful);
    assert_eq!(told(&level).2, 30);
    // One of the unnamed starts: it is named from then on.
    apply(&mut level, &message(2, 80, 1, vec![event("JobStarted", 70)]));
    assert_eq!((told(&level).0.len(), told(&level).1, told(&level).2), (50, vec![70], 29));
}

#[test]
fn a_message_that_is_told_again_changes_nothing() {
    let mut level = level();
    let first = message(1, 1, 0, all("JobAssigned", 7..=7));
    apply(&mut level, &first);
    apply(&mut level, &message(2, 0, 0, all("JobCompleted", 7..=7)));
    apply(&mut level, &first);
    assert_eq!(told(&level), (vec![], vec![], 0));
}

#[test]
fn a_cancelled_job_that_is_assigned_again_waits_again() {
    for both_at_once in [true, false] {
        let mut level = level();
        apply(&mut level, &message(1, 1, 0, all("JobAssigned", 7..=7)));
        let (gone, back) = (all("JobCompleted", 7..=7), all("JobAssigned", 7..=7));
        if both_at_once {
            apply(&mut level, &message(2, 1, 0, [gone, back].concat()));
        } else {
            apply(&mut level, &message(2, 0, 0, gone));
            assert_eq!(told(&level).0, Vec::<u64>::new());
            apply(&mut level, &message(3, 1, 0, back));
        }
        assert_eq!(told(&level), (vec![7], vec![], 0));
    }
}

#[test]
fn an_assignment_that_comes_after_the_start_does_not_stop_the_job() {
    let mut level = level();
    apply(&mut level, &message(1, 1, 1, vec![event("JobStarted", 7), event("JobAssigned", 7)]));
    assert_eq!(told(&level), (vec![], vec![7], 0));
}

/// ARC#3649, ARC#3420, ARC#3204: jobs waited for ever while the statistics said zero.
#[test]
fn zero_statistics_do_not_hide_the_jobs_of_a_message_until_they_are_confirmed_twice() {
    let mut level = level();
    let told_zero = message(1, 0, 0, all("JobAssigned", 1..=2));
    assert!(apply(&mut level, &told_zero).doubtful, "the service is to be asked");
    assert_eq!(told(&level).0, [1, 2]);
    level.confirm(
        Statistics { total_assigned_jobs: 5, ..Statistics::default() },
        true,
        DateTime::UNIX_EPOCH,
    );
    assert_eq!((told(&level).0, told(&level).2), (vec![1, 2], 3), "its own numbers count");
    level.confirm(Statistics::default(), true, DateTime::UNIX_EPOCH);
    assert_eq!(told(&level), (vec![1, 2], vec![], 0), "the message is as good as the numbers");
    level.confirm(Statistics::default(), false, DateTime::UNIX_EPOCH);
    assert_eq!(told(&level), (vec![], vec![], 0), "and no better for ever");
}

#[test]
fn jobs_whose_end_was_never_told_are_forgotten_the_oldest_first() {
    let mut level = level();
    apply(&mut level, &message(1, 3, 0, all("JobAssigned", 1..=3)));
    apply(&mut level, &message(2, 3, 3, all("JobStarted", 1..=3)));
    // Their ends were among what a message had no room for.
    let applied = apply(&mut level, &message(3, 2, 1, all("JobAssigned", 9..=9)));
    assert!(!applied.doubtful);
    level.confirm(level.statistics, false, DateTime::UNIX_EPOCH);
    assert_eq!(told(&level), (vec![9], vec![3], 0));
}

#[test]
fn offered_jobs_are_to_be_acquired_and_are_no_demand_before() {
    let mut level = level();
    let applied = apply(&mut level, &message(1, 0, 0, all("JobAvailable", 3..=4)));
    assert_eq!(applied, Applied { offered: vec![3, 4], ..Applied::default() });
    assert_eq!(told(&level), (vec![], vec![], 0));
}

#[test]
fn a_job_without_a_readable_repository_is_known_by_number() {
    let mut level = level();
    let odd = Event { owner_name: "../..".into(), ..event("JobAssigned", 1) };
    apply(&mut level, &message(1, 1, 0, vec![odd]));
    assert_eq!(told(&level), (vec![], vec![], 1));
}

#[test]
fn the_jobs_of_a_set_are_those_of_its_numbers_or_of_its_names_whichever_are_more() {
    let mut level = level();
    apply(&mut level, &message(1, 9, 1, all("JobAssigned", 1..=3)));
    assert_eq!(level.jobs(), 9);
    apply(&mut level, &message(2, 0, 0, vec![]));
    assert_eq!(level.jobs(), 3);
}

#[test]
fn a_set_is_full_when_it_has_as_many_jobs_as_there_is_room_for() {
    let mut level = level();
    apply(&mut level, &message(1, 3, 1, all("JobAssigned", 1..=2)));
    let is_full = |room| level.assigned(room, at(0)).is_full;
    assert_eq!([is_full(4), is_full(3), is_full(0)], [false, true, true]);
}

#[test]
fn a_job_is_known_to_wait_since_it_was_told_or_confirmed() {
    let mut level = level();
    level.apply(&message(1, 1, 0, all("JobAssigned", 7..=7)), at(1));
    level.apply(&message(2, 2, 0, all("JobAssigned", 8..=8)), at(2));
    let seen = |level: &Level| -> Vec<_> {
        level.assigned(9, at(9)).queued.iter().map(|job| job.seen_at).collect()
    };
    assert_eq!(seen(&level), [at(1), at(2)]);
    level.confirm(level.statistics, false, at(3));
    assert_eq!(seen(&level), [at(3), at(3)]);
}
