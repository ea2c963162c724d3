//! A launch that fails says why and leaves nothing.

use runner_kit::config::{Profile, PullPolicy};
use runner_kit::error::{Code, Error};

use super::*;

async fn refused(world: &World, launch: &Launch) -> Error {
    let error = world.engine.launch(launch).await.unwrap_err();
    world.assert_nothing_is_left().await;
    error
}

fn assert_failed(error: &Error, reason: &str, remedy: &str) {
    assert_eq!(error.code, Code::ContainerFailed, "{error}");
    assert!(error.message.starts_with("Container failed to start"), "{error}");
    assert!(error.message.contains(reason) && error.remedy.contains(remedy), "{error}");
    assert!(!error.to_string().contains("t0p-secret"), "{error}");
}

#[tokio::test]
async fn an_entry_point_that_the_image_lacks() {
    let world = World::with("entry", "true", |config| {
        config.profile = Profile::Community;
        config.read_only = true;
    })
    .await;
    let registration = Registration::Jit { runner_id: 7, config: "t0p-secret".into() };
    let launch = Launch { registration, ..world.launch("r") };
    assert_failed(&refused(&world, &launch).await, "dumb-init", "runner_image");
}

#[tokio::test]
async fn an_image_that_is_missing_and_never_pulled() {
    let world = World::with("never", "true", |config| {
        config.runner_image = "ipfs-accelerate-test/missing:1".to_owned();
    })
    .await;
    let error = refused(&world, &world.launch("r")).await;
    assert_failed(&error, "pull is never", "docker pull ipfs-accelerate-test/missing:1");
}

#[tokio::test]
async fn an_image_of_a_registry_that_does_not_answer() {
    let world = World::with("pull", "true", |config| {
        config.runner_image = "127.0.0.1:1/tiny:1".to_owned();
        config.pull = PullPolicy::Missing;
    })
    .await;
    let error = world.engine.prepare(&|_| {}).await.unwrap_err();
    assert_failed(&error, "127.0.0.1:1/tiny:1", "reaches the registry");
    assert_failed(&refused(&world, &world.launch("r")).await, "could not be pulled", "registry");
}

#[tokio::test]
async fn a_name_that_is_no_images() {
    let world = World::with("name", "true", |config| config.runner_image = "A B".to_owned()).await;
    assert_failed(&world.engine.prepare(&|_| {}).await.unwrap_err(), "A B", "runner_image");
}

#[tokio::test]
async fn a_network_that_does_not_exist() {
    let world =
        World::with("network", "true", |config| config.network_mode = "nowhere".to_owned()).await;
    let error = refused(&world, &world.launch("r")).await;
    assert_failed(&error, "nowhere", "network_mode");
}

#[tokio::test]
async fn a_name_that_is_taken_leaves_the_other_runner_alone() {
    let world = World::new("taken", "sleep 60").await;
    world.engine.launch(&world.launch("r")).await.unwrap();
    let error = world.engine.launch(&world.launch("r")).await.unwrap_err();
    assert_failed(&error, "there already", "");
    // Another work directory, so that it is the engine that refuses.
    let name = world.name("r");
    let other = World::new("taker", "true").await;
    let mut launch = other.launch("r");
    launch.runner.name.clone_from(&name);
    assert_failed(&refused(&other, &launch).await, "in use", "Remove the other");
    assert!(!world.only().await.ended);
    assert!(world.work.join(name).exists());
}

#[tokio::test]
async fn a_launch_that_nobody_waits_for_any_longer_is_finished() {
    let world = World::new("dropped", "sleep 60").await;
    let launch = world.launch("r");
    tokio::select! {
        biased;
        _ = world.engine.launch(&launch) => panic!("nothing is that fast"),
        () = tokio::task::yield_now() => {}
    }
    let running = async {
        while world.engine.containers().await.unwrap().iter().all(|c| c.status != "running") {
            world.engine.changed().await;
        }
    };
    tokio::time::timeout(PATIENCE, running).await.expect("the launch goes on");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_given_up_after_half_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let config = config("hung", directory.path().join("work"), "true");
    let host = format!("unix://{}", socket.display());
    let engine =
        DockerEngine::connect(&config, |name| (name == "DOCKER_HOST").then(|| host.clone()));
    let begun = tokio::time::Instant::now();
    let error = engine.unwrap().containers().await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::DockerUnreachable, true));
    assert!(error.message.contains("did not answer in time"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(31));
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_more_runners_and_says_so() {
    let world = World::with("disk", "true", |config| config.min_free_disk = 1 << 50).await;
    let error = world.engine.prepare(&|_| {}).await.unwrap_err();
    assert_failed(&error, "min_free_disk is 1073741824 MiB", "docker system prune");
    world.assert_nothing_is_left().await;
}
