//! A simulated GitHub in this process, the real service, and a real engine whose events tell when
//! a container really started.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    EventsOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures::StreamExt;
use runner_kit::RunnerKit;
use runner_kit::adapters::docker::DockerEngine;
use runner_kit::assemble;
use runner_kit::config::{Environment, Loaded, Sources, StartInput, load};
use runner_kit::interfaces::{host::Host, http, mcp::McpServer};
use runner_kit::simulator::{Options, RepoSpec, RunSpec, Simulator, TOKEN};
use runner_kit::views::Mode;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::image;

/// The service's own mark on its containers (src/adapters/docker/labels.rs).
const INSTANCE: &str = "io.ipfs-accelerate.runner.instance";
/// Marks the containers of the bare loop.
pub(crate) const BARE: &str = "io.ipfs-accelerate.bench.bare";
/// Nothing takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(600);
const SECRET: &str = "a secret between GitHub and the bench";

/// What the engine told of a container.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) action: String,
    pub(crate) name: String,
    pub(crate) is_ours: bool,
    /// Milliseconds since 1970, to the nanosecond as the engine knows it.
    pub(crate) at: f64,
}

/// The events since the beginning.
#[derive(Clone)]
pub(crate) struct Events(watch::Receiver<Vec<Told>>);

impl Events {
    async fn listen(docker: &Docker, instance: &str) -> Self {
        let (send, receive) = watch::channel(Vec::new());
        let filters = HashMap::from([("type", vec!["container".to_owned()])]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let patient = docker.clone().with_timeout(PATIENCE * 100);
        let mut events = patient.events(Some(options));
        let instance = instance.to_owned();
        tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                let is_ours = attributes.get(INSTANCE) == Some(&instance);
                if !is_ours && !attributes.contains_key(BARE) {
                    continue;
                }
                let told = Told {
                    action: event.action.unwrap_or_default(),
                    name: attributes.get("name").cloned().unwrap_or_default(),
                    is_ours,
                    at: event.time_nano.unwrap_or_default() as f64 / 1e6,
                };
                send.send_modify(|all| all.push(told));
            }
        });
        Self(receive)
    }

    /// How many there are so far: what comes later has at least this place.
    pub(crate) fn mark(&self) -> usize {
        self.0.borrow().len()
    }

    /// The events from `mark` on.
    pub(crate) fn since(&self, mark: usize) -> Vec<Told> {
        self.0.borrow()[mark..].to_vec()
    }

    /// Waits for the first event from `mark` on that `is_it`.
    pub(crate) async fn first(&self, mark: usize, is_it: impl Fn(&Told) -> bool) -> Told {
        let mut all = self.0.clone();
        let found = all.wait_for(|all| all[mark..].iter().any(&is_it));
        let all = tokio::time::timeout(PATIENCE, found).await.expect("the engine tells").unwrap();
        all[mark..].iter().find(|told| is_it(told)).cloned().unwrap()
    }

    /// Waits until `count` events from `mark` on are such.
    pub(crate) async fn count(&self, mark: usize, count: usize, is_it: impl Fn(&Told) -> bool) {
        let mut all = self.0.clone();
        let found =
            all.wait_for(|all| all[mark..].iter().filter(|told| is_it(told)).count() >= count);
        tokio::time::timeout(PATIENCE, found).await.expect("the engine tells").unwrap();
    }
}

/// Milliseconds since 1970, by the clock that the engine uses too.
pub(crate) fn now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() * 1e3
}

/// All that takes part.
pub(crate) struct World {
    pub(crate) github: Simulator,
    pub(crate) docker: Docker,
    pub(crate) kit: RunnerKit,
    pub(crate) events: Events,
    /// Where the service takes webhooks.
    hooks: String,
    home: tempfile::TempDir,
    instance: String,
    _stop: DropGuard,
}

impl World {
    /// A world with the repositories `repos`; further environment of the service is `env`.
    pub(crate) async fn new(
        instance: &str,
        repos: &[RepoSpec],
        options: Options,
        env: &[(&str, &str)],
    ) -> Self {
        let docker = Docker::connect_with_defaults().unwrap();
        clean_up(&docker, instance).await;
        image::make(&docker).await.unwrap();
        let github = Simulator::start(options).await.unwrap();
        github.add_org("octo-org");
        repos.iter().for_each(|repo| github.add_repo(repo.clone()));
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).to_string_lossy().into_owned();
        let own = [
            ("HOME", path("")),
            ("XDG_STATE_HOME", path("state")),
            ("GITHUB_TOKEN", TOKEN.to_owned()),
            ("GITHUB_API_URL", github.api_url()),
            ("GITHUB_SERVER_URL", github.url()),
            ("RUNNER_KIT_RUNNER_IMAGE", image::TAG.to_owned()),
            ("RUNNER_KIT_PULL", "never".to_owned()),
            ("RUNNER_KIT_INSTANCE", instance.to_owned()),
            ("RUNNER_KIT_RUNNER_WORK_DIR", path("work")),
            ("RUNNER_KIT_WEBHOOK_SECRET", SECRET.to_owned()),
        ];
        let given = env.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let env: Environment = own.into_iter().chain(given).collect();
        let sources = Sources { env: env.clone(), ..Sources::default() };
        let loaded = load(&sources, &StartInput::default()).unwrap();
        let mut config = loaded.config.clone();
        config.runner_env.0.push(("SIMULATOR_URL".to_owned(), github.url()));
        let engine = DockerEngine::connect(&config, |name| std::env::var(name).ok()).unwrap();
        let parts = assemble::parts(&config, &env, Arc::new(engine)).unwrap();
        let events = Events::listen(&docker, instance).await;
        let kit = RunnerKit::from_parts(config, parts, Mode::InProcess);
        let (stop, instance) = (CancellationToken::new(), instance.to_owned());
        let address = serve(&kit, &loaded, stop.clone()).await;
        let hooks = format!("http://{address}/webhooks/github");
        let _stop = stop.drop_guard();
        Self { github, docker, kit, events, hooks, home, instance, _stop }
    }

    /// Has GitHub tell the service by webhook of what happens from now on.
    pub(crate) async fn hook(&self) {
        self.github.hook(&self.hooks, SECRET);
        self.github.wait_for_deliveries(|all| all.len() == 1).await;
    }

    /// Starts the service and waits for its first pass.
    pub(crate) async fn start(&self) {
        self.kit.start_autoscaler().await.unwrap();
        let mut snapshots = self.kit.subscribe();
        let passed = snapshots.wait_for(|snapshot| snapshot.iterations > 0);
        drop(tokio::time::timeout(PATIENCE, passed).await.expect("a pass").unwrap());
    }

    /// Queues a run of `jobs` jobs at GitHub, each taking this long; their identifiers.
    pub(crate) fn queue(&self, repo: &str, jobs: u32, takes: Duration) -> Vec<u64> {
        let run = RunSpec::new("ci").matrix("build", jobs, |job| job.takes(takes));
        let run = self.github.queue_run(repo, run).unwrap();
        let is_it = |job: &&runner_kit::simulator::Job| job.run_id == run;
        self.github.look(|state| state.jobs().filter(is_it).map(|job| job.id).collect())
    }

    /// Waits until the service has no runner, and nothing under way.
    pub(crate) async fn calm(&self) {
        let mut snapshots = self.kit.subscribe();
        let calm = snapshots.wait_for(|snapshot| snapshot.used == 0);
        drop(tokio::time::timeout(PATIENCE, calm).await.expect("it comes to rest").unwrap());
    }

    /// Where the bare loop's work directories are.
    pub(crate) fn bare_dir(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join("work").join(name)
    }

    /// Ends the service and removes what is left.
    pub(crate) async fn end(self) {
        self.kit.stop_autoscaler().await.unwrap();
        clean_up(&self.docker, &self.instance).await;
    }
}

/// Serves HTTP for `kit` until `stop`; where.
pub(crate) async fn serve(kit: &RunnerKit, loaded: &Loaded, stop: CancellationToken) -> String {
    let host = Arc::new(Host::service(kit.clone(), loaded));
    let access = http::Access::of(loaded).unwrap();
    let routes = http::routes(host.clone(), &access);
    let listening = http::Listening::bind(([127, 0, 0, 1], 0).into(), access).await.unwrap();
    let address = listening.address().to_string();
    tokio::spawn(listening.serve(http::by_role(McpServer::new(host, false)), routes, stop));
    address
}

/// Removes the containers of this and of earlier runs.
async fn clean_up(docker: &Docker, instance: &str) {
    for label in [format!("{INSTANCE}={instance}"), BARE.to_owned()] {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        for container in docker.list_containers(Some(options)).await.unwrap() {
            remove(docker, &container.id.unwrap()).await;
        }
    }
}

/// Removes a container at once.
pub(crate) async fn remove(docker: &Docker, id: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let _ = docker.remove_container(id, Some(options)).await;
}
