//! What a crash left behind is found by its marks and deleted, and nothing else.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use bollard::models::Volume;
use bollard::query_parameters::ListContainersOptionsBuilder;
use chrono::{TimeDelta, Utc};

use super::engine::Inner;
use super::labels::{self, HALF_MADE};
use super::lifecycle::blocking;
use crate::error::Result;

impl Inner {
    /// Deletes what is of no runner in `alive`, unless it is so young that it may be of one that began
    /// after `alive` was made.
    pub(super) async fn sweep(&self, alive: HashSet<String>) -> Result<()> {
        let before = Utc::now() - HALF_MADE;
        let orphan = |volume: &Volume| {
            let owned = volume.labels.get(&labels::key("name")).is_some_and(|n| alive.contains(n));
            !owned && labels::created(&volume.labels).is_none_or(|at| at < before)
        };
        let mut outcome = self.remove_volumes(None, orphan).await;
        outcome = outcome.and(self.sweep_helpers().await);
        if self.site().await?.shares_files {
            let (workspaces, before) = (self.workspaces.clone(), SystemTime::from(before));
            for name in blocking(move || workspaces.orphans(&alive, before)).await? {
                tracing::info!(runner = name, "deleting a work directory that was left behind");
                outcome = outcome.and(self.delete_directory(&name).await);
            }
        }
        outcome
    }

    /// Helpers end within minutes; older ones lost the process that would have removed them.
    async fn sweep_helpers(&self) -> Result<()> {
        let label = format!("{}={}", labels::key("helper"), self.config.instance);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self.call(async |docker| docker.list_containers(Some(options)).await).await;
        let before = Utc::now() - TimeDelta::minutes(10);
        for helper in listed.map_err(|error| self.failed(&error))? {
            let created = helper.labels.as_ref().and_then(labels::created);
            let old = created.is_none_or(|at| at < before);
            let Some(id) = helper.id.filter(|_| old) else { continue };
            self.remove_container(&id, true).await.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }
}
