//! The ways in which GitHub's REST API says no, in its own words.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};
use serde_json::json;

use super::{apps, limits::Exceeded, state::Refusal};

const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// docs.github.com, "Permissions required for fine-grained personal access tokens".
const ACCEPTED_PERMISSIONS: HeaderName = HeaderName::from_static("x-accepted-github-permissions");

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    NoUserAgent,
    NoCredential,
    BadCredential,
    /// What is wrong with an app's signed token, in GitHub's words.
    BadAssertion(&'static str),
    /// An app that does not exist.
    UnknownApp,
    Suspended,
    /// With the permission that the token lacks.
    Forbidden {
        permission: &'static str,
        integration: bool,
    },
    NotFound,
    BadJson,
    Conflict(String),
    Invalid(String),
    PrimaryLimit {
        login: String,
    },
    SecondaryLimit {
        status: StatusCode,
        retry_after: u64,
    },
    /// A fault's status.
    Broken(StatusCode),
}

impl Problem {
    pub(super) fn exceeded(exceeded: Exceeded, login: &str) -> Self {
        match exceeded {
            Exceeded::Primary => Self::PrimaryLimit { login: login.to_owned() },
            Exceeded::Secondary { retry_after } => {
                Self::SecondaryLimit { status: StatusCode::FORBIDDEN, retry_after }
            }
        }
    }

    /// The caller lacks `permission`.
    pub(super) fn forbidden(caller: &str, permission: &'static str) -> Self {
        Self::Forbidden { permission, integration: apps::installation_of(caller).is_some() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoCredential | Self::BadCredential | Self::BadAssertion(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::NoUserAgent
            | Self::Suspended
            | Self::Forbidden { .. }
            | Self::PrimaryLimit { .. } => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UnknownApp => StatusCode::NOT_FOUND,
            Self::BadJson => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SecondaryLimit { status, .. } | Self::Broken(status) => *status,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NoUserAgent => "Request forbidden by administrative rules. Please make sure \
                                  your request has a User-Agent header"
                .into(),
            Self::NoCredential => "Requires authentication".into(),
            Self::BadCredential => "Bad credentials".into(),
            Self::BadAssertion(message) => (*message).into(),
            Self::UnknownApp => "Integration not found".into(),
            Self::Suspended => "This installation has been suspended".into(),
            Self::Forbidden { integration: true, .. } => {
                "Resource not accessible by integration".into()
            }
            Self::Forbidden { .. } => "Resource not accessible by personal access token".into(),
            Self::NotFound => "Not Found".into(),
            Self::BadJson => "Problems parsing JSON".into(),
            Self::Conflict(message) | Self::Invalid(message) => message.clone(),
            Self::PrimaryLimit { login } => format!("API rate limit exceeded for user {login}."),
            Self::SecondaryLimit { .. } => "You have exceeded a secondary rate limit. Please wait \
                                            a few minutes before you try again."
                .into(),
            Self::Broken(status) => status.canonical_reason().unwrap_or("Broken").into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadCredential => Self::BadCredential,
            Refusal::NameTaken(_) => Self::Conflict(refusal.to_string()),
            Refusal::Busy(_) => Self::Invalid(refusal.to_string()),
            Refusal::NotFound => Self::NotFound,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Json(json!({
            "message": self.message(),
            "documentation_url": DOCUMENTATION,
            "status": status.as_str(),
        }));
        match self {
            Self::Forbidden { permission, .. } if !permission.is_empty() => {
                (status, [(ACCEPTED_PERMISSIONS, permission)], body).into_response()
            }
            Self::SecondaryLimit { retry_after, .. } => {
                (status, [(RETRY_AFTER, HeaderValue::from(retry_after))], body).into_response()
            }
            _ => (status, body).into_response(),
        }
    }
}
