//! One runner from its work directory to its last volume.
//!
//! Order matters where a crash may come in between: what is made first and removed last is what
//! the next look finds (marker, volume labels, container labels).

use std::io;
use std::time::{Duration, Instant};

use bollard::errors::Error as EngineError;
use bollard::models::{
    ContainerCreateBody, ContainerState, ContainerStateStatusEnum, Volume, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
    StopContainerOptionsBuilder,
};
use chrono::{DateTime, Utc};

use super::connect::DEFAULT_SOCKET;
use super::engine::{Inner, group};
use super::failure::{CALL, container_failed, not_started, status, unless_missing, within};
use super::labels;
use super::logs;
use super::spec::{self, Site};
use super::workspace::Owner;
use crate::config::DockerAccess;
use crate::error::{Error, Result};
use crate::metrics::Step;
use crate::model::{Container, Ended};
use crate::ports::Launch;

/// How long a runner has to end after it was told to.
const GRACE: i32 = 10;

/// The exit code of a process that was killed: 128 and SIGKILL.
const KILLED: i64 = 137;
/// How often, and how far apart, a killed container is asked again whether memory was the reason.
const OOM_LOOKS: usize = 5;
const OOM_DELAY: Duration = Duration::from_millis(50);

/// What the history keeps of a runner's log.
const TAIL_LINES: usize = 40;
const TAIL_BYTES: usize = 4096;

impl Inner {
    /// Creates and starts a runner; on failure nothing is left.
    pub(super) async fn launch(&self, launch: &Launch) -> Result<String> {
        let (name, now) = (launch.runner.name.as_str(), Utc::now());
        spec::check(&self.config, launch)?;
        let work_dir = self.workspaces.path(name)?;
        let _under_way = self.launching.begin(name);
        let image = self.image(&|_| {}).await?;
        let site = self.site().await?;
        let gid = self.socket_group(&site).await?;
        let body = spec::container(&self.config, launch, &site, gid, &work_dir, now);
        let mut _hold = None;
        if site.shares_files {
            let own = image.config.and_then(|config| config.user).unwrap_or_default();
            let owner = match spec::user(&self.config).unwrap_or(&own) {
                _ if site.maps_ids => Owner::Anyone,
                user => Owner::of(user),
            };
            let (workspaces, name) = (self.workspaces.clone(), name.to_owned());
            _hold = Some(blocking(move || workspaces.create(&name, owner)).await??);
        }
        let started = self.create_and_start(name, body, &site, now).await;
        if started.is_err() {
            self.forget_image().await;
            if let Some(id) = self.undo(name, &site, now).await {
                tracing::info!(runner = name, "the engine answered too late: it has started it");
                return Ok(id);
            }
            self.launching.fail(name);
        }
        started
    }

    async fn create_and_start(
        &self,
        name: &str,
        body: ContainerCreateBody,
        site: &Site,
        now: DateTime<Utc>,
    ) -> Result<String> {
        let image = &self.config.runner_image;
        let failed = |error: EngineError| not_started(&self.endpoint, image, &error);
        let work_dir = self.workspaces.path(name)?;
        let work = (!site.shares_files).then(|| spec::work_volume(name));
        let home = spec::home_volume(&self.config, name).map(|(volume, _)| volume);
        for volume in work.iter().chain(&home) {
            self.create_volume(volume, name, now).await?;
        }
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let begin = Instant::now();
        let made = self
            .call(async |docker| docker.create_container(Some(options), body).await)
            .await
            .map_err(failed)?;
        self.metrics.took(Step::Create, begin.elapsed());
        if let Some(volume) = work {
            // A new volume is root's.
            let path = work_dir.to_string_lossy();
            let mount = spec::volume(&volume, &path);
            let done = self.chore(&["chmod", "0777", &path], vec![mount]).await.map_err(failed)?;
            if done.code != 0 {
                return Err(container_failed(
                    &format!("the work volume could not be opened: {}", done.output),
                    "Use a runner image that has chmod, or an engine that shares this machine's \
                     files.",
                ));
            }
        }
        let begin = Instant::now();
        self.call(async |docker| docker.start_container(&made.id, None).await)
            .await
            .map_err(failed)?;
        self.metrics.took(Step::Start, begin.elapsed());
        Ok(made.id)
    }

    /// The engine takes a volume that exists for created, whoever's it is.
    async fn create_volume(&self, volume: &str, runner: &str, now: DateTime<Utc>) -> Result<()> {
        let labels = labels::mark(&self.config.instance, runner, now);
        let request = VolumeCreateRequest {
            name: Some(volume.to_owned()),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        let made = self
            .call(async |docker| docker.create_volume(request).await)
            .await
            .map_err(|error| not_started(&self.endpoint, &self.config.runner_image, &error))?;
        if labels.iter().all(|(key, value)| made.labels.get(key) == Some(value)) {
            return Ok(());
        }
        Err(container_failed(
            &format!("the volume {volume} is there already"),
            "Remove it with `docker volume rm` if nobody needs it.",
        ))
    }

    /// The group that may use the engine's socket, as a container sees it.
    async fn socket_group(&self, site: &Site) -> Result<Option<u32>> {
        if self.config.docker_access == DockerAccess::None {
            return Ok(None);
        }
        if site.shares_files && !site.maps_ids {
            return Ok(group(&site.socket));
        }
        let ask = async || {
            let mount = spec::bind(&site.socket.to_string_lossy(), DEFAULT_SOCKET);
            let done = self
                .chore(&["stat", "-c", "%g", DEFAULT_SOCKET], vec![mount])
                .await
                .map_err(|error| not_started(&self.endpoint, &self.config.runner_image, &error))?;
            done.output.trim().parse().map_err(|_| {
                container_failed(
                    &format!("the group of the engine's socket is unknown: {}", done.output),
                    "Set docker_access to none, or use a runner image that has stat.",
                )
            })
        };
        self.far_group.get_or_try_init(ask).await.map(|gid| Some(*gid))
    }

    /// Removes what the launch of `name` at `now` made, and nothing that was there before; unless its
    /// container runs after all, of which the id is returned.
    async fn undo(&self, name: &str, site: &Site, now: DateTime<Utc>) -> Option<String> {
        let tell = |what: &str, error: &dyn std::fmt::Display| {
            tracing::warn!(runner = name, %error, "a failed launch left its {what} to the next sweep");
        };
        let filters = labels::filter(&self.config.instance, Some(name));
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self.call(async |docker| docker.list_containers(Some(options)).await).await;
        // While its container may be there, and even run, its directory and volumes are not left over.
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                tell("container", &error);
                return None;
            }
        };
        for container in listed {
            let ours = container.labels.as_ref().and_then(labels::created) == Some(now);
            let Some(id) = container.id.filter(|_| ours) else { continue };
            // The engine may be starting it just now: without force it waits for that, and refuses.
            match self.remove_container(&id, false).await {
                Ok(()) => {}
                Err(error) if status(&error) == Some(409) => return Some(id),
                Err(error) => {
                    tell("container", &error);
                    return None;
                }
            }
        }
        let ours = |volume: &Volume| labels::created(&volume.labels) == Some(now);
        if let Err(error) = self.remove_volumes(Some(name), ours).await {
            tell("volume", &error);
        }
        if site.shares_files
            && let Err(error) = self.delete_directory(name).await
        {
            tell("work directory", &error);
        }
        None
    }

    /// Ends the process and tells how it ended; a container that is gone has nothing to tell.
    pub(super) async fn stop(&self, container: &Container) -> Result<Ended> {
        let gone = || Ended { exit_code: None, log_tail: String::new() };
        let will_not_start = never_starts(container);
        if !will_not_start {
            match self.halt(&container.id, GRACE).await {
                Ok(()) => {}
                Err(error) if status(&error) == Some(404) => return Ok(gone()),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let mut state = match self.state(&container.id).await {
            Ok(state) => state,
            Err(error) if status(&error) == Some(404) => return Ok(gone()),
            Err(error) => return Err(self.failed(&error)),
        };
        if will_not_start && state.running == Some(true) {
            return Err(started_after_all(container));
        }
        // The engine learns of the exit before it learns that memory was the reason.
        for _ in 0..OOM_LOOKS {
            if state.exit_code != Some(KILLED) || state.oom_killed == Some(true) {
                break;
            }
            tokio::time::sleep(OOM_DELAY).await;
            state = self.state(&container.id).await.unwrap_or(state);
        }
        let never_began = state.status == Some(ContainerStateStatusEnum::CREATED);
        let mut log_tail = match self.output(&container.id, TAIL_LINES).await {
            Ok(text) => logs::tail(&text, TAIL_BYTES),
            Err(error) => format!("(the log could not be read: {error})"),
        };
        if state.oom_killed == Some(true) {
            log_tail.push_str("\n(the kernel ended it: it used more memory than memory_limit)");
        } else if container.ended && state.exit_code == Some(KILLED) {
            // The engine may never learn the reason, when it hears of the exit first.
            log_tail.push_str(
                "\n(it was killed: where nobody did that, it used more memory than memory_limit, or than there is)",
            );
        }
        Ok(Ended { exit_code: state.exit_code.filter(|_| !never_began), log_tail })
    }

    async fn state(&self, id: &str) -> Result<ContainerState, EngineError> {
        let options = None::<InspectContainerOptions>;
        let inspected =
            self.call(async |docker| docker.inspect_container(id, options).await).await?;
        Ok(inspected.state.unwrap_or_default())
    }

    async fn halt(&self, id: &str, grace: i32) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::new().t(grace).build();
        let limit = CALL + std::time::Duration::from_secs(grace.unsigned_abs().into());
        within(limit, async { self.docker()?.stop_container(id, Some(options)).await }).await
    }

    /// Removes all of a runner. Each step is tried whatever became of the one before; what is left
    /// is found by the next sweep, and told.
    pub(super) async fn remove(&self, container: &Container) -> Result<()> {
        let site = self.site().await?;
        if never_starts(container) {
            // First and without force: the engine refuses if it has been started after all.
            match self.remove_container(&container.id, false).await {
                Err(error) if status(&error) == Some(409) => {
                    return Err(started_after_all(container));
                }
                removed => removed.map_err(|error| self.failed(&error))?,
            }
        }
        // A process that goes on would write into what is being deleted.
        if let Err(error) = unless_missing(self.halt(&container.id, 0).await) {
            tracing::debug!(%error, runner = container.name, "not stopped before its removal");
        }
        let directory = match site.shares_files {
            true => self.delete_directory(&container.name).await,
            false => Ok(()),
        };
        let gone = self.remove_container(&container.id, true).await;
        gone.map_err(|error| self.failed(&error))?;
        self.remove_volumes(Some(&container.name), |_| true).await?;
        directory
    }

    /// Success as well when it is gone, or somebody else removes it just now. One that runs is only
    /// removed by `force`; otherwise the engine refuses with 409.
    pub(super) async fn remove_container(&self, id: &str, force: bool) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(force).v(true).build();
        let removed = self.call(async |docker| docker.remove_container(id, Some(options)).await);
        match removed.await {
            Err(EngineError::DockerResponseServerError { status_code: 409, message })
                if message.contains("in progress") =>
            {
                Ok(())
            }
            removed => unless_missing(removed),
        }
    }

    /// Removes the volumes of ours (of one runner, if given) that `doomed` picks.
    pub(super) async fn remove_volumes(
        &self,
        runner: Option<&str>,
        doomed: impl Fn(&Volume) -> bool,
    ) -> Result<()> {
        let filters = labels::filter(&self.config.instance, runner);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let listed = self.call(async |docker| docker.list_volumes(Some(options)).await).await;
        let listed = listed.map_err(|error| self.failed(&error))?;
        let mut outcome = Ok(());
        for volume in listed.volumes.into_iter().flatten().filter(doomed) {
            let options = Some(RemoveVolumeOptions { force: false });
            let removed =
                self.call(async |docker| docker.remove_volume(&volume.name, options).await).await;
            if let Err(error) = unless_missing(removed) {
                outcome = Err(Error::internal(
                    format!("The volume {} could not be removed: {error}.", volume.name),
                    "It is tried again every minute; `docker volume rm` does it by hand.",
                ));
            }
        }
        outcome
    }

    /// Deletes the work directory, through a container where its files are not ours to delete.
    pub(super) async fn delete_directory(&self, name: &str) -> Result<()> {
        let delete = || {
            let (workspaces, name) = (self.workspaces.clone(), name.to_owned());
            blocking(move || workspaces.delete(&name))
        };
        let left = |error: &dyn std::fmt::Display| {
            let path = self.workspaces.root().join(name);
            Error::internal(
                format!("The work directory {} could not be deleted: {error}.", path.display()),
                "It is tried again every minute; root can delete it by hand.",
            )
        };
        match delete().await? {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            deleted => return deleted.map_err(|error| left(&error)),
        }
        let (root, target) = (self.workspaces.root().to_string_lossy(), format!("/work/{name}"));
        let done = self
            .chore(&["rm", "-rf", "--", &target], vec![spec::bind(&root, "/work")])
            .await
            .map_err(|error| left(&error))?;
        if done.code != 0 {
            return Err(left(&format!("permission denied, and {}", done.output)));
        }
        delete().await?.map_err(|error| left(&error))
    }
}

/// Whether `container` was listed as one that nobody will start any more. Its engine may have been
/// told to all the same, by a process that did not live to hear of it.
fn never_starts(container: &Container) -> bool {
    container.ended && labels::is_half_made(container)
}

fn started_after_all(container: &Container) -> Error {
    Error::internal(
        format!("The runner {} has been started after all.", container.name),
        "Nothing is to be done: it is kept, and works.",
    )
}

/// `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::internal(format!("Work on files broke off: {error}."), "Please report this.")
    })
}
