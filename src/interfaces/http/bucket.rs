//! A bound on how often something is done.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: so many at once, and one more after each `refill`.
#[derive(Debug)]
pub(super) struct Bucket {
    refill: Duration,
    size: u32,
    /// When the bucket is full again: all that is known of it.
    full: Mutex<Instant>,
}

impl Bucket {
    /// A full bucket of `size`.
    pub(super) fn new(size: u32, refill: Duration) -> Self {
        Self { refill, size, full: Mutex::new(Instant::now()) }
    }

    /// Takes one, or says how long there will be none.
    pub(super) fn take(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full).max(now) + self.refill;
        let wait = next.saturating_duration_since(now + self.refill * self.size);
        if wait.is_zero() {
            *full = next;
            return Ok(());
        }
        Err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_bounded_and_one_comes_back_after_each_refill() {
        let second = Duration::from_secs(1);
        let bucket = Bucket::new(3, second);
        let taken = || std::iter::from_fn(|| bucket.take().ok()).count();
        assert_eq!((taken(), bucket.take()), (3, Err(second)));
        tokio::time::advance(second / 2).await;
        assert_eq!(bucket.take(), Err(second / 2));
        tokio::time::advance(second / 2).await;
        assert_eq!(taken(), 1);
        tokio::time::advance(second * 60).await;
        assert_eq!(taken(), 3);
    }
}
