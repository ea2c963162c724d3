//! How much the loop remembers: told with each pulse, so that whoever looks can see that it is bounded.

use super::Reconciler;

/// What is remembered, and how much of it.
pub(crate) type Remembered = Vec<(&'static str, usize)>;

impl Reconciler {
    pub(super) fn sizes(&self) -> Remembered {
        let snapshot = self.published.borrow();
        vec![
            ("containers", self.containers.len()),
            ("runners", self.runners.len()),
            ("scopes", self.scopes.len()),
            ("leftovers", self.parts.leftovers.known().len()),
            ("unclaimed", self.memory.unclaimed().len()),
            ("registered", self.registered.values().map(Vec::len).sum()),
            ("flights", self.flights.runners().count()),
            ("removals", self.removals.names().len()),
            ("journeys", self.journeys.len()),
            ("memory", self.memory.len()),
            ("held", self.held.len()),
            ("held, as published", snapshot.held.len()),
            ("turns", self.turns.len()),
            ("works", self.works.len()),
            ("backoff", self.troubles.backoff().len()),
            ("events", snapshot.events.len()),
        ]
    }
}
