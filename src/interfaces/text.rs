//! `--format text`: results as a person wants to see them. Pure, but for the terminal's width.

use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, TableStyle};
use serde_json::Value;

use crate::audit::Record;
use crate::config::Row;
use crate::doctor::{Check, Outcome};
use crate::error::{Code, Error};
use crate::operations::Answer;
use crate::views::Page;

/// The columns of each list: heading and where in an entry.
const LISTS: [(&str, &[(&str, &str)]); 3] = [
    (
        "runner_list_workflows",
        &[
            ("repository", "/repo"),
            ("running", "/running"),
            ("failed", "/failed"),
            ("pending", "/pending"),
            ("jobs waiting", "/queued_jobs"),
            ("since", "/waiting_since"),
            ("not servable", "/unmatched"),
        ],
    ),
    (
        "runner_list_containers",
        &[
            ("container", "/container_id"),
            ("repository", "/repo"),
            ("runner", "/runner_name"),
            ("phase", "/phase"),
            ("job", "/job/name"),
            ("created", "/created_at"),
        ],
    ),
    (
        "runner_provision_for_workflow",
        &[
            ("container", "/container_id"),
            ("repository", "/repo"),
            ("runner", "/runner_name"),
            ("status", "/status"),
        ],
    ),
];

/// What a person looks for first in a status, and where it is.
const STATUS: [(&str, &str); 9] = [
    ("running", "/running"),
    ("since", "/start_time"),
    ("active runners", "/active_runners"),
    ("room for", "/capacity/free"),
    ("jobs waiting", "/queued_jobs"),
    ("runners launched", "/provisioned_runners"),
    ("repositories", "/repositories_monitored"),
    ("last look", "/last_check"),
    ("API budget", "/rate_limit/forecast"),
];

/// The result of `tool` for a person.
pub fn render(
    tool: &str,
    answer: &Answer<Value>,
    now: DateTime<Utc>,
    width: Option<u16>,
) -> String {
    let list = LISTS.iter().find(|(name, _)| *name == tool);
    let body = match (&answer.data, list) {
        (Value::Array(entries), Some((_, columns))) if !entries.is_empty() => {
            let mut table = table(width);
            table.set_header(columns.iter().map(|(heading, _)| *heading));
            for entry in entries {
                table.add_row(columns.iter().map(|(_, place)| shown(entry.pointer(place), now)));
            }
            format!("{}\n\n", table.trim_fmt())
        }
        (Value::Object(status), _) if status.contains_key("iterations") => {
            let mut table = table(width);
            for (name, place) in STATUS {
                let text = shown(answer.data.pointer(place), now);
                if !text.is_empty() {
                    table.add_row([name.to_owned(), text]);
                }
            }
            let warnings = status.get("warnings").and_then(Value::as_array).into_iter().flatten();
            let warnings: String =
                warnings.filter_map(Value::as_str).map(|text| format!("note: {text}\n")).collect();
            let trouble = answer.data.pointer("/last_error/message").and_then(Value::as_str);
            let trouble = trouble.map(|text| format!("problem: {text}\n")).unwrap_or_default();
            format!("{}\n\n{trouble}{warnings}", table.trim_fmt())
        }
        _ => String::new(),
    };
    let more = more(answer.page.as_ref().and_then(|page| page.next_cursor.as_deref()));
    format!("{body}{}\n{more}", answer.message)
}

fn more(cursor: Option<&str>) -> String {
    cursor.map(|cursor| format!("more: --cursor {cursor}\n")).unwrap_or_default()
}

/// An error for a person.
pub fn render_error(error: &Error) -> String {
    let Error { code, message, remedy, .. } = error;
    let of_the_set_up = matches!(
        code,
        Code::NotAuthenticated
            | Code::TokenDenied
            | Code::GithubUnreachable
            | Code::DockerUnreachable
            | Code::ContainerFailed
    );
    let more = match of_the_set_up {
        true => "  → `ipfs-accelerate doctor --format text` looks at the whole set-up.\n",
        false => "",
    };
    format!("error: {message} [{}]\n  → {remedy}\n{more}", code.as_str())
}

/// What the doctor found, for a person: marks and names aligned, remedies below.
pub fn checks(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let line = |Check { name, outcome, message, remedy }: &Check| {
        let mark = match outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Failure => "FAILED",
            Outcome::Skipped => "skipped",
        };
        let remedy = match remedy.is_empty() {
            true => String::new(),
            false => format!("{:9}{:width$}  → {remedy}\n", "", ""),
        };
        format!("{mark:9}{name:width$}  {message}\n{remedy}")
    };
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Failure).count();
    let end = match failed {
        0 => "Nothing failed.\n".to_owned(),
        1 => "1 check failed.\n".to_owned(),
        more => format!("{more} checks failed.\n"),
    };
    checks.iter().map(line).chain([end]).collect()
}

/// The configuration in force for a person.
pub fn configuration(rows: &[Row], width: Option<u16>) -> String {
    let mut table = table(width);
    table.set_header(["option", "value", "origin"]);
    for row in rows {
        table.add_row([
            row.option.clone(),
            shown(Some(&row.value), DateTime::UNIX_EPOCH),
            row.origin.clone(),
        ]);
    }
    table.trim_fmt() + "\n"
}

/// A page of the log of calls for a person.
pub fn records(page: &Page<Record>, now: DateTime<Utc>, width: Option<u16>) -> String {
    if page.items.is_empty() {
        return "No call has changed anything.\n".to_owned();
    }
    let mut table = table(width);
    table.set_header(["when", "who", "tool", "outcome", "message"]);
    for Record { at, caller, tool, outcome, .. } in &page.items {
        let outcome_word = outcome.code.map_or("ok", |code| code.as_str());
        let who = format!("{} via {}", caller.name, caller.transport.as_str());
        let row = [ago(*at, now), who, tool.clone(), outcome_word.into(), outcome.message.clone()];
        table.add_row(row);
    }
    format!("{}\n{}", table.trim_fmt(), more(page.next_cursor.as_deref()))
}

/// The width of the terminal that stdout is, if it is one.
pub fn terminal_width() -> Option<u16> {
    Table::new().width()
}

fn table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table
}

fn shown(value: Option<&Value>, now: DateTime<Utc>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::String(text)) => match text.parse::<DateTime<Utc>>() {
            Ok(time) => ago(time, now),
            Err(_) => text.clone(),
        },
        Some(Value::Array(many)) => {
            let texts = many.iter().map(|one| match (one.get("jobs"), one.get("reason")) {
                (Some(jobs), Some(reason)) => format!("{jobs}: {}", shown(Some(reason), now)),
                _ => shown(Some(one), now),
            });
            texts.collect::<Vec<_>>().join("; ")
        }
        Some(other) => other.to_string(),
    }
}

fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - time).num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::audit::{Caller, Outcome, Transport};
    use crate::operations::PageInfo;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(300)
    }

    fn trimmed(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_list_is_a_table_with_its_sentence_and_how_to_go_on() {
        let data = json!([{
            "repo": "o/web", "running": 1, "failed": 0, "pending": 2, "queued_jobs": 3,
            "waiting_since": "1970-01-01T00:01:00Z",
            "unmatched": [{ "labels": ["gpu"], "jobs": 2, "reason": "no runner here has the labels gpu" }],
        }]);
        let page = PageInfo { count: 1, truncated: true, next_cursor: Some("0:o/web".into()) };
        let answer = Answer { page: Some(page), ..Answer::new(data, "1 repository; 3 jobs wait.") };
        let text = render("runner_list_workflows", &answer, now(), Some(200));
        let expected = [
            "repository running failed pending jobs waiting since not servable",
            "o/web 1 0 2 3 4 min ago 2: no runner here has the labels gpu",
            "",
            "1 repository; 3 jobs wait.",
            "more: --cursor 0:o/web",
        ];
        assert_eq!(trimmed(&text), expected);
    }

    #[test]
    fn an_empty_list_is_a_sentence() {
        let answer = Answer::new(json!([]), "0 containers.");
        assert_eq!(render("runner_list_containers", &answer, now(), None), "0 containers.\n");
    }

    #[test]
    fn a_status_shows_what_a_person_looks_for_and_leaves_out_what_is_not_there() {
        let data = json!({
            "running": true, "start_time": "1970-01-01T00:04:50Z", "iterations": 3, "active_runners": 2,
            "queued_jobs": 0, "capacity": { "max": 4, "used": 2, "free": 2 },
            "last_error": { "code": "container_failed", "message": "It failed. Look.", "at": "" },
            "provisioned_runners": 9, "warnings": ["cpu_limit was clamped."],
        });
        let text = render("runner_get_status", &Answer::new(data, "All is well."), now(), Some(80));
        let expected = [
            "running yes",
            "since 10 s ago",
            "active runners 2",
            "room for 2",
            "jobs waiting 0",
            "runners launched 9",
            "",
            "problem: It failed. Look.",
            "note: cpu_limit was clamped.",
            "All is well.",
        ];
        assert_eq!(trimmed(&text), expected);
    }

    #[test]
    fn a_call_is_a_row_with_who_it_was_and_what_came_of_it() {
        let record = |second, outcome| Record {
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            caller: Caller { name: "claude".into(), version: None, transport: Transport::Stdio },
            tool: "runner_provision_for_workflow".into(),
            arguments: serde_json::Map::new(),
            outcome,
        };
        let failed = Error::new(Code::AtCapacity, "At capacity.", "Wait.");
        let items = vec![
            record(290, Outcome::of(Err(&failed))),
            record(60, Outcome::of(Ok("1 runner launched."))),
        ];
        let page = Page { items, next_cursor: Some("ab.7".into()) };
        let expected = [
            "when who tool outcome message",
            "10 s ago claude via stdio runner_provision_for_workflow at_capacity At capacity.",
            "4 min ago claude via stdio runner_provision_for_workflow ok 1 runner launched.",
            "more: --cursor ab.7",
        ];
        assert_eq!(trimmed(&records(&page, now(), Some(200))), expected);
        let nothing = Page { items: vec![], next_cursor: None };
        assert_eq!(records(&nothing, now(), None), "No call has changed anything.\n");
    }

    #[test]
    fn an_error_has_its_code_and_its_remedy() {
        let error = Error::new(Code::AtCapacity, "At capacity.", "Wait.");
        assert_eq!(render_error(&error), "error: At capacity. [at_capacity]\n  → Wait.\n");
        let error = Error::new(Code::TokenDenied, "Denied.", "Ask.");
        assert!(render_error(&error).ends_with(
            "Ask.\n  → `ipfs-accelerate doctor --format text` looks at the whole set-up.\n"
        ));
    }

    #[test]
    fn the_doctors_marks_and_names_are_aligned_with_remedies_below() {
        let found = [Check::ok("disk", "Room."), Check::failure("state_dir", "Shut.", "Open it.")];
        let expected = "ok       disk       Room.\n\
                        FAILED   state_dir  Shut.\n                    → Open it.\n\
                        1 check failed.\n";
        assert_eq!(checks(&found), expected);
    }
}
