use std::time::Duration;

use axum::{Router, body::Bytes, routing::post};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{REPO, github};
use crate::simulator::{HookFault, JobSpec, JobStatus, Often, Options, RunSpec, Simulator};

const SECRET: &str = "It's a Secret to Everybody";

/// What came: who signed it, which event and delivery it is, and its payload.
struct Came {
    genuine: bool,
    event: String,
    id: String,
    payload: Value,
}

impl Came {
    fn action(&self) -> &str {
        self.payload["action"].as_str().unwrap_or(&self.event)
    }
}

struct Receiver(mpsc::UnboundedReceiver<Came>);

impl Receiver {
    /// A receiver of all that `github` tells.
    async fn of(github: &Simulator) -> Self {
        let (told, came) = mpsc::unbounded_channel();
        let hook = move |headers: HeaderMap, body: Bytes| {
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            let mac = mac.chain_update(&body).finalize().into_bytes();
            let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            let came = Came {
                genuine: header("x-hub-signature-256") == format!("sha256={hex}"),
                event: header("x-github-event"),
                id: header("x-github-delivery"),
                payload: serde_json::from_slice(&body).unwrap(),
            };
            told.send(came).unwrap();
            async { StatusCode::ACCEPTED }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        tokio::spawn(
            axum::serve(listener, Router::new().route("/hooks", post(hook))).into_future(),
        );
        github.hook(&url, SECRET);
        let mut receiver = Self(came);
        assert_eq!(receiver.next().await.event, "ping");
        receiver
    }

    async fn next(&mut self) -> Came {
        timeout(Duration::from_secs(10), self.0.recv()).await.expect("nothing came").unwrap()
    }

    async fn actions(&mut self, count: usize) -> Vec<String> {
        let mut actions = Vec::new();
        for _ in 0..count {
            let came = self.next().await;
            assert!(came.genuine);
            actions.push(came.action().to_owned());
        }
        actions
    }
}

/// A job that begins and ends by itself.
fn hosted() -> RunSpec {
    RunSpec::new("ci").job(JobSpec::new("lint").labels(["ubuntu-latest"]))
}

#[tokio::test]
async fn what_happens_to_a_job_is_told_in_order_with_the_job_as_it_then_was() {
    let github = github(Options::default()).await;
    let mut receiver = Receiver::of(&github).await;
    github.queue_run(REPO, hosted()).unwrap();
    for (action, runner) in [("queued", false), ("in_progress", true), ("completed", true)] {
        let Came { genuine, event, payload, .. } = receiver.next().await;
        assert!(genuine);
        assert_eq!((event.as_str(), payload["action"].as_str()), ("workflow_job", Some(action)));
        let job = &payload["workflow_job"];
        assert_eq!((&job["status"], job["runner_name"].is_string()), (&action.into(), runner));
        assert_eq!(payload["repository"]["full_name"], REPO);
        assert_eq!(payload["organization"]["login"], "acme");
    }
    github.wait_for_deliveries(|all| all.len() == 4).await;
    let deliveries = github.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.status == Some(202)), "{deliveries:?}");
}

#[tokio::test]
async fn a_job_behind_a_gate_is_called_queued_twice_and_waits_in_between() {
    let github = github(Options::default()).await;
    let mut receiver = Receiver::of(&github).await;
    let gated = JobSpec::new("deploy").held(JobStatus::Waiting);
    github.queue_run(REPO, RunSpec::new("cd").job(gated)).unwrap();
    for (action, status) in [("waiting", "waiting"), ("queued", "waiting")] {
        let came = receiver.next().await;
        assert_eq!(
            (came.action(), &came.payload["workflow_job"]["status"]),
            (action, &status.into())
        );
    }
    github.release_job(github.jobs()[0].id).unwrap();
    let came = receiver.next().await;
    assert_eq!(
        (came.action(), &came.payload["workflow_job"]["status"]),
        ("queued", &"queued".into())
    );
}

#[tokio::test]
async fn deliveries_go_wrong_as_they_should() {
    let once = Often::Times(1);
    let all = ["queued", "in_progress", "completed"];
    for (fault, expected) in [
        (HookFault::Lost, &["in_progress", "completed"][..]),
        (HookFault::Duplicated, &["queued", "queued", "in_progress", "completed"]),
        (HookFault::OutOfOrder, &["in_progress", "queued", "completed"]),
        (HookFault::Delayed(Duration::from_millis(300)), &["in_progress", "completed", "queued"]),
    ] {
        let github = github(Options::default()).await;
        let mut receiver = Receiver::of(&github).await;
        github.spoil(fault.clone(), "queued acme/*", once).unwrap();
        github.spoil(HookFault::Lost, "* other/*", Often::Always).unwrap();
        github.queue_run(REPO, hosted()).unwrap();
        assert_eq!(receiver.actions(expected.len()).await, expected, "{fault:?}");
        github.queue_run(REPO, hosted()).unwrap();
        assert_eq!(receiver.actions(3).await, all, "{fault:?}");
    }
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_the_same_one_and_a_forged_one_is_signed_by_another() {
    let github = github(Options::default()).await;
    let mut receiver = Receiver::of(&github).await;
    github.spoil(HookFault::Duplicated, "queued *", Often::Times(1)).unwrap();
    github.spoil(HookFault::Forged, "in_progress *", Often::Times(1)).unwrap();
    github.queue_run(REPO, hosted()).unwrap();
    let (first, again, forged) =
        (receiver.next().await, receiver.next().await, receiver.next().await);
    assert_eq!((&first.id, first.id.len()), (&again.id, 36));
    assert!(first.id != forged.id && first.genuine && again.genuine && !forged.genuine);
}
