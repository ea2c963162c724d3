//! Asking for the demand, and what is told of it meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Reconciler;
use super::answers::answer;
use super::told::About;
use crate::error::{Error, Result};
use crate::metrics::{Failing, Part};
use crate::model::{Demand, Repo, Scope};
use crate::ports::DemandSource;

/// A pass that came back.
pub(super) struct Passed {
    number: u64,
    begun: Instant,
    demand: Result<Demand>,
}

impl Reconciler {
    /// Asks for the demand.
    pub(super) fn pass(&mut self) {
        let begun = Instant::now();
        let number = self.rounds.pass_begins(begun);
        let source = self.parts.source.clone();
        self.passes.spawn(async move { Passed { number, begun, demand: source.demand().await } });
    }

    /// Something is known that was not asked for, or not yet answered in full.
    pub(super) fn hear(&mut self) {
        let begun = Instant::now();
        let Some(demand) = self.parts.source.known() else { return };
        self.demand = Some(Arc::new(demand));
        self.go_on();
        self.rounds.heard(begun.elapsed(), Instant::now());
    }

    /// A pass is over: who waited for it is told, and the next one set.
    pub(super) fn heed(&mut self, passed: Passed) {
        let Passed { number, begun, demand } = passed;
        let now = (self.parts.clock)();
        let failed = match demand {
            Ok(demand) => {
                self.demand = Some(Arc::new(demand));
                None
            }
            Err(error) => {
                self.demand = self.parts.source.known().map(Arc::new);
                Some(error)
            }
        };
        self.blind = failed.is_some();
        let retry = match (&failed, self.demand.clone()) {
            (Some(error), _) => Some(self.failed_pass(error)),
            (None, demand) => demand.and_then(|demand| {
                self.troubles.look_succeeded(&demand, self.trouble.as_ref(), now)
            }),
        };
        if failed.is_none() {
            self.published.send_modify(|snapshot| {
                snapshot.iterations += 1;
                snapshot.last_check = Some(now);
            });
            self.remember_places();
        }
        self.serve(number, failed.clone());
        if failed.is_none() {
            self.parts.metrics.worked(Part::Pass, begun.elapsed());
        }
        if self.goes_on() {
            let paced = self.pace();
            let wait = retry
                .map_or(paced, |retry| if failed.is_some() { retry } else { retry.min(paced) });
            // A change that came while this pass was under way has set an earlier time.
            self.rounds.pass_by(Instant::now() + wait);
        }
    }

    /// Remembers where jobs wait, and whose turn it was, of what is watched.
    fn remember_places(&mut self) {
        let Some(demand) = &self.demand else { return };
        let scopes: BTreeSet<&Scope> = demand.jobs().map(|job| &job.scope).collect();
        self.scopes = scopes.into_iter().cloned().collect();
        let seen = demand.repos.iter().map(|seen| &seen.repo);
        let watched: BTreeSet<&Repo> =
            seen.chain(demand.unseen.keys()).chain(&demand.unlooked).collect();
        self.turns.keep(|repo| watched.contains(repo));
    }

    /// The time until the next pass: the outage of a second must not cost an interval.
    fn failed_pass(&mut self, error: &Error) -> Duration {
        let about = About::default().because(error.code.as_str());
        self.tell_failure(Failing::Look, "look", error.message.clone(), &about);
        let wait = self.troubles.look_failed(error, (self.parts.clock)());
        let asked = error.retry_after.map(Duration::from_secs).unwrap_or_default();
        wait.min(self.poll_interval.max(asked))
    }

    /// Acts on what the pass `number` saw, and tells those who waited for it.
    fn serve(&mut self, number: u64, failed: Option<Error>) {
        let all = std::mem::take(&mut self.all_asked);
        let (mut asked, later): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|asked| asked.passes <= number);
        self.all_asked = later;
        asked.retain(|asked| !asked.asker.gone.is_cancelled());
        let mut asker = asked.first().map(|asked| asked.asker.clone()).unwrap_or_default();
        if self.on {
            // The loop wants these runners whoever asked for them.
            asker.gone = CancellationToken::new();
        } else if asked.is_empty() {
            // Whoever this pass was made for waits no more.
            return;
        }
        let accepted = self.go_on_for(&asker);
        let replies = asked.into_iter().map(|asked| asked.reply).collect();
        answer(replies, accepted, failed, &self.held, self.used());
    }

    /// A pass ended in a bug of its own: the next one may do better.
    pub(super) fn pass_died(&mut self, error: &tokio::task::JoinError) {
        if !error.is_cancelled() {
            let report = "Please report it with the log.";
            let error = Error::internal(format!("A pass failed: {error}."), report);
            let number = self.rounds.passes;
            self.heed(Passed { number, begun: Instant::now(), demand: Err(error) });
        }
    }
}

/// Resolves when what `source` knows has changed, and not before `from`.
pub(super) async fn changed(source: &dyn DemandSource, from: Option<Instant>) {
    if let Some(from) = from {
        tokio::time::sleep_until(from).await;
    }
    source.changed().await;
}
