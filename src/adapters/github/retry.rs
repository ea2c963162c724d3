//! The one policy of trying again.
//!
//! What may have been carried out is repeated only where repeating does no harm (GET, DELETE): a
//! POST whose answer was lost has perhaps registered a runner. A limit is waited for only when it
//! is over in a moment; the caller knows better what to do meanwhile.

use std::io;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use http::Method;

use crate::error::{Code, Error, Result};

/// Tries of a request that may be repeated.
const TRIES: usize = 3;
/// The first wait; each further one is about twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest limit that is waited for here, in seconds.
const SHORT: u64 = 2;

/// What came of one try that did not fail for good.
#[derive(Debug)]
pub(super) enum Tried<T> {
    Done(T),
    /// It may work another time, and may have been carried out this time.
    Failed(Error),
    /// It may work another time, and has certainly not been carried out.
    Unsent(Error),
}

impl<T> Tried<T> {
    /// Goes on with what was done.
    pub(super) fn and_then<U>(self, next: impl FnOnce(T) -> Result<Tried<U>>) -> Result<Tried<U>> {
        match self {
            Self::Done(value) => next(value),
            Self::Failed(error) => Ok(Tried::Failed(error)),
            Self::Unsent(error) => Ok(Tried::Unsent(error)),
        }
    }
}

/// Tries until it is done, in vain for good, or has failed often enough.
pub(super) async fn repeat<T, F>(method: &Method, mut once: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Tried<T>>>,
{
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_times(TRIES - 1)
        .with_jitter()
        .build();
    loop {
        let (error, asked) = match once().await {
            Ok(Tried::Done(value)) => return Ok(value),
            Ok(Tried::Failed(error)) if *method == Method::POST => return Err(error),
            Ok(Tried::Failed(error) | Tried::Unsent(error)) => (error, Duration::ZERO),
            Err(error) => match short_limit(&error) {
                Some(wait) => (error, wait),
                None => return Err(error),
            },
        };
        match waits.next() {
            Some(wait) => tokio::time::sleep(wait.max(asked)).await,
            None => return Err(error),
        }
    }
}

/// The wait that a limit asks for: what met a limit was not carried out.
fn short_limit(error: &Error) -> Option<Duration> {
    let wait = error.retry_after.filter(|wait| error.code == Code::RateLimited && *wait <= SHORT);
    wait.map(Duration::from_secs)
}

/// The cause at the bottom: octocrab's own texts carry back traces.
pub(crate) fn innermost<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> &'e (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// Whether nobody can have got the request: only the attempt to connect is ever refused.
pub(crate) fn was_never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = innermost(error).downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use tokio::time::Instant;

    use super::*;

    fn broken() -> Error {
        Error::new(Code::GithubUnreachable, "", "")
    }

    fn limited(seconds: u64) -> Error {
        Error::new(Code::RateLimited, "", "").retry_after(Duration::from_secs(seconds))
    }

    /// How often it is tried when this comes of the tries, and whether it succeeds.
    async fn tries(method: Method, outcomes: Vec<Result<Tried<()>>>) -> (usize, bool) {
        let all = outcomes.len();
        let left = RefCell::new(VecDeque::from(outcomes));
        let done = repeat(&method, async || left.borrow_mut().pop_front().unwrap()).await.is_ok();
        (all - left.into_inner().len(), done)
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_no_harm_is_tried_three_times() {
        let outcomes = |failures| {
            let failed = (0..failures).map(|_| Ok(Tried::Failed(broken())));
            failed.chain([Ok(Tried::Done(()))]).collect()
        };
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(tries(method.clone(), outcomes(2)).await, (3, true));
            assert_eq!(tries(method, outcomes(5)).await, (3, false));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_is_repeated_only_when_it_was_certainly_not_carried_out() {
        let post = |first| tries(Method::POST, vec![first, Ok(Tried::Done(()))]);
        assert_eq!(post(Ok(Tried::Failed(broken()))).await, (1, false));
        assert_eq!(post(Ok(Tried::Unsent(broken()))).await, (2, true));
        assert_eq!(post(Err(limited(SHORT))).await, (2, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_limit_is_waited_for_in_full_and_a_long_one_is_told_at_once() {
        let begun = Instant::now();
        assert_eq!(tries(Method::GET, vec![Err(limited(SHORT)), Ok(Tried::Done(()))]).await.0, 2);
        assert!(begun.elapsed() >= Duration::from_secs(SHORT));
        let begun = Instant::now();
        assert_eq!(tries(Method::GET, vec![Err(limited(SHORT + 1))]).await, (1, false));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_final() {
        let denied = Error::new(Code::TokenDenied, "", "");
        assert_eq!(tries(Method::GET, vec![Err(denied)]).await, (1, false));
    }
}
