//! What the runner containers use of processor and memory.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::RunnerKit;
use crate::error::Result;
use crate::model::Container;
use crate::views::{ContainerUsage, short};

/// How long a measurement is good: ten screens must not cost more than one.
const FRESH: Duration = Duration::from_secs(2);
/// Measurements at a time: enough for hundreds of containers, too few to keep an engine busy.
const AT_A_TIME: usize = 16;

/// The last measurement. Who comes while one is made waits for it.
pub(super) type Measured = Arc<Mutex<Option<(Instant, Result<Vec<ContainerUsage>>)>>>;

impl RunnerKit {
    /// What each live container uses, at most two seconds old. One that could not be measured is
    /// left out: it may just have ended.
    pub async fn usage(&self) -> Result<Vec<ContainerUsage>> {
        let mut measured = self.measured.lock().await;
        if let Some((at, usage)) = measured.as_ref()
            && at.elapsed() < FRESH
        {
            return usage.clone();
        }
        let usage = self.measure().await;
        *measured = Some((Instant::now(), usage.clone()));
        usage
    }

    async fn measure(&self) -> Result<Vec<ContainerUsage>> {
        let containers = self.parts.engine.containers().await?;
        let one = |container: Container| async move {
            let usage = self.parts.engine.usage(&container.id).await.ok()?;
            Some(ContainerUsage {
                container_id: short(&container.id),
                cpu_percent: usage.cpu_percent,
                memory_bytes: usage.memory_bytes,
            })
        };
        let live = containers.into_iter().filter(|container| !container.ended);
        let usage = futures::stream::iter(live.map(one)).buffered(AT_A_TIME);
        Ok(usage.filter_map(std::future::ready).collect().await)
    }
}
