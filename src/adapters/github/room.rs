//! How many requests are under way at a time, in all and for one repository or organisation: one
//! whose answers hang must not hold up the others, nor looks the acts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::window::Urgency;

/// docs.github.com, "Rate limits for the REST API": 100 at a time. With [`LOOKS`] it is 90, which
/// leaves some to whoever else uses the credential.
const ACTS: usize = 24;
const LOOKS: usize = 66;
/// Of each kind for one repository or organisation.
const OF_ONE: usize = 4;

type Key = (String, Urgency);

/// Places for requests.
#[derive(Debug)]
pub(super) struct Room {
    acts: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    /// Those of which something is asked now.
    of_one: Mutex<HashMap<Key, Arc<Semaphore>>>,
}

impl Default for Room {
    fn default() -> Self {
        let (acts, looks) = (Semaphore::new(ACTS), Semaphore::new(LOOKS));
        Self { acts: Arc::new(acts), looks: Arc::new(looks), of_one: Mutex::default() }
    }
}

impl Room {
    /// Waits for a place among the requests about `whom`.
    pub(super) async fn of_one(&self, whom: &str, urgency: Urgency) -> OfOne<'_> {
        let key = (whom.to_ascii_lowercase(), urgency);
        let places = {
            let mut all = self.lock();
            let places = || Arc::new(Semaphore::new(OF_ONE));
            all.entry(key.clone()).or_insert_with(places).clone()
        };
        let mut place = OfOne { room: self, key, places, permit: None };
        place.permit = place.places.clone().acquire_owned().await.ok();
        place
    }

    /// Waits for a place among all.
    pub(super) async fn of_all(&self, urgency: Urgency) -> Option<OwnedSemaphorePermit> {
        let places = match urgency {
            Urgency::Act => &self.acts,
            Urgency::Look => &self.looks,
        };
        places.clone().acquire_owned().await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Semaphore>>> {
        self.of_one.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, or the wait for it.
#[derive(Debug)]
#[must_use]
pub(super) struct OfOne<'r> {
    room: &'r Room,
    key: Key,
    places: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for OfOne<'_> {
    fn drop(&mut self) {
        let mut all = self.room.lock();
        drop(self.permit.take());
        // The table's and ours: nobody else has it or waits for it.
        if Arc::strong_count(&self.places) == 2 {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_that_hangs_takes_no_place_from_another_nor_a_look_from_an_act() {
        let room = Room::default();
        let mut held = Vec::new();
        for _ in 0..OF_ONE {
            held.push(room.of_one("O/r", Urgency::Look).await);
        }
        assert!(room.of_one("o/R", Urgency::Look).now_or_never().is_none(), "it is full");
        assert!(room.of_one("o/r", Urgency::Act).now_or_never().is_some());
        assert!(room.of_one("o/other", Urgency::Look).now_or_never().is_some());
        held.pop();
        assert!(room.of_one("o/r", Urgency::Look).now_or_never().is_some());
        held.clear();
        assert!(room.lock().is_empty(), "who is not asked about is forgotten");
    }

    #[tokio::test]
    async fn looks_leave_places_for_acts_and_both_stay_below_githubs_bound() {
        let room = Room::default();
        let mut held = Vec::new();
        while let Some(place) = room.of_all(Urgency::Look).now_or_never() {
            held.push(place);
        }
        let acts: Vec<_> =
            std::iter::from_fn(|| room.of_all(Urgency::Act).now_or_never()).collect();
        assert_eq!((held.len(), acts.len()), (LOOKS, ACTS));
        assert_eq!(LOOKS + ACTS, 90);
    }
}
