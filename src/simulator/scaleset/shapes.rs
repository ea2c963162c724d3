//! The service's JSON, and its tokens, of which clients read the end.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::sets::{ScaleSet, Stage};
use crate::simulator::{
    model::{Conclusion, Job, Runner},
    state::State,
};

/// The one kind of message that listeners know.
pub(super) const JOBS: &str = "RunnerScaleSetJobMessages";

/// The time of what has not happened (Go's zero time, which the service sends).
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What a set has at a moment, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Jobs that can be acquired.
    pub total_available_jobs: u64,
    /// Jobs that were acquired and not begun.
    pub total_acquired_jobs: u64,
    /// Jobs of the set, those that run included.
    pub total_assigned_jobs: u64,
    /// Jobs that run.
    pub total_running_jobs: u64,
    /// Runners of the set.
    pub total_registered_runners: u64,
    /// Those that have a job.
    pub total_busy_runners: u64,
    /// Those that wait for one.
    pub total_idle_runners: u64,
}

impl Statistics {
    pub(super) fn of(set: &ScaleSet, state: &State, now: DateTime<Utc>) -> Self {
        let own: Vec<_> = state.runners().filter(|runner| runner.set == Some(set.id)).collect();
        let busy = own.iter().filter(|runner| runner.job.is_some()).count() as u64;
        let online = own.iter().filter(|runner| state.is_online(runner, now)).count() as u64;
        Self {
            total_available_jobs: set.count(Stage::Offered),
            total_acquired_jobs: 0,
            total_assigned_jobs: set.count(Stage::Assigned) + set.count(Stage::Started),
            total_running_jobs: set.count(Stage::Started),
            total_registered_runners: own.len() as u64,
            total_busy_runners: busy,
            total_idle_runners: online.saturating_sub(busy),
        }
    }
}

/// A token whose end can be read (RFC 7519), and no more than that.
pub(super) fn token(secret: &str, until: DateTime<Utc>) -> String {
    let part = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({"typ": "JWT", "alg": "RS256"}));
    let claims = part(json!({"exp": until.timestamp(), "jti": secret}));
    format!("{header}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(secret))
}

pub(super) fn set(set: &ScaleSet, url: &str, statistics: Statistics) -> Value {
    let labels: Vec<_> =
        set.labels.iter().map(|name| json!({"id": 0, "type": "System", "name": name})).collect();
    json!({
        "id": set.id,
        "name": set.name,
        "runnerGroupId": 1,
        "runnerGroupName": "Default",
        "labels": labels,
        "RunnerSetting": {"disableUpdate": true},
        "createdOn": time(Some(set.created_at)),
        "runnerJitConfigUrl": format!("{url}/{}/generatejitconfig", set.id),
        "statistics": statistics,
    })
}

/// A job as messages tell of it.
pub(super) fn job(kind: &str, job: &Job, request: u64, assigned_at: DateTime<Utc>) -> Value {
    let (owner, name) = job.repo.split_once('/').unwrap_or_default();
    let mut told = json!({
        "messageType": kind,
        "runnerRequestId": request,
        "repositoryName": name,
        "ownerName": owner,
        "jobId": format!("{:08x}-1111-5222-8333-{:012x}", job.id >> 16, job.id & 0xFFFF_FFFF),
        "jobWorkflowRef": format!("{}/.github/workflows/ci.yml@refs/heads/main", job.repo),
        "jobDisplayName": job.name,
        "workflowRunId": job.run_id,
        "eventName": "push",
        "requestLabels": job.labels,
        "queueTime": time(Some(job.queued_at)),
        "scaleSetAssignTime": time((kind != "JobAvailable").then_some(assigned_at)),
        "runnerAssignTime": time(job.started_at),
        "finishTime": time(job.completed_at),
    });
    let runner = json!({
        "runnerId": job.runner_id.unwrap_or_default(),
        "runnerName": job.runner_name.as_deref().unwrap_or_default(),
    });
    let more = match kind {
        "JobAvailable" => json!({"acquireJobUrl": "https://unused.example/acquire"}),
        "JobStarted" => runner,
        "JobCompleted" => {
            let mut more = runner;
            // What nobody picked up, or lost its runner, is as good as cancelled.
            let result = match job.conclusion {
                Some(Conclusion::Success) => "succeeded",
                Some(Conclusion::Failure | Conclusion::TimedOut) => "failed",
                Some(Conclusion::Skipped) => "skipped",
                Some(Conclusion::Cancelled) | None => "canceled",
            };
            merge(&mut more, json!({"result": result}));
            more
        }
        _ => json!({}),
    };
    merge(&mut told, more);
    told
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// A runner as the set's pool lists it.
pub(super) fn agent(runner: &Runner, online: bool) -> Value {
    json!({
        "id": runner.id,
        "name": runner.name,
        "runnerScaleSetId": runner.set.unwrap_or_default(),
        "status": if online { "online" } else { "offline" },
        "busy": runner.job.is_some(),
        "ephemeral": runner.ephemeral,
        "enabled": true,
    })
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or(NEVER.into(), |time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
