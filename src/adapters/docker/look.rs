//! Which containers there are, and which of them nobody will ever start.

use std::collections::HashSet;

use bollard::query_parameters::ListContainersOptionsBuilder;
use chrono::Utc;

use super::engine::Inner;
use super::labels;
use super::launching::Launches;
use super::lifecycle::blocking;
use crate::error::Result;
use crate::model::Container;

impl Inner {
    /// The containers of this instance, and the names of all runners that leave no leftovers: theirs
    /// and those of launches under way.
    pub(super) async fn look(&self) -> Result<(Vec<Container>, HashSet<String>)> {
        // Before the listing: a launch that ends while it is made is in the one or in the other.
        let mut launching = self.launching.now();
        let mut containers = self.list().await?;
        let let_go = self.let_go(&containers, &launching).await?;
        if !let_go.is_empty() {
            // One that was started before its launch was let go is listed so now.
            containers = self.list().await?;
            launching.give_up(let_go);
        }
        for container in containers.iter_mut().filter(|one| labels::is_half_made(one)) {
            container.ended = launching.is_over(&container.name, container.ended);
        }
        let names: HashSet<_> = containers.iter().map(|container| container.name.clone()).collect();
        self.launching.forget(&launching, |name| names.contains(name));
        let alive = names.into_iter().chain(launching.under_way).collect();
        Ok((containers, alive))
    }

    async fn list(&self) -> Result<Vec<Container>> {
        let filters = labels::filter(&self.config.instance, None);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self.call(async |docker| docker.list_containers(Some(options)).await).await;
        let (listed, now) = (listed.map_err(|error| self.failed(&error))?, Utc::now());
        self.see_images(&listed).await;
        Ok(listed.into_iter().filter_map(|summary| labels::read(summary, now)).collect())
    }

    /// Those that were not started, and whose launch on this host has broken off.
    async fn let_go(&self, containers: &[Container], launching: &Launches) -> Result<Vec<String>> {
        let in_doubt = |one: &&Container| {
            labels::is_half_made(one)
                && !launching.under_way.contains(&one.name)
                && !launching.is_over(&one.name, one.ended)
        };
        let mut names: Vec<_> =
            containers.iter().filter(in_doubt).map(|one| one.name.clone()).collect();
        if names.is_empty() {
            return Ok(names);
        }
        let workspaces = self.workspaces.clone();
        blocking(move || {
            names.retain(|name| workspaces.is_let_go(name));
            names
        })
        .await
    }
}
