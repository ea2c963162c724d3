//! What is made of deliveries: each counts once, and only for repositories that are watched.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use lru::LruCache;

use super::payload::Payload;
use super::{Delivery, Envelope};
use crate::config::{RepoFilter, RunnerConfig, ScopeKind};
use crate::demand::Heard;
use crate::error::{Code, Error, Result};
use crate::model::clean_text;

/// Deliveries that are known when they come again: more than GitHub sends in an hour to most.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
/// An id is a UUID, 36 characters; a longer one is not kept.
const LONGEST: usize = 64;

/// Reads deliveries for one configuration.
pub struct Inbox {
    filter: RepoFilter,
    org_wide: bool,
    server_url: String,
    seen: Mutex<LruCache<String, ()>>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It tells this of a job.
    Heard(Box<Heard>),
    /// GitHub tries whether somebody is here.
    Ping,
    /// It came before.
    Repeated,
    /// It is no concern of ours, and why.
    Ignored(String),
}

impl Inbox {
    /// The inbox of a service that watches what `config` says.
    pub fn new(config: &RunnerConfig) -> Result<Self> {
        Ok(Self {
            filter: RepoFilter::new(config)?,
            org_wide: config.scope == ScopeKind::Org,
            server_url: config.server_url.clone(),
            seen: Mutex::new(LruCache::new(REMEMBERED)),
        })
    }

    /// What `delivery` tells. Fails where it cannot be read, and is not remembered then.
    pub fn read(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<Delivered> {
        let Delivery(Envelope { event, id, body }) = delivery;
        match event.as_str() {
            "workflow_job" => {}
            "ping" => return Ok(Delivered::Ping),
            other => {
                let why = format!("the event {} is not needed", clean_text(other, 40));
                return Ok(Delivered::Ignored(why));
            }
        }
        let id = id.as_deref().filter(|id| id.len() <= LONGEST);
        if id.is_some_and(|id| self.seen().get(id).is_some()) {
            return Ok(Delivered::Repeated);
        }
        let payload: Payload = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
        let delivered = if self.filter.admits(payload.repo()) {
            match payload.heard(self.org_wide, &self.server_url, now) {
                Ok(heard) => Delivered::Heard(Box::new(heard)),
                Err(why) => Delivered::Ignored(why.to_owned()),
            }
        } else {
            Delivered::Ignored(format!("{} is not watched", payload.repo()))
        };
        if let Some(id) = id {
            self.seen().put(id.to_owned(), ());
        }
        Ok(delivered)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, LruCache<String, ()>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was written is not repeated: people read logs who may not read repositories.
fn unreadable(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    Error::new(
        Code::InvalidArgument,
        format!(
            "This is not a `workflow_job` as GitHub describes it (line {line}, column {column})."
        ),
        "Set the hook's content type to application/json.",
    )
}
