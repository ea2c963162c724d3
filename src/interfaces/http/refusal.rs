//! What is answered where nothing is done: a status, and the same JSON as everywhere.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Code, Error};
use crate::operations;

/// Most bytes of a request: the tools' arguments are short.
const BODY: usize = 256 << 10;
/// How long a client may take to send them.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that is not served, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: Error,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }

    /// Too many of them: again after `wait`.
    pub(super) fn later(status: StatusCode, message: &str, wait: Duration) -> Self {
        let error = Error::new(Code::RateLimited, message, "Wait as long as Retry-After says.");
        // A client that is told to wait zero seconds does not wait.
        Self::new(status, error.retry_after(wait.max(Duration::from_secs(1))))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = axum::Json(operations::failure(&self.error));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.error.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The whole of a request's body, which must be short and come soon.
pub(super) async fn read(body: Body) -> Result<Bytes, Refusal> {
    let refuse = |status, reason: &str, remedy: &str| {
        Refusal::new(status, Error::new(Code::InvalidArgument, reason, remedy))
    };
    match tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if too_long(&error) => Err(refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The request is longer than 256 KiB.",
            "Send less: no tool takes that much.",
        )),
        Ok(Err(_)) => Err(refuse(
            StatusCode::BAD_REQUEST,
            "The request broke off.",
            "Send it again, as long as Content-Length says.",
        )),
        Err(_) => Err(refuse(
            StatusCode::REQUEST_TIMEOUT,
            "The request took too long to arrive.",
            "Send it within 30 seconds.",
        )),
    }
}

fn too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_may_be_as_long_as_the_bound_and_no_longer() {
        assert_eq!(read(Body::from(vec![b' '; BODY])).await.unwrap().len(), BODY);
        let refused = read(Body::from(vec![b' '; BODY + 1])).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let refused = read(Body::from_stream(never)).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_called_too_long() {
        let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let refused = read(Body::from_stream(broken)).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn who_is_to_come_later_is_told_when() {
        let wait = Duration::from_millis(10);
        let response = Refusal::later(StatusCode::TOO_MANY_REQUESTS, "Full.", wait).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
