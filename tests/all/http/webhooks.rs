//! Who may deliver, and what is refused. What comes of a delivery is tested with an engine.

use http::{Method, StatusCode};
use serde_json::json;
use tokio::process::Child;

use super::home;
use crate::support::hook::{SECRET, delivery, queued, signature};
use crate::support::http::{Server, Site};
use crate::support::program::Home;

const PATH: &str = "/webhooks/github";

/// A service that knows the secret, where neither GitHub nor an engine answers.
async fn service(instance: &str) -> (Home, Child, Site) {
    let home = home(
        instance,
        &[
            ("RUNNER_KIT_WEBHOOK_SECRET", SECRET),
            ("GITHUB_API_URL", "http://127.0.0.1:9/api/v3"),
            ("GITHUB_TOKEN", "none"),
            ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
        ],
    );
    let service = home.serve("runner start --keep-trying --http 127.0.0.1:0").await;
    let site = Site::said(&home.service_log());
    (home, service, site)
}

#[tokio::test]
async fn without_a_secret_webhooks_are_refused_with_the_remedy() {
    let home = home("hook-none", &[]);
    let server = Server::start(&home, "").await;
    let reply = delivery(&server, "ping", "1", &json!({})).send().await;
    assert_eq!(reply.refused(), (404, "not_found".into()));
    assert!(reply.json()["error"]["remedy"].as_str().unwrap().contains("webhook_secret_file"));
}

#[tokio::test]
async fn what_is_signed_needs_no_token_and_no_known_host_and_what_is_not_gets_nowhere() {
    let (home, _service, server) = service("hook-signed").await;
    let ping = delivery(&server, "ping", "1", &json!({ "zen": "" })).send().await;
    assert_eq!((ping.status, &ping.json()["data"]["outcome"]), (StatusCode::OK, &"ping".into()));
    let push = delivery(&server, "push", "2", &json!({})).send().await;
    assert_eq!((push.status, &push.json()["data"]["outcome"]), (StatusCode::OK, &"ignored".into()));
    let forged = signature("another secret of this length", b"{}");
    let token = super::token(&home, "http-token");
    for ask in [
        delivery(&server, "ping", "3", &json!({})).with("x-hub-signature-256", &forged),
        delivery(&server, "ping", "4", &json!({})).with("x-hub-signature-256", "sha256="),
        // A token is no signature, and the older header is not enough.
        delivery(&server, "ping", "5", &json!({})).without("x-hub-signature-256").bearer(&token),
        delivery(&server, "ping", "6", &json!({}))
            .without("x-hub-signature-256")
            .with("x-hub-signature", "sha1=00"),
    ] {
        assert_eq!(ask.send().await.refused(), (401, "not_authenticated".into()));
    }
    let reply = server.ask(Method::GET, PATH).send().await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    let log = home.service_log();
    assert!(log.contains("wrong signature") && log.contains("GitHub has tried"), "{log}");
    assert!(!log.contains(&forged[7..]) && !log.contains(SECRET), "{log}");
    let metrics = server.ask(Method::GET, "/metrics").bearer(&token).send().await;
    for (outcome, count) in [("ping", 1), ("ignored", 1), ("refused", 4), ("heard", 0)] {
        let line =
            format!("runner_kit_webhook_deliveries_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.body.contains(&line), "{outcome}: {}", metrics.body);
    }
}

#[tokio::test]
async fn where_no_loop_is_a_job_is_not_taken_as_heard() {
    let home = home("hook-elsewhere", &[("RUNNER_KIT_WEBHOOK_SECRET", SECRET)]);
    let server = Server::start(&home, "").await;
    let payload = queued("octo-org/web", 1, &["self-hosted"]);
    // GitHub's first try shows it already.
    for (event, payload) in [("workflow_job", payload), ("ping", json!({}))] {
        let reply = delivery(&server, event, "1", &payload).send().await;
        assert_eq!(reply.refused(), (503, "not_found".into()));
        assert!(reply.json()["error"]["remedy"].as_str().unwrap().contains("runner start --http"));
    }
}

#[tokio::test]
async fn wrong_signatures_are_bounded_in_time_and_right_ones_come_through_all_the_same() {
    let (_home, _service, server) = service("hook-often").await;
    let wrong =
        || delivery(&server, "ping", "1", &json!({})).with("x-hub-signature-256", "sha256=00");
    let replies = futures::future::join_all((0..100).map(|_| wrong().send())).await;
    let limited = replies.into_iter().find(|reply| reply.status == 429).expect("a bound");
    assert_eq!(limited.refused().1, "rate_limited");
    assert_eq!(limited.header("retry-after"), "1");
    let right = delivery(&server, "ping", "2", &json!({})).send().await;
    assert_eq!(right.status, StatusCode::OK);
}

#[tokio::test]
async fn a_delivery_may_be_a_mebibyte_long_and_no_longer() {
    let (_home, _service, server) = service("hook-long").await;
    let long = |bytes: usize| {
        let frame = json!({ "zen": "" }).to_string().len();
        delivery(&server, "ping", "1", &json!({ "zen": "x".repeat(bytes - frame) }))
    };
    assert_eq!(long(1 << 20).send().await.status, StatusCode::OK);
    assert_eq!(long((1 << 20) + 1).send().await.refused(), (413, "invalid_argument".into()));
}

#[tokio::test]
async fn a_secret_that_others_can_read_or_could_guess_is_refused_at_the_start() {
    let home = home("hook-secret", &[]);
    let file = home.path().join("hook");
    let line = format!("mcp start --http 127.0.0.1:0 --webhook-secret-file {}", file.display());
    for (text, mode, words) in
        [(SECRET, 0o644, "others can read it"), ("short", 0o600, "16 characters")]
    {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
        let done = home.run(&line).await;
        let error = done.error();
        assert_eq!((done.code, &error["code"]), (2, &json!("invalid_argument")), "{done:?}");
        assert!(error["message"].as_str().unwrap().contains(words), "{done:?}");
        assert!(!done.stderr.contains(text), "{done:?}");
    }
}
