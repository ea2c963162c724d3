//! What the service sends, read leniently: it is under preview, and unknown or missing members are
//! no reason to lose a job.
//!
//! Source: github.com/actions/scaleset, `types.go` (MIT), and what its issues quote.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The one kind of message that has jobs.
const JOB_MESSAGES: &str = "RunnerScaleSetJobMessages";

/// A list, as all of the service's lists are.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    #[serde(default = "Vec::new")]
    pub(super) value: Vec<T>,
}

/// What a registration token is exchanged for.
#[derive(Deserialize)]
pub(super) struct Admission {
    pub(super) url: String,
    pub(super) token: SecretString,
}

/// A runner group.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: String,
}

/// A scale set.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ScaleSet {
    pub(super) id: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: Vec<Label>,
    pub(super) statistics: Option<Statistics>,
}

/// A label of a set.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

/// A message session.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) session_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) message_queue_url: String,
    pub(super) message_queue_access_token: SecretString,
    pub(super) statistics: Option<Statistics>,
}

/// A set in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Statistics {
    pub(super) total_available_jobs: u32,
    /// Those that run included.
    pub(super) total_assigned_jobs: u32,
    pub(super) total_running_jobs: u32,
}

impl Statistics {
    /// Assigned jobs that no runner has begun.
    pub(super) fn waiting(&self) -> u32 {
        self.total_assigned_jobs.saturating_sub(self.total_running_jobs)
    }
}

/// An envelope from a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    message_id: u64,
    #[serde(default)]
    message_type: String,
    #[serde(default, deserialize_with = "or_default")]
    body: String,
    statistics: Option<Statistics>,
}

/// A message, opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) events: Vec<Event>,
    pub(super) statistics: Option<Statistics>,
}

/// Something that befell a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event {
    pub(super) message_type: String,
    pub(super) runner_request_id: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) repository_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) owner_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) job_display_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) workflow_run_id: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) request_labels: Vec<String>,
    #[serde(deserialize_with = "time")]
    pub(super) queue_time: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    pub(super) runner_assign_time: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) runner_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) result: String,
}

impl Message {
    /// Opens an envelope. What is in it, but cannot be read, is left out: the statistics count it.
    pub(super) fn open(bytes: &[u8]) -> Option<Self> {
        let Envelope { message_id: id, message_type, body, statistics } = read(bytes)?;
        if message_type != JOB_MESSAGES {
            tracing::debug!(id, message_type, "a message of an unknown kind was left alone");
            return Some(Self { id, events: Vec::new(), statistics });
        }
        let listed: Vec<Value> = match body.trim() {
            "" => Vec::new(),
            body => read(body.as_bytes()).unwrap_or_default(),
        };
        let all = listed.len();
        let events: Vec<Event> =
            listed.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect();
        if events.len() < all {
            tracing::warn!(id, unread = all - events.len(), "jobs in a message cannot be read");
        }
        Some(Self { id, events, statistics })
    }
}

/// A just-in-time registration.
#[derive(Deserialize)]
pub(super) struct JitConfig {
    pub(super) runner: Agent,
    #[serde(rename = "encodedJITConfig")]
    pub(super) encoded: SecretString,
}

/// A runner.
#[derive(Debug, Deserialize)]
pub(super) struct Agent {
    pub(super) id: u64,
}

/// How the service says no.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Refusal {
    #[serde(deserialize_with = "or_default")]
    pub(super) type_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) message: String,
}

/// JSON, which the service begins with a byte order mark at times.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)).ok()
}

/// When a token ends (RFC 7519, `exp`); its signature is its maker's business.
pub(super) fn expiry(token: &str) -> Option<DateTime<Utc>> {
    let claims = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let exp = claims.get("exp")?;
    let seconds = exp.as_i64().or_else(|| exp.as_f64().map(|exp| exp as i64))?;
    DateTime::from_timestamp(seconds, 0)
}

/// What is null, or of another type than it was, is as good as missing.
fn or_default<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(
    from: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// A time; the zero time of Go stands for none.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text: Option<String> = or_default(from)?;
    let time = text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    Ok(time.map(|time| time.to_utc()).filter(|time| *time > DateTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_however_little_of_it_is_as_expected() {
        let body = r#"[{"messageType":"JobAssigned","runnerRequestId":7,"requestLabels":null,
            "queueTime":"0001-01-01T00:00:00Z","workflowRunId":"odd","new":1},{"runnerRequestId":"x"}]"#;
        let envelope = serde_json::json!({
            "messageId": 3, "messageType": JOB_MESSAGES, "body": body, "surprise": true,
        });
        let bytes = [b"\xEF\xBB\xBF", envelope.to_string().as_bytes()].concat();
        let message = Message::open(&bytes).unwrap();
        assert_eq!((message.id, message.events.len(), message.statistics), (3, 1, None));
        let event = &message.events[0];
        assert_eq!(
            (event.runner_request_id, event.queue_time, event.workflow_run_id),
            (7, None, 0)
        );
    }

    #[test]
    fn an_unknown_kind_of_message_has_a_number_and_nothing_else() {
        let message = Message::open(br#"{"messageId":9,"messageType":"Weather","body":"[{}]"}"#);
        let message = message.unwrap();
        assert_eq!((message.id, message.events.len()), (9, 0));
        assert!(Message::open(b"").is_none() && Message::open(b"{}").is_none());
    }

    #[test]
    fn the_end_of_a_token_is_read_without_its_signature() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#);
        let end = expiry(&format!("e30.{claims}.sig")).unwrap();
        assert_eq!(end.timestamp(), 1_700_000_000);
        assert!(["", "a.b", "ghp_x", "e30.e30.x"].iter().all(|text| expiry(text).is_none()));
    }
}
