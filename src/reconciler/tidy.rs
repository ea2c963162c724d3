//! Keeping house, once a minute: the engine does it, and what it tells is shown.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinError;
use tokio::time::Instant;

use super::Reconciler;
use super::rounds::BETWEEN_TIDYINGS;
use super::told::{About, Told};

/// What keeping house came to.
#[derive(Debug, Default)]
pub(super) struct Tidied {
    /// What was done that is worth knowing.
    done: Vec<String>,
    /// What is worth knowing for as long as it is so.
    concerns: Vec<String>,
}

impl Reconciler {
    /// Has the engine keep house, beside all that is more important.
    pub(super) fn tidy(&mut self) {
        self.rounds.next_tidying = None;
        let engine = self.parts.engine.clone();
        self.tidyings.spawn(async move {
            let done = Mutex::new(Vec::new());
            let told = |what: &str| {
                done.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_owned());
            };
            let concerns = engine.tidy(&told).await;
            Tidied { done: done.into_inner().unwrap_or_else(PoisonError::into_inner), concerns }
        });
    }

    pub(super) fn tidied(&mut self, tidied: Result<Tidied, JoinError>) {
        self.rounds.next_tidying = Some(Instant::now() + BETWEEN_TIDYINGS);
        let Tidied { done, concerns } = tidied.unwrap_or_else(|error| {
            tracing::error!(%error, "keeping house failed");
            Tidied::default()
        });
        for what in done {
            self.tell(Told::Tidied, "engine", what, &About::default());
        }
        let before = std::mem::replace(&mut self.concerns, concerns);
        // Logged once: the numbers in them change all the time.
        for new in self.concerns.iter().filter(|_| before.is_empty()) {
            tracing::warn!("{new}");
        }
        if self.concerns != before {
            let warnings = self.all_warnings();
            self.publish(|snapshot| snapshot.warnings = warnings);
        }
    }

    /// All that there is to say beside failures.
    pub(super) fn all_warnings(&self) -> Vec<String> {
        let told = self.demand.iter().flat_map(|demand| &demand.warnings);
        let standing = self.warnings.iter().chain(&self.concerns).chain(told).cloned();
        standing.chain(self.doubts()).collect()
    }
}
