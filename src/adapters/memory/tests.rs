use tokio::sync::Semaphore;

use chrono::{DateTime, Utc};

use super::*;
use crate::model::{Labels, Origin, Scope};
use crate::ports::NewRunner;

fn launch(name: &str) -> Launch {
    Launch {
        runner: NewRunner {
            name: name.to_owned(),
            scope: Scope::org("octo-org"),
            repo: None,
            labels: Labels::new(["linux"]),
            origin: Origin::Queue,
            beside_sets: false,
        },
        registration: Registration::Jit { runner_id: 7, config: "j1t".into() },
    }
}

/// An engine whose runners exit with 3 when the gate lets them.
fn gated() -> (MemoryEngine, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&gate);
    let process: Process = Arc::new(move |_| {
        let gate = Arc::clone(&inner);
        async move { gate.acquire().await.map_or(1, |_| 3) }.boxed()
    });
    (MemoryEngine::new(process, Arc::new(|| DateTime::UNIX_EPOCH)), gate)
}

async fn only(engine: &MemoryEngine) -> Container {
    engine.containers().await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn a_runner_is_listed_while_it_runs_and_after_it_has_ended_until_it_is_removed() {
    let (engine, gate) = gated();
    let id = engine.launch(&launch("r-1")).await.unwrap();
    engine.changed().await;
    let running = only(&engine).await;
    assert_eq!((running.id.as_str(), running.ended), (id.as_str(), false));
    assert_eq!((running.created_at, running.runner_id), (DateTime::UNIX_EPOCH, Some(7)));
    gate.add_permits(1);
    engine.changed().await;
    let ended = only(&engine).await;
    assert_eq!((ended.status.as_str(), ended.ended), ("exited", true));
    assert_eq!(engine.stop(&ended).await.unwrap().exit_code, Some(3));
    engine.remove(&ended).await.unwrap();
    engine.remove(&ended).await.unwrap();
    assert_eq!(engine.containers().await.unwrap(), []);
    assert_eq!(engine.logs(&id, 9).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_stopped_runner_has_ended_before_its_process_did() {
    let (engine, _gate) = gated();
    let id = engine.launch(&launch("r-1")).await.unwrap();
    let ended = engine.stop(&only(&engine).await).await.unwrap();
    assert_eq!(ended.exit_code, Some(TERMINATED));
    assert_eq!(ended.log_tail, "r-1 started\nr-1 exited with code 143");
    assert_eq!(engine.logs(&id, 1).await.unwrap(), "r-1 exited with code 143");
    assert!(only(&engine).await.ended);
}

#[tokio::test]
async fn a_name_is_used_once() {
    let (engine, _gate) = gated();
    engine.launch(&launch("r-1")).await.unwrap();
    let error = engine.launch(&launch("r-1")).await.unwrap_err();
    assert!(error.message.starts_with("Container failed to start"), "{error}");
    assert_eq!(engine.containers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn launches_fail_as_often_as_they_were_told_to_and_leave_nothing() {
    let (engine, _gate) = gated();
    engine.fail_next_launches(2, &Error::new(Code::ContainerFailed, "m", "r"));
    for _ in 0..2 {
        engine.launch(&launch("r-1")).await.unwrap_err();
        assert_eq!(engine.containers().await.unwrap(), []);
    }
    engine.launch(&launch("r-1")).await.unwrap();
}

#[tokio::test]
async fn an_engine_out_of_reach_fails_every_call_and_its_runners_go_on() {
    let (engine, gate) = gated();
    engine.launch(&launch("r-1")).await.unwrap();
    let container = only(&engine).await;
    engine.set_reachable(false);
    assert_eq!(engine.containers().await.unwrap_err().code, Code::DockerUnreachable);
    assert_eq!(engine.host().await.unwrap_err().code, Code::DockerUnreachable);
    assert_eq!(engine.stop(&container).await.unwrap_err().code, Code::DockerUnreachable);
    assert_eq!(engine.launch(&launch("r-2")).await.unwrap_err().code, Code::DockerUnreachable);
    gate.add_permits(1);
    while engine.changed().now_or_never().is_some() {}
    engine.changed().await;
    engine.set_reachable(true);
    assert!(only(&engine).await.ended);
}

#[tokio::test]
async fn a_process_that_panics_has_ended_too() {
    let process: Process = Arc::new(|_| async { panic!("on purpose") }.boxed());
    let engine = MemoryEngine::new(process, Arc::new(Utc::now));
    engine.launch(&launch("r-1")).await.unwrap();
    while !only(&engine).await.ended {
        engine.changed().await;
    }
    let ended = engine.stop(&only(&engine).await).await.unwrap();
    assert_eq!(ended.exit_code, Some(ABORTED));
}

#[tokio::test]
async fn a_wake_that_nobody_waited_for_is_kept() {
    let (engine, _gate) = gated();
    engine.launch(&launch("r-1")).await.unwrap();
    assert!(engine.changed().now_or_never().is_some());
    assert!(engine.changed().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_given_up_after_half_a_minute_and_answers_when_it_hangs_no_longer()
{
    let (engine, _gate) = gated();
    engine.launch(&launch("r-1")).await.unwrap();
    engine.set_hanging(true);
    let begun = tokio::time::Instant::now();
    let error = engine.containers().await.unwrap_err();
    assert_eq!((error.code, begun.elapsed()), (Code::DockerUnreachable, PATIENCE));
    let waiting = engine.containers();
    let freed = async { engine.set_hanging(false) };
    assert_eq!(tokio::join!(waiting, freed).0.unwrap().len(), 1);
    assert_eq!(begun.elapsed(), PATIENCE);
}

#[tokio::test]
async fn it_counts_the_processes_that_were_there_at_once_and_not_the_containers() {
    let (engine, _gate) = gated();
    for name in ["r-1", "r-2"] {
        engine.launch(&launch(name)).await.unwrap();
    }
    for container in engine.containers().await.unwrap() {
        engine.stop(&container).await.unwrap();
    }
    engine.launch(&launch("r-3")).await.unwrap();
    assert_eq!(engine.most_at_once(), 2);
    assert_eq!(engine.launched(), ["r-1", "r-2", "r-3"]);
    assert_eq!(engine.containers().await.unwrap().len(), 3);
}
