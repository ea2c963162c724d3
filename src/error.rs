//! The one error of the crate: a sentence, a remedy and a code, the same for CLI, MCP and library.
//!
//! Adapters translate what went wrong into one of the [`Code`]s where they see it; nobody above
//! them matches on text. A message never holds a credential.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. Scripts and assistants may rely on the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No credential, or GitHub refused it (401).
    NotAuthenticated,
    /// The container engine does not answer.
    DockerUnreachable,
    /// The credential lacks a right; the message names right and repository.
    TokenDenied,
    /// A runner container could not be created or started, or its image is missing.
    ContainerFailed,
    /// Something was asked for or waits, and no more runners may be started.
    AtCapacity,
    /// GitHub, provision_rate or api_budget asks to wait.
    RateLimited,
    /// GitHub does not answer, or answers with server errors.
    GithubUnreachable,
    /// An argument or option has an impossible value.
    InvalidArgument,
    /// No such repository, organisation or container.
    NotFound,
    /// The operation changes something and the operator allows looking only.
    ReadOnly,
    /// The container is busy and nobody confirmed that it may be stopped.
    ConfirmationRequired,
    /// A service runs already, with another configuration.
    AlreadyRunning,
    /// This host got in the way: state directory, socket, process.
    Internal,
}

impl Code {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAuthenticated => "not_authenticated",
            Self::DockerUnreachable => "docker_unreachable",
            Self::TokenDenied => "token_denied",
            Self::ContainerFailed => "container_failed",
            Self::AtCapacity => "at_capacity",
            Self::RateLimited => "rate_limited",
            Self::GithubUnreachable => "github_unreachable",
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::ReadOnly => "read_only",
            Self::ConfirmationRequired => "confirmation_required",
            Self::AlreadyRunning => "already_running",
            Self::Internal => "internal",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    fn is_transient(self) -> bool {
        matches!(
            self,
            Self::DockerUnreachable
                | Self::AtCapacity
                | Self::RateLimited
                | Self::GithubUnreachable
        )
    }
}

/// One clear sentence about what failed, what to do about it, and a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Error {
    /// What kind of failure it is.
    pub code: Code,
    /// One sentence: what failed.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether the same call may succeed later by itself.
    pub retryable: bool,
    /// Seconds to wait before trying again, where somebody said so.
    #[serde(rename = "retry_after_s")]
    pub retry_after: Option<u64>,
    /// The id of what has to be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

impl Error {
    /// An error of `code`; whether it is retryable follows from the code.
    pub fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: remedy.into(),
            retryable: code.is_transient(),
            retry_after: None,
            subject: None,
        }
    }

    /// The same error with the time after which a retry makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retryable = true;
        self.retry_after = Some(wait.as_secs_f64().ceil() as u64);
        self
    }

    /// The same error about the thing whose id is `subject`.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// A wrong value of the option or argument `field`.
    pub fn invalid(field: &str, reason: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, format!("Invalid value for `{field}`: {reason}"), remedy)
    }

    /// A failure of this host: a file, a socket, a process.
    pub fn internal(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Code::Internal, message, remedy)
    }

    /// Exit code of the CLI: 2 for usage and configuration, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        if self.code == Code::InvalidArgument { 2 } else { 1 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] {}", self.message, self.code.as_str(), self.remedy)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_code_is_its_json() {
        for code in [Code::NotAuthenticated, Code::AtCapacity, Code::GithubUnreachable] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn usage_errors_exit_with_two_and_all_others_with_one() {
        assert_eq!(Error::invalid("repo", "no slash", "").exit_code(), 2);
        assert_eq!(Error::new(Code::NotFound, "", "").exit_code(), 1);
    }

    #[test]
    fn a_time_to_wait_is_rounded_up_to_whole_seconds_and_makes_the_error_retryable() {
        let error = Error::new(Code::NotFound, "m", "r").retry_after(Duration::from_millis(1200));
        assert_eq!((error.retry_after, error.retryable), (Some(2), true));
    }
}
