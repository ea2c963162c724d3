//! Pulls, against an engine that is played by this test: no registry is needed.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{FutureExt, StreamExt, stream};
use runner_kit::config::PullPolicy;
use runner_kit::error::Code;
use serde_json::{Value, json};

use super::*;

/// An engine that knows no image until it has been pulled.
#[derive(Default)]
struct Played {
    asked: AtomicUsize,
    pulls: AtomicUsize,
    begun: AtomicUsize,
    messages: Vec<Value>,
}

async fn inspect(State(played): State<Arc<Played>>) -> impl IntoResponse {
    played.asked.fetch_add(1, Ordering::SeqCst);
    match played.pulls.load(Ordering::SeqCst) {
        0 => (StatusCode::NOT_FOUND, Json(json!({"message": "No such image: tiny"}))),
        _ => (StatusCode::OK, Json(json!({"Id": "sha256:00"}))),
    }
}

/// One message a second: a pull takes its time.
async fn pull(State(played): State<Arc<Played>>) -> Body {
    played.begun.fetch_add(1, Ordering::SeqCst);
    let messages = stream::iter(played.messages.clone()).then(|message| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, std::io::Error>(Bytes::from(format!("{message}\r\n")))
    });
    let counted = Arc::clone(&played);
    let succeeds = played.messages.iter().all(|message| message.get("errorDetail").is_none());
    let end = stream::once(async move {
        counted.pulls.fetch_add(usize::from(succeeds), Ordering::SeqCst);
        Ok(Bytes::new())
    });
    Body::from_stream(messages.chain(end))
}

async fn play(messages: Vec<Value>, policy: PullPolicy) -> (DockerEngine, Arc<Played>) {
    let played = Arc::new(Played { messages, ..Played::default() });
    let app = Router::new()
        .route("/images/{name}/json", get(inspect))
        .route("/images/create", post(pull))
        .route("/info", get(|| async { Json(json!({"OSType": "linux"})) }))
        .with_state(Arc::clone(&played));
    let engine = played_engine(app, |config| {
        (config.runner_image, config.pull) = ("tiny".to_owned(), policy);
    });
    (engine, played)
}

fn downloading(current: u32) -> Value {
    json!({"id": "a", "status": "Downloading", "progressDetail": {"current": current, "total": 100}})
}

#[tokio::test(start_paused = true)]
async fn many_who_need_the_image_share_one_pull_and_see_how_far_it_is() {
    let messages = (1..=4).map(|step| downloading(step * 25)).collect();
    let (engine, played) = play(messages, PullPolicy::Missing).await;
    let said = Mutex::new(Vec::new());
    let report = |text: &str| said.lock().unwrap().push(text.to_owned());
    let prepared = futures::future::join_all((0..5).map(|_| engine.prepare(&report))).await;
    assert!(prepared.iter().all(Result::is_ok), "{prepared:?}");
    assert_eq!(played.pulls.load(Ordering::SeqCst), 1);
    let said = said.into_inner().unwrap();
    assert_eq!(said.first().map(String::as_str), Some("pulling the image tiny"));
    assert!(said.contains(&"pulling the image tiny: 50 %".to_owned()), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_asks_for_the_image_once_and_what_comes_later_asks_again() {
    let (engine, played) = play(vec![], PullPolicy::Missing).await;
    played.pulls.fetch_add(1, Ordering::SeqCst);
    let burst = async || {
        let prepared = futures::future::join_all((0..5).map(|_| engine.prepare(&|_| {}))).await;
        assert!(prepared.iter().all(Result::is_ok), "{prepared:?}");
        played.asked.load(Ordering::SeqCst)
    };
    assert_eq!((burst().await, burst().await), (1, 1));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(burst().await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_has_gone_is_missed_by_the_first_launch_and_pulled_for_the_next() {
    let (engine, played) = play(vec![downloading(100)], PullPolicy::Missing).await;
    engine.prepare(&|_| {}).await.unwrap();
    played.pulls.store(0, Ordering::SeqCst);
    // The engine that is played here makes nothing: 404, as without the image.
    assert!(engine.launch(&launch_of("gone-1".to_owned())).await.is_err());
    engine.prepare(&|_| {}).await.unwrap();
    assert_eq!(played.pulls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn always_means_once_in_the_life_of_a_service() {
    let (engine, played) = play(vec![downloading(100)], PullPolicy::Always).await;
    played.pulls.fetch_add(1, Ordering::SeqCst);
    for _ in 0..3 {
        engine.prepare(&|_| {}).await.unwrap();
    }
    assert_eq!(played.pulls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_fails_half_way_is_told_and_tried_again_by_the_next() {
    let refusal = json!({"errorDetail": {"message": "pull access denied for tiny"}});
    let (engine, played) = play(vec![downloading(50), refusal], PullPolicy::Missing).await;
    let error = engine.prepare(&|_| {}).await.unwrap_err();
    assert_eq!(error.code, Code::ContainerFailed);
    assert!(error.message.contains("pull access denied"), "{error}");
    assert!(error.remedy.contains("docker login"), "{error}");
    assert_eq!(played.pulls.load(Ordering::SeqCst), 0);
    assert!(engine.prepare(&|_| {}).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_fails_fails_for_all_who_waited_for_it_and_is_tried_once() {
    let refusal = json!({"errorDetail": {"message": "pull access denied for tiny"}});
    let (engine, played) = play(vec![downloading(50), refusal], PullPolicy::Missing).await;
    let prepared = futures::future::join_all((0..5).map(|_| engine.prepare(&|_| {}))).await;
    assert!(prepared.iter().all(Result::is_err), "{prepared:?}");
    assert_eq!(played.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_does_not_block_the_next() {
    let (engine, played) = play(vec![downloading(50), downloading(100)], PullPolicy::Missing).await;
    assert!(engine.prepare(&|_| {}).now_or_never().is_none());
    engine.prepare(&|_| {}).await.unwrap();
    assert_eq!(played.pulls.load(Ordering::SeqCst), 1);
}
