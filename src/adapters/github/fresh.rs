//! What ends, and is fetched once for all who wait for it, whatever comes of that.

use tokio::time::Instant;

use crate::error::{Error, Result};

/// A value that is fetched when it is wanted and there is none that lasts.
pub(crate) struct Fresh<T>(tokio::sync::Mutex<Slot<T>>);

struct Slot<T> {
    value: Option<T>,
    /// The last failure, for those who waited for it.
    failure: Option<(Instant, Error)>,
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::new(Slot { value: None, failure: None }))
    }
}

impl<T: Clone> Fresh<T> {
    /// The value that is known, where it `lasts`; otherwise what `fetch` gets.
    pub(crate) async fn get(
        &self,
        lasts: impl FnOnce(&T) -> bool,
        fetch: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let came = Instant::now();
        // Held while fetching, so that a burst asks once, whatever the answer.
        let mut slot = self.0.lock().await;
        if let Some(value) = slot.value.as_ref().filter(|value| lasts(value)) {
            return Ok(value.clone());
        }
        if let Some((_, error)) = slot.failure.as_ref().filter(|(at, _)| *at > came) {
            return Err(error.clone());
        }
        match fetch.await {
            Ok(value) => {
                *slot = Slot { value: Some(value.clone()), failure: None };
                Ok(value)
            }
            Err(error) => {
                slot.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}
