//! What is answered where nothing is done: a status, and the same JSON as everywhere.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use crate::error::{Code, Error};
use crate::operations;

/// Most bytes of a request: the tools' arguments are short.
const BODY: usize = 256 << 10;
/// How long a client may take to send them.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much more is taken, and how long, of a request that is refused anyway.
const LINGER: usize = 1 << 20;
const LINGER_PATIENCE: Duration = Duration::from_secs(5);

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

    /// Whether somebody was not let in (`refused`), or could not be served (`failed`).
    pub(super) fn outcome(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => "refused",
            _ => "failed",
        }
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
    read_within(body, BODY).await
}

/// The whole of a request's body, of so many bytes at most.
pub(super) async fn read_within(mut body: Body, most: usize) -> Result<Bytes, Refusal> {
    let refuse = |status, reason: &str, remedy: &str| {
        Err(Refusal::new(status, Error::new(Code::InvalidArgument, reason, remedy)))
    };
    let mut whole = Vec::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                whole.extend_from_slice(&data);
            }
            if whole.len() > most {
                break;
            }
        }
        Ok::<_, axum::Error>(())
    };
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(())) if whole.len() <= most => Ok(whole.into()),
        Ok(Ok(())) => {
            drop(whole);
            discard(body).await;
            let reason = format!("The request is longer than {} KiB.", most >> 10);
            refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                &reason,
                "Send less: nobody here needs that much.",
            )
        }
        Ok(Err(_)) => {
            let remedy = "Send it again, as long as Content-Length says.";
            refuse(StatusCode::BAD_REQUEST, "The request broke off.", remedy)
        }
        Err(_) => {
            let remedy = "Send it within 30 seconds.";
            refuse(StatusCode::REQUEST_TIMEOUT, "The request took too long to arrive.", remedy)
        }
    }
}

/// Takes what is left of a request and forgets it, within bounds: a client that is still sending
/// would not hear the answer.
pub(super) async fn discard(mut body: Body) {
    let taking = async {
        let mut left = LINGER;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Who takes longer is cut off.
    let _ = tokio::time::timeout(LINGER_PATIENCE, taking).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_heard_out_within_bounds() {
        let chunks = |count: usize| {
            let sent = Arc::new(AtomicUsize::new(0));
            let told = sent.clone();
            let stream = futures::stream::iter((0..count).map(move |_| {
                told.fetch_add(1, Ordering::SeqCst);
                Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 64 << 10]))
            }));
            (sent, Body::from_stream(stream))
        };
        for (count, heard) in [(10, 10), (1_000, 22)] {
            let (sent, body) = chunks(count);
            assert_eq!(read(body).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(sent.load(Ordering::SeqCst), heard);
        }
        discard(Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()))
            .await;
    }

    #[test]
    fn who_is_to_come_later_is_told_when() {
        let wait = Duration::from_millis(10);
        let response = Refusal::later(StatusCode::TOO_MANY_REQUESTS, "Full.", wait).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
