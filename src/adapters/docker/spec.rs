//! What a runner's container is: pure, from configuration, runner and host to the engine's request.
//!
//! Facts about the images: myoung34/docker-github-actions-runner's README and entry point, and
//! actions/runner's `images/Dockerfile`. Its request holds secrets and is never logged.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::connect::DEFAULT_SOCKET;
use super::labels;
use crate::config::{DockerAccess, Profile, RunnerConfig};
use crate::error::{Error, Result};
use crate::model::Scope;
use crate::ports::{Launch, Registration};

/// What the engine's host has, as far as a container depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// Whole processors; 0 when unknown.
    pub(super) cpus: u32,
    /// Bytes of memory; 0 when unknown.
    pub(super) memory: u64,
    /// The engine's socket on its own host.
    pub(super) socket: PathBuf,
    /// Where it keeps its data, if that is on this machine.
    pub(super) data: Option<PathBuf>,
    /// Whether its paths are ours, so that a directory can be shared with a container.
    pub(super) shares_files: bool,
    /// Whether user ids in a container differ from those on the host.
    pub(super) maps_ids: bool,
}

/// The user that the runner runs as, where it isn't the image's own.
pub(super) fn user(config: &RunnerConfig) -> Option<&str> {
    config.runner_user.as_deref().or(config.profile.user())
}

/// The volume that stands for the work directory on an engine that can't see ours.
pub(super) fn work_volume(name: &str) -> String {
    format!("{name}-work")
}

/// The volume that is writable under a read-only root, and where it goes.
pub(super) fn home_volume(config: &RunnerConfig, name: &str) -> Option<(String, &'static str)> {
    let home = config.profile.home().filter(|_| config.read_only)?;
    Some((format!("{name}-home"), home))
}

/// What no container can be made of, told before an image is pulled for it.
pub(super) fn check(config: &RunnerConfig, launch: &Launch) -> Result<()> {
    if config.network_mode == "none" {
        return Err(Error::invalid(
            "network_mode",
            "without a network a runner cannot reach GitHub",
            "Use host, bridge or the name of a network that reaches GitHub.",
        ));
    }
    if config.profile == Profile::Official && matches!(launch.registration, Registration::Token(_))
    {
        return Err(Error::invalid(
            "registration",
            "the official actions-runner image cannot register itself with a token",
            "Set registration to jit or auto.",
        ));
    }
    Ok(())
}

/// The container of `launch`. `socket_gid` is the group of the engine's socket, where jobs get it.
pub(super) fn container(
    config: &RunnerConfig,
    launch: &Launch,
    site: &Site,
    socket_gid: Option<u32>,
    work_dir: &Path,
    now: DateTime<Utc>,
) -> ContainerCreateBody {
    let (entrypoint, cmd) = command(config, launch);
    ContainerCreateBody {
        image: Some(config.runner_image.clone()),
        user: user(config).map(str::to_owned),
        entrypoint,
        cmd,
        env: Some(environment(config, launch, work_dir)),
        labels: Some(labels::of(launch, &config.instance, now)),
        host_config: Some(host_config(config, launch, site, socket_gid, work_dir)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(
    config: &RunnerConfig,
    launch: &Launch,
    site: &Site,
    socket_gid: Option<u32>,
    work_dir: &Path,
) -> HostConfig {
    let socket = config.docker_access == DockerAccess::Socket;
    let limits = Limits::of(config, site);
    HostConfig {
        network_mode: Some(config.network_mode.clone()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]),
        pids_limit: Some(config.pids_limit),
        memory: i64::try_from(limits.memory).ok(),
        // Nine decimal places are the API's unit.
        nano_cpus: Some((limits.cpus * 1e9).round() as i64),
        group_add: socket_gid.filter(|_| socket).map(|gid| vec![gid.to_string()]),
        mounts: Some(mounts(config, &launch.runner.name, site, work_dir)),
        readonly_rootfs: Some(config.read_only),
        tmpfs: config.read_only.then(|| {
            // Jobs run programs from /tmp; Docker's own default would be noexec. No mode: runc
            // takes the one that the image's directory has, whatever is asked for.
            let writable = || "rw,exec,nosuid,nodev".to_owned();
            HashMap::from([("/tmp".to_owned(), writable()), ("/run".to_owned(), writable())])
        }),
        // A driver that can be read back, and a bound on what a chatty job leaves on the disk.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), "10m".to_owned())])),
        }),
        ..HostConfig::default()
    }
}

fn mounts(config: &RunnerConfig, name: &str, site: &Site, work_dir: &Path) -> Vec<Mount> {
    let work_dir = work_dir.to_string_lossy();
    let mut mounts = vec![if site.shares_files {
        bind(&work_dir, &work_dir)
    } else {
        volume(&work_volume(name), &work_dir)
    }];
    mounts.extend(home_volume(config, name).map(|(name, home)| volume(&name, home)));
    if config.docker_access == DockerAccess::Socket {
        mounts.push(bind(&site.socket.to_string_lossy(), DEFAULT_SOCKET));
    }
    mounts
}

/// A path of the host in a container.
pub(super) fn bind(source: &str, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        ..Mount::default()
    }
}

/// A named volume in a container; an empty one is seeded with what the image has there.
pub(super) fn volume(name: &str, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.to_owned()),
        target: Some(target.to_owned()),
        volume_options: Some(MountVolumeOptions::default()),
        ..Mount::default()
    }
}

type Command = Option<Vec<String>>;

/// Entry point and command, where they are not the image's own.
fn command(config: &RunnerConfig, launch: &Launch) -> (Command, Command) {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    match (config.profile, &launch.registration) {
        // Its entry point registers with a token and nothing else, so the listener starts directly.
        (Profile::Community, Registration::Jit { .. }) => {
            (words(&["/usr/bin/dumb-init"]), words(&["/actions-runner/bin/Runner.Listener", "run"]))
        }
        // It has no entry point, and a shell for a command.
        (Profile::Official, _) => (None, words(&["/home/runner/run.sh"])),
        (Profile::Community, Registration::Token(_)) | (Profile::Unknown, _) => (None, None),
    }
}

fn environment(config: &RunnerConfig, launch: &Launch, work_dir: &Path) -> Vec<String> {
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    // Ours come later and win: what is passed on must not redirect a runner.
    for (name, value) in &config.runner_env.0 {
        variables.insert(name, value.clone());
    }
    match &launch.registration {
        Registration::Jit { config, .. } => {
            let config = config.expose_secret().to_owned();
            variables.insert("ACTIONS_RUNNER_INPUT_JITCONFIG", config);
        }
        Registration::Token(token) => {
            let token = token.expose_secret().to_owned();
            variables.extend(registering(config, launch, work_dir));
            variables.insert("RUNNER_TOKEN", token);
        }
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// What the default image's entry point reads. It takes any value of its switches for a yes, and
/// only the exact word for `RUN_AS_ROOT`, so no switch is ever set to a no.
fn registering(
    config: &RunnerConfig,
    launch: &Launch,
    work_dir: &Path,
) -> Vec<(&'static str, String)> {
    let runner = &launch.runner;
    let yes = || "true".to_owned();
    let mut variables = vec![
        ("RUNNER_NAME", runner.name.clone()),
        ("LABELS", runner.labels.to_string()),
        ("RUNNER_WORKDIR", work_dir.to_string_lossy().into_owned()),
        ("EPHEMERAL", yes()),
        ("DISABLE_AUTO_UPDATE", yes()),
        ("RUN_AS_ROOT", "false".to_owned()),
        ("UNSET_CONFIG_VARS", yes()),
        // An ephemeral runner goes by itself, leftovers are ours to remove, and its token may have
        // expired by then.
        ("DISABLE_AUTOMATIC_DEREGISTRATION", yes()),
    ];
    if !runner.labels.is_empty() {
        // The runner takes what was planned for it and nothing that it would add by itself.
        variables.push(("NO_DEFAULT_LABELS", yes()));
    }
    match &runner.scope {
        Scope::Repo(repo) => variables.push(("REPO_URL", format!("{}/{repo}", config.server_url))),
        Scope::Org(org) => {
            variables.push(("RUNNER_SCOPE", "org".to_owned()));
            variables.push(("ORG_NAME", org.clone()));
            variables.extend(config.runner_group.clone().map(|group| ("RUNNER_GROUP", group)));
        }
    }
    let server = config.server_url.split_once("://").map_or("", |(_, rest)| rest);
    let host = server.split('/').next().unwrap_or_default();
    if !host.is_empty() && host != "github.com" {
        variables.push(("GITHUB_HOST", host.to_owned()));
    }
    variables
}

/// What one runner may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Processors.
    pub(super) cpus: f64,
    /// Bytes.
    pub(super) memory: u64,
}

impl Limits {
    /// The configured limits, clamped: an engine refuses more processors than its host has.
    pub(super) fn of(config: &RunnerConfig, site: &Site) -> Self {
        let least = |limit: f64, has: f64| if has > 0.0 { limit.min(has) } else { limit };
        let memory = if site.memory > 0 { site.memory } else { u64::MAX };
        Self {
            cpus: least(config.cpu_limit, f64::from(site.cpus)),
            memory: config.memory_limit.min(memory),
        }
    }
}

/// Sentences worth knowing before the first runner starts.
pub(super) fn warnings(config: &RunnerConfig, site: &Site) -> Vec<String> {
    let mut warnings = Vec::new();
    let limits = Limits::of(config, site);
    if limits.cpus < config.cpu_limit {
        warnings.push(format!(
            "cpu_limit {} is more than the host's {} processors: each runner gets up to {}.",
            config.cpu_limit, site.cpus, limits.cpus
        ));
    }
    if limits.memory < config.memory_limit {
        warnings.push(format!(
            "memory_limit {} is more than the host's {} of memory: each runner gets up to that.",
            size(config.memory_limit),
            size(site.memory)
        ));
    }
    if config.docker_access == DockerAccess::Socket {
        warnings.push(
            "Jobs can use the Docker socket, which is as good as root on the host: run only \
             workflows that you trust, or set docker_access to none."
                .to_owned(),
        );
    }
    if config.read_only {
        warnings.push(match config.profile.home() {
            Some(home) => format!(
                "read_only copies the image's {home} into a volume for each runner (about 380 MB \
                 for the default image); what jobs write elsewhere, the image's tool cache too, \
                 fails."
            ),
            None => "read_only leaves only the work directory, /tmp and /run writable: an unknown \
                     image may need more."
                .to_owned(),
        });
    }
    if !site.shares_files {
        warnings.push(
            "The engine does not share this machine's files: work directories are volumes there."
                .to_owned(),
        );
    }
    warnings
}

fn size(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let mib = bytes as f64 / MIB;
    if mib >= 1024.0 { format!("{:.1} GiB", mib / 1024.0) } else { format!("{mib:.0} MiB") }
}

#[cfg(test)]
pub(super) mod tests;
