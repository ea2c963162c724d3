//! A message session: one queue, read by a token of its own.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::service::{Service, read};
use super::transport::{Answer, Asked, Failure, Kind, Result, left, unreachable};
use super::wire::{self, List, Message, Statistics};

/// The queue's token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(300);

/// An open session.
pub(super) struct Session {
    service: Arc<Service>,
    set: u64,
    pub(super) id: String,
    queue: String,
    token: SecretString,
    /// As it was when the session was opened.
    pub(super) statistics: Option<Statistics>,
}

/// What a queue says.
pub(super) enum Heard {
    Message(Message),
    /// Nothing, for as long as the service holds a request.
    Nothing,
}

impl Session {
    pub(super) async fn open(service: Arc<Service>, set: u64, owner: &str) -> Result<Self> {
        let opened = service.open(set, owner).await?;
        let session = Self {
            set,
            id: opened.session_id,
            queue: opened.message_queue_url,
            token: opened.message_queue_access_token,
            statistics: opened.statistics,
            service,
        };
        // In an outage it was empty (actions-runner-controller#4370). The session is held all the
        // same, and would be in the way of the next.
        if session.queue.is_empty() {
            session.close().await?;
            let error = unreachable("it named no queue");
            return Err(Failure { kind: Kind::Lost, error });
        }
        Ok(session)
    }

    pub(super) async fn close(&self) -> Result<()> {
        self.service.close(self.set, &self.id).await
    }

    /// The message after `last`; waits for one as long as the service does.
    pub(super) async fn next(&mut self, last: u64, capacity: usize) -> Result<Heard> {
        let until = wire::expiry(self.token.expose_secret());
        if left(until).is_some_and(|left| left < MARGIN) {
            self.refresh().await?;
        }
        let url = match last {
            0 => self.queue.clone(),
            last => {
                let mark = if self.queue.contains('?') { '&' } else { '?' };
                format!("{}{mark}lastMessageId={last}", self.queue)
            }
        };
        let answer = self.ask(Method::GET, &url, None, Some(capacity)).await?;
        if answer.status == StatusCode::ACCEPTED {
            return Ok(Heard::Nothing);
        }
        // 200 without a message was seen (actions-runner-controller#4285).
        let unread = || Failure { kind: Kind::Lost, error: unreachable("its message is empty") };
        Message::open(&answer.body).map(Heard::Message).ok_or_else(unread)
    }

    /// Tells the queue that `message` need not be told again.
    pub(super) async fn acknowledge(&mut self, message: u64) -> Result<()> {
        let (path, query) = match self.queue.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (self.queue.as_str(), String::new()),
        };
        let url = format!("{}/{message}{query}", path.trim_end_matches('/'));
        self.ask(Method::DELETE, &url, None, None).await.map(drop)
    }

    /// Makes offered jobs the set's own; those that it got.
    pub(super) async fn acquire(&mut self, requests: &[u64]) -> Result<Vec<u64>> {
        let url = self.service.acquire_url(self.set).await?;
        let answer = self.ask(Method::POST, &url, Some(json!(requests)), None).await?;
        read::<List<u64>>(&answer).map(|list| list.value)
    }

    /// Asks with the queue's token, and once more with a new one where it was refused.
    async fn ask(
        &mut self,
        method: Method,
        url: &str,
        body: Option<serde_json::Value>,
        capacity: Option<usize>,
    ) -> Result<Answer> {
        let transport = self.service.transport.clone();
        let asked = |token: SecretString| {
            let (transport, method, body) = (&transport, method.clone(), body.clone());
            async move {
                let auth = ("Bearer", &token);
                transport.send(Asked { method, url, auth, body, capacity }).await
            }
        };
        match asked(self.token.clone()).await {
            Err(Failure { kind: Kind::Unauthorized, .. }) => {}
            // A queue goes with its session.
            Err(Failure { kind: Kind::Missing, error }) => {
                return Err(Failure { kind: Kind::SessionGone, error });
            }
            settled => return settled,
        }
        self.refresh().await?;
        match asked(self.token.clone()).await {
            // A token that was made a moment ago: the session is not what it was.
            Err(Failure { kind: Kind::Unauthorized, error }) => {
                Err(Failure { kind: Kind::SessionGone, error })
            }
            settled => settled,
        }
    }

    async fn refresh(&mut self) -> Result<()> {
        let opened = self.service.refresh(self.set, &self.id).await?;
        self.token = opened.message_queue_access_token;
        if !opened.message_queue_url.is_empty() {
            self.queue = opened.message_queue_url;
        }
        Ok(())
    }
}
