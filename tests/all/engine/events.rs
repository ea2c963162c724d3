//! A container's start and end wake who waits, and a broken stream is made anew.

use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::*;

async fn woken(world: &World) {
    tokio::time::timeout(PATIENCE, world.engine.changed()).await.expect("a wake");
}

#[tokio::test]
async fn the_end_of_a_container_wakes() {
    let script = r#"while ! test -e "$RUNNER_WORKDIR/go"; do sleep 0.05; done"#;
    let world = World::new("wake", script).await;
    woken(&world).await;
    world.engine.launch(&world.launch("r")).await.unwrap();
    woken(&world).await;
    let container = world.only().await;
    assert!(!container.ended);
    fs::write(world.work.join(&container.name).join("go"), "").unwrap();
    // Only an event can end this: nothing here looks by itself.
    assert!(world.ended().await.ended);
}

/// The engine's socket by a way that can be cut.
async fn way(path: PathBuf) -> Arc<Mutex<Vec<AbortHandle>>> {
    let listener = UnixListener::bind(path).unwrap();
    let ways: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
    let open = Arc::clone(&ways);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let passing = tokio::spawn(async move {
                let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
            open.lock().unwrap().push(passing.abort_handle());
        }
    });
    ways
}

#[tokio::test]
async fn after_a_broken_stream_there_is_a_wake_and_then_events_again() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let ways = way(socket.clone()).await;
    let host = Some(format!("unix://{}", socket.display()));
    let script = "trap exit TERM; while true; do sleep 0.05; done";
    let world = World::at("reconnect", script, host, |_| {}).await;
    woken(&world).await;
    world.engine.launch(&world.launch("r")).await.unwrap();
    woken(&world).await;
    for way in ways.lock().unwrap().drain(..) {
        way.abort();
    }
    woken(&world).await;
    world.engine.stop(&world.only().await).await.unwrap();
    woken(&world).await;
}

/// Docker tells of an end before its listing shows it, so the listing after the first wake may be
/// too old already.
#[tokio::test]
async fn a_stream_begins_well_before_the_first_wake_by_the_engines_own_clock() {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let events = async |State(asked): State<mpsc::UnboundedSender<_>>,
                        Query(query): Query<HashMap<String, String>>| {
        let _ = asked.send(query);
    };
    let info = async || Json::<Value>(json!({"SystemTime": "2001-09-09T01:46:40.5Z"}));
    let app =
        Router::new().route("/info", get(info)).route("/events", get(events)).with_state(sender);
    let engine = played_engine(app, |_| {});
    tokio::time::timeout(PATIENCE, engine.changed()).await.expect("a wake");
    let query = tokio::time::timeout(PATIENCE, asked.recv()).await.unwrap().unwrap();
    assert_eq!(query.get("since").map(String::as_str), Some("999999970.500000000"));
    let filters = query.get("filters").cloned().unwrap_or_default();
    assert!(filters.contains("runner.instance=played") && !filters.contains("event"), "{filters}");
}
