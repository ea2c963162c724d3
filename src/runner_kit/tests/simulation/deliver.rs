//! GitHub's deliveries about jobs, read as the service reads them.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::rest::{job_told, word};
use super::world::State;
use crate::demand::JobState;
use crate::webhook::{Delivery, Envelope, Secrets};

const SECRET: &str = "a secret that is long enough";

impl State {
    /// The delivery number `number` as GitHub sends it: the job `id` has come to stand like this.
    pub(super) fn delivery(&self, number: u64, id: u64, to: &JobState) -> Option<Delivery> {
        let job = &self.jobs.get(&id)?.job;
        let mut told = job_told(job);
        told["status"] = word(to).into();
        if let JobState::InProgress { runner_name, started_at } = to {
            told["runner_name"] = runner_name.as_str().into();
            told["started_at"] = json!(started_at);
        }
        let mut payload = json!({
            "action": word(to),
            "workflow_job": told,
            "repository": {"full_name": job.repo, "owner": {"login": job.repo.owner()}},
        });
        if job.repo.owner() == "acme" {
            payload["organization"] = json!({"login": "acme"});
        }
        Some(signed(number, &payload))
    }
}

fn signed(number: u64, payload: &Value) -> Delivery {
    let body = Bytes::from(payload.to_string());
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let mac = mac.chain_update(&body).finalize().into_bytes();
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let id = Some(number.to_string());
    let envelope = Envelope { event: "workflow_job".into(), id, body };
    let secrets = Secrets::of(SECRET, "here").unwrap();
    secrets.open(envelope, &format!("sha256={hex}")).unwrap()
}
