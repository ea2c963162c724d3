//! With whose rights a request is made, and what these have left: GitHub counts by credential.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;

use super::app::AppKey;
use super::fresh::Fresh;
use super::limits::{Limits, Purpose};
use super::turns::Turns;
use super::window::POINTS;
use crate::error::{Error, Result};
use crate::ports::Clock;

/// A token is renewed this long before it ends: a request may be under way for a while.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// One credential as GitHub counts it.
pub(super) struct Access {
    pub(super) kind: Kind,
    limits: Mutex<Limits>,
    /// Something was answered.
    ended: Notify,
    /// Its part of the secondary limit.
    pub(super) turns: Turns,
    issued: Fresh<Issued>,
    clock: Clock,
}

/// What a credential is.
pub(super) enum Kind {
    /// A token that somebody gave us.
    Token(SecretString),
    /// The app itself, which may only look for its installations.
    App(AppKey),
    /// One installation of the app.
    Installation(u64),
}

/// A token that ends.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) token: SecretString,
    pub(super) until: DateTime<Utc>,
}

impl Access {
    /// A credential of whose hourly budget looks may use so many percent.
    pub(super) fn new(kind: Kind, percent: u32, clock: Clock) -> Self {
        let (limits, turns) = (Mutex::new(Limits::of(percent)), Turns::new(POINTS));
        Self { kind, limits, ended: Notify::new(), turns, issued: Fresh::default(), clock }
    }

    pub(super) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is about to be sent, unless a limit is known to forbid it.
    pub(super) async fn begin(&self, purpose: Purpose) -> Result<UnderWay<'_>> {
        loop {
            let ended = self.ended.notified();
            if self.limits().begin(purpose, (self.clock)())? {
                return Ok(UnderWay { access: self, purpose, charged: true });
            }
            ended.await;
        }
    }

    /// Under what name an answer to `path` is kept: another credential may be answered otherwise.
    pub(super) fn key(&self, path: &str) -> String {
        match &self.kind {
            Kind::Token(_) | Kind::App(_) => path.to_owned(),
            Kind::Installation(id) => format!("{id}:{path}"),
        }
    }

    /// The token to send, made by `issue` where there is none that lasts, or where it was `refused`.
    pub(super) async fn token(
        &self,
        refused: Option<&SecretString>,
        issue: impl Future<Output = Result<Issued>>,
    ) -> Result<SecretString> {
        if let Kind::Token(token) = &self.kind {
            return Ok(token.clone());
        }
        let lasts = |issued: &Issued| {
            issued.until - (self.clock)() > MARGIN
                && refused.is_none_or(|refused| !same(refused, &issued.token))
        };
        self.issued.get(lasts, issue).await.map(|issued| issued.token)
    }

    /// Whether another token may do where one was refused.
    pub(super) fn renews(&self) -> bool {
        !matches!(self.kind, Kind::Token(_))
    }
}

/// A request that is under way. Unless an answer said otherwise it was charged.
#[must_use]
pub(super) struct UnderWay<'a> {
    access: &'a Access,
    purpose: Purpose,
    charged: bool,
}

impl UnderWay<'_> {
    /// It cost nothing of the hourly budget.
    pub(super) fn free(&mut self) {
        self.charged = false;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.access.limits().end(self.purpose, self.charged);
        self.access.ended.notify_waiters();
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// `token` as a header that no log shows.
pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue> {
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| {
        Error::internal("The credential cannot be sent.", "Look whether it was copied whole.")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
