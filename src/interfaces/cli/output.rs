//! What the command line prints: data on stdout, everything else on stderr.

use std::ffi::OsString;
use std::fmt::Arguments;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::audit::Record;
use crate::config::Row;
use crate::doctor::Check;
use crate::error::{Code, Error, Result};
use crate::interfaces::bundle::Bundle;
use crate::interfaces::http::{Link, Listening, Role};
use crate::interfaces::text;
use crate::operations::{Answer, failure};
use crate::views::Page;

/// How to print.
pub(super) struct Output {
    for_people: bool,
}

impl Output {
    /// Known before the line is understood, so that an error in it is printed in the right form.
    pub(super) fn guess(arguments: &[OsString]) -> Self {
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        let pair =
            words.windows(2).any(|pair| matches!(pair, [a, b] if a == "--format" && b == "text"));
        let demo = words.get(1).is_some_and(|word| word == "demo");
        Self { for_people: pair || demo || words.iter().any(|word| word == "--format=text") }
    }

    /// Prints the result of `tool`.
    pub(super) fn answer(&self, tool: &str, answer: &Answer<Value>) -> Result<()> {
        if self.for_people {
            let width = text::terminal_width();
            return print(&text::render(tool, answer, chrono::Utc::now(), width));
        }
        more(answer.page.as_ref().and_then(|page| page.next_cursor.as_deref()));
        self.json(&answer.data)
    }

    /// Prints a page of the log of calls.
    pub(super) fn records(&self, page: &Page<Record>) -> Result<()> {
        if self.for_people {
            return print(&text::records(page, chrono::Utc::now(), text::terminal_width()));
        }
        more(page.next_cursor.as_deref());
        self.json(&page.items)
    }

    /// Where to tell a person at the terminal what is being done meanwhile.
    pub(super) fn progress(&self) -> Option<UnboundedSender<String>> {
        if !self.for_people || !io::stderr().is_terminal() {
            return None;
        }
        let (tell, mut told) = unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(step) = told.recv().await {
                say(format_args!("{step}"));
            }
        });
        Some(tell)
    }

    /// Prints the configuration in force.
    pub(super) fn rows(&self, rows: &[Row]) -> Result<()> {
        if self.for_people {
            return print(&text::configuration(rows, text::terminal_width()));
        }
        self.json(&rows)
    }

    /// Prints what the doctor found.
    pub(super) fn checks(&self, checks: &[Check]) -> Result<()> {
        if self.for_people {
            return print(&text::checks(checks));
        }
        self.json(&checks)
    }

    /// Prints a link to sign in by.
    pub(super) fn link(&self, link: &Link) -> Result<()> {
        if self.for_people {
            say(format_args!("It can be used once, until {}.", link.expires_at));
            return print(&format!("{}\n", link.link));
        }
        self.json(link)
    }

    /// Prints what was packed.
    pub(super) fn packed(&self, bundle: &Bundle) -> Result<()> {
        if self.for_people {
            let Bundle { file, bytes, sha256 } = bundle;
            return print(&format!("{}: {bytes} bytes, SHA-256 {sha256}\n", file.display()));
        }
        self.json(bundle)
    }

    fn json(&self, data: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(data).map_err(|error| {
            Error::internal(
                format!("The result could not be written: {error}."),
                "Please report it.",
            )
        })?;
        print(&(text + "\n"))
    }

    /// Prints `error`; its exit code.
    pub(super) fn error(&self, error: &Error) -> ExitCode {
        if self.for_people {
            say_on(format_args!("{}", text::render_error(error)));
        } else {
            let text = serde_json::to_string_pretty(&failure(error));
            say(format_args!("{}", text.unwrap_or_else(|_| error.to_string())));
        }
        ExitCode::from(error.exit_code())
    }

    /// Prints help, the version, or what is wrong with the line.
    pub(super) fn usage(&self, error: &clap::Error) -> ExitCode {
        if !error.use_stderr() {
            // Nobody listens any more: not our failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let text = error.to_string();
        let text = text.split("For more information").next().unwrap_or_default();
        let (what, usage) = text.split_once("Usage:").unwrap_or((text, ""));
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (what, tip) = what.split_once("tip:").unwrap_or((what, ""));
        let first = words(what.trim_start_matches("error: "));
        let usage = words(usage);
        let mut remedy = Vec::new();
        if !tip.trim().is_empty() {
            remedy.push(format!("{}.", words(tip)));
        }
        if !usage.is_empty() {
            remedy.push(format!("Usage: {usage}."));
        }
        remedy.push("See --help.".to_owned());
        let remedy = remedy.join(" ");
        self.error(&Error::new(Code::InvalidArgument, first, remedy))
    }

    /// Whether a person at the terminal agrees to what `error` wants confirmed.
    pub(super) fn confirmed(&self, error: &Error) -> bool {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return false;
        }
        say_on(format_args!("{} Stop it all the same? [y/N] ", error.message));
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}

/// Says once where HTTP is served and how to get in; `to_log` where programs read what is said.
pub(super) fn announce(listening: &Listening, to_log: bool) -> Result<()> {
    if to_log {
        // A link is a secret: whoever collects logs is to have none.
        tracing::info!(address = %listening.address(), "HTTP is served");
        return Ok(());
    }
    say(format_args!("Serving MCP at http://{}/mcp", listening.address()));
    if let Some(file) = listening.token_file() {
        say(format_args!("Bearer token: {}", file.display()));
    }
    say(format_args!("Dashboard: {}", listening.link(Role::Operate)?.link));
    Ok(())
}

/// Says how to go on, past the data.
fn more(cursor: Option<&str>) {
    if let Some(cursor) = cursor {
        say(format_args!("There are more: --cursor {cursor}"));
    }
}

/// Tells a person, who may have gone: `eprintln!` would end the program for that.
fn say(text: Arguments<'_>) {
    say_on(format_args!("{text}\n"));
}

fn say_on(text: Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}

fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        // Whoever reads may have seen enough: `… | head`.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::internal(
            format!("Nothing can be printed: {error}."),
            "Check where stdout goes.",
        )),
        _ => Ok(()),
    }
}
