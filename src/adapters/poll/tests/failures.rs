//! What fails on the way to GitHub, and there: told, tried again where that helps, and in nobody else's way.

use super::*;

#[tokio::test]
async fn one_repository_without_rights_hides_no_other_and_says_which_right_is_missing() {
    let world = World::new(None).await;
    let good = world.repo("octocat/good");
    world.queue(&good, RunSpec::new("ci").job(self_hosted("build")));
    world.github.add_repo(RepoSpec::new("octocat/bad").denies(Permission::Actions));
    let demand = world.poller.demand().await.unwrap();
    assert_eq!(demand.jobs().count(), 1);
    let (repo, error) = demand.unseen.first_key_value().unwrap();
    assert_eq!((repo.as_str(), error.code), ("octocat/bad", Code::TokenDenied));
    assert!(error.message.contains("octocat/bad") && error.remedy.contains("actions"), "{error}");
}

#[tokio::test]
async fn what_fails_in_passing_is_tried_again_and_a_broken_answer_is_never_kept() {
    // A first look each: what is not modified has no body that could be broken.
    let look = async |fault: Option<Fault>| {
        let is_silent = matches!(fault, Some(Fault::Hang));
        let patience = if is_silent { Duration::from_secs(1) } else { PATIENCE };
        let world = World::waiting(patience, None, Options::default(), |_| ()).await;
        let repo = world.repo("octocat/home");
        world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
        let name = format!("{fault:?}");
        if let Some(fault) = fault {
            world.github.inject(fault, "GET /repos/*/actions/runs*", Often::Times(1)).unwrap();
        }
        let demand = world.poller.demand().await.unwrap();
        assert_eq!((demand.jobs().count(), demand.unseen.len()), (1, 0), "{name}");
        world.github.requests().len()
    };
    let usual = look(None).await;
    let faults = [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Reset,
        Fault::Truncated,
        Fault::Malformed,
        Fault::Hang,
    ];
    for fault in faults {
        assert_eq!(look(Some(fault.clone())).await, usual + 1, "{fault:?} was met and tried again");
    }
}

#[tokio::test]
async fn a_repository_that_hangs_is_told_and_holds_up_no_other() {
    let mut world = World::new(None).await;
    world.poller.patience = Duration::from_millis(300);
    let good = world.repo("octocat/good");
    world.repo("octocat/slow");
    world.queue(&good, RunSpec::new("ci").job(self_hosted("build")));
    world.github.inject(Fault::Hang, "GET /repos/octocat/slow/*", Often::Always).unwrap();
    let demand = world.poller.demand().await.unwrap();
    assert_eq!(demand.jobs().count(), 1);
    let (repo, error) = demand.unseen.first_key_value().unwrap();
    assert_eq!((repo.as_str(), error.code), ("octocat/slow", Code::GithubUnreachable));
}

#[tokio::test]
async fn an_outage_is_an_error_and_not_an_empty_demand() {
    let world = World::new(None).await;
    world.repo("octocat/home");
    world.github.inject(Fault::Status(503), "GET *", Often::Always).unwrap();
    assert_eq!(world.poller.demand().await.unwrap_err().code, Code::GithubUnreachable);
    world.github.clear_faults();
    assert_eq!(world.names().await, ["octocat/home"]);
    world.github.inject(Fault::Status(503), "GET /repos/*", Often::Always).unwrap();
    assert_eq!(world.poller.demand().await.unwrap_err().code, Code::GithubUnreachable);
}

#[tokio::test]
async fn a_limit_is_obeyed_by_sending_nothing_until_it_is_over() {
    for fault in
        [Fault::TooManyRequests { retry_after: 30 }, Fault::SecondaryLimit { retry_after: 30 }]
    {
        let world = World::new(None).await;
        world.github.inject(fault, "GET *", Often::Times(1)).unwrap();
        let error = world.poller.demand().await.unwrap_err();
        assert_eq!((error.code, error.retry_after), (Code::RateLimited, Some(30)));
        let sent = world.github.requests().len();
        let again = world.poller.demand().await.unwrap_err();
        assert_eq!((again.code, world.github.requests().len()), (Code::RateLimited, sent));
    }
}

#[tokio::test]
async fn what_was_seen_stays_known_while_a_limit_forbids_to_look_again() {
    let world = World::new(None).await;
    let repo = world.repo("octocat/home");
    world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
    assert_eq!(world.poller.demand().await.unwrap().jobs().count(), 1);
    let fault = Fault::TooManyRequests { retry_after: 30 };
    world.github.inject(fault, "GET /repos/*", Often::Always).unwrap();
    assert_eq!(world.poller.demand().await.unwrap_err().code, Code::RateLimited);
    let known = |minutes| world.poller.board.demand(Utc::now() + TimeDelta::minutes(minutes));
    assert_eq!((known(0).jobs().count(), known(0).is_partial), (1, false), "it waits still");
    assert_eq!(known(26).jobs().count(), 0, "not for ever on the word of one look");
}

#[tokio::test]
async fn a_look_that_waits_for_its_turn_is_no_slow_repository() {
    let minute = |config: &mut RunnerConfig| config.poll_interval = Duration::from_secs(60);
    let options = Options { secondary_limit: Some(900), ..Options::default() };
    let mut world = World::with(None, options, minute).await;
    world.poller.patience = Duration::from_millis(300);
    let repo = world.repo("octocat/home");
    world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
    assert_eq!(world.poller.demand().await.unwrap().jobs().count(), 1);
    world.client.exhaust().await;
    let error = world.poller.demand().await.unwrap_err();
    assert_eq!(error.code, Code::RateLimited, "{error}");
    let known = world.poller.board.demand(Utc::now());
    assert_eq!((known.jobs().count(), known.unseen.len()), (1, 0));
}
