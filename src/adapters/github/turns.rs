//! Requests wait for their turn in a [`Window`], so that a limit is kept and not met.
//!
//! Fair: acts among themselves and looks among themselves go in the order in which they came. Only
//! the first of each line looks at the window, so a long line costs no more than a short one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::window::{Bounds, Urgency, Window};

/// How many reads may be sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// As many, none of which has to wait.
    pub reads: u32,
    /// After this time there may be more.
    pub more_in: Duration,
}

/// One limit, and who waits for it.
#[derive(Debug)]
pub(super) struct Turns {
    window: Mutex<Window>,
    changed: Notify,
    acts: tokio::sync::Mutex<()>,
    looks: tokio::sync::Mutex<()>,
}

impl Turns {
    pub(super) fn new(bounds: Bounds) -> Self {
        let window = Mutex::new(Window::new(bounds));
        let line = || tokio::sync::Mutex::new(());
        Self { window, changed: Notify::new(), acts: line(), looks: line() }
    }

    /// Waits until `cost` may be spent. Whoever stops waiting has spent nothing.
    pub(super) async fn take(&self, urgency: Urgency, cost: u32) -> Turn<'_> {
        let _waits = (urgency == Urgency::Act).then(|| Waits::of(self));
        let line = match urgency {
            Urgency::Act => &self.acts,
            Urgency::Look => &self.looks,
        };
        let _first = line.lock().await;
        loop {
            // Before the look, so that no change is missed.
            let changed = self.changed.notified();
            let more_at = {
                let mut window = self.window();
                if window.take(urgency, cost, Instant::now()) {
                    return Turn { turns: self, urgency, cost, sent: false };
                }
                window.more_at()
            };
            match more_at {
                Some(at) => tokio::select! { () = changed => (), () = sleep_until(at) => () },
                None => changed.await,
            }
        }
    }

    /// How many looks need not wait now.
    pub(super) fn readiness(&self) -> Readiness {
        let now = Instant::now();
        let mut window = self.window();
        let reads = window.left(Urgency::Look, now);
        let more_in = window.more_at().map(|at| at.saturating_duration_since(now));
        Readiness { reads, more_in: more_in.unwrap_or_default() }
    }

    /// Makes the limit hold or not.
    pub(super) fn switch(&self, on: bool) {
        if self.window().switch(on) {
            self.changed.notify_waiters();
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to send one request.
#[derive(Debug)]
#[must_use]
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    urgency: Urgency,
    cost: u32,
    sent: bool,
}

impl Turn<'_> {
    /// From here on it counts, whatever comes of it.
    pub(super) fn sent(&mut self) {
        self.sent = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut window = self.turns.window();
        if self.sent {
            window.answered(self.urgency, self.cost, Instant::now());
        } else {
            window.give_back(self.urgency, self.cost);
        }
        drop(window);
        self.turns.changed.notify_waiters();
    }
}

/// An act that waits: looks yield to it.
struct Waits<'t>(&'t Turns);

impl<'t> Waits<'t> {
    fn of(turns: &'t Turns) -> Self {
        turns.window().wait(true);
        Self(turns)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut window = self.0.window();
        window.wait(false);
        let nobody = window.nobody_waits();
        drop(window);
        if nobody {
            self.0.changed.notify_waiters();
        }
    }
}
