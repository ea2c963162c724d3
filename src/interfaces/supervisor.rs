//! Tells the supervisor that started this process, such as systemd, how it goes (sd_notify(3)): that
//! it is ready, in one sentence what it does, and again and again that it lives. Who has started it
//! otherwise hears nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::model::clean_text;
use crate::runner_kit::RunnerKit;
use crate::snapshot::Snapshot;

/// Sentences follow each other no faster: nobody reads more.
const SPACING: Duration = Duration::from_secs(1);
/// Most characters of a sentence.
const SENTENCE: usize = 200;

/// Tells how `kit` goes for as long as it is awaited. It is ready when its first look is over, or `at_once`;
/// `stop` says that it is being ended.
pub(super) async fn tell(kit: RunnerKit, at_once: bool, stop: CancellationToken) {
    let watchdog = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
    let lives = async {
        if let Some(patience) = watchdog {
            beat(patience, || kit.pulse(), || send(&[NotifyState::Watchdog])).await;
        }
    };
    tokio::join!(lives, narrate(&kit, at_once, &stop));
}

/// Says that the process lives while its loop goes round. When the loop hangs nothing is said, and
/// the supervisor starts another process.
async fn beat<F: Future<Output = Result<()>>>(
    patience: Duration,
    pulse: impl Fn() -> F,
    lives: impl Fn(),
) {
    // As sd_watchdog_enabled(3) recommends.
    let half = patience / 2;
    let mut ticks = interval(half);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match tokio::time::timeout(half, pulse()).await {
            Ok(Ok(())) => lives(),
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::error!("the loop hangs: the supervisor is no longer told that it lives")
            }
        }
    }
}

async fn narrate(kit: &RunnerKit, at_once: bool, stop: &CancellationToken) {
    let mut state = kit.subscribe();
    // Credential, GitHub and engine have been looked at before; an outage since then is no reason
    // to start anew.
    let looked = |now: &Snapshot| at_once || now.last_check.is_some() || now.last_error.is_some();
    tokio::select! {
        looked = state.wait_for(looked) => if looked.is_err() { return },
        () = stop.cancelled() => {}
    }
    let mut told = sentence(kit, &state.borrow_and_update());
    send(&[NotifyState::Ready, NotifyState::Status(&told)]);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = state.changed() => if changed.is_err() { break },
        }
        let (is_over, now) = {
            let snapshot = state.borrow_and_update();
            (!snapshot.running, sentence(kit, &snapshot))
        };
        if is_over {
            break;
        }
        if now != told {
            send(&[NotifyState::Status(&now)]);
            told = now;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(SPACING) => {}
        }
    }
    let last = NotifyState::Status("Stopping; runners go on until their job is done.");
    send(&[NotifyState::Stopping, last]);
}

/// What it does, in a sentence for `systemctl status`.
fn sentence(kit: &RunnerKit, snapshot: &Snapshot) -> String {
    let status = kit.status_of(snapshot);
    let text = match status.last_error {
        Some(error) => error.message,
        None if status.last_check.is_none() => "The first look is under way.".to_owned(),
        None => format!(
            "{} of {} runners; {} jobs wait.",
            status.active_runners, status.capacity.max, status.queued_jobs
        ),
    };
    // A line ends what is told: what follows would be taken for more of it.
    clean_text(&text, SENTENCE)
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor was not told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_hears_twice_in_its_patience_that_the_loop_lives_and_nothing_when_it_hangs()
     {
        let (hangs, heard) = (&AtomicBool::new(false), &AtomicUsize::new(0));
        let pulse = || async {
            if hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        let patience = Duration::from_secs(10);
        let lives = || {
            heard.fetch_add(1, Ordering::SeqCst);
        };
        let beating = beat(patience, pulse, lives);
        tokio::pin!(beating);
        let mut pass = async |seconds| {
            let _ = tokio::time::timeout(Duration::from_secs(seconds), beating.as_mut()).await;
            heard.swap(0, Ordering::SeqCst)
        };
        assert_eq!(pass(101).await, 21, "one at once, then twice in ten seconds");
        hangs.store(true, Ordering::SeqCst);
        assert_eq!(pass(100).await, 0);
        hangs.store(false, Ordering::SeqCst);
        assert!(pass(100).await > 15, "it goes on where the loop does");
    }
}
