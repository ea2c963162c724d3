//! An engine that takes longer for a launch than anybody thought: what there is of it already is
//! no leftover. The engine is played by this test.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;

/// Its start of a container hangs until it is let go.
struct Slow {
    asked: Semaphore,
    go: Semaphore,
    listed: Mutex<Vec<Value>>,
    /// The labels of what it has created last.
    labels: Mutex<Value>,
    /// Whether it answers nothing but errors.
    is_away: AtomicBool,
    start_fails: AtomicBool,
}

/// An engine in the midst of a launch of the runner `r-1`, which works under `work`.
async fn in_the_midst(
    work: &std::path::Path,
) -> (Arc<DockerEngine>, Arc<Slow>, JoinHandle<Result<String, runner_kit::error::Error>>) {
    let slow = Arc::new(Slow {
        asked: Semaphore::new(0),
        go: Semaphore::new(0),
        listed: Mutex::default(),
        labels: Mutex::default(),
        is_away: AtomicBool::new(false),
        start_fails: AtomicBool::new(false),
    });
    let start = async |State(slow): State<Arc<Slow>>| {
        slow.asked.add_permits(1);
        slow.go.acquire().await.unwrap().forget();
        let fails = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        if fails(&slow.is_away) || fails(&slow.start_fails) {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::NO_CONTENT
        }
    };
    let list = async |State(slow): State<Arc<Slow>>| match slow.is_away.load(Ordering::SeqCst) {
        true => Err(StatusCode::INTERNAL_SERVER_ERROR),
        false => Ok(Json(slow.listed.lock().unwrap().clone())),
    };
    let create = async |State(slow): State<Arc<Slow>>, Json(body): Json<Value>| {
        *slow.labels.lock().unwrap() = body["Labels"].clone();
        (StatusCode::CREATED, Json(json!({"Id": "c0ffee", "Warnings": []})))
    };
    let remove = async |RawQuery(query): RawQuery| {
        let is_forced = query.unwrap_or_default().contains("force=true");
        let refusal = json!({"message": "You cannot remove a running container c0ffee."});
        if is_forced {
            (StatusCode::OK, Json(json!({})))
        } else {
            (StatusCode::CONFLICT, Json(refusal))
        }
    };
    let info = json!({"OSType": "linux", "DockerRootDir": "/"});
    let app = Router::new()
        .route("/info", get(async || Json(info)))
        .route("/images/{name}/json", get(async || Json(json!({"Id": "sha256:00"}))))
        .route("/containers/create", post(create))
        .route("/containers/{id}", delete(remove))
        .route("/containers/{id}/start", post(start))
        .route("/containers/json", get(list))
        .route("/volumes", get(async || Json(json!({"Volumes": []}))))
        .with_state(Arc::clone(&slow));
    let engine = Arc::new(played_engine(app, |config| {
        config.runner_work_dir = work.to_owned();
        config.runner_image = "tiny".to_owned();
    }));
    let repo: Repo = "octo-org/website".parse().unwrap();
    let launch = Launch {
        runner: NewRunner {
            name: "r-1".to_owned(),
            scope: Scope::Repo(repo.clone()),
            repo: Some(repo),
            labels: Labels::new(["linux"]),
            origin: Origin::Queue,
            beside_sets: false,
        },
        registration: Registration::Token("t0p-secret".into()),
    };
    let launcher = Arc::clone(&engine);
    let launched = tokio::spawn(async move { launcher.launch(&launch).await });
    tokio::time::timeout(PATIENCE, slow.asked.acquire()).await.unwrap().unwrap().forget();
    (engine, slow, launched)
}

#[tokio::test]
async fn the_work_directory_of_a_launch_under_way_is_no_leftover_however_old_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("work");
    let (engine, slow, launched) = in_the_midst(&work).await;
    let marker = fs::File::options().write(true).open(work.join(".played@r-1")).unwrap();
    marker.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    engine.sweep().await.unwrap();
    assert!(work.join("r-1").exists());

    slow.go.add_permits(1);
    assert_eq!(launched.await.unwrap().unwrap(), "c0ffee");
    // Nothing is listed, so it is a leftover now.
    engine.sweep().await.unwrap();
    assert!(!work.join("r-1").exists());
}

#[tokio::test]
async fn a_container_whose_launch_is_under_way_has_not_ended_however_long_it_takes() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, slow, launched) = in_the_midst(&directory.path().join("work")).await;
    let label = |name: &str| format!("io.ipfs-accelerate.runner.{name}");
    let made = |id: &str, name: &str| {
        let labels = json!({label("name"): name, label("created"): "2020-01-01T00:00:00Z"});
        json!({"Id": id, "Names": [format!("/{name}")], "State": "created", "Labels": labels})
    };
    *slow.listed.lock().unwrap() = vec![made("c0ffee", "r-1"), made("c0c0a", "r-0")];
    let ended = async || {
        let containers = engine.containers().await.unwrap();
        containers.into_iter().map(|c| (c.name, c.ended)).collect::<Vec<_>>()
    };
    let both = |first| [("r-1".to_owned(), first), ("r-0".to_owned(), true)];
    assert_eq!(ended().await, both(false));
    slow.go.add_permits(1);
    launched.await.unwrap().unwrap();
    assert_eq!(ended().await, both(true));
}

/// An engine that is killed has often started the container whose start it never answered.
#[tokio::test]
async fn a_launch_that_fails_while_the_engine_is_away_takes_nothing_from_a_container_that_may_run()
{
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("work");
    let (engine, slow, launched) = in_the_midst(&work).await;
    slow.is_away.store(true, Ordering::SeqCst);
    slow.go.add_permits(1);
    launched.await.unwrap().unwrap_err();
    assert!(work.join("r-1").exists(), "its runner may be at work there");

    // One that was not started will not be: its job need not wait for it.
    slow.is_away.store(false, Ordering::SeqCst);
    let label = |name: &str| format!("io.ipfs-accelerate.runner.{name}");
    let made = |name: &str| {
        let labels = json!({label("name"): name, label("created"): chrono::Utc::now()});
        json!({"Id": name, "Names": [format!("/{name}")], "State": "created", "Labels": labels})
    };
    *slow.listed.lock().unwrap() = vec![made("r-1"), made("r-2")];
    let containers = engine.containers().await.unwrap();
    let ended: Vec<_> = containers.iter().map(|c| (c.name.as_str(), c.ended)).collect();
    assert_eq!(ended, [("r-1", true), ("r-2", false)]);
}

/// One that was frozen does afterwards what it was asked to, though nobody waits for it any more.
#[tokio::test]
async fn a_runner_whose_start_was_answered_too_late_is_launched_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("work");
    let (engine, slow, launched) = in_the_midst(&work).await;
    let labels = slow.labels.lock().unwrap().clone();
    let runs = json!({"Id": "c0ffee", "Names": ["/r-1"], "State": "running", "Labels": labels});
    *slow.listed.lock().unwrap() = vec![runs];
    slow.start_fails.store(true, Ordering::SeqCst);
    slow.go.add_permits(1);
    assert_eq!(launched.await.unwrap().unwrap(), "c0ffee");
    assert!(work.join("r-1").exists());
    let containers = engine.containers().await.unwrap();
    assert_eq!((containers.len(), containers[0].ended), (1, false));
}
