use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::*;
use crate::config::{Environment, RunnerConfig, Sources, StartInput, load};
use crate::demand::{Heard, JobState};
use crate::model::{Ending, JobResult, Labels, Scope};

// The example of docs.github.com, "Validating webhook deliveries".
const SECRET: &str = "It's a Secret to Everybody";
const BODY: &str = "Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn envelope(event: &str, id: &str, body: impl Into<Bytes>) -> Envelope {
    Envelope { event: event.into(), id: Some(id.into()), body: body.into() }
}

fn opens(secrets: &str, signature: &str) -> bool {
    let secrets = Secrets::of(secrets, "webhook_secret_file").unwrap();
    secrets.open(envelope("ping", "1", BODY), signature).is_some()
}

#[test]
fn a_signature_as_github_documents_it_is_right() {
    assert!(opens(SECRET, SIGNATURE));
    assert!(opens(SECRET, &SIGNATURE.to_uppercase().replace("SHA", "sha")));
}

#[test]
fn anything_but_the_whole_signature_of_this_body_with_this_secret_is_wrong() {
    let other = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e18";
    let short = &SIGNATURE[..SIGNATURE.len() - 2];
    let odd = &SIGNATURE[..SIGNATURE.len() - 1];
    let long = format!("{SIGNATURE}00");
    let spaced = format!(" {SIGNATURE}");
    let signed = SIGNATURE.replace("75", "+5");
    let sha1 = SIGNATURE.replace("sha256", "sha1");
    let strange = format!("sha256={}", "ß".repeat(64));
    for wrong in [
        other,
        short,
        odd,
        &long,
        &spaced,
        &signed,
        &sha1,
        &strange,
        "sha256=",
        "",
        &SIGNATURE[7..],
    ] {
        assert!(!opens(SECRET, wrong), "{wrong}");
    }
    assert!(!opens("another secret of this length", SIGNATURE));
}

#[test]
fn while_a_secret_is_changed_the_old_and_the_new_one_are_good() {
    for both in [
        format!("a new secret of this length\n{SECRET}\n"),
        format!("\n  {SECRET}\r\na new secret of this length"),
    ] {
        assert!(opens(&both, SIGNATURE));
    }
}

#[test]
fn a_secret_that_could_be_guessed_is_refused_and_none_is_shown() {
    for weak in ["", " \n", "fifteen letters", &format!("{SECRET}\nshort")] {
        let error = Secrets::of(weak, "RUNNER_KIT_WEBHOOK_SECRET").unwrap_err().to_string();
        assert!(
            error.contains("RUNNER_KIT_WEBHOOK_SECRET") && error.contains("openssl"),
            "{error}"
        );
        assert!(!error.contains("fifteen") && !error.contains("Everybody"), "{error}");
    }
    let shown = format!("{:?}", Secrets::of(SECRET, "x").unwrap());
    assert!(!shown.contains("Everybody"), "{shown}");
}

fn now() -> DateTime<Utc> {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

fn config(env: &[(&str, &str)]) -> RunnerConfig {
    let env: Environment = env.iter().copied().chain([("HOME", "/nowhere")]).collect();
    let sources = Sources { env, ..Sources::default() };
    load(&sources, &StartInput::default()).unwrap().config
}

fn inbox(env: &[(&str, &str)]) -> Inbox {
    Inbox::new(&config(env)).unwrap()
}

/// What `inbox` makes of the event `workflow_job` with this payload.
fn read(inbox: &Inbox, id: &str, payload: &Value) -> Result<Delivered> {
    inbox.read(&Delivery(envelope("workflow_job", id, payload.to_string())), now())
}

fn payload(action: &str) -> Value {
    json!({
        "action": action,
        "workflow_job": {
            "id": 12_877_621_891_u64,
            "run_id": 4_747_967_848_u64,
            "workflow_name": "ci",
            "html_url": "https://github.com/octo-org/web/actions/runs/4747967848/job/12877621891",
            "status": action,
            "conclusion": null,
            "created_at": "2026-11-26T11:59:58Z",
            "started_at": "2026-11-26T11:59:58Z",
            "completed_at": null,
            "name": "build",
            "steps": [],
            "labels": ["self-hosted", "GPU"],
            "runner_id": null,
            "runner_name": null,
        },
        "repository": { "full_name": "octo-org/web", "owner": { "login": "octo-org" } },
        "organization": { "login": "octo-org" },
    })
}

#[test]
fn a_job_is_known_to_wait_since_it_was_told_of_and_not_since_the_delivery_came() {
    let ago = |told: &str| {
        let mut payload = payload("queued");
        payload["workflow_job"]["created_at"] = told.into();
        payload["workflow_job"]["started_at"] = told.into();
        (now() - heard(&inbox(&[]), &payload).job.seen_at).num_seconds()
    };
    assert_eq!(ago("2026-11-26T11:59:58Z"), 2);
    assert_eq!(ago("2026-11-26T11:00:00Z"), 20, "our clock may be ahead of GitHub's");
    assert_eq!(ago("2026-11-26T13:00:00Z"), 0, "or behind");
}

fn heard(inbox: &Inbox, payload: &Value) -> Heard {
    match read(inbox, "1", payload).unwrap() {
        Delivered::Heard(heard) => *heard,
        other => panic!("{other:?}"),
    }
}

/// The payload with this member of its job set, or taken out.
fn with(mut payload: Value, member: &str, value: Option<Value>) -> Value {
    let job = payload["workflow_job"].as_object_mut().unwrap();
    match value {
        Some(value) => drop(job.insert(member.into(), value)),
        None => drop(job.remove(member)),
    }
    payload
}

#[test]
fn a_queued_job_is_heard_of_with_all_that_a_poll_would_show() {
    let Heard { job, state, at, .. } = heard(&inbox(&[]), &payload("queued"));
    assert_eq!((state, at), (JobState::Queued, now()));
    assert_eq!((job.id, job.run_id), (12_877_621_891, 4_747_967_848));
    assert_eq!((job.name.as_str(), job.labels), ("build", Labels::new(["self-hosted", "gpu"])));
    assert_eq!(job.repo.as_str(), "octo-org/web");
    assert_eq!(job.scope, Scope::Repo(job.repo));
    assert_eq!(job.queued_at, now() - TimeDelta::seconds(2));
    assert!(job.url.starts_with("https://github.com/octo-org/web/"));
}

#[test]
fn each_action_says_where_the_job_stands() {
    let inbox = |payload| heard(&inbox(&[]), &payload).state;
    assert_eq!(inbox(payload("waiting")), JobState::Waiting);
    assert_eq!(inbox(payload("completed")), JobState::Completed);
    let running = with(payload("in_progress"), "runner_name", Some("ours-1".into()));
    let started_at = Some(now() - TimeDelta::seconds(2));
    let by =
        |runner_name: &str| JobState::InProgress { runner_name: runner_name.into(), started_at };
    assert_eq!(inbox(running), by("ours-1"));
    assert_eq!(inbox(payload("in_progress")), by(""), "taken, and not told by whom");
}

#[test]
fn an_end_is_told_by_the_runners_name_where_it_is_known() {
    let ending = |payload: &Value| heard(&inbox(&[]), payload).ending;
    let over = with(payload("completed"), "conclusion", Some("timed_out".into()));
    assert_eq!(ending(&over), None, "nobody had it");
    let ours = with(over, "runner_name", Some("ours-1".into()));
    let told = Ending { runner: "ours-1".into(), result: JobResult::Failed };
    assert_eq!(ending(&ours), Some(told));
    assert_eq!(ending(&with(ours, "conclusion", Some("a\"} 1".into()))), None);
}

#[test]
fn a_job_that_is_called_queued_behind_its_gate_waits() {
    let behind = with(payload("queued"), "status", Some("waiting".into()));
    assert_eq!(heard(&inbox(&[]), &behind).state, JobState::Waiting);
    let over = with(payload("queued"), "status", Some("completed".into()));
    assert_eq!(heard(&inbox(&[]), &over).state, JobState::Completed);
}

#[test]
fn what_older_payloads_lack_is_done_without() {
    let mut old = payload("queued");
    for member in ["created_at", "workflow_name", "runner_name", "html_url", "status", "name"] {
        old = with(old, member, None);
    }
    old = with(old, "labels", Some(Value::Null));
    old.as_object_mut().unwrap().remove("organization");
    let Heard { job, state, .. } = heard(&inbox(&[]), &old);
    assert_eq!((state, job.queued_at), (JobState::Queued, now() - TimeDelta::seconds(2)));
    assert!(job.name.is_empty() && job.url.is_empty());
    let timeless = with(old, "started_at", None);
    assert_eq!(heard(&inbox(&[]), &timeless).job.queued_at, now());
}

#[test]
fn runners_of_an_organisation_are_registered_with_it_and_a_users_with_the_repository() {
    let inbox = inbox(&[("RUNNER_KIT_SCOPE", "org"), ("RUNNER_KIT_OWNER", "Octo-Org")]);
    assert_eq!(heard(&inbox, &payload("queued")).job.scope, Scope::org("octo-org"));
    let mut users = payload("queued");
    users["organization"] = Value::Null;
    let job = heard(
        &self::inbox(&[("RUNNER_KIT_SCOPE", "org"), ("RUNNER_KIT_OWNER", "octo-org")]),
        &users,
    )
    .job;
    assert_eq!(job.scope, Scope::Repo(job.repo));
}

#[test]
fn text_of_strangers_is_cleaned_and_pages_of_other_servers_are_not_shown() {
    let bad = with(payload("in_progress"), "name", Some("a\u{1b}[31m\nb\u{202e}".into()));
    let bad = with(bad, "html_url", Some("https://github.com.evil.example/x".into()));
    let bad = with(bad, "runner_name", Some("ours-1\u{200b}".into()));
    let Heard { job, state, .. } = heard(&inbox(&[]), &bad);
    assert_eq!((job.name.as_str(), job.url.as_str()), ("a[31m b", ""));
    assert!(
        matches!(state, JobState::InProgress { runner_name, .. } if runner_name == "ours-1…"),
        "no other name becomes one of ours"
    );
}

#[test]
fn a_delivery_counts_once_whatever_it_says_the_second_time() {
    let inbox = inbox(&[]);
    let first = |id: &str| !matches!(read(&inbox, id, &payload("queued")), Ok(Delivered::Repeated));
    assert!(first("a") && first("b") && !first("a"));
    assert_eq!(read(&inbox, "b", &payload("completed")).unwrap(), Delivered::Repeated);
    // Those that can't be told apart are all heard, and forgotten at once.
    let long = "x".repeat(LONGEST_ID + 1);
    assert!(first(&long) && first(&long));
    for other in 0..REMEMBERED_IDS {
        first(&other.to_string());
    }
    assert!(first("a"), "what is remembered is bounded");
}

const LONGEST_ID: usize = 64;
const REMEMBERED_IDS: usize = 8_192;

#[test]
fn only_repositories_that_are_watched_are_listened_to() {
    for (env, admitted) in [
        (&[("RUNNER_KIT_OWNER", "OCTO-ORG")][..], true),
        (&[("RUNNER_KIT_OWNER", "other")], false),
        (&[("RUNNER_KIT_REPOS", "octo-org/w*")], true),
        (&[("RUNNER_KIT_REPOS", "octo-org/api")], false),
        (&[("RUNNER_KIT_EXCLUDE_REPOS", "*/web")], false),
        (&[("RUNNER_KIT_ALLOWED_REPOS", "octo-org/api")], false),
        (&[("RUNNER_KIT_ALLOWED_OWNERS", "other")], false),
    ] {
        let delivered = read(&inbox(env), "1", &payload("queued")).unwrap();
        assert_eq!(matches!(delivered, Delivered::Heard(_)), admitted, "{env:?}: {delivered:?}");
    }
}

#[test]
fn an_old_delivery_that_comes_again_queues_nothing() {
    let aged = |hours: i64, member: &str| {
        let old = Value::from((now() - TimeDelta::hours(hours)).to_rfc3339());
        with(payload("queued"), member, Some(old))
    };
    let is_ignored =
        |payload: &Value| matches!(read(&inbox(&[]), "1", payload).unwrap(), Delivered::Ignored(_));
    let both = |hours| with(aged(hours, "created_at"), "started_at", None);
    assert!(is_ignored(&both(25)) && !is_ignored(&both(23)));
    let approved = aged(72, "created_at");
    assert!(!is_ignored(&approved), "its gate was opened after three days, two seconds ago");
    // What is over stays so.
    let mut ended = both(25);
    ended["action"] = "completed".into();
    assert_eq!(heard(&inbox(&[]), &ended).state, JobState::Completed);
    // A clock that is behind GitHub's makes no job of the future.
    let early = with(aged(-1, "created_at"), "started_at", None);
    assert_eq!(heard(&inbox(&[]), &early).job.queued_at, now());
}

#[test]
fn other_events_are_taken_and_ignored_and_what_cannot_be_read_is_refused_without_being_shown() {
    let read_event = |event: &str, body: &str| {
        inbox(&[]).read(&Delivery(envelope(event, "1", body.to_owned())), now())
    };
    assert_eq!(read_event("ping", "{\"zen\": \"\"}").unwrap(), Delivered::Ping);
    for event in ["push", "workflow_run", "check_run", ""] {
        assert!(matches!(read_event(event, "whatever"), Ok(Delivered::Ignored(_))), "{event}");
    }
    for body in
        ["", "payload=%7B%7D", "[]", "{\"action\": \"queued\"}", "{\"action\": \"swordfish\"}"]
    {
        let error = read_event("workflow_job", body).unwrap_err();
        assert!(!error.to_string().contains("swordfish"), "{error}");
    }
    let strange = payload("requested_by_aliens");
    let delivered = read(&inbox(&[]), "1", &strange).unwrap();
    assert!(matches!(delivered, Delivered::Ignored(_)), "{delivered:?}");
}

#[test]
fn what_could_not_be_read_is_not_taken_for_known_when_it_comes_again() {
    let inbox = inbox(&[]);
    assert!(read(&inbox, "a", &json!({})).is_err());
    assert!(matches!(read(&inbox, "a", &payload("queued")), Ok(Delivered::Heard(_))));
}
