//! Webhooks: what GitHub tells of its jobs, signed and sent as its documentation says ("Webhook
//! events and payloads", "Validating webhook deliveries").
//!
//! Limits: one delivery after the other, while GitHub's come in any order; `http` addresses only;
//! nothing is delivered again by itself, as with GitHub.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::body::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, header};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use sha2::Sha256;
use tokio::time::{Instant, timeout};

use super::{faults::Faults, random::Random, server::Shared};

/// docs.github.com: a server must answer within 10 seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any test makes.
const KEPT: usize = 100_000;

/// A way for a delivery to go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookFault {
    /// It is never sent.
    Lost,
    /// It comes twice, as the same delivery.
    Duplicated,
    /// It comes after the next one.
    OutOfOrder,
    /// It is signed with another secret.
    Forged,
    /// It comes so much later; others overtake it.
    Delayed(Duration),
}

/// One attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its identifier, the same when it comes again.
    pub id: String,
    /// What happened to the job: queued, waiting, in_progress or completed; or `ping`.
    pub action: String,
    /// The job.
    pub job: Option<u64>,
    /// The answer's status; none when there was no answer in time, or it was never sent.
    pub status: Option<u16>,
    /// How long the answer took.
    pub took: Duration,
}

/// The deliveries so far, and what is to go wrong with the next ones.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    pub(super) deliveries: VecDeque<Delivery>,
    pub(super) faults: Faults<HookFault>,
}

/// An event on its way.
#[derive(Debug, Clone)]
struct Parcel {
    id: String,
    event: &'static str,
    action: &'static str,
    job: Option<u64>,
    repo: String,
    body: Bytes,
}

impl Parcel {
    fn new(event: &'static str, action: &'static str, body: &Value, random: &mut Random) -> Self {
        let (high, low) = (random.next(), random.next());
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFF,
            low >> 52,
            low & 0xFFFF_FFFF_FFFF
        );
        Self { id, event, action, job: None, repo: String::new(), body: body.to_string().into() }
    }
}

/// Where a hook sends to.
#[derive(Clone)]
struct Hook {
    shared: Arc<Shared>,
    id: u64,
    url: String,
    secret: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// Sends everything that happens to jobs from now on to `url`, until the simulator ends.
pub(super) fn start(shared: &Arc<Shared>, url: &str, secret: &str) {
    let (id, from, ping) = shared.change(|world, now| {
        world.state.hooked = true;
        let id = world.state.fresh_id();
        let ping = shared.shapes().ping(id, url, now);
        let ping = Parcel::new("ping", "ping", &ping, &mut world.random);
        (id, world.state.events().len(), ping)
    });
    let http = Client::builder(TokioExecutor::new()).build_http();
    let (url, secret, shared) = (url.to_owned(), secret.to_owned(), Arc::clone(shared));
    tokio::spawn(Hook { shared, id, url, secret, http }.run(ping, from));
}

impl Hook {
    async fn run(self, ping: Parcel, from: usize) {
        let ending = self.shared.ending.clone();
        let sending = async {
            self.send(&ping, &self.secret).await;
            let mut changes = self.shared.subscribe();
            let mut next = from;
            // One that is to come after the next.
            let mut late: Option<Parcel> = None;
            loop {
                changes.mark_unchanged();
                for parcel in self.since(&mut next) {
                    let waiting = late.take();
                    late = self.deliver(parcel).await;
                    if let Some(parcel) = waiting {
                        self.send(&parcel, &self.secret).await;
                    }
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = sending => {}
            () = ending.cancelled() => {}
        }
    }

    /// What has happened since event `next`, which moves on.
    fn since(&self, next: &mut usize) -> Vec<Parcel> {
        let shapes = self.shared.shapes();
        let mut world = self.shared.lock();
        let world = &mut *world;
        let events = world.state.events().get(*next..).unwrap_or_default();
        *next += events.len();
        let parcels = events.iter().filter_map(|event| {
            let (run, repo) =
                (world.state.run(event.job.run_id)?, world.state.repo(&event.job.repo)?);
            let owner = world.state.account(&repo.owner);
            let body = shapes.job_event(event, run, repo, owner);
            let parcel = Parcel::new("workflow_job", event.action, &body, &mut world.random);
            Some(Parcel { job: Some(event.job.id), repo: event.job.repo.clone(), ..parcel })
        });
        parcels.collect()
    }

    /// Sends it as the fault that strikes it wants; it comes back if it is to be sent later.
    async fn deliver(&self, parcel: Parcel) -> Option<Parcel> {
        let fault = {
            let mut world = self.shared.lock();
            let world = &mut *world;
            world.hooks.faults.strike(parcel.action, &parcel.repo, &mut world.random)
        };
        match fault {
            None => self.send(&parcel, &self.secret).await,
            Some(HookFault::Lost) => self.note(&parcel, None, Duration::ZERO),
            Some(HookFault::Duplicated) => {
                self.send(&parcel, &self.secret).await;
                self.send(&parcel, &self.secret).await;
            }
            Some(HookFault::OutOfOrder) => return Some(parcel),
            Some(HookFault::Forged) => self.send(&parcel, "not the secret at all").await,
            Some(HookFault::Delayed(time)) => {
                let this = self.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = tokio::time::sleep(time) => this.send(&parcel, &this.secret).await,
                        () = this.shared.ending.cancelled() => {}
                    }
                });
            }
        }
        None
    }

    async fn send(&self, parcel: &Parcel, secret: &str) {
        let begun = Instant::now();
        let request = Request::post(&self.url)
            .header(header::USER_AGENT, "GitHub-Hookshot/5151a0")
            .header(header::ACCEPT, "*/*")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-github-hook-id", self.id)
            .header("x-github-event", parcel.event)
            .header("x-github-delivery", &parcel.id)
            .header("x-github-hook-installation-target-type", "integration")
            .header("x-github-hook-installation-target-id", self.id)
            .header("x-hub-signature-256", signature(secret, &parcel.body))
            .body(Full::from(parcel.body.clone()));
        let status = match request {
            Ok(request) => timeout(PATIENCE, self.http.request(request)).await.ok(),
            Err(_) => None,
        };
        let status = status.and_then(Result::ok).map(|answer| answer.status().as_u16());
        self.note(parcel, status, begun.elapsed());
    }

    fn note(&self, parcel: &Parcel, status: Option<u16>, took: Duration) {
        let Parcel { id, action, job, .. } = parcel.clone();
        self.shared.change(|world, _| {
            let kept = &mut world.hooks.deliveries;
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(Delivery { id, action: action.to_owned(), job, status, took });
        });
    }
}

/// What `X-Hub-Signature-256` says of `body`.
fn signature(secret: &str, body: &[u8]) -> String {
    // Keys of every length are admitted.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    let mac = mac.chain_update(body).finalize().into_bytes();
    format!("sha256={}", mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
