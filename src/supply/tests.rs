use super::*;
use crate::model::{Labels, Origin};

const NAME: &str = "ipfs-default-1";

fn container(ended: bool) -> Container {
    Container {
        id: "c1".into(),
        name: NAME.into(),
        scope: scope(),
        repo: "o/r".parse().ok(),
        labels: Labels::new(["self-hosted"]),
        created_at: DateTime::UNIX_EPOCH,
        origin: Origin::Queue,
        runner_id: None,
        status: "running".into(),
        ended,
    }
}

fn scope() -> Scope {
    Scope::Repo("o/r".parse().unwrap())
}

fn listed(online: bool, busy: bool) -> BTreeMap<Scope, Vec<Registered>> {
    [(scope(), vec![Registered { id: 1, name: NAME.into(), online, busy }])].into()
}

fn nobody() -> BTreeMap<Scope, Vec<Registered>> {
    [(scope(), vec![])].into()
}

fn see(memory: &mut Memory, second: i64, github: &BTreeMap<Scope, Vec<Registered>>) -> Runner {
    let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
    memory.join(vec![container(false)], github, None, now).remove(0)
}

#[test]
fn a_runner_starts_until_github_sees_it_online_and_is_busy_when_github_says_so() {
    let mut memory = Memory::default();
    let steps = [
        (nobody(), Phase::Starting),
        (listed(false, false), Phase::Starting),
        (listed(true, false), Phase::Idle),
        (listed(true, true), Phase::Busy),
    ];
    for (second, (github, phase)) in steps.into_iter().enumerate() {
        assert_eq!(see(&mut memory, second as i64, &github).phase, phase);
    }
}

#[test]
fn a_phase_keeps_the_time_at_which_it_was_first_seen() {
    let mut memory = Memory::default();
    see(&mut memory, 1, &listed(true, false));
    assert_eq!(see(&mut memory, 9, &listed(true, false)).since.timestamp(), 1);
    assert_eq!(see(&mut memory, 10, &listed(true, true)).since.timestamp(), 10);
}

#[test]
fn a_runner_that_github_removed_after_its_job_is_on_its_way_out_and_no_longer_seen() {
    let mut memory = Memory::default();
    see(&mut memory, 1, &listed(true, true));
    let leaving = see(&mut memory, 2, &nobody());
    assert_eq!((leaving.phase, leaving.lost_since.unwrap().timestamp()), (Phase::Busy, 2));
    assert_eq!(see(&mut memory, 5, &nobody()).lost_since.unwrap().timestamp(), 2);
}

#[test]
fn a_runner_that_went_offline_is_lost_until_it_is_online_again() {
    let mut memory = Memory::default();
    see(&mut memory, 1, &listed(true, false));
    assert!(see(&mut memory, 2, &listed(false, false)).lost_since.is_some());
    assert!(see(&mut memory, 3, &listed(true, false)).lost_since.is_none());
}

#[test]
fn a_registration_of_ours_is_unclaimed_for_as_long_as_every_look_sees_it_so() {
    let mut memory = Memory::default();
    let mut look = |second, github: &BTreeMap<_, _>, containers: &[Container]| {
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let is_ours = |name: &str| name.starts_with("ipfs-default-");
        memory.look_for_unclaimed(github, containers, is_ours, now);
        memory.unclaimed().get(&(scope(), 1)).map(|one| one.lasted().num_seconds())
    };
    assert_eq!(look(0, &listed(false, false), &[]), Some(0));
    assert_eq!(look(9, &listed(false, false), &[]), Some(9));
    assert_eq!(look(10, &listed(true, false), &[]), None, "it was somebody's after all");
    assert_eq!(look(20, &listed(false, false), &[]), Some(0), "and begins anew");
    assert_eq!(look(30, &listed(false, false), &[container(false)]), None);
    assert_eq!(look(40, &listed(false, false), &[]), Some(0));
    assert_eq!(look(50, &BTreeMap::new(), &[]), None, "it could not be looked at");
    let strange = Registered { id: 1, name: "strange".into(), online: false, busy: false };
    assert_eq!(look(60, &[(scope(), vec![strange])].into(), &[]), None);
}

#[test]
fn while_github_cannot_be_asked_a_runner_keeps_its_phase_and_is_not_certain() {
    let mut memory = Memory::default();
    see(&mut memory, 1, &listed(true, true));
    let unsure = see(&mut memory, 2, &BTreeMap::new());
    assert_eq!((unsure.phase, unsure.certain, unsure.lost_since), (Phase::Busy, false, None));
}

#[test]
fn a_container_that_has_ended_is_exited_whatever_github_says() {
    let mut memory = Memory::default();
    let runners =
        memory.join(vec![container(true)], &listed(true, true), None, DateTime::UNIX_EPOCH);
    assert_eq!(runners[0].phase, Phase::Exited);
}

fn working(name: &str) -> Demand {
    let job = crate::model::JobRef { id: 5, run_id: 1, name: "b".into(), url: String::new() };
    let running = RunningJob { job, runner_name: name.into(), started_at: None };
    let repo = crate::model::RepoDemand {
        repo: "o/r".parse().unwrap(),
        running: 1,
        failed: 0,
        pending: 0,
        queued: vec![],
        in_progress: vec![running],
    };
    Demand { repos: vec![repo], is_listed: true, ..Demand::default() }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

#[test]
fn a_runner_whose_job_is_told_is_busy_before_the_list_of_runners_says_so() {
    let (mut memory, demand) = (Memory::default(), working(NAME));
    let list = listed(true, false);
    let runner = memory.join(vec![container(false)], &list, Some(&demand), at(1)).remove(0);
    assert_eq!((runner.phase, runner.job.unwrap().job.id), (Phase::Busy, 5));
    assert_eq!(runner.spent_at, None, "it is known what it was spent on");
    let runner = memory.join(vec![container(false)], &list, Some(&demand), at(2)).remove(0);
    assert_eq!(runner.lost_since, None, "the list is a little late");
}

#[test]
fn a_runner_is_spent_when_it_is_first_busy_or_ended_and_no_job_is_told() {
    let mut memory = Memory::default();
    assert_eq!(see(&mut memory, 1, &listed(true, false)).spent_at, None);
    assert_eq!(see(&mut memory, 2, &listed(true, true)).spent_at, Some(at(2)));
    let ended = memory.join(vec![container(true)], &nobody(), None, at(3)).remove(0);
    assert_eq!(ended.spent_at, Some(at(2)));
    assert!(memory.spent().is_empty());
    memory.join(vec![], &nobody(), None, at(4));
    assert_eq!((memory.spent()[0].name.as_str(), memory.spent()[0].at), (NAME, at(2)));
    memory.join(vec![], &nobody(), None, at(4) + MOURNED);
    assert!(memory.spent().is_empty(), "it is not remembered for ever");
}

#[test]
fn one_that_was_only_said_to_be_busy_and_is_idle_has_taken_nothing() {
    let mut memory = Memory::default();
    see(&mut memory, 1, &listed(true, true));
    assert_eq!(see(&mut memory, 2, &listed(true, false)).spent_at, None);
    assert_eq!(see(&mut memory, 3, &listed(true, true)).spent_at, Some(at(3)));
}

#[test]
fn one_that_was_dismissed_while_a_list_still_shows_it_is_spent_on_nothing() {
    let mut memory = Memory::default();
    see(&mut memory, 1, &listed(true, false));
    memory.dismiss(NAME);
    see(&mut memory, 2, &listed(true, false));
    memory.join(vec![], &nobody(), None, at(3));
    assert!(memory.spent().is_empty());
    // Names are never used again, but whoever comes back is no dismissed one.
    see(&mut memory, 4, &listed(true, false));
    memory.join(vec![], &nobody(), None, at(5));
    assert_eq!(memory.spent().len(), 1);
}

#[test]
fn a_strangers_runner_elsewhere_with_the_name_of_one_of_ours_says_nothing_of_it() {
    let mut memory = Memory::default();
    let mut demand = working(NAME);
    demand.repos[0].repo = "o/fork".parse().unwrap();
    let list = listed(true, false);
    let runner = memory.join(vec![container(false)], &list, Some(&demand), at(1)).remove(0);
    assert_eq!((runner.phase, runner.job), (Phase::Idle, None));
    let org = Container { scope: Scope::org("O"), ..container(false) };
    let list = [(Scope::org("o"), listed(true, false).remove(&scope()).unwrap())].into();
    let runner = memory.join(vec![org], &list, Some(&demand), at(2)).remove(0);
    assert_eq!(runner.phase, Phase::Busy, "an organisation's may have any job of its own");
}

fn said(said: Said, second: i64) -> Heartbeat {
    Heartbeat { said, at: Some(at(second)) }
}

fn hear(memory: &mut Memory, now: i64, beat: Heartbeat) {
    memory.hear(&container(false), beat, at(now));
}

#[test]
fn a_runner_that_listens_and_that_github_does_not_show_is_lost_since_it_listens() {
    let mut memory = Memory::default();
    see(&mut memory, 0, &nobody());
    hear(&mut memory, 20, said(Said::Listening, 12));
    for list in [nobody(), listed(false, false)] {
        memory.listed(at(41));
        assert_eq!(see(&mut memory, 41, &list).lost_since, None, "the list may be late");
        assert_eq!(see(&mut memory, 90, &list).lost_since, None, "and be an old one");
        memory.listed(at(42));
        let lost = see(&mut memory, 42, &list);
        assert_eq!((lost.phase, lost.lost_since), (Phase::Starting, Some(at(12))));
    }
    assert!(!memory.was_online(NAME), "GitHub never said so");
    let idle = see(&mut memory, 50, &listed(true, false));
    assert_eq!((idle.phase, idle.lost_since), (Phase::Idle, None));
}

#[test]
fn a_runner_that_does_not_reach_github_is_starting_still() {
    let mut memory = Memory::default();
    see(&mut memory, 0, &nobody());
    hear(&mut memory, 20, said(Said::Disconnected, 12));
    let runner = see(&mut memory, 100, &nobody());
    assert_eq!((runner.phase, runner.lost_since), (Phase::Starting, None));
}

#[test]
fn what_a_log_says_of_the_past_of_one_that_was_found_is_as_old_as_the_finding() {
    let mut memory = Memory::default();
    see(&mut memory, 5_000, &nobody());
    hear(&mut memory, 5_020, said(Said::Listening, 7));
    assert_eq!(see(&mut memory, 5_040, &nobody()).lost_since, Some(at(5_007)));
    hear(&mut memory, 5_041, said(Said::Finished, 3_000));
    assert_eq!(see(&mut memory, 5_042, &nobody()).lost_since, Some(at(5_007)));
    // Engine and service may have clocks of their own.
    let mut memory = Memory::default();
    see(&mut memory, 0, &nobody());
    hear(&mut memory, 20, said(Said::Listening, 9_000));
    assert_eq!(see(&mut memory, 50, &nobody()).lost_since, Some(at(20)));
}

#[test]
fn a_runner_that_says_that_its_job_is_done_takes_no_other_though_github_lists_it_as_idle() {
    let mut memory = Memory::default();
    see(&mut memory, 0, &listed(true, false));
    hear(&mut memory, 100, said(Said::Finished, 90));
    let done = see(&mut memory, 101, &listed(true, false));
    assert_eq!((done.phase, done.lost_since), (Phase::Busy, Some(at(90))));
    assert_eq!((done.spent_at, done.at_work_until), (Some(at(101)), None));
    let busy = see(&mut memory, 102, &listed(true, true));
    assert_eq!((busy.phase, busy.lost_since), (Phase::Busy, None), "GitHub knows better");
}

#[test]
fn one_that_gave_up_before_it_was_ever_online_is_a_start_that_failed() {
    let mut memory = Memory::default();
    see(&mut memory, 0, &nobody());
    hear(&mut memory, 20, said(Said::Ended, 10));
    let runner = see(&mut memory, 30, &nobody());
    assert_eq!((runner.phase, runner.lost_since), (Phase::Starting, None));
    see(&mut memory, 40, &listed(true, false));
    assert_eq!(see(&mut memory, 41, &listed(true, false)).lost_since, Some(at(10)));
}

#[test]
fn a_runner_at_work_that_github_does_not_see_is_believed_for_as_long_as_its_lease_lasts() {
    for (before, list) in [(listed(true, false), nobody()), (nobody(), listed(false, false))] {
        let mut memory = Memory::default();
        see(&mut memory, 0, &before);
        hear(&mut memory, 20, said(Said::Working, 15));
        let lost = see(&mut memory, 100, &list);
        assert_eq!((lost.phase, lost.lost_since), (Phase::Busy, Some(at(100))));
        assert_eq!(lost.at_work_until, Some(at(100) + LEASE));
        hear(&mut memory, 200, said(Said::Working, 190));
        let until = see(&mut memory, 201, &list).at_work_until;
        assert_eq!(until, Some(at(190) + LEASE), "it was renewed since");
    }
}

#[test]
fn the_word_of_a_runner_counts_no_more_when_its_job_is_no_longer_told_of() {
    let (mut memory, demand) = (Memory::default(), working(NAME));
    let mut join = |second, list: &_, demand: &Demand| {
        if second == 3 {
            memory.hear(&container(false), said(Said::Working, 2), at(2));
        }
        memory.join(vec![container(false)], list, Some(demand), at(second)).remove(0)
    };
    join(1, &listed(true, true), &demand);
    join(2, &nobody(), &demand);
    assert!(join(3, &nobody(), &demand).at_work_until.is_some(), "GitHub tells of it");
    let unseen = Demand::default();
    assert!(join(4, &nobody(), &unseen).at_work_until.is_some(), "it cannot be known");
    let over = Demand { is_listed: true, ..Demand::default() };
    let lost = join(5, &nobody(), &over);
    assert_eq!((lost.lost_since.is_some(), lost.at_work_until), (true, None));
}

#[test]
fn what_is_idle_by_github_is_idle_though_its_log_says_that_it_works() {
    let mut memory = Memory::default();
    see(&mut memory, 0, &listed(true, false));
    hear(&mut memory, 20, said(Said::Working, 15));
    assert_eq!(see(&mut memory, 30, &listed(true, false)).phase, Phase::Idle);
}

#[test]
fn a_clock_that_was_set_back_lets_nobody_be_spent_in_the_future() {
    let mut memory = Memory::default();
    see(&mut memory, 7_200, &listed(true, true));
    assert_eq!(see(&mut memory, 3_600, &listed(true, true)).spent_at, Some(at(3_600)));
    see(&mut memory, 7_200, &listed(true, true));
    memory.join(vec![], &nobody(), None, at(7_201));
    memory.join(vec![], &nobody(), None, at(3_600));
    assert!(memory.spent().iter().all(|spent| spent.at <= at(3_600)));
}

#[test]
fn whose_job_was_told_or_who_was_dismissed_is_spent_on_nothing_else() {
    let mut memory = Memory::default();
    memory.join(vec![container(false)], &listed(true, true), Some(&working(NAME)), at(1));
    // The job is over and no longer told.
    let gone = memory.join(vec![container(true)], &nobody(), None, at(2)).remove(0);
    assert_eq!(gone.spent_at, None);
    memory.join(vec![], &nobody(), None, at(3));
    assert!(memory.spent().is_empty());
    see(&mut memory, 4, &listed(true, false));
    memory.dismiss(NAME);
    memory.join(vec![], &nobody(), None, at(5));
    assert!(memory.spent().is_empty());
}

#[test]
fn a_job_that_is_told_of_a_runner_that_has_gone_for_a_while_is_an_orphan_until_it_is_told_no_more()
{
    // Its job was told before it went; or only after that.
    for first in [Some(working(NAME)), Some(working("another"))] {
        let mut memory = Memory::default();
        let mut look = |second, containers: Vec<Container>, demand: Option<&Demand>| {
            memory.join(containers, &listed(true, true), demand, at(second));
            memory.orphans().get(&scope()).copied().unwrap_or_default()
        };
        assert_eq!(look(1, vec![container(false)], first.as_ref()), 0, "it lives");
        assert_eq!(look(50, vec![], first.as_ref()), 0, "it may be over and not told yet");
        assert_eq!(look(79, vec![], Some(&working(NAME))), 0);
        assert_eq!(look(80, vec![], Some(&working(NAME))), 1);
        assert_eq!(look(81, vec![], None), 1, "nobody knows otherwise");
        assert_eq!(look(82, vec![], Some(&working("another"))), 0);
        assert!(memory.bereft.is_empty(), "it is remembered no longer");
    }
}

#[test]
fn a_job_on_a_strangers_runner_is_nobodys_orphan() {
    let mut memory = Memory::default();
    memory.join(vec![container(false)], &listed(true, true), None, at(1));
    let mut elsewhere = working(NAME);
    elsewhere.repos[0].repo = "else/where".parse().unwrap();
    for second in [50, 90] {
        memory.join(vec![], &nobody(), Some(&elsewhere), at(second));
        memory.join(vec![], &nobody(), Some(&working("stranger")), at(second));
    }
    assert!(memory.orphans().is_empty());
}

#[test]
fn a_clock_that_was_set_makes_nothing_last_longer_or_shorter() {
    let mut memory = Memory::default();
    see(&mut memory, 100, &listed(true, false));
    memory.shift(TimeDelta::seconds(-90));
    assert_eq!(see(&mut memory, 15, &listed(true, false)).since, at(10));
    see(&mut memory, 16, &listed(false, false));
    memory.shift(TimeDelta::seconds(3_600));
    assert_eq!(see(&mut memory, 3_620, &listed(false, false)).lost_since, Some(at(3_616)));
}

#[test]
fn what_a_log_said_and_what_nobody_claims_are_as_old_as_before_when_the_clock_is_set() {
    let mut memory = Memory::default();
    see(&mut memory, 0, &nobody());
    hear(&mut memory, 20, said(Said::Listening, 12));
    memory.listed(at(42));
    for second in [30, 40] {
        memory.look_for_unclaimed(&listed(false, false), &[], |_| true, at(second));
    }
    memory.shift(TimeDelta::seconds(3_600));
    let unclaimed = memory.unclaimed()[&(scope(), 1)];
    assert_eq!((unclaimed.since, unclaimed.seen), (at(3_630), at(3_640)));
    assert_eq!(see(&mut memory, 3_650, &nobody()).lost_since, Some(at(3_612)));

    let mut memory = Memory::default();
    see(&mut memory, 0, &nobody());
    memory.shift(TimeDelta::seconds(3_600));
    hear(&mut memory, 3_650, said(Said::Listening, 12));
    assert_eq!(see(&mut memory, 3_650, &nobody()).lost_since, Some(at(3_612)));
}
