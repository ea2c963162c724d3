//! The engine's event stream, boiled down to "look again".
//!
//! Engines keep few past events and streams break, so a connection begins with a wake: whoever is
//! woken lists, and the list is what counts.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use chrono::{DateTime, TimeDelta};
use futures::StreamExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::engine::Inner;
use super::labels;

/// How far back a new stream begins: an end that was told just before it may not have been in the
/// listing that the first wake led to (see [`settle`]). Events that are heard twice cost a look.
const OVERLAP: TimeDelta = TimeDelta::seconds(30);

/// A stream that breaks earlier is no working one.
const LASTING: Duration = Duration::from_secs(10);

/// A background task that listens, ending with this value.
#[derive(Debug)]
pub(super) struct Events {
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Events {
    pub(super) fn listen(inner: Arc<Inner>) -> Self {
        let wake = Arc::new(Notify::new());
        let task = tokio::spawn(listen(inner, Arc::clone(&wake)));
        Self { wake, task }
    }

    /// Resolves after an event since the last time; one that nobody waited for is kept.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(inner: Arc<Inner>, wake: Arc<Notify>) {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .with_jitter();
    let mut delays = backoff.build();
    loop {
        if hear(&inner, &wake).await {
            delays = backoff.build();
        }
        // An endless builder always has a next delay; the default is for the type's sake.
        tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(30))).await;
    }
}

/// Listens until the stream breaks; whether there was one that lasted. Some proxies before an engine
/// answer everything but events: each try wakes the loop, and so must be rarer than the last.
async fn hear(inner: &Inner, wake: &Notify) -> bool {
    // The engine's own clock: ours may differ.
    let now = match inner.call(async |docker| docker.info().await).await {
        Ok(info) => info.system_time.and_then(|time| DateTime::parse_from_rfc3339(&time).ok()),
        Err(error) => {
            tracing::debug!(%error, "no event stream");
            return false;
        }
    };
    wake.notify_one();
    let mut filters = labels::filter(&inner.config.instance, None);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    let mut options = EventsOptionsBuilder::new().filters(&filters);
    if let Some(time) = now.and_then(|now| now.checked_sub_signed(OVERLAP)) {
        let stamp = format!("{}.{:09}", time.timestamp(), time.timestamp_subsec_nanos());
        options = options.since(&stamp);
    }
    let Ok(docker) = inner.patient() else { return false };
    let begun = Instant::now();
    let mut stream = docker.events(Some(options.build()));
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) if is_start(&event) => {
                if !inner.launching.has_others(name(&event)) {
                    wake.notify_one();
                }
            }
            Ok(event) if is_end(&event) => {
                settle(inner, event).await;
                wake.notify_one();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the event stream broke");
                break;
            }
        }
    }
    begun.elapsed() >= LASTING
}

/// Docker tells of an end before its listing shows it, and holds the container's lock in between;
/// an inspection waits for that lock. Without it the wake would come too early, and be the last.
async fn settle(inner: &Inner, event: EventMessage) {
    if let Some(id) = event.actor.and_then(|actor| actor.id) {
        let options = None::<InspectContainerOptions>;
        // Only the wait counts: the container may be gone by now.
        let _ = inner.call(async |docker| docker.inspect_container(&id, options).await).await;
    }
}

/// Whether a container started. Docker's listing shows that before it is told. Of a burst the last
/// start tells of all: each listing costs an engine what it needs to start others.
fn is_start(event: &EventMessage) -> bool {
    event.action.as_deref() == Some("start")
}

/// Whether a container ended. Podman says `died` and `remove` where Docker says `die` and `destroy`,
/// so the engine can't be asked to filter by action.
fn is_end(event: &EventMessage) -> bool {
    let action = event.action.as_deref().unwrap_or_default();
    matches!(action, "die" | "died" | "destroy" | "remove")
}

/// The name of the container that `event` is about.
fn name(event: &EventMessage) -> &str {
    let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
    attributes.and_then(|attributes| attributes.get("name")).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_and_podman_words_for_an_end_both_count_and_noise_does_not() {
        let event = |action: &str| EventMessage {
            action: Some(action.to_owned()),
            ..EventMessage::default()
        };
        for action in ["die", "died", "destroy", "remove"] {
            assert!(is_end(&event(action)) && !is_start(&event(action)), "{action}");
        }
        for action in ["exec_start: sh", "attach", "top", ""] {
            assert!(!is_end(&event(action)) && !is_start(&event(action)), "{action}");
        }
    }
}
