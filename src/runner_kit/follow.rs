//! Launches with somebody who watches: each step as it is done, until the runner is online.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::RunnerKit;
use crate::error::Result;
use crate::model::{Container, Phase, Repo, Runner};
use crate::views::ProvisionedRunner;

/// How long a runner is waited for: images configure themselves in 5 to 15 seconds.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two questions whether it is online: each may cost a request.
const POLL: Duration = Duration::from_secs(2);

impl RunnerKit {
    /// Like [`RunnerKit::provision`], and tells `steps` what is done for each runner: its token,
    /// its image, its start. It then waits until the runners are online, three quarters of a
    /// minute at most, so that their status is what they are doing. Dropping the future takes back
    /// what has not become a runner yet.
    pub async fn provision_watched(
        &self,
        repo: Option<&Repo>,
        steps: &UnboundedSender<String>,
    ) -> Result<Vec<ProvisionedRunner>> {
        let ask = self.ask_for(repo).await?;
        let mut launched = self.launch(ask, None, Some(steps.clone())).await?;
        let patience = Instant::now() + PATIENCE;
        loop {
            // They were launched all the same when this look fails or takes too long.
            let found = tokio::time::timeout_at(patience, self.find(&launched)).await;
            if let Ok(Ok(found)) = found {
                for runner in launched.iter_mut().filter(|runner| runner.status == Phase::Starting)
                {
                    let now = found.iter().find(|f| f.container.name == runner.runner_name);
                    // One that is gone has done its job.
                    runner.status = now.map_or(Phase::Exited, |now| now.phase);
                    let phase = match runner.status {
                        Phase::Starting => continue,
                        Phase::Idle => "online",
                        Phase::Busy => "online, and has a job",
                        Phase::Exited => "it has ended",
                    };
                    // Who no longer listens is answered all the same.
                    let _ = steps.send(format!("{}: {phase}", runner.runner_name));
                }
            }
            let waits = launched.iter().any(|runner| runner.status == Phase::Starting);
            if !waits || Instant::now() >= patience {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(launched)
    }

    /// The runners that were launched, as they are now.
    async fn find(&self, launched: &[ProvisionedRunner]) -> Result<Vec<Runner>> {
        let ours = |container: &Container| {
            launched.iter().any(|runner| runner.runner_name == container.name)
        };
        let containers = self.parts.engine.containers().await?;
        Ok(self.join(containers.into_iter().filter(ours).collect()).await)
    }
}
