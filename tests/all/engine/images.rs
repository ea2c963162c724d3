//! Images that no runner needs any more go where the operator wants that, and nobody else's do.

use std::sync::Mutex;

use bollard::query_parameters::{RemoveImageOptions, TagImageOptionsBuilder};

use super::*;
use crate::support::image::another_image;

/// Images with names of the test's own, gone with it.
struct Images {
    docker: Docker,
    repo: String,
    ids: Vec<String>,
}

impl Images {
    fn of(test: &str) -> Self {
        let repo = format!("ipfs-accelerate-test/{test}-{}", std::process::id());
        Self { docker: docker(), repo, ids: Vec::new() }
    }

    /// The name that runners are configured with.
    fn name(&self) -> String {
        format!("{}:latest", self.repo)
    }

    /// Gives the name to a new image.
    async fn renew(&mut self) -> String {
        let id = another_image(&self.repo).await;
        self.ids.push(id.clone());
        id
    }

    async fn has(&self, image: &str) -> bool {
        self.docker.inspect_image(image).await.is_ok()
    }

    async fn tag(&self, image: &str, name: &str) {
        let options = TagImageOptionsBuilder::new().repo(name).tag("keep").build();
        self.docker.tag_image(image, Some(options)).await.unwrap();
    }

    async fn remove(&self, name: &str) {
        let options = Some(RemoveImageOptions { force: true, ..RemoveImageOptions::default() });
        self.docker.remove_image(name, options, None).await.unwrap();
    }
}

async fn world(name: &str, images: &Images, prunes: bool) -> World {
    let image = images.name();
    World::with(name, "sleep 60", |config| {
        (config.runner_image, config.prune_images) = (image, prunes);
        config.state_dir = config.runner_work_dir.with_file_name("state");
    })
    .await
}

/// The same instance after a restart.
fn restarted(world: &World, image: String) -> DockerEngine {
    let mut config = config(&world.instance, world.work.clone(), "true");
    (config.runner_image, config.prune_images) = (image, true);
    config.state_dir = world.work.with_file_name("state");
    DockerEngine::connect(&config, |variable| std::env::var(variable).ok()).unwrap()
}

/// What is said to have been done in one round.
async fn tidied(engine: &DockerEngine) -> Vec<String> {
    let said = Mutex::new(Vec::new());
    let concerns = engine.tidy(&|text: &str| said.lock().unwrap().push(text.to_owned())).await;
    assert_eq!(concerns, Vec::<String>::new());
    said.into_inner().unwrap()
}

#[tokio::test]
async fn an_image_that_a_newer_one_replaced_goes_with_its_last_runner_and_is_told() {
    let mut images = Images::of("renewed");
    let old = images.renew().await;
    let world = world("renewed", &images, true).await;
    let foreign = another_image(&format!("{}-foreign", images.repo)).await;
    world.engine.launch(&world.launch("r")).await.unwrap();
    let runner = world.only().await;
    assert_eq!(tidied(&world.engine).await, Vec::<String>::new(), "it is what runners have");
    let new = images.renew().await;
    assert_eq!(tidied(&world.engine).await, Vec::<String>::new(), "a runner still has it");
    world.engine.remove(&runner).await.unwrap();

    let said = tidied(&world.engine).await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(&images.name()) && said[0].contains("MiB"), "{said:?}");
    assert!(!images.has(&old).await && images.has(&new).await && images.has(&foreign).await);
    assert_eq!(tidied(&world.engine).await, Vec::<String>::new());
    world.assert_nothing_is_left().await;
    images.remove(&images.name()).await;
    images.remove(&format!("{}-foreign:latest", images.repo)).await;
}

#[tokio::test]
async fn an_image_that_is_configured_no_longer_goes_after_a_restart_too() {
    let mut images = Images::of("left");
    images.renew().await;
    let mut next = Images::of("next");
    let new = next.renew().await;
    let world = world("left", &images, true).await;
    world.engine.launch(&world.launch("r")).await.unwrap();
    let runner = world.only().await;
    world.engine.remove(&runner).await.unwrap();

    let again = restarted(&world, next.name());
    assert_eq!(tidied(&again).await.len(), 1);
    assert!(!images.has(&images.name()).await && next.has(&new).await);
    next.remove(&next.name()).await;
}

#[tokio::test]
async fn an_image_that_somebody_has_named_or_that_a_container_has_stays_and_so_does_its_name() {
    let mut images = Images::of("kept");
    let old = images.renew().await;
    let mut next = Images::of("kept-next");
    next.renew().await;
    let world = world("kept", &images, true).await;
    world.engine.launch(&world.launch("r")).await.unwrap();
    let runner = world.only().await;
    let again = restarted(&world, next.name());
    assert_eq!(tidied(&again).await, Vec::<String>::new(), "the other instance has a runner of it");
    let mine = format!("{}-mine", images.repo);
    images.tag(&old, &mine).await;
    world.engine.remove(&runner).await.unwrap();
    assert_eq!(tidied(&again).await, Vec::<String>::new());
    assert!(images.has(&images.name()).await && images.has(&format!("{mine}:keep")).await);

    // Without that name nothing holds it any more.
    images.remove(&format!("{mine}:keep")).await;
    assert_eq!(tidied(&again).await.len(), 1);
    assert!(!images.has(&old).await);
    next.remove(&next.name()).await;
}

#[tokio::test]
async fn unless_the_operator_wants_it_no_image_is_removed() {
    let mut images = Images::of("unasked");
    let old = images.renew().await;
    let world = world("unasked", &images, false).await;
    world.engine.launch(&world.launch("r")).await.unwrap();
    let runner = world.only().await;
    world.engine.remove(&runner).await.unwrap();
    let new = images.renew().await;
    assert_eq!(tidied(&world.engine).await, Vec::<String>::new());
    assert!(images.has(&old).await && images.has(&new).await);
    assert!(!world.work.with_file_name("state").exists());
    images.remove(&old).await;
    images.remove(&images.name()).await;
}
