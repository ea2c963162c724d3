//! What scale sets say, beside polls and events.

use super::*;

fn assigned(queued: &[u64], more: usize) -> Assigned {
    Assigned {
        labels: Labels::new(["self-hosted", "set"]),
        queued: queued.iter().map(|id| Job { id: 1 << 52 | *id, ..job(*id, 7) }).collect(),
        in_progress: vec![],
        more,
        is_full: false,
        at: at(7),
    }
}

#[test]
fn while_a_scale_set_has_a_session_it_says_which_jobs_of_its_scope_wait() {
    let young = |id| job(id, 995);
    let told = told();
    let seen = RepoDemand {
        repo: repo(),
        running: 0,
        failed: 0,
        pending: 2,
        queued: vec![young(10), Job { labels: Labels::new(["gpu"]), ..young(12) }],
        in_progress: vec![],
    };
    told.0.saw(&repo(), Ok(seen), at(995));
    told.0.assign(&scope(), Some(assigned(&[11], 3)));
    assert_eq!(told.queued(), [12, 1 << 52 | 11], "what it can't have is nobody else's loss");
    let [counted] = &told.demand().counted[..] else { panic!("one set") };
    assert_eq!((counted.jobs, counted.seen_at), (3, at(7)));
    told.0.assign(&scope(), None);
    assert_eq!(told.queued(), [10, 12], "without a session the others are believed");
    assert!(told.demand().counted.is_empty());
}

#[test]
fn a_job_that_others_have_seen_begin_since_its_scale_set_spoke_waits_no_more() {
    let begun = || JobState::InProgress { runner_name: "r".into(), started_at: None };
    let told = told().hear(6, 11, begun());
    told.0.assign(&scope(), Some(assigned(&[10, 11, 12], 0)));
    assert_eq!(told.queued().len(), 3, "the set knows better what was told before");
    let told = told.hear(8, 10, begun());
    assert_eq!(told.queued(), [1 << 52 | 11, 1 << 52 | 12]);
    let told = told.poll(6, &[], &[12]);
    assert_eq!(told.queued(), [1 << 52 | 11]);
}

#[test]
fn a_job_that_its_scale_set_has_begun_does_not_wait_because_of_an_older_poll() {
    let told = told().poll(0, &[10], &[]);
    let in_progress = vec![(repo(), running(10, "r"))];
    told.0.assign(&scope(), Some(Assigned { in_progress, ..assigned(&[], 0) }));
    assert!(told.queued().is_empty());
}

#[test]
fn it_is_known_since_when_a_scale_set_always_had_jobs_without_a_name() {
    let told = told();
    let says = |more, second| {
        let set = Assigned { at: at(second), ..assigned(&[], more) };
        told.0.assign(&scope(), Some(set));
        told.demand().counted.first().map(|counted| counted.since)
    };
    assert_eq!((says(2, 7), says(1, 50), says(0, 60)), (Some(at(7)), Some(at(7)), None));
    assert_eq!(says(1, 70), Some(at(70)));
}

#[test]
fn a_job_that_no_scale_set_is_given_for_a_minute_is_looked_after_all_the_same() {
    let told = told().poll(0, &[10, 11], &[]);
    told.0.assign(&scope(), Some(assigned(&[], 0)));
    assert_eq!(told.queued(), [10, 11]);
    told.0.assign(&scope(), Some(assigned(&[10], 0)));
    assert_eq!(told.queued(), [11, 1 << 52 | 10], "this one it was given");
    told.0.assign(&scope(), Some(assigned(&[], 1)));
    let told = told.poll(60, &[10, 11], &[]);
    assert_eq!(told.queued().len() + told.demand().counted[0].jobs, 2, "one of them is counted");
}

#[test]
fn a_job_that_a_set_was_not_given_while_it_had_room_needs_a_runner_of_no_set() {
    let beside = |told: &Told| told.demand().jobs().map(|job| job.beside_sets).collect::<Vec<_>>();
    let says = |told: &Told, second, is_full| {
        let set = Assigned { at: at(second), is_full, ..assigned(&[], 0) };
        told.0.assign(&scope(), Some(set));
    };
    let told = told();
    says(&told, 100, false);
    says(&told, 200, true);
    let told = told.poll(900, &[10], &[]);
    says(&told, 950, true);
    assert_eq!(beside(&told), [false], "a set that is full is given nothing");
    says(&told, 990, false);
    assert!(beside(&told).is_empty(), "it has room for a moment only, and may get it yet");
    says(&told, 995, true);
    assert_eq!(beside(&told), [false], "what room it had before does not count");
    told.0.assign(&scope(), None);
    assert_eq!(beside(&told), [false], "without a session no runner is of the set");
    let told = told.poll(940, &[10], &[]);
    says(&told, 960, false);
    says(&told, 970, true);
    says(&told, 980, false);
    says(&told, 990, true);
    assert_eq!(beside(&told), [true], "all that room together was enough");
    told.0.assign(&scope(), Some(Assigned { at: at(995), ..assigned(&[10], 0) }));
    assert_eq!(beside(&told), [false], "it was given to the set after all");
}

#[test]
fn how_long_a_set_was_not_given_a_job_is_counted_by_one_clock_also_when_that_is_set_back() {
    let says = |told: &Told, second| {
        told.0.assign(&scope(), Some(Assigned { at: at(second), ..assigned(&[], 0) }));
    };
    let told = told().poll(5_000, &[10], &[]);
    says(&told, 5_000);
    says(&told, 900);
    let told = told.poll(900, &[10], &[]);
    says(&told, 950);
    assert_eq!(told.queued(), [10], "not an hour later");
}

#[test]
fn a_job_with_labels_that_its_set_lacks_needs_a_runner_of_no_set() {
    let told = told();
    let gpu = Job { labels: Labels::new(["self-hosted", "gpu"]), ..job(10, 0) };
    told.0.hear(Heard { job: gpu, state: JobState::Queued, ending: None, at: at(999) });
    assert!(told.demand().jobs().all(|job| !job.beside_sets));
    told.0.assign(&scope(), Some(assigned(&[], 0)));
    assert!(told.demand().jobs().all(|job| job.beside_sets));
}

/// A job as the set of its scope tells it: by an id of its own.
fn set_running(id: u64, runner: &str) -> Assigned {
    let job = JobRef { id: 1 << 52 | id, ..running(id, runner).job };
    let taken = RunningJob { job, ..running(id, runner) };
    Assigned { in_progress: vec![(repo(), taken)], ..assigned(&[], 0) }
}

#[test]
fn a_job_that_a_scale_set_has_begun_or_ended_waits_no_more_on_the_word_of_an_older_poll() {
    let told = told().poll(0, &[10], &[]);
    told.0.assign(&scope(), Some(assigned(&[10], 0)));
    told.0.assign(&scope(), Some(set_running(10, "r1")));
    assert!(told.queued().is_empty(), "it was begun");
    told.0.assign(&scope(), Some(assigned(&[], 0)));
    assert!(told.queued().is_empty(), "it was ended");
    told.0.assign(&scope(), None);
    assert!(told.queued().is_empty(), "whether the set still has a session or not");
    assert_eq!(told.poll(60, &[10], &[]).queued(), [10], "a later poll knows better");
}

#[test]
fn of_two_jobs_of_one_name_in_a_run_the_one_that_waits_is_not_taken_for_the_other() {
    let twin = |id| Job { name: "leg".into(), ..job(id, 0) };
    let told = told();
    let queued = vec![twin(10), twin(11)];
    let seen =
        RepoDemand { repo: repo(), running: 0, failed: 0, pending: 1, queued, in_progress: vec![] };
    told.0.saw(&repo(), Ok(seen), at(0));
    let one = Job { id: 1 << 52 | 10, ..twin(10) };
    told.0.assign(&scope(), Some(Assigned { queued: vec![one], ..assigned(&[], 0) }));
    assert_eq!(told.queued().len(), 2, "the set was given one of them, and the other is overdue");
}
