//! Deliveries as GitHub signs them.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::http::{Ask, Site};

/// What GitHub and the program under test share.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// The header `X-Hub-Signature-256` of `body`.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    let mac = mac.chain_update(body).finalize().into_bytes();
    format!("sha256={}", mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The delivery `id` of `payload`, as GitHub would send it to `site`.
pub(crate) fn delivery(site: &Site, event: &str, id: &str, payload: &Value) -> Ask {
    let body = payload.to_string();
    let signature = signature(SECRET, body.as_bytes());
    site.post("/webhooks/github", body)
        .with("host", "runners.example.org")
        .with("x-github-event", event)
        .with("x-github-delivery", id)
        .with("x-hub-signature-256", &signature)
}

/// What GitHub tells of a job that is queued just now.
pub(crate) fn queued(repo: &str, job: u64, labels: &[&str]) -> Value {
    let now = chrono::Utc::now().to_rfc3339();
    json!({
        "action": "queued",
        "workflow_job": {
            "id": job, "run_id": 1, "status": "queued", "name": "build", "labels": labels,
            "created_at": now, "started_at": now, "runner_name": null,
        },
        "repository": { "full_name": repo },
    })
}
