use std::time::Duration;

use tokio::time::timeout;

use super::{Client, github};
use crate::simulator::{Fault, Often, Options, Simulator};

async fn with_fault(fault: Fault) -> (Simulator, Client) {
    let github = github(Options::default()).await;
    github.inject(fault, "* /repos/acme/*", Often::Times(1)).unwrap();
    let client = Client::new(&github);
    (github, client)
}

#[tokio::test]
async fn a_status_is_answered_and_nothing_is_done() {
    let (github, client) = with_fault(Fault::Status(502)).await;
    let path = "/repos/acme/api/actions/runners/generate-jitconfig";
    let body = r#"{"name": "one", "runner_group_id": 1, "labels": ["x"]}"#;
    assert_eq!(client.post(path, body).await.status, 502);
    assert!(github.runners().is_empty());
    assert_eq!(client.post(path, body).await.status, 201);
}

#[tokio::test]
async fn the_limits_of_faults_tell_when_to_come_back() {
    for (fault, status) in [
        (Fault::SecondaryLimit { retry_after: 7 }, 403),
        (Fault::TooManyRequests { retry_after: 7 }, 429),
    ] {
        let (_github, client) = with_fault(fault).await;
        let answer = client.get("/repos/acme/api").await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (status, "7"));
        assert!(answer.header("x-github-request-id").contains(':'));
    }
}

#[tokio::test]
async fn a_reset_ends_the_connection_before_anything_is_done() {
    let (github, client) = with_fault(Fault::Reset).await;
    let path = "/repos/acme/api/actions/runners/registration-token";
    client.attempt("POST", path, "").await.err().unwrap();
    github.wait_for_requests(|journal| journal.under_way() == 0).await;
    assert_eq!(github.requests()[0].status, None);
    assert_eq!(github.counters().charged, 0);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_no_regular_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (github, _client) = with_fault(Fault::Reset).await;
    let mut stream = tokio::net::TcpStream::connect(github.address()).await.unwrap();
    stream.write_all(b"GET /api/v3/repos/acme/api HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_is_lost_after_its_effect_has_been_done() {
    let (github, client) = with_fault(Fault::LostAfterEffect).await;
    let path = "/repos/acme/api/actions/runners/generate-jitconfig";
    let body = r#"{"name": "one", "runner_group_id": 1, "labels": ["x"]}"#;
    client.attempt("POST", path, body).await.err().unwrap();
    assert_eq!(github.runners()[0].name, "one");
    assert_eq!(client.post(path, body).await.status, 409);
}

#[tokio::test]
async fn a_truncated_body_is_an_error_of_the_connection() {
    let (_github, client) = with_fault(Fault::Truncated).await;
    client.attempt("GET", "/repos/acme/api", "").await.err().unwrap();
    assert_eq!(client.get("/repos/acme/api").await.status, 200);
}

#[tokio::test]
async fn a_malformed_body_comes_whole_and_is_not_json() {
    let (_github, client) = with_fault(Fault::Malformed).await;
    let answer = client.get("/repos/acme/api").await;
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
}

#[tokio::test]
async fn a_hanging_request_is_seen_and_ends_with_its_client() {
    let (github, client) = with_fault(Fault::Hang).await;
    let request = tokio::spawn(async move { client.get("/repos/acme/api").await.status });
    github.wait_for_requests(|journal| journal.under_way() == 1).await;
    request.abort();
    github.wait_for_requests(|journal| journal.under_way() == 0).await;
    assert_eq!(github.requests()[0].status, None);
}

#[tokio::test]
async fn a_delayed_answer_is_the_right_one() {
    let (_github, client) = with_fault(Fault::Delay(Duration::from_millis(20))).await;
    let early = timeout(Duration::from_millis(5), client.get("/repos/acme/api")).await;
    assert!(early.is_err());
    assert_eq!(client.get("/repos/acme/api").await.json()["full_name"], "acme/api");
}

#[tokio::test]
async fn a_simulator_ends_with_its_last_handle() {
    let github = github(Options::default()).await;
    let client = Client::new(&github);
    let other = github.clone();
    drop(github);
    assert_eq!(client.get("/user").await.status, 200);
    let address = other.address();
    drop(other);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
