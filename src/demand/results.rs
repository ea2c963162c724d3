//! How jobs ended, as far as events tell it before their runners are gone. Nothing is decided by it.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::{Ending, JobResult};

/// Ends that are remembered: more than there are runners.
const MOST: NonZeroUsize = NonZeroUsize::new(2_000).unwrap();

/// Results by the runner's name.
#[derive(Debug)]
pub(super) struct Results(Mutex<LruCache<String, JobResult>>);

impl Default for Results {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Results {
    pub(super) fn tell(&self, Ending { runner, result }: Ending) {
        self.lock().put(runner, result);
    }

    pub(super) fn of(&self, runner: &str) -> Option<JobResult> {
        self.lock().peek(runner).copied()
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, JobResult>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
