//! What the operator allows, in virtual time.

use super::world::{World, repo};
use crate::config::{OperatorOptions, ScopeKind, StartInput};
use crate::error::Code;
use crate::model::Repo;

fn with_rate(provision_rate: i64, max_runners: i64) -> World {
    let input = StartInput { max_runners: Some(max_runners), ..StartInput::default() };
    let rate = Some(provision_rate);
    World::bounded(input, OperatorOptions { provision_rate: rate, ..OperatorOptions::default() })
}

fn allowing(owners: &[&str], repos: &[&str], scope: ScopeKind) -> World {
    let owned = |globs: &[&str]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let input = StartInput { owner: Some("o".into()), ..StartInput::default() };
    let operator = OperatorOptions {
        allowed_owners: Some(owned(owners)),
        allowed_repos: Some(owned(repos)),
        scope: Some(scope),
        ..OperatorOptions::default()
    };
    World::bounded(input, operator)
}

#[tokio::test(start_paused = true)]
async fn runners_are_provisioned_only_for_repositories_that_the_operator_allows() {
    for (owners, repos, bound) in
        [(["O", "p"], ["*/a*"], "allowed_repos"), (["o", "o"], ["*/*"], "allowed_owners")]
    {
        let world = allowing(&owners, &repos, ScopeKind::Repo);
        assert_eq!(world.kit.provision(Some(&repo("A"))).await.unwrap().len(), 1);
        let stranger: Repo = "p/b".parse().unwrap();
        let error = world.kit.provision(Some(&stranger)).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        let reason = format!("`p/b` is outside {bound}, a bound that the operator has set.");
        assert_eq!(error.message, format!("Invalid value for `repo`: {reason}"));
        assert!(error.remedy.starts_with("The operator allows "), "{error}");
        assert_eq!(world.engine.launched().len(), 1);
        assert_eq!(world.github.change(|state| state.runners.len()), 1, "nor registered");
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_is_made_and_none_is_used_for_a_repository_that_is_not_allowed() {
    let world = allowing(&["*"], &["o/a"], ScopeKind::Repo);
    let token = world.kit.generate_runner_token(&repo("a")).await.unwrap();
    let error = world.kit.generate_runner_token(&repo("b")).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    let error = world.kit.launch_runner_container(&repo("b"), &token).await.unwrap_err();
    assert_eq!((error.code, world.live().await), (Code::InvalidArgument, 0));
}

#[tokio::test(start_paused = true)]
async fn an_organisations_runners_are_bounded_by_their_owner_too() {
    let world = allowing(&["o"], &["*/*"], ScopeKind::Org);
    let stranger: Repo = "p/a".parse().unwrap();
    let error = world.kit.provision(Some(&stranger)).await.unwrap_err();
    assert!(error.message.contains("allowed_owners"), "{error}");
    assert_eq!(world.kit.provision(Some(&repo("a"))).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn provisioning_by_hand_keeps_its_rate_over_any_minute() {
    let world = with_rate(3, 100);
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    world.pass(20).await;
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    world.kit.provision(Some(&repo("b"))).await.unwrap();
    let error = world.kit.provision(Some(&repo("c"))).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::RateLimited, true));
    let wait = error.retry_after.unwrap();
    assert!((35..=40).contains(&wait), "{error}");
    let token = world.kit.generate_runner_token(&repo("a")).await.unwrap();
    let error = world.kit.launch_runner_container(&repo("a"), &token).await.unwrap_err();
    assert_eq!((error.code, world.engine.launched().len()), (Code::RateLimited, 3));
    world.pass(wait).await;
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    assert_eq!(world.kit.provision(None).await.unwrap(), [], "no job waits: no question of rate");
    assert_eq!(
        world.kit.provision(Some(&repo("a"))).await.unwrap_err().code,
        Code::RateLimited,
        "those of 40 s ago still count"
    );
    assert_eq!(world.engine.launched().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn many_who_provision_at_once_never_exceed_the_rate() {
    let world = with_rate(5, 100);
    let all = (0..20).map(|_| {
        let kit = world.kit.clone();
        tokio::spawn(async move { kit.provision(Some(&repo("a"))).await.is_ok() })
    });
    let done = futures::future::join_all(all).await;
    assert_eq!(done.into_iter().filter(|launched| *launched.as_ref().unwrap()).count(), 5);
    assert_eq!(world.engine.launched().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_want_of_room_does_not_count() {
    let world = with_rate(2, 1);
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    for _ in 0..5 {
        let error = world.kit.provision(Some(&repo("a"))).await.unwrap_err();
        assert_eq!(error.code, Code::AtCapacity);
    }
    world.github.queue("a", 1, 1);
    world.until("it is done", |world| world.github.done() == 1).await;
    world.kit.provision(Some(&repo("a"))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn provisioning_for_all_queues_is_cut_to_what_the_rate_leaves() {
    let world = with_rate(4, 100);
    world.kit.provision(Some(&repo("b"))).await.unwrap();
    world.github.queue("a", 5, 600);
    assert_eq!(world.kit.provision(None).await.unwrap().len(), 3);
    assert_eq!(world.kit.provision(None).await.unwrap_err().code, Code::RateLimited);
    assert_eq!(world.engine.launched().len(), 4);
    let told = world.kit.subscribe().borrow().events.clone();
    let told = told.iter().find(|event| event.message.contains("provision_rate")).unwrap();
    assert_eq!(told.message, "provision_rate left room for 3 of 5 runners");
    world.pass(61).await;
    assert_eq!(world.kit.provision(None).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_zero_allows_none_by_hand_and_does_not_hold_up_the_loop() {
    let world = with_rate(0, 100);
    let error = world.kit.provision(Some(&repo("a"))).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::RateLimited, false));
    world.github.queue("a", 70, 5);
    assert_eq!(world.kit.provision(None).await.unwrap_err().code, Code::RateLimited);
    assert_eq!(world.engine.launched().len(), 0);
    world.kit.start_autoscaler().await.unwrap();
    world.until("runners start", |world| world.engine.launched().len() == 70).await;
    assert_eq!(world.kit.provision(Some(&repo("a"))).await.unwrap_err().code, Code::RateLimited);
}
