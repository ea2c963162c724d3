//! What is wrong with this host's set-up, found by looking at all of it: nothing is changed.
//!
//! Looking and judging are apart: `look` asks GitHub, the engine and this host, and hands what it
//! found to the functions of `judge`, which know neither. Checks run side by side, each with a time
//! limit, and none stops another.

mod judge;
mod look;

use serde::Serialize;

pub use look::examine;

use crate::error::Error;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// It works, and something is worth knowing.
    Warning,
    /// It cannot work so.
    Failure,
    /// It could not be checked; the message says why.
    Skipped,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// One sentence: what was found.
    pub message: String,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: String,
}

impl Check {
    /// All is well with `name`.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, message: message.into(), remedy: String::new() }
    }

    /// Something about `name` is worth knowing.
    pub fn warning(
        name: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (message, remedy) = (message.into(), remedy.into());
        Self { name, outcome: Outcome::Warning, message, remedy }
    }

    /// It cannot work so.
    pub fn failure(
        name: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (message, remedy) = (message.into(), remedy.into());
        Self { name, outcome: Outcome::Failure, message, remedy }
    }

    /// `name` could not be checked.
    pub fn skipped(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, message: message.into(), remedy: String::new() }
    }

    /// What `error` says about `name`.
    pub fn failed(name: &'static str, error: &Error) -> Self {
        Self::failure(name, error.message.clone(), error.remedy.clone())
    }
}

/// Whether nothing failed.
pub fn is_well(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Failure)
}

#[cfg(test)]
mod tests;
