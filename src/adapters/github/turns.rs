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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::join_all;

    use super::super::window::POINTS;
    use super::Urgency::{Act, Look};
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn spend(turns: &Turns, urgency: Urgency, cost: u32) {
        turns.take(urgency, cost).await.sent();
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_registrations_are_sent_in_a_minute_in_the_order_in_which_they_came() {
        let (turns, begin) = (Turns::new(POINTS), Instant::now());
        let times = join_all((0..200).map(|_| async {
            spend(&turns, Act, 5).await;
            begin.elapsed()
        }));
        let times = times.await;
        assert!(times.is_sorted(), "{times:?}");
        let at_once = times.iter().filter(|time| time.is_zero()).count();
        assert_eq!((at_once, times.last().copied()), (168, Some(MINUTE)));
    }

    #[tokio::test(start_paused = true)]
    async fn acts_go_before_looks_that_came_first_and_looks_are_not_starved() {
        let turns = Arc::new(Turns::new(POINTS));
        let begin = Instant::now();
        let run = |urgency, cost, count| {
            let turns = turns.clone();
            tokio::spawn(async move {
                for _ in 0..count {
                    spend(&turns, urgency, cost).await;
                }
                begin.elapsed()
            })
        };
        // Acts without an end, far more than can be sent.
        let acts: Vec<_> = (0..1_000).map(|_| run(Act, 5, 1)).collect();
        tokio::task::yield_now().await;
        let looks = run(Look, 1, 90).await.unwrap();
        assert_eq!(looks, MINUTE, "two minutes' worth of looks beside them");
        let last = join_all(acts).await.into_iter().map(Result::unwrap).max().unwrap();
        assert_eq!(last, MINUTE * 5, "1,000 at 168 a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_spends_nothing_and_holds_up_nobody() {
        let turns = Turns::new(POINTS);
        for _ in 0..168 {
            spend(&turns, Act, 5).await;
        }
        // In line and gone again, with a turn and without.
        let gone = turns.take(Act, 5);
        assert!(tokio::time::timeout(MINUTE / 2, gone).await.is_err());
        assert!(turns.window().nobody_waits());
        let begin = Instant::now();
        drop(turns.take(Act, 5).await);
        assert_eq!(begin.elapsed(), MINUTE / 2);
        assert_eq!(turns.window().left(Act, Instant::now()), 840, "not sent, not spent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poller_is_told_how_many_looks_need_not_wait() {
        let turns = Turns::new(POINTS);
        assert_eq!(turns.readiness(), Readiness { reads: 600, more_in: Duration::ZERO });
        for _ in 0..600 {
            spend(&turns, Look, 1).await;
        }
        assert_eq!(turns.readiness(), Readiness { reads: 0, more_in: MINUTE });
        turns.switch(false);
        assert_eq!(turns.readiness().reads, u32::MAX);
    }

    /// What has come of `waits` after this change, which nobody has to wait a minute for.
    async fn at_once(waits: impl Future, change: impl FnOnce()) {
        let begin = Instant::now();
        let mut waits = std::pin::pin!(waits);
        let first = tokio::time::timeout(Duration::from_secs(1), &mut waits).await;
        assert!(first.is_err(), "it waits");
        change();
        waits.await;
        assert_eq!(begin.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_as_soon_as_that_may_be() {
        // No limit, as it turns out.
        let turns = Turns::new(POINTS);
        for _ in 0..168 {
            spend(&turns, Act, 5).await;
        }
        at_once(spend(&turns, Act, 5), || turns.switch(false)).await;
        // All is under way, and one of them is not sent after all.
        let turns = Turns::new(POINTS);
        let mut under_way = Vec::new();
        for _ in 0..168 {
            under_way.push(turns.take(Act, 5).await);
        }
        at_once(spend(&turns, Act, 5), || drop(under_way.pop())).await;
        // Nobody has to be yielded to any more.
        let turns = Turns::new(POINTS);
        for _ in 0..100 {
            spend(&turns, Look, 1).await;
        }
        let waits = Waits::of(&turns);
        at_once(spend(&turns, Look, 1), || drop(waits)).await;
    }
}
