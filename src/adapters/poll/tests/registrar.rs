//! Registrations and tokens, of the same GitHub.

use super::*;

#[tokio::test]
async fn a_wrong_credential_is_told_and_never_shown() {
    let world = World::new(None).await;
    let client = GithubClient::new(&world.config, "ghp_wrong_token_text".into()).unwrap();
    let error = GithubRegistrar::new(client, &world.config).check().await.unwrap_err();
    assert_eq!(error.code, Code::NotAuthenticated);
    assert!(error.message.starts_with("Not authenticated with GitHub CLI"));
    assert!(!error.to_string().contains("wrong_token_text"));
}

#[tokio::test]
async fn an_owner_that_does_not_exist_is_not_found() {
    let world = World::new(Some("nobody-here")).await;
    let error = world.registrar.check().await.unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert!(error.message.contains("nobody-here"));
}

#[tokio::test]
async fn a_burst_of_launches_asks_for_one_token() {
    let world = World::new(None).await;
    let repo = world.repo("octocat/home");
    let scope = scope(&repo);
    let all = (0..50).map(|_| world.registrar.token(&scope));
    let tokens = futures::future::try_join_all(all).await.unwrap();
    assert_eq!(tokens.len(), 50);
    assert_eq!(
        world.github.requests_under("/repos/octocat/home/actions/runners/registration-token"),
        1
    );
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_not_sent_again() {
    let world = World::with(None, Options::default(), |config| {
        config.registration = crate::config::RegistrationKind::Jit;
    })
    .await;
    let repo = world.repo("octocat/home");
    world.github.inject(Fault::LostAfterEffect, "POST *", Often::Times(1)).unwrap();
    let error = world.registrar.register(&runner(&repo, "one")).await.unwrap_err();
    assert_eq!(error.code, Code::GithubUnreachable);
    assert_eq!(world.github.runners().len(), 1);
}

#[tokio::test]
async fn a_just_in_time_runner_is_registered_listed_and_removed() {
    let world = World::with(None, Options::default(), |config| {
        config.registration = crate::config::RegistrationKind::Jit;
    })
    .await;
    let repo = world.repo("octocat/home");
    let made = world.registrar.register(&runner(&repo, "one")).await.unwrap();
    let Registration::Jit { runner_id, .. } = made else { panic!("{made:?}") };
    let taken = world.registrar.register(&runner(&repo, "one")).await.unwrap_err();
    assert!(taken.message.contains("octocat/home"), "{taken}");
    let listed = world.registrar.registered(&scope(&repo)).await.unwrap();
    assert_eq!((listed.len(), listed[0].id, listed[0].online), (1, runner_id, false));
    assert_eq!(
        world.registrar.deregister(&scope(&repo), runner_id).await.unwrap(),
        Deregistered::Gone
    );
    assert_eq!(
        world.registrar.deregister(&scope(&repo), runner_id).await.unwrap(),
        Deregistered::Gone
    );
    assert_eq!(world.registrar.registered(&scope(&repo)).await.unwrap(), []);
}

#[tokio::test]
async fn a_token_that_is_refused_names_the_right_and_the_repository() {
    let world = World::new(None).await;
    world.github.add_repo(RepoSpec::new("octocat/home").denies(Permission::Administration));
    let repo: Repo = "octocat/home".parse().unwrap();
    let error = world.registrar.token(&scope(&repo)).await.unwrap_err();
    assert_eq!(error.code, Code::TokenDenied);
    assert!(
        error.message.starts_with("Failed to generate runner token for repository octocat/home")
    );
    assert!(error.remedy.contains("administration=write"), "{error}");
}
