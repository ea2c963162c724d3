//! With a GitHub App for a credential.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::adapters::github::{AppKey, Credential};
use crate::simulator::AppSpec;
use crate::simulator::tests::keys::pairs;

const APP: u64 = 7;

fn key(number: usize) -> Credential {
    Credential::App(AppKey::in_text(APP.to_string(), &pairs()[number].private))
}

/// Two organisations with a private repository each.
async fn world(owner: Option<&str>, options: Options, credential: Credential) -> World {
    let mut world = World::with(owner, options, |_| ()).await;
    world.github.add_app(AppSpec::new(APP, &*pairs()[0].public));
    for name in ["octo-org/web", "acme/api"] {
        world.github.add_repo(RepoSpec::new(name).private());
    }
    world.use_credential(credential);
    world
}

impl World {
    fn use_credential(&mut self, credential: Credential) {
        self.client = GithubClient::new(&self.config, credential).unwrap();
        self.poller = Poller::new(self.client.clone(), Arc::default(), &self.config).unwrap();
        self.registrar = GithubRegistrar::new(self.client.clone(), &self.config);
    }

    fn tokens_issued(&self) -> usize {
        let requests = self.github.requests();
        let issued = |path: &str| path.ends_with("/access_tokens");
        requests.iter().filter(|request| issued(&request.path)).count()
    }
}

fn org(name: &str) -> Scope {
    Scope::org(name)
}

#[tokio::test]
async fn every_installations_repositories_are_watched_each_with_its_own_token_and_budget() {
    let world = world(None, Options::default(), key(0)).await;
    let [one, two] =
        ["octo-org", "acme"].map(|account| world.github.install_app(APP, account, None).unwrap());
    let web: Repo = "octo-org/web".parse().unwrap();
    world.queue(&web, RunSpec::new("ci").job(self_hosted("build")));
    assert_eq!(world.names().await, ["acme/api", "octo-org/web"]);
    world.registrar.check().await.unwrap();
    world.registrar.token(&scope(&web)).await.unwrap();
    world.registrar.token(&org("acme")).await.unwrap();
    assert_eq!(world.tokens_issued(), 2);
    for request in world.github.requests() {
        let asked_by = match request.path.split('/').nth(2) {
            Some("octo-org") => format!("installation/{one}"),
            Some("acme") => format!("installation/{two}"),
            _ => continue,
        };
        assert_eq!(request.login, Some(asked_by), "{}", request.path);
    }
    // Each has its own answers: the same address is "not modified" for both.
    let before = world.github.requests().len();
    world.names().await;
    let listings: Vec<_> = world.github.requests().split_off(before);
    let listings = listings.iter().filter(|one| one.path == "/installation/repositories");
    assert_eq!(listings.map(|one| one.status).collect::<Vec<_>>(), [Some(304), Some(304)]);
    // Nothing that one has used is taken from the other's budget.
    let charged = |id: u64| {
        let own = Some(format!("installation/{id}"));
        world.github.requests().iter().filter(|one| one.charged && one.login == own).count()
    };
    assert!(charged(one) > charged(two), "the busy one costs more");
    let left = world.client.budget().unwrap().remaining;
    assert_eq!(left as usize, 5_000 - charged(one));
}

#[tokio::test]
async fn a_limit_of_one_installation_does_not_hold_up_the_other() {
    let world = world(None, Options { rate_limit: 4, ..Options::default() }, key(0)).await;
    for account in ["octo-org", "acme"] {
        world.github.install_app(APP, account, None).unwrap();
    }
    for _ in 0..4 {
        world.registrar.deregister(&org("acme"), 1).await.unwrap();
    }
    let limited = world.registrar.deregister(&org("acme"), 1).await.unwrap_err();
    assert_eq!(limited.code, Code::RateLimited);
    world.registrar.registered(&org("octo-org")).await.unwrap();
}

#[tokio::test]
async fn a_token_that_ends_while_it_is_in_use_is_renewed_once_for_all_who_wait() {
    let lifetime = Duration::from_secs(300);
    let options = Options { installation_token_lifetime: lifetime, ..Options::default() };
    let world = world(Some("acme"), options, key(0)).await;
    world.github.install_app(APP, "acme", None).unwrap();
    world.names().await;
    assert_eq!(world.tokens_issued(), 1);
    // GitHub's clock only: we believe that the token lasts.
    world.github.skip(lifetime);
    let scopes = [org("acme"), scope(&"acme/api".parse().unwrap())];
    let (one, two) =
        tokio::join!(world.registrar.token(&scopes[0]), world.registrar.token(&scopes[1]));
    one.unwrap();
    two.unwrap();
    assert_eq!(world.tokens_issued(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let lifetime = Duration::from_secs(50);
    let options = Options { installation_token_lifetime: lifetime, ..Options::default() };
    let world = world(Some("acme"), options, key(0)).await;
    world.github.install_app(APP, "acme", None).unwrap();
    world.registrar.registered(&org("acme")).await.unwrap();
    world.registrar.registered(&org("acme")).await.unwrap();
    assert_eq!(world.tokens_issued(), 2);
    assert!(world.github.requests().iter().all(|request| request.status != Some(401)));
}

#[tokio::test]
async fn a_suspended_installation_is_named_and_the_others_are_watched() {
    let world = world(None, Options::default(), key(0)).await;
    let suspended = world.github.install_app(APP, "acme", None).unwrap();
    world.github.install_app(APP, "octo-org", None).unwrap();
    world.github.suspend(suspended, true).unwrap();
    let demand = world.poller.demand().await.unwrap();
    assert_eq!(demand.repos.len(), 1);
    let error = &demand.unlisted["acme"];
    assert_eq!(error.code, Code::TokenDenied);
    assert!(error.message.contains("acme has been suspended"), "{error}");
    assert!(error.remedy.contains("organizations/acme/settings/installations"), "{error}");
    assert!(!demand.has_seen(&scope(&"ACME/api".parse().unwrap())));
    assert!(demand.has_seen(&scope(&"octo-org/web".parse().unwrap())));
}

#[tokio::test]
async fn an_installation_that_is_suspended_later_leaves_its_repositories_unseen() {
    let mut world = world(None, Options::default(), key(0)).await;
    let suspended = world.github.install_app(APP, "acme", None).unwrap();
    world.github.install_app(APP, "octo-org", None).unwrap();
    assert_eq!(world.names().await.len(), 2);
    world.github.suspend(suspended, true).unwrap();
    // The list of installations is a minute old at most; another client has none.
    let before = world.poller.known.into_inner();
    world.poller = Poller::new(
        GithubClient::new(&world.config, key(0)).unwrap(),
        Arc::default(),
        &world.config,
    )
    .unwrap();
    world.poller.known = Mutex::new(before);
    let demand = world.poller.demand().await.unwrap();
    let unseen: Vec<_> = demand.unseen.keys().map(Repo::as_str).collect();
    assert_eq!(unseen, ["acme/api"]);
}

#[tokio::test]
async fn an_account_without_the_app_is_refused_with_the_address_to_install_it() {
    for (owner, expected) in [(Some("acme"), "acme"), (None, "any account")] {
        let world = world(owner, Options::default(), key(0)).await;
        for error in
            [world.registrar.check().await.unwrap_err(), world.poller.demand().await.unwrap_err()]
        {
            assert_eq!(error.code, Code::TokenDenied);
            assert!(error.message.contains(&format!("not installed on {expected}")), "{error}");
            let address = format!("{}/github-apps/app-7/installations/new", world.github.url());
            assert!(error.remedy.contains(&address), "{error}");
        }
    }
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_id_are_not_authenticated_and_show_no_secret() {
    let unknown = Credential::App(AppKey::in_text("8", &pairs()[0].private));
    let no_key = Credential::App(AppKey::in_text("7", "-----BEGIN NONSENSE-----"));
    for (credential, expected) in [
        (key(1), "could not be decoded"),
        (unknown, "Integration not found"),
        (no_key, "RUNNER_KIT_APP_KEY holds no RSA private key"),
    ] {
        assert!(!format!("{credential:?}").contains("BEGIN"));
        let world = world(Some("acme"), Options::default(), credential).await;
        let error = world.registrar.check().await.unwrap_err();
        assert_eq!(error.code, Code::NotAuthenticated);
        assert!(error.message.starts_with("Not authenticated with GitHub CLI or token"));
        assert!(error.message.contains(expected), "{error}");
        assert!(!error.to_string().contains("BEGIN"), "{error}");
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_with_the_difference() {
    let world = world(Some("acme"), Options::default(), key(0)).await;
    world.github.install_app(APP, "acme", None).unwrap();
    world.github.skip(Duration::from_secs(3_600));
    let error = world.registrar.check().await.unwrap_err();
    assert_eq!(error.code, Code::NotAuthenticated);
    assert!(error.message.contains("'Expiration time' claim"), "{error}");
    assert!(error.remedy.contains("s behind GitHub's"), "{error}");
}

#[tokio::test]
async fn a_key_that_was_changed_in_its_file_is_taken_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.pem");
    let write = |number: usize| {
        fs::write(&file, &pairs()[number].private).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(0);
    let options =
        Options { installation_token_lifetime: Duration::from_secs(30), ..Options::default() };
    let credential = Credential::App(AppKey::in_file(APP.to_string(), file.clone()));
    let world = world(Some("acme"), options, credential).await;
    world.github.install_app(APP, "acme", None).unwrap();
    world.registrar.registered(&org("acme")).await.unwrap();
    world.github.add_app(AppSpec::new(APP, &*pairs()[1].public));
    let refused = world.registrar.registered(&org("acme")).await.unwrap_err();
    assert_eq!(refused.code, Code::NotAuthenticated);
    write(1);
    world.registrar.registered(&org("acme")).await.unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let world = self::world(
        Some("acme"),
        Options::default(),
        Credential::App(AppKey::in_file(APP.to_string(), file)),
    )
    .await;
    let error = world.registrar.check().await.unwrap_err();
    assert!(error.message.contains("others can read") && error.remedy.contains("chmod 600"));
}
