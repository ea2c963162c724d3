//! What a crash leaves is found and deleted; what is somebody else's is not.

use std::os::unix::fs::symlink;
use std::time::SystemTime;

use bollard::models::{ContainerCreateBody, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
};

use super::*;
use crate::support::image::TAG;

fn age(path: &std::path::Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
}

async fn volume(world: &World, name: &str, created: &str) -> String {
    let labels = [
        ("managed", "true"),
        ("instance", &world.instance),
        ("name", &world.name(name)),
        ("created", created),
    ];
    let labels =
        labels.map(|(key, value)| (format!("io.ipfs-accelerate.runner.{key}"), value.to_owned()));
    let name = format!("{}-home", world.name(name));
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(labels.into()),
        ..VolumeCreateRequest::default()
    };
    world.docker.create_volume(request).await.unwrap();
    name
}

#[tokio::test]
async fn orphaned_volumes_and_work_directories_are_swept_and_fresh_or_living_ones_are_not() {
    let world = World::new("sweep", "touch $RUNNER_WORKDIR/file; sleep 60").await;
    world.engine.launch(&world.launch("lost")).await.unwrap();
    let lost = world.only().await;
    let remove = RemoveContainerOptionsBuilder::new().force(true);
    world.docker.remove_container(&lost.id, Some(remove.build())).await.unwrap();
    world.engine.launch(&world.launch("alive")).await.unwrap();
    let old = "2020-01-01T00:00:00Z";
    volume(&world, "lost", old).await;
    let kept = volume(&world, "alive", old).await;
    let fresh = volume(&world, "fresh", &chrono::Utc::now().to_rfc3339()).await;
    let marker = |name| world.work.join(format!(".{}@{}", world.instance, world.name(name)));
    age(&marker("alive"));

    // The lost directory may still be of a launch under way.
    world.engine.sweep().await.unwrap();
    assert!(world.work.join(world.name("lost")).exists());

    age(&marker("lost"));
    world.engine.sweep().await.unwrap();
    assert!(!world.work.join(world.name("lost")).exists() && !marker("lost").exists());
    assert!(world.work.join(world.name("alive")).exists());
    let mut volumes = world.volumes().await;
    volumes.sort();
    assert_eq!(volumes, [kept, fresh]);
}

/// A container as one leaves it who is killed between its creation and its start, with its marker.
async fn half_made(world: &World, name: &str) -> (String, fs::File) {
    let (name, created) = (world.name(name), chrono::Utc::now().to_rfc3339());
    let labels = [
        ("managed", "true"),
        ("instance", &world.instance),
        ("repo", "octo-org/website"),
        ("name", &name),
        ("created", &created),
    ];
    let labels =
        labels.map(|(key, value)| (format!("io.ipfs-accelerate.runner.{key}"), value.to_owned()));
    let body = ContainerCreateBody {
        image: Some(TAG.to_owned()),
        env: Some(vec!["TEST_SCRIPT=sleep 60".to_owned()]),
        labels: Some(labels.into()),
        ..ContainerCreateBody::default()
    };
    fs::create_dir_all(world.work.join(&name)).unwrap();
    let path = world.work.join(format!(".{}@{name}", world.instance));
    let marker = fs::File::create(&path).unwrap();
    marker.lock().unwrap();
    let endpoint = std::env::var("DOCKER_HOST");
    let endpoint = endpoint.unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    fs::write(path, endpoint).unwrap();
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let made = world.docker.create_container(Some(options), body).await;
    (made.unwrap().id, marker)
}

#[tokio::test]
async fn a_launch_whose_process_was_killed_is_over_at_once_and_one_that_is_held_is_not() {
    let world = World::new("cut", "sleep 60").await;
    let (_, hold) = half_made(&world, "r").await;
    let container = world.only().await;
    assert!(!container.ended, "another process launches it");

    // The kernel does this when a process ends, however it ends.
    drop(hold);
    let container = world.only().await;
    assert!(container.ended && container.status == "created", "{container:?}");
    let ended = world.engine.stop(&container).await.unwrap();
    assert_eq!(ended.exit_code, None, "it never began");
    world.engine.remove(&container).await.unwrap();
    world.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_container_that_is_started_after_its_process_was_killed_is_kept_with_all_that_it_has() {
    let world = World::new("late", "sleep 60").await;
    let (id, hold) = half_made(&world, "r").await;
    drop(hold);
    let container = world.only().await;
    assert!(container.ended);
    // The engine carries out what the dead have asked for.
    world.docker.start_container(&id, None).await.unwrap();
    for refused in
        [world.engine.stop(&container).await.map(drop), world.engine.remove(&container).await]
    {
        let error = refused.unwrap_err();
        assert!(error.message.contains("has been started after all"), "{error}");
    }
    let container = world.only().await;
    assert!(!container.ended && container.status == "running", "{container:?}");
    assert!(world.work.join(&container.name).exists());
}

#[tokio::test]
async fn removing_a_runner_follows_no_link_out_of_its_directory() {
    let world = World::new("link", "sleep 60").await;
    let precious = tempfile::tempdir().unwrap();
    fs::write(precious.path().join("file"), "x").unwrap();
    world.engine.launch(&world.launch("r")).await.unwrap();
    let container = world.only().await;
    symlink(precious.path(), world.work.join(&container.name).join("link")).unwrap();
    world.engine.remove(&container).await.unwrap();
    world.assert_nothing_is_left().await;
    assert!(precious.path().join("file").exists());
}

#[tokio::test]
async fn a_helper_whose_service_died_is_swept_and_one_at_work_is_not() {
    let world = World::new("helper", "true").await;
    let mut helpers = Vec::new();
    for created in ["2020-01-01T00:00:00Z".to_owned(), chrono::Utc::now().to_rfc3339()] {
        let labels = [("helper", world.instance.clone()), ("created", created)];
        let labels = labels.map(|(key, value)| (format!("io.ipfs-accelerate.runner.{key}"), value));
        let body = ContainerCreateBody {
            image: Some(TAG.to_owned()),
            labels: Some(labels.into()),
            ..ContainerCreateBody::default()
        };
        let made = world.docker.create_container(None::<CreateContainerOptions>, body).await;
        helpers.push(made.unwrap().id);
    }
    world.engine.sweep().await.unwrap();
    let mut left = Vec::new();
    for id in &helpers {
        let options = None::<InspectContainerOptions>;
        left.push(world.docker.inspect_container(id, options).await.is_ok());
    }
    assert_eq!(left, [false, true]);
    assert_eq!(world.engine.containers().await.unwrap(), [], "a helper is no runner");
}
