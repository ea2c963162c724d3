//! The log on stderr: a line of text for people, or of JSON for programs (`RUNNER_KIT_LOG_FORMAT`).
//!
//! Lines of JSON always have the same members. What strangers wrote (labels, messages of servers) is
//! on one line and without control characters in both.

use std::fmt::{self, Debug, Write};
use std::io::{self, IsTerminal};

use clap::ArgMatches;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Environment;
use crate::error::{Error, Result};
use crate::model::clean_text;

/// Most characters of a value.
const LONGEST: usize = 2_000;

/// Sends logs to stderr: `usual` and above, more with --verbose, or as RUNNER_KIT_LOG says.
pub(super) fn start(matches: &ArgMatches, env: &Environment, usual: &str) -> Result<()> {
    let level = if matches.get_flag("verbose") { "debug" } else { usual };
    // Libraries log what their callers are told anyway.
    let others = if level == "debug" { "warn" } else { "off" };
    let ours = format!("{others},runner_kit={level}");
    let filter = EnvFilter::new(env.get("RUNNER_KIT_LOG").unwrap_or(&ours));
    let colours = io::stderr().is_terminal() && env.get("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        // Telling of it that nobody reads the log would end the program.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_ansi(colours)
        .event_format(Lines { json: is_json(env)? });
    // A second call, in a test, keeps the first.
    let _ = log.try_init();
    Ok(())
}

/// Whether programs read the log.
pub(super) fn is_json(env: &Environment) -> Result<bool> {
    match env.get("RUNNER_KIT_LOG_FORMAT") {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(_) => Err(Error::invalid(
            "RUNNER_KIT_LOG_FORMAT",
            "it is neither text nor json.",
            "Set it to text or json, or leave it out.",
        )),
    }
}

/// How a line looks.
struct Lines {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if self.json {
            return writeln!(writer, "{}", said.json(&time, level, target));
        }
        let colours = writer.has_ansi_escapes();
        let (dim, bright, end) = match colours {
            true => ("\x1b[2m", colour(level), "\x1b[0m"),
            false => ("", "", ""),
        };
        let text = said.text(target);
        writeln!(writer, "{dim}{time}{end} {bright}{:>5}{end} {text}", level.as_str())
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

/// The fields of a line.
#[derive(Default)]
struct Said(Map<String, Value>);

impl Said {
    fn json(mut self, time: &str, level: Level, target: &str) -> Value {
        let mut take = |name: &str| self.0.remove(name).unwrap_or_default();
        // Lines of other parts of the program say which repository they are about.
        let (subject, repo) = (take("subject"), take("repo"));
        json!({
            "time": time,
            "level": level.as_str().to_ascii_lowercase(),
            "event": take("event"),
            "subject": if subject.is_null() { repo } else { subject },
            "runner": take("runner"),
            "job": take("job"),
            "reason": take("reason"),
            "duration_ms": take("duration_ms"),
            "message": take("message"),
            "target": target,
            "more": self.0,
        })
    }

    fn text(mut self, target: &str) -> String {
        let mut take = |name: &str| match self.0.remove(name) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let message = take("message");
        // The sentence of a decision tells all that its fields do.
        if !take("event").is_empty() {
            return format!("{}: {message}", take("subject"));
        }
        let mut text = format!("{target}: {message}");
        for (name, value) in &self.0 {
            // A String takes everything.
            let _ = match value {
                Value::String(value) => write!(text, " {name}={value}"),
                value => write!(text, " {name}={value}"),
            };
        }
        text
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, clean_text(value, LONGEST));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, clean_text(&format!("{value:?}"), LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(fields: Value) -> Said {
        Said(serde_json::from_value(fields).unwrap())
    }

    #[test]
    fn every_line_of_json_has_the_same_members_and_what_is_beside_them_is_kept() {
        let whole = said(json!({ "event": "launch", "subject": "o/a", "job": 5, "port": 8080 }));
        let none = said(json!({ "message": "ready", "repo": "o/b" }));
        let [whole, none] = [whole, none].map(|said| said.json("now", Level::INFO, "here"));
        let names = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&whole), names(&none));
        assert_eq!((&whole["job"], &whole["more"]["port"]), (&json!(5), &json!(8080)));
        assert_eq!((&none["job"], &none["subject"]), (&Value::Null, &json!("o/b")));
    }

    #[test]
    fn a_decision_reads_as_a_sentence_and_other_lines_show_their_fields() {
        let text = |fields| said(fields).text("runner_kit::here");
        let decision =
            json!({ "event": "hold", "subject": "o/a", "job": 5, "message": "it waits" });
        assert_eq!(text(decision), "o/a: it waits");
        let other = json!({ "message": "ready", "instance": "default", "port": 1 });
        assert_eq!(text(other), "runner_kit::here: ready instance=default port=1");
    }

    #[test]
    fn the_format_is_text_or_json_and_nothing_else() {
        let asked = |value| is_json(&[("RUNNER_KIT_LOG_FORMAT", value)].into_iter().collect());
        assert_eq!((asked("text").unwrap(), asked("json").unwrap()), (false, true));
        assert!(asked("xml").unwrap_err().message.contains("RUNNER_KIT_LOG_FORMAT"));
        assert!(!is_json(&Environment::default()).unwrap());
    }
}
