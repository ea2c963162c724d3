//! The numbers of the last day: taken once a minute while the loop runs.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::RunnerKit;
use crate::config::RunnerConfig;
use crate::lifecycle::Parts;
use crate::model::Phase;
use crate::samples::{INTERVAL, Sample, Series};
use crate::snapshot::Snapshot;

impl RunnerKit {
    /// Queue, runners and GitHub's budget in the last 24 hours, minute by minute. While the
    /// autoscaler is off nothing is added.
    pub fn samples(&self) -> Series {
        self.parts.samples.series((self.parts.clock)().timestamp())
    }

    /// When the latest sample was taken (in seconds since 1970), and each time that there is
    /// another.
    pub fn subscribe_samples(&self) -> watch::Receiver<i64> {
        self.parts.samples.subscribe()
    }
}

/// Takes samples until the loop is gone. It must not hold what keeps the loop alive.
pub(super) async fn run(
    config: Arc<RunnerConfig>,
    parts: Parts,
    mut published: watch::Receiver<Snapshot>,
) {
    loop {
        // Before the first look a queue would seem to be empty.
        let began = match published.wait_for(|now| now.running && now.demand.is_some()).await {
            Ok(snapshot) => snapshot.started_at,
            Err(_) => return,
        };
        let mut minutes = interval(INTERVAL);
        // A machine that slept has missed them: two at once would say nothing.
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = published.clone();
        let ended = ending.wait_for(|now| !now.running || now.started_at != began);
        let take = async {
            loop {
                minutes.tick().await;
                let now = (parts.clock)().timestamp();
                let sample = sample(config.max_runners, &published.borrow(), now);
                parts.samples.record(sample);
            }
        };
        tokio::select! {
            // First: a loop that has ended has no more samples.
            biased;
            ended = ended => if ended.is_err() { return },
            () = take => {}
        }
    }
}

fn sample(capacity: usize, snapshot: &Snapshot, at: i64) -> Sample {
    let runners = |is: fn(Phase) -> bool| snapshot.runners.iter().filter(|r| is(r.phase)).count();
    let demand = snapshot.demand.as_ref();
    Sample {
        at,
        queued_jobs: snapshot.queued.jobs,
        active_runners: runners(|phase| phase != Phase::Exited),
        busy_runners: runners(|phase| phase == Phase::Busy),
        capacity,
        api_remaining: demand.and_then(|d| d.rate_limit.as_ref()).map(|limit| limit.remaining),
    }
}
