//! The Docker adapter against a real engine. Without one these tests fail.

mod elsewhere;
mod events;
mod failures;
mod heartbeat;
mod images;
mod leftovers;
mod pulls;
mod slow;
mod unprivileged;
mod usage;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, HostConfig};
use bollard::query_parameters::{InspectContainerOptions, ListVolumesOptionsBuilder};
use runner_kit::adapters::docker::DockerEngine;
use runner_kit::config::{DockerAccess, Profile, RunnerConfig};
use runner_kit::model::{Container, Labels, Origin, Repo, Scope};
use runner_kit::ports::{Engine, Launch, NewRunner, Registration};
use tokio::net::UnixListener;

use super::support::image::runner_image;
use super::support::{CleanUp, config, docker};

/// Nothing here takes longer; what does hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One instance on the engine, gone with the test.
struct World {
    engine: DockerEngine,
    docker: Docker,
    instance: String,
    work: PathBuf,
    _clean: CleanUp,
    _directory: tempfile::TempDir,
}

impl World {
    /// An instance called like the test, whose runners do what `script` says.
    async fn new(name: &str, script: &str) -> Self {
        Self::with(name, script, |_| {}).await
    }

    async fn with(name: &str, script: &str, change: impl FnOnce(&mut RunnerConfig)) -> Self {
        Self::at(name, script, None, change).await
    }

    /// The same, reaching the engine by another address.
    async fn at(
        name: &str,
        script: &str,
        host: Option<String>,
        change: impl FnOnce(&mut RunnerConfig),
    ) -> Self {
        runner_image().await;
        let instance = format!("test-{}-{name}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        let work = directory.path().join("work");
        let mut config = config(&instance, work.clone(), script);
        change(&mut config);
        let engine = DockerEngine::connect(&config, |variable| match variable {
            "DOCKER_HOST" => host.clone().or_else(|| std::env::var(variable).ok()),
            _ => std::env::var(variable).ok(),
        });
        Self {
            engine: engine.unwrap(),
            docker: docker(),
            _clean: CleanUp(instance.clone()),
            instance,
            work,
            _directory: directory,
        }
    }

    fn launch(&self, runner: &str) -> Launch {
        launch_of(self.name(runner))
    }

    /// Names of containers are unique on an engine, whatever the instance.
    fn name(&self, runner: &str) -> String {
        format!("{}-{runner}", self.instance)
    }

    async fn inspect(&self, id: &str) -> ContainerInspectResponse {
        self.docker.inspect_container(id, None::<InspectContainerOptions>).await.unwrap()
    }

    async fn only(&self) -> Container {
        let mut containers = self.engine.containers().await.unwrap();
        assert_eq!(containers.len(), 1, "{containers:?}");
        containers.remove(0)
    }

    /// Launches one runner and waits for the end of its process.
    async fn run(&self) -> Container {
        self.engine.launch(&self.launch("r")).await.unwrap();
        self.ended().await
    }

    async fn ended(&self) -> Container {
        let ended = async {
            loop {
                let container = self.only().await;
                if container.ended {
                    return container;
                }
                self.engine.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the runner ends")
    }

    async fn volumes(&self) -> Vec<String> {
        let label = format!("io.ipfs-accelerate.runner.instance={}", self.instance);
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let listed = self.docker.list_volumes(Some(options)).await.unwrap();
        listed.volumes.into_iter().flatten().map(|volume| volume.name).collect()
    }

    async fn assert_nothing_is_left(&self) {
        assert_eq!(self.engine.containers().await.unwrap(), []);
        assert_eq!(self.volumes().await, Vec::<String>::new());
        let files = fs::read_dir(&self.work).map(|entries| entries.flatten().collect());
        let files: Vec<_> = files.unwrap_or_default();
        assert!(files.is_empty(), "{files:?}");
    }
}

/// The runner `name`, for a repository.
fn launch_of(name: String) -> Launch {
    let repo: Repo = "octo-org/website".parse().unwrap();
    Launch {
        runner: NewRunner {
            name,
            scope: Scope::Repo(repo.clone()),
            repo: Some(repo),
            labels: Labels::new(["linux", "self-hosted"]),
            origin: Origin::Manual,
            beside_sets: false,
        },
        registration: Registration::Token("t0p-secret".into()),
    }
}

/// An engine that is played by `app`.
fn played_engine(app: axum::Router, change: impl FnOnce(&mut RunnerConfig)) -> DockerEngine {
    let directory = tempfile::tempdir().unwrap();
    let host = format!("unix://{}/docker.sock", directory.path().display());
    let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
    tokio::spawn(async move {
        let _directory = directory;
        axum::serve(listener, app).await.unwrap();
    });
    let mut config = config("played", "/nonexistent".into(), "true");
    change(&mut config);
    let env = |name: &str| (name == "DOCKER_HOST").then(|| host.clone());
    DockerEngine::connect(&config, env).unwrap()
}

fn mounted(container: &ContainerInspectResponse, target: &str) -> Option<String> {
    let mounts = container.mounts.iter().flatten();
    let mut found = mounts.filter(|mount| mount.destination.as_deref() == Some(target));
    found.next().and_then(|mount| mount.source.clone())
}

#[tokio::test]
async fn a_runners_container_is_what_the_contract_says() {
    let world = World::with("contract", "sleep 60", |config| {
        config.docker_access = DockerAccess::Socket;
        config.cpu_limit = 4096.0;
    })
    .await;
    let launch = world.launch("r");
    let id = world.engine.launch(&launch).await.unwrap();
    let container = world.inspect(&id).await;
    let name = launch.runner.name.as_str();
    assert_eq!(container.name.as_deref(), Some(format!("/{name}").as_str()));

    let host = container.host_config.clone().unwrap();
    let sorted = |list: Option<Vec<String>>| {
        let mut list = list.unwrap_or_default();
        list.sort();
        list
    };
    assert_eq!(sorted(host.security_opt.clone()), ["no-new-privileges"]);
    assert_eq!(sorted(host.cap_drop.clone()), ["ALL"]);
    assert_eq!(sorted(host.cap_add.clone()), ["NET_ADMIN", "NET_RAW"]);
    assert_eq!((host.pids_limit, host.memory), (Some(64), Some(64 << 20)));
    let facts = world.engine.host().await.unwrap();
    assert_eq!(host.nano_cpus, Some(i64::from(facts.cpus) * 1_000_000_000));
    assert_eq!(host.network_mode.as_deref(), Some("host"));
    assert_eq!(host.privileged, Some(false));
    assert_no_restart(&host);

    let gid = fs::metadata("/var/run/docker.sock").unwrap().gid();
    assert_eq!(host.group_add, Some(vec![gid.to_string()]));
    assert!(mounted(&container, "/var/run/docker.sock").is_some());
    let work = world.work.join(name).to_string_lossy().into_owned();
    assert_eq!(mounted(&container, &work).as_deref(), Some(work.as_str()));

    let settings = container.config.unwrap();
    assert_eq!(settings.user.as_deref(), Some("1001:121"));
    let variables = settings.env.clone().unwrap_or_default();
    for expected in [
        "REPO_URL=https://github.com/octo-org/website",
        "RUNNER_TOKEN=t0p-secret",
        &format!("RUNNER_NAME={name}"),
        "LABELS=linux,self-hosted",
        &format!("RUNNER_WORKDIR={work}"),
        "EPHEMERAL=true",
    ] {
        assert!(variables.iter().any(|line| line == expected), "{expected}: {variables:?}");
    }
    let labels = settings.labels.unwrap_or_default();
    for (key, expected) in [
        ("managed", "true"),
        ("instance", world.instance.as_str()),
        ("repo", "octo-org/website"),
        ("name", name),
        ("labels", "linux,self-hosted"),
        ("origin", "manual"),
    ] {
        let label = labels.get(&format!("io.ipfs-accelerate.runner.{key}"));
        assert_eq!(label.map(String::as_str), Some(expected), "{key}");
    }
    assert!(labels.values().all(|value| !value.contains("t0p-secret")));

    let listed = world.only().await;
    assert_eq!((listed.id, listed.name.as_str()), (id, name));
    assert_eq!((listed.status.as_str(), listed.ended), ("running", false));
    let said = facts.warnings.join("\n");
    assert!(said.contains("cpu_limit 4096 is more than") && said.contains("root on the host"));
    assert!(facts.engine.starts_with("Docker Engine ") && !facts.engine_id.is_empty());
}

fn assert_no_restart(host: &HostConfig) {
    let policy = host.restart_policy.as_ref().and_then(|policy| policy.name);
    let policy = policy.map(|name| name.to_string()).unwrap_or_default();
    assert!(matches!(policy.as_str(), "" | "no"), "{policy}");
}

#[tokio::test]
async fn a_runner_runs_as_its_user_works_in_its_own_directory_and_leaves_nothing() {
    let script = r#"id; cd "$RUNNER_WORKDIR" && mkdir a && touch a/b && stat -c 'made by %u' a/b
        touch /nope; echo gone wrong >&2; exit 3"#;
    let world = World::new("life", script).await;
    let container = world.run().await;
    let directory = fs::metadata(world.work.join(&container.name)).unwrap();
    assert_eq!((directory.mode() & 0o777, directory.uid()), (0o700, 1001));
    assert_eq!(fs::metadata(&world.work).unwrap().mode() & 0o777, 0o700);

    let ended = world.engine.stop(&container).await.unwrap();
    assert_eq!(ended.exit_code, Some(3));
    for line in ["uid=1001(runner) gid=121", "made by 1001", "Permission denied", "gone wrong"] {
        assert!(ended.log_tail.contains(line), "{line}: {}", ended.log_tail);
    }
    let last = world.engine.logs(&container.id, 1).await.unwrap();
    assert!(!last.contains('\n') && !last.is_empty(), "{last}");

    for _ in 0..2 {
        world.engine.remove(&container).await.unwrap();
        world.assert_nothing_is_left().await;
    }
    let again = world.engine.stop(&container).await.unwrap();
    assert_eq!((again.exit_code, again.log_tail.as_str()), (None, ""));
}

#[tokio::test]
async fn a_runner_that_is_told_to_stop_may_say_good_bye() {
    let script = "trap 'echo bye; exit 9' TERM; echo ready; while true; do sleep 0.1; done";
    let world = World::new("stop", script).await;
    let id = world.engine.launch(&world.launch("r")).await.unwrap();
    let ready = async {
        while world.engine.logs(&id, 9).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("the runner is ready");
    let ended = world.engine.stop(&world.only().await).await.unwrap();
    assert_eq!((ended.exit_code, ended.log_tail.as_str()), (Some(9), "ready\nbye"));
}

#[tokio::test]
async fn of_a_long_log_the_end_is_kept() {
    let script = r#"i=0; while test $i -lt 3000; do i=$((i+1)); echo "line $i"; done
        printf '\033[31mred\033[0m %5000s\n' end"#;
    let world = World::new("log", script).await;
    let container = world.run().await;
    let ended = world.engine.stop(&container).await.unwrap();
    assert!(ended.log_tail.len() <= 4096, "{}", ended.log_tail.len());
    assert!(ended.log_tail.ends_with("end") && !ended.log_tail.contains('\u{1b}'));
    let lines = world.engine.logs(&container.id, 3).await.unwrap();
    assert!(lines.starts_with("line 2999\nline 3000\nred "), "{lines}");
}

#[tokio::test]
async fn a_runner_that_runs_out_of_memory_says_so() {
    let world = World::with("oom", "tail -c 512m /dev/zero", |config| {
        config.memory_limit = 16 << 20;
    })
    .await;
    let container = world.run().await;
    let ended = world.engine.stop(&container).await.unwrap();
    assert_eq!(ended.exit_code, Some(137));
    assert!(ended.log_tail.contains("more memory than memory_limit"), "{}", ended.log_tail);
}

#[tokio::test]
async fn under_a_read_only_root_the_seeded_home_is_private_and_writable() {
    let script = r#"exec 2>&1; cat /actions-runner/seed; touch /actions-runner/.runner /tmp/x &&
        touch "$RUNNER_WORKDIR/x" && echo written; grep -c ' /run tmpfs rw' /proc/mounts
        touch /etc/x"#;
    let world = World::with("read-only", script, |config| {
        config.profile = Profile::Community;
        config.read_only = true;
    })
    .await;
    let container = world.run().await;
    assert_eq!(world.volumes().await, [format!("{}-home", container.name)]);
    let ended = world.engine.stop(&container).await.unwrap();
    assert!(ended.log_tail.starts_with("seeded\nwritten\n1\n"), "{}", ended.log_tail);
    assert!(ended.log_tail.contains("Read-only file system"), "{}", ended.log_tail);
    world.engine.remove(&container).await.unwrap();
    world.assert_nothing_is_left().await;
}

#[tokio::test]
async fn two_instances_on_one_engine_do_not_see_each_others_runners() {
    let one = World::new("one", "sleep 60").await;
    let two = World::new("two", "sleep 60").await;
    let mine = one.engine.launch(&one.launch("r")).await.unwrap();
    assert_eq!(two.engine.containers().await.unwrap(), []);
    two.engine.launch(&two.launch("r")).await.unwrap();
    two.engine.sweep().await.unwrap();
    two.engine.remove(&two.only().await).await.unwrap();
    assert_eq!(one.only().await.id, mine);
    assert!(!one.only().await.ended);
}

#[tokio::test]
async fn logs_of_a_container_that_never_was_are_not_found() {
    let world = World::new("no-logs", "true").await;
    let error = world.engine.logs("0123456789abcdef", 5).await.unwrap_err();
    assert_eq!(error.code.as_str(), "not_found");
}
