//! A command run once as root in a container of the runner image, for what this process may not do
//! itself: delete files of the runner's user, open a volume, look at a socket of another host.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HostConfig, Mount};
use bollard::query_parameters::{CreateContainerOptions, WaitContainerOptions};
use chrono::{SecondsFormat, Utc};
use futures::StreamExt;

use super::engine::Inner;
use super::failure::within;
use super::labels;

/// A directory with many files takes its time.
const LIMIT: Duration = Duration::from_secs(300);

/// How a chore ended: its exit code and what it printed.
pub(super) struct Done {
    pub(super) code: i64,
    pub(super) output: String,
}

impl Inner {
    /// Runs `command` with `mounts` and no network. Its container has a label of its own, so that
    /// no one takes it for a runner and a sweep finds it.
    pub(super) async fn chore(
        &self,
        command: &[&str],
        mounts: Vec<Mount>,
    ) -> Result<Done, EngineError> {
        let mut words = command.iter().map(|word| (*word).to_owned());
        let body = ContainerCreateBody {
            image: Some(self.config.runner_image.clone()),
            user: Some("0:0".to_owned()),
            entrypoint: words.next().map(|program| vec![program]),
            cmd: Some(words.collect()),
            labels: Some(HashMap::from([
                (labels::key("helper"), self.config.instance.clone()),
                (labels::key("created"), Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true)),
            ])),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                cap_drop: Some(vec!["ALL".to_owned()]),
                // What root needs to delete and open other people's files.
                cap_add: Some(vec!["DAC_OVERRIDE".to_owned(), "FOWNER".to_owned()]),
                readonly_rootfs: Some(true),
                mounts: Some(mounts),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let made = self
            .call(async |docker| {
                docker.create_container(None::<CreateContainerOptions>, body).await
            })
            .await?;
        let done = self.finish(&made.id).await;
        if let Err(error) = self.remove_container(&made.id, true).await {
            tracing::warn!(%error, "a helper container was left to the next sweep");
        }
        done
    }

    async fn finish(&self, id: &str) -> Result<Done, EngineError> {
        self.call(async |docker| docker.start_container(id, None).await).await?;
        let docker = self.patient()?;
        let mut ends = docker.wait_container(id, None::<WaitContainerOptions>);
        let code = match within(LIMIT, async { ends.next().await.transpose() }).await {
            Ok(end) => end.map_or(0, |end| end.status_code),
            Err(EngineError::DockerContainerWaitError { code, .. }) => code,
            Err(error) => return Err(error),
        };
        let output = self.output(id, 20).await.unwrap_or_default();
        Ok(Done { code, output })
    }
}
