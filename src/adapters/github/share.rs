//! The part of the hourly budget that looks may use. Pure.
//!
//! GitHub counts what a credential asks for, whoever has it: for a user's token all of that user's
//! programs together. What is not modified costs nothing.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Allowance;

/// What is told of the same hour may differ by a little.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);
/// Of so many requests one is kept for acts, however much others have used.
const KEPT: u32 = 20;
/// The first minutes, in which everything is seen for the first time, say nothing about the rate.
const SETTLED: TimeDelta = TimeDelta::minutes(10);

/// The hourly budget as the last answer told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    pub(super) reset_at: DateTime<Utc>,
}

/// Our share, and what looks have used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    percent: u32,
    used: u32,
    /// Looks that may turn out to be charged.
    under_way: u32,
    /// The end of the hour that is counted, once it was told.
    hour: Option<DateTime<Utc>>,
    /// The end of the last hour that was over by our clock.
    turned: Option<DateTime<Utc>>,
    /// When counting began.
    since: Option<DateTime<Utc>>,
}

impl Share {
    pub(super) fn of(percent: u32) -> Self {
        Self { percent, used: 0, under_way: 0, hour: None, turned: None, since: None }
    }

    /// Charged requests an hour that looks may make.
    fn most(&self, limit: u32) -> u32 {
        u32::try_from(u64::from(limit) * u64::from(self.percent) / 100).unwrap_or(limit)
    }

    /// What looks may cost, and what of it is left until `reset_at`.
    pub(super) fn allowance(&self, primary: &Primary, reset_at: DateTime<Utc>) -> Allowance {
        Allowance { share: self.most(primary.limit), left: self.left(primary), reset_at }
    }

    /// What looks may still use, with all that is under way counted as charged.
    pub(super) fn left(&self, primary: &Primary) -> u32 {
        self.unused(primary).saturating_sub(self.under_way)
    }

    /// What looks may still use if what is under way turns out to be free.
    pub(super) fn unused(&self, primary: &Primary) -> u32 {
        let most = self.most(primary.limit);
        let kept = (primary.limit / KEPT).min(primary.limit - most);
        most.saturating_sub(self.used).min(primary.remaining.saturating_sub(kept))
    }

    /// One look is about to be sent.
    pub(super) fn begin(&mut self, now: DateTime<Utc>) {
        self.since.get_or_insert(now);
        self.under_way += 1;
    }

    /// One look was answered, or not.
    pub(super) fn end(&mut self, charged: bool) {
        self.under_way -= 1;
        self.used += u32::from(charged);
    }

    /// An answer told that its hour ends at `reset_at`. False where that hour is over already.
    pub(super) fn told(&mut self, reset_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        // By a clock that is ahead of GitHub's the hour is over before GitHub ends it.
        let is_over = |turned: DateTime<Utc>| reset_at <= turned + TOLERANCE;
        if self.hour.is_none() && self.turned.is_some_and(is_over) && reset_at <= now {
            return false;
        }
        match self.hour {
            Some(hour) if reset_at < hour - TOLERANCE && reset_at <= now => return false,
            Some(hour) if reset_at > hour + TOLERANCE => self.renew(),
            _ => {}
        }
        self.hour = Some(reset_at);
        true
    }

    /// Whether the hour that was counted is over: then a new one begins with the next request.
    pub(super) fn turn(&mut self, now: DateTime<Utc>) -> bool {
        let over = self.hour.is_some_and(|hour| hour <= now);
        if over {
            self.renew();
            self.turned = self.hour.take();
        }
        over
    }

    fn renew(&mut self) {
        (self.used, self.since) = (0, None);
    }

    /// What is to be said of looks, where they have reached their share or will before its renewal.
    pub(super) fn forecast(&self, primary: &Primary, now: DateTime<Utc>) -> Option<String> {
        let Primary { limit, remaining, reset_at } = *primary;
        let (most, renewal) = (self.most(limit), reset_at.format("%H:%M"));
        if self.used >= most {
            return Some(format!(
                "Looks have used their share of {most} of {limit} requests and go on at {renewal} \
                 UTC; launches go on."
            ));
        }
        if self.unused(primary) == 0 {
            return Some(format!(
                "Looks go on at {renewal} UTC: the last {remaining} of {limit} requests are kept \
                 for launches."
            ));
        }
        let passed = (now - self.since?).max(SETTLED).as_seconds_f64();
        let rate = f64::from(self.used) / passed;
        let until = f64::from(most - self.used) / rate;
        if until >= (reset_at - now).as_seconds_f64() {
            return None;
        }
        let end = now + TimeDelta::seconds(until as i64);
        Some(format!(
            "Looks reach their share of {most} of {limit} requests at about {} UTC at this rate \
             and go on at {renewal} UTC; launches go on.",
            end.format("%H:%M")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn primary(remaining: u32) -> Primary {
        Primary { limit: 5_000, remaining, reset_at: at(3_600) }
    }

    fn used(percent: u32, used: u32) -> Share {
        Share { used, hour: Some(at(3_600)), since: Some(at(0)), ..Share::of(percent) }
    }

    #[test]
    fn a_clock_that_is_ahead_of_githubs_does_not_renew_the_share_again_and_again() {
        let mut share = used(50, 2_500);
        assert!(share.turn(at(3_600)));
        for second in 3_600..3_900 {
            assert!(!share.told(at(3_600), at(second)), "GitHub has not ended its hour yet");
            share.used += 1;
            assert!(!share.turn(at(second)), "{second}");
        }
        assert!(share.told(at(7_200), at(3_900)));
        assert_eq!(share.used, 300, "what was used meanwhile counts");
    }

    #[test]
    fn looks_may_use_their_share_and_no_more_than_others_have_left() {
        assert_eq!(used(50, 0).left(&primary(5_000)), 2_500);
        assert_eq!(used(50, 2_499).left(&primary(2_501)), 1);
        assert_eq!(used(50, 2_600).left(&primary(2_400)), 0, "a lower share was used up before");
        assert_eq!(used(50, 0).left(&primary(1_000)), 750, "a twentieth is kept for launches");
        assert_eq!(used(100, 4_990).left(&primary(10)), 10, "unless all of it was to be used");
    }

    #[test]
    fn what_is_under_way_counts_as_charged_until_it_is_not() {
        let mut share = used(1, 48);
        let left = |share: &Share| share.left(&primary(5_000));
        share.begin(at(0));
        share.begin(at(0));
        assert_eq!(left(&share), 0);
        share.end(false);
        assert_eq!(left(&share), 1);
        share.end(true);
        assert_eq!((left(&share), share.used), (1, 49));
    }

    #[test]
    fn a_new_hour_renews_the_share_and_an_old_answer_does_not() {
        let mut share = used(50, 2_500);
        assert!(share.told(at(3_601), at(1_000)) && share.used == 2_500, "the same hour");
        assert!(share.told(at(7_200), at(3_700)) && share.used == 0);
        share.used = 7;
        assert!(!share.told(at(3_600), at(3_701)) && share.used == 7, "overtaken");
        assert!(!share.turn(at(7_199)) && share.used == 7);
        assert!(share.turn(at(7_200)) && share.used == 0);
        share.used = 3;
        assert!(share.told(at(9_000), at(7_201)) && share.used == 3, "counted from its beginning");
    }

    #[test]
    fn the_forecast_says_when_looks_stop_and_when_they_go_on() {
        let said =
            |share: Share, remaining, second| share.forecast(&primary(remaining), at(second));
        assert_eq!(said(used(50, 100), 4_900, 1_800), None);
        assert_eq!(
            said(used(50, 2_500), 2_500, 1_800).unwrap(),
            "Looks have used their share of 2500 of 5000 requests and go on at 01:00 UTC; launches \
             go on."
        );
        assert_eq!(
            said(used(50, 2_000), 3_000, 1_800).unwrap(),
            "Looks reach their share of 2500 of 5000 requests at about 00:37 UTC at this rate and \
             go on at 01:00 UTC; launches go on."
        );
        assert_eq!(
            said(used(50, 100), 250, 1_800).unwrap(),
            "Looks go on at 01:00 UTC: the last 250 of 5000 requests are kept for launches."
        );
        assert_eq!(said(used(50, 300), 4_700, 10), None, "the first looks cost most");
    }
}
