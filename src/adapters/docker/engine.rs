//! The engine behind the port: what it is and has, what runs there. What happens to one runner is
//! in `lifecycle`.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::models::SystemInfo;
use bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use futures::TryStreamExt;
use once_cell::sync::OnceCell;

use super::connect::{DEFAULT_SOCKET, Endpoint};
use super::disk::Low;
use super::events::Events;
use super::failure::{CALL, container_failed, not_accessible, status, within};
use super::image::Gate;
use super::inspection::inspection;
use super::launching::Launching;
use super::logs;
use super::spec::{self, Site};
use super::usage::Readings;
use super::workspace::Workspaces;
use crate::config::RunnerConfig;
use crate::error::{Error, Result};
use crate::hints::Hints;
use crate::metrics::Metrics;
use crate::model::{Container, Ended, Inspection, Usage, clean_text, not_found};
use crate::ports::{Engine, Host, Launch, Report};

/// Enough for any reader of a log, little enough for a result.
const LOG_LIMIT: usize = 256 * 1024;

/// Runners on a Docker Engine.
pub struct DockerEngine {
    pub(super) inner: Arc<Inner>,
    events: OnceLock<Events>,
}

/// What calls and background tasks share.
pub(super) struct Inner {
    pub(super) config: RunnerConfig,
    pub(super) endpoint: Endpoint,
    pub(super) workspaces: Workspaces,
    pub(super) gate: Gate,
    pub(super) launching: Launching,
    /// The group of a socket that we can't look at ourselves.
    pub(super) far_group: tokio::sync::OnceCell<u32>,
    pub(super) readings: Readings,
    pub(super) metrics: Arc<Metrics>,
    /// The images that runners here have had, and how they were named, where these may be removed.
    pub(super) images: Option<Hints>,
    docker: OnceCell<Docker>,
    site: Mutex<Option<Site>>,
}

impl DockerEngine {
    /// The engine that `env` and the Docker CLI's contexts choose. It need not run yet.
    ///
    /// # Errors
    /// When the address is of a kind that is not supported.
    pub fn connect(config: &RunnerConfig, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let endpoint = Endpoint::resolve(env)?;
        let workspaces =
            Workspaces::new(&config.runner_work_dir, &config.instance, endpoint.to_string());
        let images = config.state_dir.join(format!("{}.images", config.instance));
        let inner = Inner {
            images: config.prune_images.then(|| Hints::open(images)),
            config: config.clone(),
            endpoint,
            workspaces,
            gate: Gate::default(),
            launching: Launching::default(),
            far_group: tokio::sync::OnceCell::new(),
            readings: Readings::default(),
            metrics: Arc::default(),
            docker: OnceCell::new(),
            site: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), events: OnceLock::new() })
    }

    /// Where it tells how long creating and starting containers takes.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.inner.metrics)
    }

    /// Deletes volumes, work directories and helpers that a crash left behind.
    ///
    /// # Errors
    /// The first thing that could not be deleted; the others are.
    pub async fn sweep(&self) -> Result<()> {
        let (_, alive) = self.inner.look().await?;
        self.inner.sweep(alive).await.map(drop)
    }
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine")
            .field("endpoint", &self.inner.endpoint)
            .field("instance", &self.inner.config.instance)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn host(&self) -> Result<Host> {
        self.inner.host().await
    }

    async fn prepare(&self, report: Report<'_>) -> Result<()> {
        self.inner.has_room(report).await?;
        self.inner.image(report).await.map(drop)
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        self.inner.look().await.map(|(containers, _)| containers)
    }

    async fn launch(&self, launch: &Launch) -> Result<String> {
        // In a task of its own: who stops waiting for a launch does not cut it in half.
        let (inner, launch) = (Arc::clone(&self.inner), launch.clone());
        let launched = tokio::spawn(async move { inner.launch(&launch).await });
        launched.await.unwrap_or_else(|error| {
            Err(container_failed(&format!("the launch broke off: {error}"), "Please report this."))
        })
    }

    async fn stop(&self, container: &Container) -> Result<Ended> {
        self.inner.stop(container).await
    }

    async fn remove(&self, container: &Container) -> Result<()> {
        self.inner.remove(container).await
    }

    async fn tidy(&self, report: Report<'_>) -> Vec<String> {
        // Of an engine that does not answer whoever looks at the containers is told.
        let Ok((_, alive)) = self.inner.look().await else { return Vec::new() };
        if let Err(error) = self.inner.sweep(alive).await {
            tracing::warn!(%error, "leftovers could not be deleted");
        }
        if let Err(error) = self.inner.prune(report).await {
            tracing::warn!(%error, "images could not be removed");
        }
        let low = self.inner.low_on_disk().await.ok().flatten();
        low.iter().map(Low::sentence).collect()
    }

    async fn inspect(&self, id: &str) -> Result<Inspection> {
        let options = None::<InspectContainerOptions>;
        let inspected =
            self.inner.call(async |docker| docker.inspect_container(id, options).await).await;
        inspected.map(inspection).map_err(|error| self.inner.unless_unknown(id, &error))
    }

    async fn usage(&self, id: &str) -> Result<Usage> {
        self.inner.usage(id).await
    }

    async fn logs(&self, id: &str, lines: usize) -> Result<String> {
        let output = self.inner.output(id, lines).await;
        output.map_err(|error| self.inner.unless_unknown(id, &error))
    }

    async fn changed(&self) {
        self.events.get_or_init(|| Events::listen(Arc::clone(&self.inner))).changed().await;
    }
}

impl Inner {
    /// The client. It is made at the first call, for it needs the socket to be there.
    pub(super) fn docker(&self) -> Result<&Docker, EngineError> {
        // The call's own bound comes first; this one must not cut a stop with its grace period.
        self.docker.get_or_try_init(|| self.endpoint.client(CALL * 2))
    }

    /// A client for answers that begin late or never end.
    pub(super) fn patient(&self) -> Result<Docker, EngineError> {
        const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        Ok(self.docker()?.clone().with_timeout(A_YEAR))
    }

    /// One bounded call.
    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&Docker) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        within(CALL, call(self.docker()?)).await
    }

    pub(super) fn failed(&self, error: &EngineError) -> Error {
        not_accessible(&self.endpoint, error)
    }

    async fn host(&self) -> Result<Host> {
        let failed = |error: EngineError| self.failed(&error);
        let info = self.call(async |docker| docker.info().await).await.map_err(failed)?;
        let version = self.call(async |docker| docker.version().await).await.map_err(failed)?;
        let site = self.learn(&info)?;
        let component = version.components.into_iter().flatten().next();
        let name = component.map_or_else(|| "Engine".to_owned(), |component| component.name);
        // Docker calls its own part "Engine", Podman "Podman Engine".
        let name = if name == "Engine" { "Docker Engine".to_owned() } else { name };
        let number = info.server_version.or(version.version).unwrap_or_default();
        Ok(Host {
            engine_id: info.id.unwrap_or_default(),
            engine: clean_text(&format!("{name} {number}"), 80),
            cpus: site.cpus,
            memory: site.memory,
            warnings: spec::warnings(&self.config, &site),
        })
    }

    /// A failure to tell of the container `id`.
    pub(super) fn unless_unknown(&self, id: &str, error: &EngineError) -> Error {
        match status(error) {
            Some(404) => not_found(
                format!("The container {}", clean_text(id, 64)),
                "List the containers there are with `runner list-containers`.",
            ),
            _ => self.failed(error),
        }
    }

    /// What is known of the engine's host, asked once.
    pub(super) async fn site(&self) -> Result<Site> {
        let known = self.site.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(site) = known {
            return Ok(site);
        }
        let info = self.call(async |docker| docker.info().await).await;
        self.learn(&info.map_err(|error| self.failed(&error))?)
    }

    fn learn(&self, info: &SystemInfo) -> Result<Site> {
        let site = site(&self.endpoint, info)?;
        *self.site.lock().unwrap_or_else(PoisonError::into_inner) = Some(site.clone());
        Ok(site)
    }

    /// The last `lines` lines of a container, cleaned.
    pub(super) async fn output(&self, id: &str, lines: usize) -> Result<String, EngineError> {
        let options =
            LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let text = self
            .call(async |docker| {
                let pieces = docker.logs(id, Some(options)).map_ok(LogOutput::into_bytes);
                pieces
                    .try_fold(Vec::new(), async |mut text, piece| {
                        text.extend_from_slice(&piece);
                        // Only the end counts; a line may be of any length.
                        let surplus = text.len().saturating_sub(2 * LOG_LIMIT);
                        text.drain(..surplus);
                        Ok(text)
                    })
                    .await
            })
            .await?;
        Ok(logs::tail(&String::from_utf8_lossy(&text), LOG_LIMIT))
    }
}

/// What `info` tells of the host behind `endpoint`.
fn site(endpoint: &Endpoint, info: &SystemInfo) -> Result<Site> {
    if let Some(kind) = info.os_type.as_deref().filter(|kind| *kind != "linux") {
        return Err(container_failed(
            &format!("the engine runs {} containers", clean_text(kind, 40)),
            "Switch it to Linux containers: runners are Linux ones.",
        ));
    }
    let security = info.security_options.clone().unwrap_or_default();
    let has = |name: &str| security.iter().any(|option| option.starts_with(name));
    let desktop = info.operating_system.as_deref().is_some_and(|os| os.contains("Docker Desktop"));
    let root = info.docker_root_dir.as_deref().unwrap_or_default();
    let socket = match endpoint {
        // A virtual machine, or a host whose socket was mounted into our own container, keeps its
        // data where we can't see it.
        Endpoint::Unix(path) if !desktop && exists(Path::new(root)) => Some(path),
        _ => None,
    };
    Ok(Site {
        cpus: info.ncpu.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        memory: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        data: socket.map(|_| root.into()),
        shares_files: socket.is_some(),
        socket: socket.cloned().unwrap_or_else(|| DEFAULT_SOCKET.into()),
        maps_ids: has("name=rootless") || has("name=userns"),
    })
}

/// Whether there is such a path, if only behind a door that is closed to us.
fn exists(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// The group of the socket `path` on this machine.
pub(super) fn group(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.gid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn info() -> SystemInfo {
        SystemInfo {
            os_type: Some("linux".to_owned()),
            docker_root_dir: Some("/".to_owned()),
            ncpu: Some(2),
            mem_total: Some(1 << 30),
            ..SystemInfo::default()
        }
    }

    fn local() -> Endpoint {
        Endpoint::Unix("/run/docker.sock".into())
    }

    #[test]
    fn an_engine_whose_data_is_here_shares_files_and_gives_its_own_socket() {
        let site = site(&local(), &info()).unwrap();
        assert!(site.shares_files && !site.maps_ids);
        assert_eq!((site.cpus, site.memory), (2, 1 << 30));
        assert_eq!(site.socket, Path::new("/run/docker.sock"));
    }

    #[test]
    fn an_engine_elsewhere_shares_nothing() {
        let far = site(&Endpoint::Tcp("far:2375".to_owned()), &info()).unwrap();
        let elsewhere = Some("/nonexistent/docker".to_owned());
        let outside = SystemInfo { docker_root_dir: elsewhere, ..info() };
        let desktop = Some("Docker Desktop".to_owned());
        let desktop = SystemInfo { operating_system: desktop, ..info() };
        for site in [far, site(&local(), &outside).unwrap(), site(&local(), &desktop).unwrap()] {
            assert!(!site.shares_files);
            assert_eq!(site.socket, Path::new(DEFAULT_SOCKET));
        }
    }

    #[test]
    fn a_rootless_engine_is_known_by_its_security_options() {
        let options = Some(vec!["name=seccomp".to_owned(), "name=rootless".to_owned()]);
        let info = SystemInfo { security_options: options, ..info() };
        assert!(site(&local(), &info).unwrap().maps_ids);
    }

    #[test]
    fn an_engine_of_windows_containers_is_refused() {
        let windows = SystemInfo { os_type: Some("windows".to_owned()), ..info() };
        let error = site(&local(), &windows).unwrap_err();
        assert_eq!(error.code, Code::ContainerFailed);
        assert!(error.remedy.contains("Linux containers"), "{error}");
    }

    #[tokio::test]
    async fn an_engine_that_does_not_run_can_be_named_and_tells_so_when_asked() {
        let config = spec::tests::config();
        let host = |_: &str| Some("unix:///nonexistent/docker.sock".to_owned());
        let engine = DockerEngine::connect(&config, |name| {
            (name == "DOCKER_HOST").then(|| host(name)).flatten()
        })
        .unwrap();
        let error = engine.host().await.unwrap_err();
        assert_eq!(error.code, Code::DockerUnreachable);
        assert!(error.message.starts_with("Docker is not accessible"), "{error}");
        assert_eq!(engine.containers().await.unwrap_err().code, Code::DockerUnreachable);
    }
}
