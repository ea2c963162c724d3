use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{Client, github, keys::pairs};
use crate::simulator::{AppSpec, Options, RepoSpec, Simulator, TOKEN};

const APP: u64 = 7;

async fn with_app() -> Simulator {
    let github = github(Options::default()).await;
    github.add_app(AppSpec::new(APP, &*pairs()[0].public));
    github
}

fn signed(github: &Simulator, key: usize, issuer: Value, iat: i64, exp: i64) -> String {
    let now = github.now().timestamp();
    let claims = json!({"iss": issuer, "iat": now + iat, "exp": now + exp});
    let key = EncodingKey::from_rsa_pem(pairs()[key].private.as_bytes()).unwrap();
    encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
}

fn client(github: &Simulator, token: &str) -> Client {
    Client::new(github).with("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn an_apps_own_token_is_checked_for_signature_times_and_issuer() {
    let github = with_app().await;
    for (key, issuer, iat, exp, status, message) in [
        (0, json!(APP), -60, 540, 200, ""),
        (0, json!("7"), -60, 540, 200, ""),
        (0, json!("Iv23li00000000000007"), -60, 540, 200, ""),
        (1, json!(APP), -60, 540, 401, "A JSON web token could not be decoded"),
        (0, json!(8), -60, 540, 404, "Integration not found"),
        (0, json!(APP), -60, 660, 401, "too far in the future"),
        (0, json!(APP), -600, -1, 401, "'Expiration time' claim"),
        (0, json!(APP), 60, 540, 401, "'Issued at' claim"),
    ] {
        let token = signed(&github, key, issuer.clone(), iat, exp);
        let answer = client(&github, &token).get("/app").await;
        assert_eq!(answer.status.as_u16(), status, "{issuer} {iat} {exp}");
        let said = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains(message), "{said}");
    }
    let unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOjcsImlhdCI6MSwiZXhwIjoxfQ.";
    assert_eq!(client(&github, unsigned).get("/app").await.status, 401);
}

#[tokio::test]
async fn each_kind_of_credential_is_good_for_its_own_addresses_only() {
    let github = with_app().await;
    github.install_app(APP, "acme", None).unwrap();
    let app = client(&github, &signed(&github, 0, json!(APP), -60, 540));
    let user = client(&github, TOKEN);
    for (path, by_app, by_user) in [
        ("/app", 200, 401),
        ("/app/installations", 200, 401),
        ("/orgs/acme/installation", 200, 401),
        ("/repos/acme/api/installation", 200, 401),
        ("/users/octocat/installation", 404, 401),
        ("/user", 403, 200),
        ("/repos/acme/api", 403, 200),
        ("/installation/repositories", 403, 403),
    ] {
        assert_eq!(app.get(path).await.status, by_app, "{path}");
        assert_eq!(user.get(path).await.status, by_user, "{path}");
    }
}

#[tokio::test]
async fn an_installations_token_ends_and_reaches_what_it_is_installed_on() {
    let github = with_app().await;
    github.add_repo(RepoSpec::new("acme/other"));
    github.add_repo(RepoSpec::new("acme/secret").private());
    github.add_repo(RepoSpec::new("hubot/elsewhere").private());
    let id = github.install_app(APP, "acme", Some(&["acme/api"])).unwrap();
    let app = client(&github, &signed(&github, 0, json!(APP), -60, 540));
    let tokens = format!("/app/installations/{id}/access_tokens");
    let made = app.post(&tokens, "{}").await;
    assert_eq!(made.status, 201);
    let installed = client(&github, made.json()["token"].as_str().unwrap());
    let listed = installed.get("/installation/repositories").await.json();
    assert_eq!(
        (&listed["total_count"], &listed["repositories"][0]["name"]),
        (&json!(1), &json!("api"))
    );
    let register = "actions/runners/registration-token";
    for (path, status) in [
        (format!("/repos/acme/api/{register}"), 201),
        (format!("/orgs/acme/{register}"), 201),
        (format!("/repos/acme/other/{register}"), 403),
        (format!("/repos/acme/secret/{register}"), 404),
        (format!("/repos/hubot/elsewhere/{register}"), 404),
    ] {
        assert_eq!(installed.post(&path, "").await.status, status, "{path}");
    }
    assert_eq!(installed.get("/user").await.status, 403);
    github.suspend(id, true).unwrap();
    assert_eq!(installed.get("/repos/acme/api").await.status, 403);
    assert_eq!(app.post(&tokens, "{}").await.status, 403);
    github.suspend(id, false).unwrap();
    assert_eq!(installed.get("/repos/acme/api").await.status, 200);
    github.skip(Duration::from_secs(3_600));
    assert_eq!(installed.get("/repos/acme/api").await.status, 401);
}
