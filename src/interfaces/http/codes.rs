//! One-time codes: what stands in a printed link, instead of a token.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::tokens::{Fingerprint, Role, secret};
use crate::error::{Error, Result};

/// How long a code can be used.
pub(super) const LIFE: Duration = Duration::from_secs(600);
/// Most codes at a time; the oldest goes first.
const MOST: usize = 16;
/// Attempts at once, and the time after which there is one more.
const ATTEMPTS: (u32, Duration) = (10, Duration::from_secs(1));

/// The codes that nobody has used yet.
#[derive(Debug)]
pub(super) struct Codes {
    open: Mutex<VecDeque<Code>>,
    attempts: Bucket,
}

#[derive(Debug)]
struct Code {
    digest: Fingerprint,
    role: Role,
    end: Instant,
}

/// Why a code was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It was used, is too old, or never was one.
    Unknown,
    /// Too many attempts: one more after this long.
    TooOften(Duration),
}

impl Codes {
    pub(super) fn new() -> Self {
        Self { open: Mutex::default(), attempts: Bucket::new(ATTEMPTS.0, ATTEMPTS.1) }
    }

    /// A new code for `role`.
    pub(super) fn make(&self, role: Role) -> Result<String> {
        let mut code = secret().map_err(|error| {
            Error::internal(format!("There is no randomness: {error}."), "Try again.")
        })?;
        // 128 bits are ample for ten minutes of bounded attempts, and the link fits in a line.
        code.truncate(32);
        let end = Instant::now() + LIFE;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(Code { digest: Fingerprint::of(&code), role, end });
        if open.len() > MOST {
            open.pop_front();
        }
        Ok(code)
    }

    /// The role that the code `given` is for; never again.
    pub(super) fn take(&self, given: &str) -> Result<Role, Wrong> {
        self.attempts.take().map_err(Wrong::TooOften)?;
        let given = Fingerprint::of(given);
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|code| now < code.end);
        // Every one is compared, whatever is found.
        let found = open
            .iter()
            .enumerate()
            .filter(|(_, code)| code.digest.is(&given))
            .fold(None, |_, (at, _)| Some(at));
        let code = found.and_then(|at| open.remove(at)).ok_or(Wrong::Unknown)?;
        Ok(code.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_code_is_taken_once_and_gives_its_role() {
        let codes = Codes::new();
        let (operate, look) = (codes.make(Role::Operate).unwrap(), codes.make(Role::Look).unwrap());
        assert_ne!(operate, look);
        assert_eq!(codes.take("guess"), Err(Wrong::Unknown));
        assert_eq!(codes.take(&look), Ok(Role::Look));
        assert_eq!(codes.take(&look), Err(Wrong::Unknown));
        assert_eq!(codes.take(&operate), Ok(Role::Operate));
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_ends_after_ten_minutes() {
        let codes = Codes::new();
        let (early, late) = (codes.make(Role::Look).unwrap(), codes.make(Role::Look).unwrap());
        tokio::time::advance(LIFE - Duration::from_millis(1)).await;
        assert_eq!(codes.take(&early), Ok(Role::Look));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(codes.take(&late), Err(Wrong::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_slowed_down() {
        let codes = Codes::new();
        let right = codes.make(Role::Look).unwrap();
        let guesses = (0..100).filter(|_| codes.take("guess") == Err(Wrong::Unknown)).count();
        assert_eq!(guesses, 10);
        assert!(matches!(codes.take(&right), Err(Wrong::TooOften(_))));
        tokio::time::advance(ATTEMPTS.1).await;
        assert_eq!(codes.take(&right), Ok(Role::Look));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_codes_the_oldest_are_forgotten() {
        let codes = Codes::new();
        let made: Vec<_> = (0..=MOST).map(|_| codes.make(Role::Look).unwrap()).collect();
        assert_eq!(codes.take(&made[0]), Err(Wrong::Unknown));
        assert_eq!(codes.take(&made[1]), Ok(Role::Look));
    }
}
