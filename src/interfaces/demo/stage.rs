//! What the demo runs on: an engine, a configuration and directories of its own, and their end.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use futures::FutureExt;
use secrecy::ExposeSecret;

use super::image;
use crate::adapters::docker::DockerEngine;
use crate::adapters::memory::MemoryEngine;
use crate::assemble;
use crate::config::{
    DockerAccess, Environment, Loaded, OperatorOptions, PullPolicy, Sources, StartInput, load,
};
use crate::error::{Error, Result};
use crate::model::Phase;
use crate::ports::{Engine, Launch, Registration};
use crate::runner_kit::{ContainerFilter, RunnerKit};
use crate::simulator::{Simulator, TOKEN, runner};
use crate::views::Mode;

/// An engine that does not answer by then is none, and a directory that cannot be removed by then is left.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Which engine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// Docker where it answers, else memory.
    Auto,
    /// Docker or nothing.
    Docker,
    /// None: runners are tasks of this process.
    Memory,
}

pub(super) struct Stage {
    pub(super) kit: RunnerKit,
    pub(super) loaded: Loaded,
    /// For people: which engine, and why.
    pub(super) engine: String,
    directory: PathBuf,
    /// The engine and the image that was made on it.
    docker: Option<(Docker, String)>,
}

impl Stage {
    pub(super) async fn set(
        github: &Simulator,
        choice: Choice,
        max_runners: i64,
        env: &Environment,
    ) -> Result<Self> {
        let name = format!("demo-{}", std::process::id());
        let directory = std::env::temp_dir().join(format!("ipfs-accelerate-{name}"));
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&directory);
        made.map_err(|error| {
            Error::internal(format!("{}: {error}.", directory.display()), "Set TMPDIR.")
        })?;
        let reached = match choice {
            Choice::Memory => Err("as asked".to_owned()),
            _ => reach(env).await,
        };
        let (docker, why) = match (reached, choice) {
            (Ok(docker), _) => (Some(docker), String::new()),
            (Err(why), Choice::Docker) => {
                let remedy = "Start Docker, or run the demo with --engine memory.";
                return Err(Error::new(crate::error::Code::DockerUnreachable, why, remedy));
            }
            (Err(why), _) => (None, why),
        };
        let docker = match docker {
            Some(docker) => {
                let executable = std::env::current_exe()
                    .map_err(|error| Error::internal(error.to_string(), ""))?;
                let image = image::make(&docker, &executable, &name).await?;
                Some((docker, image))
            }
            None => None,
        };
        let image = docker.as_ref().map(|(_, image)| image.clone());
        let loaded =
            load(&sources(github, &name, &directory, image, max_runners), &StartInput::default())?;
        let (engine, described): (Arc<dyn Engine>, String) = if docker.is_some() {
            let engine =
                DockerEngine::connect(&loaded.config, |name| env.get(name).map(str::to_owned))?;
            let host = engine.host().await?;
            (Arc::new(engine), format!("{} (real containers, image made on the spot)", host.engine))
        } else {
            let engine = memory(github.url(), directory.join("work"));
            (Arc::new(engine), format!("in memory, no containers: {why}"))
        };
        let own: Environment = [("GITHUB_TOKEN", TOKEN)].into_iter().collect();
        let parts = assemble::parts(&loaded.config, &own, engine)?;
        let kit = RunnerKit::from_parts(loaded.config.clone(), parts, Mode::InProcess);
        Ok(Self { kit, loaded, engine: described, directory, docker })
    }

    /// Ends the loop and every runner, and removes what was made. What could not be removed.
    pub(super) async fn clear(self, github: &Simulator) -> Vec<String> {
        let mut left = Vec::new();
        let mut note = |what: &str, error: Error| left.push(format!("{what}: {}", error.message));
        if let Err(error) = self.kit.stop_autoscaler().await {
            note("the loop", error);
        }
        // Of these GitHub learns in its own time, or they make themselves known while they are ended: the next
        // look of a service finds what they leave there, and here there is none any more.
        let mut unsettled = HashSet::new();
        match self.kit.list_runner_containers(&ContainerFilter::default()).await {
            Ok(page) => {
                let moving = |phase| matches!(phase, Phase::Starting | Phase::Busy);
                let unready = page.items.iter().filter(|container| moving(container.phase));
                unsettled.extend(unready.map(|container| container.runner_name.clone()));
                let stops = page.items.iter().map(|container| {
                    let stop = self.kit.stop_runner_container(&container.container_id, true);
                    async move { (container.runner_name.clone(), stop.await) }
                });
                for (name, stopped) in futures::future::join_all(stops).await {
                    if let Err(error) = stopped {
                        note(&name, error);
                    }
                }
            }
            Err(error) => note("the containers", error),
        }
        if let Some((docker, image)) = &self.docker
            && let Err(error) = image::remove(docker, image).await
        {
            note(image, error);
        }
        let names = github.runners().into_iter().map(|runner| runner.name);
        left.extend(
            names
                .filter(|name| !unsettled.contains(name))
                .map(|name| format!("registration {name}")),
        );
        let work = self.directory.join("work");
        let directories = std::fs::read_dir(work).into_iter().flatten().flatten();
        left.extend(directories.map(|entry| entry.path().display().to_string()));
        // What ends beside us may write its last line there meanwhile.
        let gone = async || {
            while let Err(error) = std::fs::remove_dir_all(&self.directory) {
                tracing::debug!(%error, "the demo's directory is not empty yet");
                tokio::time::sleep(PAUSE).await;
            }
        };
        if tokio::time::timeout(PATIENCE, gone()).await.is_err() {
            left.push(self.directory.display().to_string());
        }
        left
    }
}

/// The Docker engine of this host, or why there is none for a demo.
async fn reach(env: &Environment) -> Result<Docker, String> {
    let host = env.get("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock");
    let Some(socket) = host.strip_prefix("unix://") else {
        return Err(format!("the engine at {host} is not on this host"));
    };
    let docker = Docker::connect_with_unix(socket, 120, bollard::API_DEFAULT_VERSION);
    let docker = docker.map_err(|_| format!("no Docker engine at {socket}"))?;
    match tokio::time::timeout(PATIENCE, docker.ping()).await {
        Ok(Ok(_)) => Ok(docker),
        Ok(Err(_)) => Err(format!("no Docker engine answers at {socket}")),
        Err(_) => Err(format!("the Docker engine at {socket} hangs")),
    }
}

fn sources(
    github: &Simulator,
    instance: &str,
    directory: &std::path::Path,
    image: Option<String>,
    max_runners: i64,
) -> Sources {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    // A home of its own: the user's configuration is for the user's runners.
    let home = text(directory.to_path_buf());
    let env =
        [("HOME", home), ("GITHUB_API_URL", github.api_url()), ("GITHUB_SERVER_URL", github.url())];
    let start = StartInput {
        max_runners: Some(max_runners),
        poll_interval: Some(2),
        runner_image: image,
        memory_limit: Some("256m".to_owned()),
        cpu_limit: Some(1.0),
        ..StartInput::default()
    };
    let operator = OperatorOptions {
        instance: Some(instance.to_owned()),
        state_dir: Some(text(directory.join("state"))),
        runner_work_dir: Some(text(directory.join("work"))),
        docker_access: Some(DockerAccess::None),
        pull: Some(PullPolicy::Never),
        ..OperatorOptions::default()
    };
    Sources { env: env.into_iter().collect(), start, operator, ..Sources::default() }
}

/// Runners that are tasks of this process and do what the image's would.
fn memory(server: String, work_dir: PathBuf) -> MemoryEngine {
    let process = move |launch: Launch| {
        let runner = launch.runner;
        let token = match launch.registration {
            Registration::Token(token) => token.expose_secret().to_owned(),
            Registration::Jit { config, .. } => config.expose_secret().to_owned(),
        };
        let env = [
            ("REPO_URL", format!("{server}/{}", runner.scope)),
            ("RUNNER_TOKEN", token),
            ("RUNNER_NAME", runner.name.clone()),
            ("LABELS", runner.labels.to_string()),
            ("RUNNER_WORKDIR", work_dir.join(&runner.name).to_string_lossy().into_owned()),
            ("EPHEMERAL", "true".to_owned()),
        ];
        let work = work_dir.join(&runner.name);
        async move {
            let _work = Scratch(work);
            let env = |name: &str| {
                env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
            };
            let code = runner::run_until(env, std::future::pending(), |_| ()).await;
            i64::from(code)
        }
        .boxed()
    };
    MemoryEngine::new(Arc::new(process), Arc::new(chrono::Utc::now))
}

/// A work directory that goes with its runner, however that ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
