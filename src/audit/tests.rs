use std::os::unix::fs::PermissionsExt;
use std::thread;

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use super::*;
use crate::error::Code;

fn record(number: i64) -> Record {
    Record {
        at: DateTime::UNIX_EPOCH + TimeDelta::seconds(number),
        caller: Caller {
            name: "claude".into(),
            version: Some("1.2".into()),
            transport: Transport::Stdio,
        },
        tool: "runner_provision_for_workflow".into(),
        arguments: arguments(json!({ "repo": format!("o/r{number}") })),
        outcome: Outcome::of(Ok("1 runner launched.")),
    }
}

fn arguments(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn numbers(page: &Page<Record>) -> Vec<i64> {
    page.items.iter().map(|record| record.at.timestamp()).collect()
}

/// The log in a directory that lives as long as the guard.
fn log() -> (tempfile::TempDir, Audit) {
    let directory = tempfile::tempdir().unwrap();
    let audit = Audit::open(directory.path()).unwrap();
    (directory, audit)
}

/// The arguments as they are read again.
fn kept(given: Value) -> Value {
    let (_guard, audit) = log();
    audit.record(Record { arguments: arguments(given), ..record(1) }).unwrap();
    Value::Object(audit.latest(1, None).unwrap().items.remove(0).arguments)
}

#[test]
fn what_was_recorded_is_read_again_the_newest_first() {
    let (_guard, audit) = log();
    assert_eq!(audit.latest(9, None).unwrap(), Page { items: vec![], next_cursor: None });
    (1..=3).for_each(|number| audit.record(record(number)).unwrap());
    let failed = Error::new(Code::AtCapacity, "At capacity: 2/2 runners active.", "Wait.");
    let refused = Record { outcome: Outcome::of(Err(&failed)), ..record(4) };
    audit.record(refused.clone()).unwrap();
    let page = audit.latest(9, None).unwrap();
    assert_eq!(
        page,
        Page { items: vec![refused, record(3), record(2), record(1)], next_cursor: None }
    );
    let line = serde_json::to_value(&page.items[0]).unwrap();
    assert_eq!(line["caller"], json!({ "name": "claude", "version": "1.2", "transport": "stdio" }));
    assert_eq!(line["outcome"]["code"], "at_capacity");
}

#[test]
fn a_transport_has_the_name_that_it_has_in_json() {
    use Transport::{Cli, Http, Library, Socket, Stdio};
    for transport in [Cli, Stdio, Http, Socket, Library] {
        assert_eq!(serde_json::to_value(transport).unwrap(), transport.as_str());
    }
}

#[test]
fn pages_follow_each_other_while_others_append_and_the_file_is_set_aside() {
    let (_guard, mut audit) = log();
    (1..=5).for_each(|number| audit.record(record(number)).unwrap());
    let first = audit.latest(2, None).unwrap();
    assert_eq!(numbers(&first), [5, 4]);
    audit.record(record(6)).unwrap();
    let second = audit.latest(2, first.next_cursor.as_deref()).unwrap();
    assert_eq!(numbers(&second), [3, 2]);
    audit.largest = 1;
    audit.record(record(7)).unwrap();
    let third = audit.latest(2, second.next_cursor.as_deref()).unwrap();
    assert_eq!((numbers(&third), third.next_cursor), (vec![1], None));
    // Pages go on from one file to the other, too.
    let newest = audit.latest(1, None).unwrap();
    assert_eq!(numbers(&audit.latest(2, newest.next_cursor.as_deref()).unwrap()), [6, 5]);
    audit.record(record(8)).unwrap();
    let gone = audit.latest(2, second.next_cursor.as_deref()).unwrap();
    assert_eq!(numbers(&gone), [0; 0], "what came before is gone with its file");
}

#[test]
fn a_file_that_is_set_aside_while_it_is_read_is_not_shown_twice() {
    let (directory, audit) = log();
    (1..=2).for_each(|number| audit.record(record(number)).unwrap());
    let bytes = fs::read(directory.path().join("audit.jsonl")).unwrap();
    let page = pages::latest(&[bytes.clone(), bytes], 9, None).unwrap();
    assert_eq!(numbers(&page), [2, 1]);
}

#[test]
fn a_cursor_that_no_page_ended_with_is_refused() {
    let (_guard, audit) = log();
    for cursor in ["", "7", "x.1", "1.-1"] {
        let error = audit.latest(1, Some(cursor)).unwrap_err();
        assert!(error.message.starts_with("Invalid value for `cursor`"), "{error}");
    }
}

#[test]
fn a_file_that_has_grown_large_is_set_aside_and_only_the_last_two_are_kept() {
    let (directory, mut audit) = log();
    let line = serde_json::to_vec(&record(1)).unwrap().len() as u64 + 1;
    audit.largest = line * 3;
    (1..=8).for_each(|number| audit.record(record(number)).unwrap());
    assert_eq!(numbers(&audit.latest(99, None).unwrap()), [8, 7, 6, 5, 4]);
    let lines =
        |name: &str| fs::read_to_string(directory.path().join(name)).unwrap().lines().count();
    assert_eq!((lines("audit.jsonl"), lines("audit.jsonl.1")), (2, 3));
}

#[test]
fn many_who_write_at_once_lose_and_mix_nothing_not_even_when_the_file_is_set_aside() {
    let (directory, audit) = log();
    let line = serde_json::to_vec(&record(1_000)).unwrap().len() as u64 + 1;
    let largest = line * 600;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let audit = Audit { largest, ..Audit::open(directory.path()).unwrap() };
            thread::spawn(move || {
                for number in 0..250 {
                    audit.record(record(1_000 + writer * 250 + number)).unwrap();
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let mut all = numbers(&audit.latest(9_999, None).unwrap());
    all.sort_unstable();
    assert_eq!(all, (1_000..2_000).collect::<Vec<_>>());
    assert!(directory.path().join("audit.jsonl.1").exists());
}

#[test]
fn a_file_that_another_process_is_about_to_set_aside_is_written_to_all_the_same() {
    let (directory, mut audit) = log();
    audit.record(record(1)).unwrap();
    audit.largest = 1;
    let other = File::create(directory.path().join("audit.lock")).unwrap();
    other.lock().unwrap();
    audit.record(record(2)).unwrap();
    assert!(!directory.path().join("audit.jsonl.1").exists());
    drop(other);
    // That process did so between this one's question and its lock.
    Audit { largest: LARGEST, ..audit.clone() }.set_aside(1).unwrap();
    assert!(!directory.path().join("audit.jsonl.1").exists());
    audit.record(record(3)).unwrap();
    assert!(directory.path().join("audit.jsonl.1").exists());
    assert_eq!(numbers(&audit.latest(9, None).unwrap()), [3, 2, 1]);
}

#[test]
fn damaged_lines_cost_only_themselves() {
    let (directory, audit) = log();
    let file = directory.path().join("audit.jsonl");
    audit.record(record(1)).unwrap();
    let whole = fs::read(&file).unwrap();
    let strange = b"{}\nnull\n\xff\xfe\n\n";
    fs::write(&file, [&whole, &strange[..], &whole[..40]].concat()).unwrap();
    assert_eq!(numbers(&audit.latest(9, None).unwrap()), [1]);
    audit.record(record(2)).unwrap();
    let page = audit.latest(1, None).unwrap();
    assert_eq!(numbers(&page), [2], "it begins on a line of its own");
    assert_eq!(numbers(&audit.latest(1, page.next_cursor.as_deref()).unwrap()), [1]);
}

#[test]
fn nobody_else_can_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("made/state");
    let audit = Audit { largest: 1, ..Audit::open(&state).unwrap() };
    audit.record(record(1)).unwrap();
    audit.record(record(2)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for name in ["audit.jsonl", "audit.jsonl.1", "audit.lock"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_log_that_cannot_be_kept_is_told_before_anything_is_done() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("audit.jsonl")).unwrap();
    let error = Audit::open(directory.path()).unwrap_err();
    assert!(error.message.contains("audit.jsonl cannot be kept"), "{error}");
    assert_eq!(error.code, Code::Internal);
}

#[test]
fn tokens_and_what_is_called_a_secret_are_never_kept() {
    let (directory, audit) = log();
    let tokens = [
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "ghs_0123456789abcdefghijABCDEFGHIJ012345",
        "github_pat_11ABCDEFG0abcdefghijkl_0123456789abcdefghijABCDEFGHIJ",
    ];
    for token in tokens {
        // Where it would be cut, and where an invisible character hides it.
        let late = format!("{}{token}", "x".repeat(190));
        let hidden = token.replacen('_', "\u{200b}_", 1);
        let given = json!({
            "repo": token, "repos": [format!("o/{token}")], "deep": { "list": [[token]] },
            token: 1, "late": late, "hidden": hidden, "github_token": "hunter2",
        });
        audit
            .record(Record {
                caller: Caller {
                    name: token.into(),
                    version: Some(token.into()),
                    transport: Transport::Http,
                },
                tool: token.into(),
                arguments: arguments(given),
                outcome: Outcome::of(Ok(&format!("Bearer {token}"))),
                ..record(1)
            })
            .unwrap();
    }
    let text = fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
    assert_eq!(text.matches("(redacted)").count(), 3 * 11);
    for secret in ["0123456789", "ghp_", "ghs_", "github_pat_", "hunter2"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[test]
fn what_strangers_wrote_is_on_one_line_without_control_characters_and_short() {
    let (directory, audit) = log();
    let strange = Record {
        caller: Caller { name: "a\u{1b}[31m\nb".into(), version: None, transport: Transport::Http },
        arguments: arguments(json!({ "repo\n": "x\u{202e}y\r\nz", "long": "é".repeat(9_000) })),
        outcome: Outcome::of(Ok(&"m".repeat(9_000))),
        ..record(1)
    };
    audit.record(strange).unwrap();
    let text = fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1);
    let record = audit.latest(1, None).unwrap().items.remove(0);
    assert_eq!(record.caller.name, "a[31m b");
    assert_eq!(record.arguments["repo "], "xy  z");
    assert_eq!(record.arguments["long"].as_str().unwrap().chars().count(), 200);
    assert_eq!(record.outcome.message.chars().count(), 500);
}

#[test]
fn arguments_stay_as_they_are_until_they_are_too_many_or_too_large_and_then_it_is_said() {
    let plain = json!({ "repo": "o/r", "force": true, "limit": 5, "repos": ["a/*", "b/*"] });
    assert_eq!(kept(plain.clone()), plain);
    let list = kept(json!({ "repos": vec!["a/b"; 40] }));
    assert_eq!((list["repos"].as_array().unwrap().len()), 33);
    assert_eq!(list["repos"][32], "… 8 elements left out");
    let large = kept(json!({ "repos": vec!["é".repeat(150); 32], "force": true }));
    assert_eq!(large["force"], true);
    assert!(large["repos"].as_str().unwrap().ends_with(" bytes left out"), "{large}");
    let many: serde_json::Map<_, _> =
        (0..9_999).map(|n| (format!("{n}{}", "é".repeat(99)), json!("x".repeat(99)))).collect();
    let many = kept(Value::Object(many));
    assert_eq!(many["…"], "… 9967 arguments left out");
    assert!(serde_json::to_vec(&many).unwrap().len() < 12_000);
}
