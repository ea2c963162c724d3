//! The runner image: looked for, pulled by policy, once for all who wait for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::engine::Inner;
use super::failure::{container_failed, not_accessible, status, within};
use crate::config::PullPolicy;
use crate::error::{Error, Result};
use crate::ports::Report;

/// Who waits for a pull wants to see that it goes on, not each of its thousand messages.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

/// A pull that says nothing for this long has died: all launches wait for it. Extracting one large
/// layer on a slow disk takes minutes.
const STALL: Duration = Duration::from_secs(600);

/// An image that was there so lately is there: in a burst every launch would ask again, and an
/// engine that starts containers answers slowly.
const FRESH: Duration = Duration::from_secs(2);

/// Lets one pull at a time happen, and remembers that `always` was obeyed.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Held while asking and pulling.
    known: Mutex<Known>,
    pulled: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// When it was found, and what was found.
    found: Option<(Instant, ImageInspect)>,
    /// When and how the last pull failed.
    failed: Option<(Instant, Error)>,
}

impl Known {
    fn find(&mut self, found: ImageInspect) -> ImageInspect {
        self.found = Some((Instant::now(), found.clone()));
        found
    }
}

impl Inner {
    /// The image, after pulling it where the policy says so.
    pub(super) async fn image(&self, report: Report<'_>) -> Result<ImageInspect> {
        let (image, policy) = (&self.config.runner_image, self.config.pull);
        // Those who come during a pull wait here, and find the image, or its failure, when it is over.
        let came = Instant::now();
        let mut known = self.gate.known.lock().await;
        if let Some((_, error)) = known.failed.as_ref().filter(|(at, _)| *at >= came) {
            return Err(error.clone());
        }
        if let Some((_, found)) = known.found.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(found.clone());
        }
        let due = policy == PullPolicy::Always && !self.gate.pulled.load(Ordering::Relaxed);
        if !due {
            if let Some(found) = self.inspect_image().await? {
                return Ok(known.find(found));
            }
            if policy == PullPolicy::Never {
                return Err(container_failed(
                    &format!("the image {image} is not on the engine's host, and pull is never"),
                    format!("Get it with `docker pull {image}`, or set pull to missing."),
                ));
            }
        }
        if let Err(error) = self.pull(report).await {
            known.failed = Some((Instant::now(), error.clone()));
            return Err(error);
        }
        self.gate.pulled.store(true, Ordering::Relaxed);
        let found = self.inspect_image().await?.ok_or_else(|| {
            container_failed(
                &format!("the image {image} was pulled and is not there"),
                "Look into the engine's log.",
            )
        })?;
        Ok(known.find(found))
    }

    /// The image may have gone since it was found: whoever needs it next looks again.
    pub(super) async fn forget_image(&self) {
        self.gate.known.lock().await.found = None;
    }

    pub(super) async fn inspect_image(&self) -> Result<Option<ImageInspect>> {
        let image = &self.config.runner_image;
        match self.call(async |docker| docker.inspect_image(image).await).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            // A name that the engine can't parse is a 400 or a 500, by version.
            Err(EngineError::DockerResponseServerError { message, .. })
                if message.contains("invalid reference") =>
            {
                Err(container_failed(
                    &format!("{image} is not the name of an image"),
                    "Give runner_image as name:tag, with a registry before it if need be.",
                ))
            }
            Err(error) => Err(not_accessible(&self.endpoint, &error)),
        }
    }

    async fn pull(&self, report: Report<'_>) -> Result<()> {
        let image = &self.config.runner_image;
        tracing::info!(%image, "pulling the image");
        report(&format!("pulling the image {image}"));
        let (name, tag) = split(image);
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let failed = |error: EngineError| self.pull_failed(&error);
        let docker = self.patient().map_err(failed)?;
        let mut messages = docker.create_image(Some(options), None, None);
        let (mut progress, mut next) = (Progress::default(), Instant::now() + BETWEEN_REPORTS);
        while let Some(message) =
            within(STALL, async { messages.next().await.transpose() }).await.map_err(failed)?
        {
            let percent = progress.see(&message);
            if let Some(percent) = percent.filter(|_| Instant::now() >= next) {
                report(&format!("pulling the image {image}: {percent} %"));
                next = Instant::now() + BETWEEN_REPORTS;
            }
        }
        Ok(())
    }

    pub(super) fn pull_failed(&self, error: &EngineError) -> Error {
        let image = &self.config.runner_image;
        let message = match error {
            EngineError::DockerStreamError { error } => error,
            EngineError::DockerResponseServerError { message, .. } => message,
            error => return not_accessible(&self.endpoint, error),
        };
        let reason = format!("the image {image} could not be pulled: {message}");
        container_failed(&reason, remedy(image, &message.to_lowercase()))
    }
}

/// What to do about the registry's `message`. A registry that hides what it has says "denied" for
/// an image that does not exist.
fn remedy(image: &str, message: &str) -> String {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["toomanyrequests", "rate limit"]) {
        "The registry asks for fewer pulls: wait, or pull by hand after `docker login`.".to_owned()
    } else if has(&["denied", "unauthorized", "authentication", "no basic auth"]) {
        format!(
            "Look whether runner_image is spelt right; if it is private, run `docker login` and \
             `docker pull {image}` on the engine's host."
        )
    } else if has(&["not found", "manifest unknown", "does not exist", "no matching manifest"]) {
        "Look whether runner_image is spelt right and exists for this architecture.".to_owned()
    } else if has(&["no space left"]) {
        "Free disk space on the engine's host, for example with `docker system prune`.".to_owned()
    } else if has(&["dial", "lookup", "timeout", "unreachable", "refused", "no route", "tls"]) {
        format!(
            "Look whether the engine's host reaches the registry; without a network, load the \
             image {image} there with `docker load`."
        )
    } else {
        format!("Try `docker pull {image}` on the engine's host.")
    }
}

/// A reference as the engine's API wants it: the name, and tag or digest. Without a tag the engine
/// would pull all there are.
pub(super) fn split(image: &str) -> (&str, &str) {
    let (named, digest) = match image.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (image, None),
    };
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (named, "latest"),
    };
    (name, digest.unwrap_or(tag))
}

/// How far the download is, over the layers that have begun.
#[derive(Debug, Default)]
struct Progress {
    layers: HashMap<String, (i64, i64)>,
    percent: i64,
}

impl Progress {
    /// The percentage after `message`; it never falls, although layers begin one after another.
    fn see(&mut self, message: &CreateImageInfo) -> Option<i64> {
        let (id, status) = (message.id.as_ref()?, message.status.as_deref()?);
        let detail = message.progress_detail.as_ref();
        match (status, detail.and_then(|detail| detail.current.zip(detail.total))) {
            ("Downloading", Some(detail)) => {
                self.layers.insert(id.clone(), detail);
            }
            ("Download complete", _) => {
                let (current, total) = self.layers.get_mut(id)?;
                *current = *total;
            }
            _ => return None,
        }
        let sum = |part: fn(&(i64, i64)) -> i64| self.layers.values().map(part).sum::<i64>();
        let percent = sum(|layer| layer.0).saturating_mul(100).checked_div(sum(|layer| layer.1))?;
        self.percent = self.percent.max(percent.min(100));
        Some(self.percent)
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn message(id: &str, status: &str, detail: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: detail.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn a_reference_is_split_into_what_the_engine_wants() {
        for (image, expected) in [
            ("tiny", ("tiny", "latest")),
            ("myoung34/github-runner:latest", ("myoung34/github-runner", "latest")),
            ("mirror.example:5000/tiny", ("mirror.example:5000/tiny", "latest")),
            ("mirror.example:5000/tiny:2", ("mirror.example:5000/tiny", "2")),
            ("tiny@sha256:00", ("tiny", "sha256:00")),
            ("tiny:2@sha256:00", ("tiny", "sha256:00")),
        ] {
            assert_eq!(split(image), expected, "{image}");
        }
    }

    #[test]
    fn the_percentage_counts_bytes_over_all_layers_and_never_falls() {
        let mut progress = Progress::default();
        assert_eq!(progress.see(&message("a", "Pulling fs layer", None)), None);
        assert_eq!(progress.see(&message("a", "Downloading", Some((50, 100)))), Some(50));
        assert_eq!(progress.see(&message("b", "Downloading", Some((0, 300)))), Some(50));
        assert_eq!(progress.see(&message("a", "Download complete", None)), Some(50));
        assert_eq!(progress.see(&message("b", "Downloading", Some((200, 300)))), Some(75));
        assert_eq!(progress.see(&message("b", "Extracting", Some((1, 300)))), None);
    }

    #[test]
    fn each_refusal_of_a_registry_has_its_own_remedy() {
        for (message, expected) in [
            ("pull access denied for x, repository does not exist", "docker login"),
            ("manifest unknown: manifest unknown", "spelt right"),
            ("dial tcp: lookup registry-1.docker.io: no such host", "reaches the registry"),
            ("toomanyrequests: you have reached your pull rate limit", "fewer pulls"),
            ("something else", "docker pull tiny"),
        ] {
            assert!(remedy("tiny", message).contains(expected), "{message}");
        }
    }
}
