//! What three sources say of the same jobs.

mod sets;

use super::*;
use crate::error::Code;
use crate::model::JobRef;

const SCOPE: &str = "o/r";

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn repo() -> Repo {
    SCOPE.parse().unwrap()
}

fn scope() -> Scope {
    Scope::Repo(repo())
}

fn job(id: u64, seen: i64) -> Job {
    Job {
        id,
        run_id: id / 10,
        repo: repo(),
        scope: scope(),
        name: format!("build-{id}"),
        url: String::new(),
        labels: Labels::new(["self-hosted"]),
        queued_at: at(0),
        seen_at: at(seen),
        beside_sets: false,
    }
}

fn running(id: u64, runner: &str) -> RunningJob {
    let (run_id, name) = (id / 10, format!("build-{id}"));
    let job = JobRef { id, run_id, name, url: String::new() };
    RunningJob { job, runner_name: runner.into(), started_at: None }
}

/// A board that polls and events have written on, at seconds.
#[derive(Default)]
struct Told(Board);

impl Told {
    fn poll(self, began: i64, queued: &[u64], in_progress: &[u64]) -> Self {
        let queued: Vec<_> = queued.iter().map(|id| job(*id, began)).collect();
        let in_progress: Vec<_> = in_progress.iter().map(|id| running(*id, "polled")).collect();
        let (pending, going) = (queued.len() as u32, in_progress.len() as u32);
        let seen =
            RepoDemand { repo: repo(), running: going, failed: 0, pending, queued, in_progress };
        self.0.saw(&repo(), Ok(seen), at(began));
        self
    }

    fn hear(self, second: i64, id: u64, state: JobState) -> Self {
        self.0.hear(Heard { job: job(id, second), state, ending: None, at: at(second) });
        self
    }

    fn starts(self, second: i64, id: u64, runner: &str) -> Self {
        let runner_name = runner.into();
        self.hear(second, id, JobState::InProgress { runner_name, started_at: None })
    }

    fn queued(&self) -> Vec<u64> {
        let mut ids: Vec<_> = self.demand().jobs().map(|job| job.id).collect();
        ids.sort_unstable();
        ids
    }

    fn demand(&self) -> Demand {
        self.0.demand(at(1_000))
    }
}

fn told() -> Told {
    Told::default()
}

#[test]
fn a_job_that_an_event_told_of_waits_before_any_poll_has_seen_it() {
    let told = told().poll(0, &[], &[]).hear(5, 10, JobState::Queued);
    assert_eq!(told.queued(), [10]);
    assert_eq!(told.demand().repos[0].pending, 1);
}

#[test]
fn what_a_poll_and_an_event_both_tell_is_one_job() {
    let told = told().poll(0, &[10], &[]).hear(5, 10, JobState::Queued);
    assert_eq!(told.queued(), [10]);
    assert_eq!(told.demand().jobs().next().unwrap().seen_at, at(5), "the latest sighting counts");
}

#[test]
fn events_in_any_order_and_number_lead_to_the_same() {
    let states = [
        JobState::Waiting,
        JobState::Queued,
        JobState::InProgress { runner_name: "r1".into(), started_at: None },
        JobState::Completed,
    ];
    for last in 0..4 {
        let expected: Vec<u64> = if last == 1 { vec![10] } else { vec![] };
        // Every order of three of four, each told twice.
        for first in 0..=last {
            for second in 0..=last {
                let mut told = told().poll(0, &[], &[]);
                for index in [first, second, last, first, second, last] {
                    told = told.hear(5, 10, states[index].clone());
                }
                assert_eq!(told.queued(), expected, "{first} {second} {last}");
                let at_work = told.demand().repos.iter().any(|repo| !repo.in_progress.is_empty());
                assert_eq!(at_work, last == 2);
            }
        }
    }
}

#[test]
fn a_job_that_waits_for_a_gate_needs_no_runner() {
    assert!(told().hear(5, 10, JobState::Waiting).queued().is_empty());
}

#[test]
fn a_started_job_no_longer_waits_although_an_older_poll_says_so_and_its_runner_is_known() {
    let told = told().poll(0, &[10, 11], &[]).starts(5, 10, "r1");
    assert_eq!(told.queued(), [11]);
    let demand = told.demand();
    assert_eq!(demand.job_of("r1").unwrap().job.id, 10);
    let told = told.hear(6, 10, JobState::Completed);
    assert!(told.demand().job_of("r1").is_none());
}

#[test]
fn a_poll_right_after_an_event_may_not_show_it_yet_and_a_later_one_knows_better() {
    let told = told().hear(5, 10, JobState::Queued).poll(10, &[], &[]);
    assert_eq!(told.queued(), [10], "GitHub's lists follow its events");
    assert!(told.poll(25, &[], &[]).queued().is_empty());
}

#[test]
fn a_lost_event_is_made_good_by_the_next_poll() {
    let started = told().hear(5, 10, JobState::Queued).poll(30, &[], &[10]);
    assert!(started.queued().is_empty() && started.demand().job_of("polled").is_some());
    let requeued = told().starts(5, 10, "r1").poll(30, &[10], &[]);
    assert_eq!(requeued.queued(), [10], "a runner that was given it and never took it");
}

#[test]
fn an_ended_job_does_not_come_back_by_an_event_that_is_told_again() {
    let told = told().hear(5, 10, JobState::Completed).poll(60, &[], &[]);
    assert!(told.hear(61, 10, JobState::Queued).queued().is_empty());
}

#[test]
fn an_event_older_than_a_poll_that_is_at_hand_is_not_news() {
    let told = told().poll(60, &[], &[]);
    assert!(told.hear(5, 10, JobState::Queued).queued().is_empty());
}

#[test]
fn an_answer_that_was_overtaken_by_a_later_one_is_not_believed() {
    assert!(told().poll(10, &[], &[]).poll(5, &[10], &[]).queued().is_empty());
}

#[test]
fn while_polls_are_blind_their_jobs_are_unseen_and_events_still_count() {
    let told = told().poll(0, &[10], &[]);
    told.0.watch(Watched { repos: [repo()].into(), at: at(0), ..watched() });
    told.0.blind(Some(Error::new(Code::GithubUnreachable, "down", "wait")));
    let told = told.hear(5, 11, JobState::Queued);
    assert_eq!(told.queued(), [11]);
    assert!(!told.demand().has_seen(&scope()), "nothing is surplus because of it");
    told.0.blind(None);
    assert_eq!(told.queued(), [10, 11]);
    assert!(told.demand().has_seen(&scope()));
}

fn watched() -> Watched {
    let (lost, unlisted) = (BTreeMap::new(), BTreeMap::new());
    Watched { repos: BTreeSet::new(), lost, unlisted, at: at(0) }
}

#[test]
fn nothing_is_surplus_where_a_repository_was_not_looked_at_yet_or_none_is_listed() {
    let told = told();
    assert!(!told.demand().has_seen(&scope()));
    told.0.watch(Watched { repos: [repo()].into(), ..watched() });
    assert!(!told.demand().has_seen(&scope()) && !told.demand().has_seen(&Scope::org("o")));
    let told = told.poll(1, &[], &[]);
    assert!(told.demand().has_seen(&scope()) && told.demand().has_seen(&Scope::org("o")));
    let other: Scope = Scope::Repo("x/unwatched".parse().unwrap());
    assert!(told.demand().has_seen(&other), "or its runners would stay for ever");
}

#[test]
fn a_repository_that_is_watched_no_more_is_forgotten_with_its_events() {
    let told = told().poll(0, &[10], &[]).hear(5, 11, JobState::Queued);
    told.0.watch(Watched { at: at(10), ..watched() });
    assert_eq!(told.queued(), [11], "one that was made just now is not listed yet");
    told.0.watch(Watched { at: at(60), ..watched() });
    assert!(told.queued().is_empty());
}

#[test]
fn after_the_clock_was_set_back_polls_are_believed_and_old_events_are_not() {
    let told = told().poll(3_600, &[10], &[]).hear(3_601, 11, JobState::Queued);
    assert_eq!(told.poll(5, &[12], &[]).queued(), [12]);
}

#[test]
fn an_event_that_came_late_says_that_a_job_waited_when_it_was_sent_and_not_when_it_came() {
    let told = told().poll(0, &[10], &[]);
    let state = JobState::Queued;
    told.0.hear(Heard { job: job(10, 3), state, ending: None, at: at(5) });
    let seen = |told: &Told| told.demand().jobs().next().map(|job| job.seen_at);
    assert_eq!(seen(&told), Some(at(3)));
    assert_eq!(seen(&told.poll(4, &[10], &[])), Some(at(4)));
}

#[test]
fn a_job_that_a_poll_saw_begin_does_not_wait_again_when_the_next_poll_fails() {
    let down = Error::new(Code::GithubUnreachable, "down", "");
    for (seen, failed) in [(8, 30), (10, 15)] {
        let told = told().hear(5, 10, JobState::Queued).poll(seen, &[], &[10]);
        told.0.saw(&repo(), Err(down.clone()), at(failed));
        assert!(told.queued().is_empty());
    }
    let told = told().hear(5, 10, JobState::Queued).poll(8, &[], &[10]);
    told.0.blind(Some(down));
    assert!(told.queued().is_empty());
}

#[tokio::test]
async fn only_news_ring_the_bell() {
    let rang = |told: &Told| futures::FutureExt::now_or_never(told.0.changed()).is_some();
    let told = told().poll(0, &[], &[]);
    assert!(rang(&told) && !rang(&told));
    let told = told.poll(1, &[], &[]);
    assert!(!rang(&told), "nothing waits there, as before");
    let told = told.poll(2, &[10], &[]).hear(3, 10, JobState::Waiting);
    assert!(rang(&told));
    let revision = told.demand().revision;
    let told = told.hear(4, 10, JobState::Waiting);
    assert!(!rang(&told) && told.demand().revision == revision, "a repetition");
    let told = told.poll(5, &[10], &[]);
    assert!(rang(&told), "it still waits: what it was given before may have come to nothing");
}

#[test]
fn a_clock_that_was_set_back_does_not_make_polls_look_overtaken() {
    assert_eq!(told().poll(7_200, &[], &[]).poll(3_600, &[10], &[]).queued(), [10]);
}

#[test]
fn how_a_job_ended_is_told_by_its_runner_also_where_a_poll_knows_better_of_the_job() {
    let told = Told::default().poll(60, &[], &[]);
    let ending = Some(Ending { runner: "r".into(), result: JobResult::Canceled });
    told.0.hear(Heard { job: job(5, 10), state: JobState::Completed, ending, at: at(10) });
    assert_eq!(told.0.result_of("r"), Some(JobResult::Canceled));
    assert_eq!(told.0.result_of("s"), None);
}

#[test]
fn a_job_waits_since_it_is_known_where_the_clock_is_behind_githubs() {
    let ahead = |id| Job { queued_at: at(3_600), ..job(id, 0) };
    let told = told();
    let seen = |began| {
        let (running, failed, pending, in_progress) = (0, 0, 1, vec![]);
        let queued = vec![ahead(10)];
        let seen = RepoDemand { repo: repo(), running, failed, pending, queued, in_progress };
        told.0.saw(&repo(), Ok(seen), at(began));
    };
    let heard = Heard { job: ahead(11), state: JobState::Queued, ending: None, at: at(3) };
    told.0.hear(heard);
    [5, 10, 15].into_iter().for_each(seen);
    let since = |id| told.demand().jobs().find(|job| job.id == id).unwrap().queued_at;
    assert_eq!([since(10), since(11)], [at(5), at(3)]);
}
