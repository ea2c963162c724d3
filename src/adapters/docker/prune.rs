//! Images that no runner needs any more, where the operator wants these to be removed.
//!
//! Images carry no labels of ours. So only those are looked at that runners of this instance have
//! had, as their containers tell; and only what the configuration has called them is removed of their
//! names. The engine itself refuses to remove what a container has, or another image is built upon.

use std::collections::HashSet;
use std::time::SystemTime;

use bollard::errors::Error as EngineError;
use bollard::models::{ContainerSummary, ImageInspect};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    RemoveImageOptions,
};

use super::engine::Inner;
use super::failure::status;
use super::image::split;
use crate::error::Result;
use crate::model::clean_text;
use crate::ports::Report;

impl Inner {
    /// Remembers which images these runners have, and by which names.
    pub(super) async fn see_images(&self, runners: &[ContainerSummary]) {
        let Some(images) = &self.images else { return };
        let mut known = images.known();
        let is_new = |image: &String| !known.contains_key(image);
        if runners.iter().filter_map(|runner| runner.image_id.as_ref()).any(is_new) {
            known = images.all();
        }
        for runner in runners {
            let Some(image) = runner.image_id.as_deref() else { continue };
            let names = known.get(image).cloned();
            let name = match runner.image.clone().filter(|name| !is_id(name, image)) {
                Some(name) => Some(name),
                // Its name has gone over to another image; the container still knows it.
                None if names.is_none() => self.image_of(runner).await,
                None => None,
            };
            let names = names.unwrap_or_default();
            let new = name.filter(|name| !names.lines().any(|line| line == name));
            if let Some(new) = new {
                let names = format!("{names}\n{new}").trim().to_owned();
                images.remember(image, &names, SystemTime::now());
                known.insert(image.to_owned(), names);
            }
        }
    }

    async fn image_of(&self, runner: &ContainerSummary) -> Option<String> {
        let (id, options) = (runner.id.as_deref()?, None::<InspectContainerOptions>);
        let inspected = self.call(async |docker| docker.inspect_container(id, options).await).await;
        inspected.ok()?.config?.image
    }

    /// Removes the images that runners here have had and will not have again.
    pub(super) async fn prune(&self, report: Report<'_>) -> Result<()> {
        let Some(images) = &self.images else { return Ok(()) };
        let began = SystemTime::now();
        let mut old = images.all();
        // Where there is no such image, nobody can tell which ones are old.
        let Some(current) = self.inspect_image().await?.and_then(|image| image.id) else {
            return Ok(());
        };
        old.remove(&current);
        if old.is_empty() {
            return Ok(());
        }
        let used = self.used_images().await.map_err(|error| self.failed(&error))?;
        for (id, names) in old.into_iter().filter(|(id, _)| !used.contains(id)) {
            match self.prune_one(&id, &names, report).await {
                Ok(true) => _ = images.forget(&id, began),
                Ok(false) => {}
                Err(error) if status(&error) == Some(404) => _ = images.forget(&id, began),
                Err(error) if status(&error) == Some(409) => {
                    tracing::debug!(%id, %error, "an image is still needed");
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// Whether the image `id`, which runners had under `names`, is gone now.
    async fn prune_one(
        &self,
        id: &str,
        names: &str,
        report: Report<'_>,
    ) -> Result<bool, EngineError> {
        let image = self.call(async |docker| docker.inspect_image(id).await).await?;
        let targets = targets(id, &image, names);
        if targets.is_empty() {
            return Ok(false);
        }
        let room = self.room_of(id, &image).await;
        let mut gone = false;
        for target in &targets {
            let options = Some(RemoveImageOptions::default());
            let removed =
                self.call(async |docker| docker.remove_image(target, options, None).await).await?;
            gone |= removed.iter().any(|one| one.deleted.is_some());
        }
        if gone {
            let name = clean_text(names.lines().next_back().unwrap_or(id), 200);
            let short: String = id.trim_start_matches("sha256:").chars().take(12).collect();
            let told = format!("removed the image {name} ({short}), which no runner needs: {room}");
            tracing::info!("{told}");
            report(&told);
        }
        Ok(gone)
    }

    /// Images that containers have, whoever's these are.
    async fn used_images(&self) -> Result<HashSet<String>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let listed = self.call(async |docker| docker.list_containers(Some(options)).await).await?;
        Ok(listed.into_iter().filter_map(|container| container.image_id).collect())
    }

    /// How much room the removal of the image `id` gives, in words. Older engines do not tell what
    /// of it others share.
    async fn room_of(&self, id: &str, image: &ImageInspect) -> String {
        let options = ListImagesOptionsBuilder::new().shared_size(true).build();
        let listed = self.call(async |docker| docker.list_images(Some(options)).await).await;
        let shared = listed.ok().and_then(|all| {
            let one = all.into_iter().find(|one| one.id == id)?;
            (one.shared_size >= 0).then_some(one.shared_size)
        });
        let size = image.size.unwrap_or_default();
        let mib = |bytes: i64| format!("{:.1} MiB", bytes.max(0) as f64 / f64::from(1 << 20));
        match shared {
            Some(shared) => format!("{} more are free", mib(size - shared)),
            None => format!("up to {} more are free", mib(size)),
        }
    }
}

/// Whether `name` is no name but the beginning of the image's own id.
fn is_id(name: &str, id: &str) -> bool {
    let bare = |text: &str| text.trim_start_matches("sha256:").to_owned();
    bare(id).starts_with(&bare(name))
}

/// What is to be removed so that `image`, which runners had under `names`, goes: its names, or itself
/// when it has none any more. Nothing, when somebody has given it another one.
fn targets(id: &str, image: &ImageInspect, names: &str) -> Vec<String> {
    let ours: HashSet<_> = names.lines().map(plain).collect();
    let is_named = |name: &&String| !name.starts_with("<none>");
    let tags: Vec<_> = image.repo_tags.iter().flatten().filter(is_named).collect();
    let mut digests = image.repo_digests.iter().flatten().filter(is_named);
    let is_foreign = tags.iter().any(|tag| !ours.contains(&plain(tag)))
        || digests.any(|digest| !ours.iter().any(|(name, _)| *name == plain(digest).0));
    match tags.is_empty() {
        _ if is_foreign => Vec::new(),
        true => vec![id.to_owned()],
        false => tags.into_iter().cloned().collect(),
    }
}

/// Name and tag, or digest, of an image, as engines show them: without what stands for Docker's own
/// registry.
fn plain(name: &str) -> (String, String) {
    let (name, tag) = split(name);
    let short = name.strip_prefix("docker.io/").or(name.strip_prefix("index.docker.io/"));
    let short = short.unwrap_or(name);
    (short.strip_prefix("library/").unwrap_or(short).to_owned(), tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageInspect {
        let owned = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        ImageInspect {
            repo_tags: owned(tags),
            repo_digests: owned(digests),
            ..ImageInspect::default()
        }
    }

    #[test]
    fn an_image_that_lost_its_name_to_a_newer_one_goes_by_its_id() {
        let old = image(&[], &["octo/runner@sha256:00"]);
        assert_eq!(targets("sha256:1d", &old, "docker.io/octo/runner:latest"), ["sha256:1d"]);
        let none = image(&["<none>:<none>"], &["<none>@<none>"]);
        assert_eq!(targets("sha256:1d", &none, "tiny"), ["sha256:1d"]);
    }

    #[test]
    fn an_image_that_only_the_configuration_has_named_goes_by_these_names() {
        let old = image(&["octo/runner:1", "octo/runner:stable"], &["octo/runner@sha256:00"]);
        let both = "octo/runner:1\nocto/runner:stable";
        assert_eq!(targets("sha256:1d", &old, both), ["octo/runner:1", "octo/runner:stable"]);
        assert_eq!(targets("sha256:1d", &image(&["tiny:latest"], &[]), "library/tiny").len(), 1);
    }

    #[test]
    fn an_image_that_has_a_name_of_somebody_elses_stays() {
        for (tags, digests) in [
            (&["octo/runner:1", "mine:keep"][..], &[][..]),
            (&["mine:keep"], &[]),
            (&["octo/runner:2"], &[]),
            (&[], &["mirror.example/octo/runner@sha256:00"]),
        ] {
            let kept = image(tags, digests);
            assert_eq!(targets("sha256:1d", &kept, "octo/runner:1"), [""; 0], "{tags:?}");
        }
    }

    #[test]
    fn an_id_is_no_name() {
        let id = "sha256:0123456789abcdef";
        assert!(is_id(id, id) && is_id("0123456789ab", id));
        assert!(!is_id("tiny:latest", id) && !is_id("octo/runner", id));
    }
}
