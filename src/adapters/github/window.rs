//! What was spent of a limit that counts over a stretch of time. Pure.
//!
//! When the server's stretch begins is not known, nor when exactly a request arrives. So one counts
//! from the moment it is sent until a whole length after its answer: of any stretch that the server
//! may choose, all that arrived in it still counts when the last of it is sent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What a request is for, which decides who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Urgency {
    /// To change something, or what that has to wait for: a job waits behind it.
    Act,
    /// To look, which can be done a little later.
    Look,
}

/// How much may be spent within any stretch of `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) length: Duration,
    /// By all together.
    pub(super) all: u32,
    /// By acts: looks are never starved.
    pub(super) acts: u32,
    /// By looks: a burst of acts need not wait for what looks have spent.
    pub(super) looks: u32,
    /// By looks while acts wait.
    pub(super) yielding: u32,
}

/// docs.github.com, "Rate limits for the REST API": 900 points a minute, of which a change costs 5
/// and all else 1. A few are left to whoever else uses the credential. Whatever was looked at
/// before, 57 runners can be registered at once; with looks in between it is 168 a minute.
pub(super) const POINTS: Bounds =
    Bounds { length: Duration::from_secs(60), all: 885, acts: 840, looks: 600, yielding: 45 };

/// docs.github.com, "Actions limits": 1,500 runners in five minutes of a repository or organisation.
/// Runners register some time after they got their token, so a part is left free.
pub(super) const REGISTRATIONS: Bounds =
    Bounds { length: Duration::from_secs(300), all: 1_400, acts: 1_400, looks: 0, yielding: 0 };

/// What was spent, and who waits.
#[derive(Debug)]
pub(super) struct Window {
    bounds: Bounds,
    /// Whether the bounds hold: a server without limits need not be spared.
    on: bool,
    acts: Spent,
    looks: Spent,
    /// Acts that wait for their turn.
    waiting: usize,
}

#[derive(Debug, Default)]
struct Spent {
    under_way: u32,
    /// What was answered: until when it counts, and how much it was; the oldest first.
    answered: VecDeque<(Instant, u32)>,
    sum: u32,
}

impl Spent {
    fn used(&self) -> u32 {
        self.under_way + self.sum
    }

    fn forget(&mut self, now: Instant) {
        while let Some((_, cost)) = self.answered.front().filter(|(until, _)| *until <= now) {
            self.sum -= cost;
            self.answered.pop_front();
        }
    }
}

impl Window {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (acts, looks) = (Spent::default(), Spent::default());
        Self { bounds, on: true, acts, looks, waiting: 0 }
    }

    /// What may be spent now.
    pub(super) fn left(&mut self, urgency: Urgency, now: Instant) -> u32 {
        self.acts.forget(now);
        self.looks.forget(now);
        if !self.on {
            return u32::MAX;
        }
        let (acts, looks) = (self.acts.used(), self.looks.used());
        let own = match urgency {
            Urgency::Act => self.bounds.acts.saturating_sub(acts),
            Urgency::Look if self.waiting > 0 => self.bounds.yielding.saturating_sub(looks),
            Urgency::Look => self.bounds.looks.saturating_sub(looks),
        };
        own.min(self.bounds.all.saturating_sub(acts + looks))
    }

    /// Spends `cost` for a request that is about to be sent, if there is as much.
    pub(super) fn take(&mut self, urgency: Urgency, cost: u32, now: Instant) -> bool {
        let enough = cost <= self.left(urgency, now);
        if enough {
            self.spent(urgency).under_way += cost;
        }
        enough
    }

    /// Such a request was not sent.
    pub(super) fn give_back(&mut self, urgency: Urgency, cost: u32) {
        self.spent(urgency).under_way -= cost;
    }

    /// Such a request was answered, or given up, after which it can no longer be counted.
    pub(super) fn answered(&mut self, urgency: Urgency, cost: u32, now: Instant) {
        let until = now + self.bounds.length;
        let spent = self.spent(urgency);
        spent.under_way -= cost;
        spent.sum += cost;
        spent.answered.push_back((until, cost));
    }

    /// When there will next be more; nothing where it is not known yet.
    pub(super) fn more_at(&self) -> Option<Instant> {
        let first = |spent: &Spent| spent.answered.front().map(|(until, _)| *until);
        first(&self.acts).into_iter().chain(first(&self.looks)).min()
    }

    /// One more act waits, or one less.
    pub(super) fn wait(&mut self, begins: bool) {
        self.waiting = if begins { self.waiting + 1 } else { self.waiting.saturating_sub(1) };
    }

    /// Whether nobody has to yield.
    pub(super) fn nobody_waits(&self) -> bool {
        self.waiting == 0
    }

    /// Makes the bounds hold or not; whether that is new.
    pub(super) fn switch(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.on, on) != on
    }

    fn spent(&mut self, urgency: Urgency) -> &mut Spent {
        match urgency {
            Urgency::Act => &mut self.acts,
            Urgency::Look => &mut self.looks,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Urgency::{Act, Look};
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Spends for requests that are answered at once; how many there were.
    fn spend(window: &mut Window, urgency: Urgency, cost: u32, now: Instant) -> u32 {
        let mut count = 0;
        while window.take(urgency, cost, now) {
            window.answered(urgency, cost, now);
            count += 1;
        }
        count
    }

    #[test]
    fn a_burst_of_registrations_comes_within_a_tenth_of_githubs_180_a_minute() {
        let (mut window, begin) = (Window::new(POINTS), Instant::now());
        let first = spend(&mut window, Act, 5, begin);
        assert!(first * 10 >= 180 * 9, "{first}");
        assert_eq!(spend(&mut window, Act, 5, begin + seconds(59)), 0);
        assert_eq!(window.more_at(), Some(begin + seconds(60)));
        assert_eq!(spend(&mut window, Act, 5, begin + seconds(60)), first);
    }

    #[test]
    fn looks_leave_room_for_a_burst_and_yield_to_acts_that_wait_but_never_starve() {
        let (mut window, begin) = (Window::new(POINTS), Instant::now());
        assert_eq!(spend(&mut window, Look, 1, begin), 600);
        assert_eq!(spend(&mut window, Act, 5, begin), 57);
        let (mut window, begin) = (Window::new(POINTS), Instant::now());
        window.wait(true);
        assert_eq!(spend(&mut window, Look, 1, begin), 45);
        spend(&mut window, Act, 5, begin);
        assert_eq!(spend(&mut window, Look, 1, begin + seconds(60)), 45, "once more, before acts");
        window.wait(false);
        assert!(spend(&mut window, Look, 1, begin + seconds(60)) > 500, "nobody waits any more");
    }

    #[test]
    fn what_is_under_way_counts_until_a_minute_after_its_answer() {
        let bounds = Bounds { all: 10, acts: 10, ..POINTS };
        let (mut window, begin) = (Window::new(bounds), Instant::now());
        assert!(window.take(Act, 5, begin) && window.take(Act, 5, begin));
        assert!(!window.take(Act, 5, begin + seconds(600)) && window.more_at().is_none());
        window.answered(Act, 5, begin + seconds(600));
        assert!(!window.take(Act, 5, begin + seconds(659)));
        assert!(window.take(Act, 5, begin + seconds(660)));
        window.give_back(Act, 5);
        assert_eq!(window.left(Act, begin + seconds(660)), 5, "what was not sent does not count");
    }

    #[test]
    fn a_server_without_limits_is_not_spared() {
        let (mut window, now) = (Window::new(POINTS), Instant::now());
        assert!(window.switch(false) && !window.switch(false));
        for _ in 0..5_000 {
            assert!(window.take(Act, 5, now));
            window.answered(Act, 5, now);
        }
        window.switch(true);
        assert_eq!(window.left(Act, now), 0, "what was sent is known when the limit comes");
    }

    /// One attempt to send: how long after the last, what, and how late it arrives and is answered.
    fn attempts() -> impl Strategy<Value = Vec<(u64, bool, u64, u64)>> {
        let one = (0_u64..400, any::<bool>(), 0_u64..20_000, 0_u64..20_000);
        proptest::collection::vec(one, 500..1_500)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever minute the server counts, and however late requests arrive and are answered.
        #[test]
        fn no_minute_of_the_server_ever_sees_more_than_its_bound(attempts in attempts()) {
            let (mut window, begin) = (Window::new(POINTS), Instant::now());
            let mut now = begin;
            let mut under_way: Vec<(Instant, Urgency, u32)> = Vec::new();
            let mut arrived: Vec<(Instant, u32)> = Vec::new();
            for (pause, acts, late, later) in attempts {
                now += Duration::from_millis(pause);
                under_way.sort_by_key(|(at, ..)| *at);
                let open = under_way.partition_point(|(at, ..)| *at <= now);
                for (at, urgency, cost) in under_way.drain(..open) {
                    window.answered(urgency, cost, at);
                }
                let (urgency, cost) = if acts { (Act, 5) } else { (Look, 1) };
                if window.take(urgency, cost, now) {
                    let arrives = now + Duration::from_millis(late);
                    arrived.push((arrives, cost));
                    under_way.push((arrives + Duration::from_millis(later), urgency, cost));
                }
            }
            arrived.sort();
            // The fullest minutes begin with an arrival.
            for (index, (from, _)) in arrived.iter().enumerate() {
                let minute = arrived[index..].iter().take_while(|(at, _)| *at < *from + seconds(60));
                let points: u32 = minute.map(|(_, cost)| cost).sum();
                prop_assert!(points <= POINTS.all, "{points}");
            }
        }
    }
}
