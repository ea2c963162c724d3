//! JSON as GitHub's OpenAPI description has it. What an autoscaler does not read is there as well,
//! with plausible values, so that a validator and a strict client are content.

mod accounts;
mod actions;
mod apps;
mod hooks;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::limits::Standing;

/// The version that the simulated runner claims.
pub(in crate::simulator) const RUNNER_VERSION: &str = "2.336.0";

/// Makes the JSON; knows where the server is.
#[derive(Debug)]
pub(in crate::simulator) struct Shapes {
    pub(in crate::simulator) url: String,
    pub(in crate::simulator) api_url: String,
}

impl Shapes {
    /// `rate-limit-overview`.
    pub(in crate::simulator) fn rate_limit(standing: Standing) -> Value {
        let core = json!({
            "limit": standing.limit,
            "used": standing.used,
            "remaining": standing.remaining(),
            "reset": standing.resets_at.timestamp(),
        });
        let unused = |limit: u64| {
            let reset = standing.resets_at.timestamp();
            json!({"limit": limit, "used": 0, "remaining": limit, "reset": reset})
        };
        json!({
            "resources": {
                "core": core,
                "search": unused(30),
                "graphql": unused(5_000),
                "integration_manifest": unused(5_000),
                "actions_runner_registration": unused(10_000),
            },
            "rate": core,
        })
    }

    /// `authentication-token`, with the local offset that GitHub's own answers have.
    pub(in crate::simulator) fn token(&self, token: &str, expires_at: DateTime<Utc>) -> Value {
        let expires_at = match FixedOffset::west_opt(8 * 3_600) {
            Some(pacific) => {
                expires_at.with_timezone(&pacific).to_rfc3339_opts(SecondsFormat::Millis, false)
            }
            None => second(expires_at),
        };
        json!({"token": token, "expires_at": expires_at})
    }
}

fn second(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn node_id(kind: &str, id: u64) -> String {
    format!("{kind}_kwDO{id:012x}")
}
