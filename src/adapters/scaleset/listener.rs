//! One scope's listener: keeps a set and its one session, and tells the board what is assigned.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Live;
use super::cursors::{Cursor, Cursors};
use super::level::Level;
use super::service::Service;
use super::session::{Heard, Session};
use super::transport::{Failure, Kind, Result};
use super::wire::{Message, ScaleSet};
use crate::demand::Board;
use crate::model::{Labels, Scope};
use crate::ports::Decided;

/// The first wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest: a session of somebody who died is forgotten after some minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A queue that fails so often in a row no longer says what there is.
const FAILURES: u32 = 3;
/// A decision takes milliseconds. A message that none comes for is told again.
const DECISION: Duration = Duration::from_secs(30);
/// How long a set is believed that only sends messages.
const UNCHECKED: Duration = Duration::from_secs(60);
/// Changes of the room come in bursts, and each costs a connection.
const BURST: Duration = Duration::from_millis(100);
/// How long a stop waits for the session to be deleted.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// A scope's listener.
pub(super) struct Listener {
    pub(super) service: Arc<Service>,
    pub(super) board: Arc<Board>,
    pub(super) cursors: Arc<Cursors>,
    pub(super) live: Arc<Live>,
    pub(super) decided: watch::Receiver<Decided>,
    /// The set's name.
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) server_url: String,
    /// Who holds the session, as people see it.
    pub(super) owner: String,
    /// The set and what is known of it, over sessions.
    pub(super) known: Option<(u64, Level)>,
}

/// How a session ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// We were told to stop.
    Stopped,
    /// The service forgot it: a new one goes on where it was.
    Gone,
}

impl Listener {
    /// Listens until it is told to stop, whatever happens.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut wait = FIRST_WAIT;
        loop {
            let begun = Instant::now();
            let ended = self.attend(&stop).await;
            // What went well for a while may go well again at once.
            if begun.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            match ended {
                Ok(Ended::Stopped) => break,
                // Seen every 50 minutes (actions/scaleset, pull request 123).
                Ok(Ended::Gone) if wait == FIRST_WAIT => {
                    wait *= 2;
                    continue;
                }
                Ok(Ended::Gone) => {}
                Err(failure) => {
                    let scope = self.scope();
                    tracing::warn!(%scope, error = %failure.error, "no session of the scale set");
                    let asked = failure.error.retry_after.map(Duration::from_secs);
                    wait = wait.max(asked.unwrap_or_default());
                    self.live.fail(failure.error);
                    self.board.assign(scope, None);
                }
            }
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                () = stop.cancelled() => break,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        self.live.end();
        self.board.assign(self.scope(), None);
    }

    fn scope(&self) -> &Scope {
        &self.service.scope
    }

    /// Holds a session for as long as it goes well.
    async fn attend(&mut self, stop: &CancellationToken) -> Result<Ended> {
        let set = tokio::select! {
            set = self.service.set(&self.name, &self.labels) => set?,
            () = stop.cancelled() => return Ok(Ended::Stopped),
        };
        // Not interrupted: a session that nobody knows of would be in the way of the next.
        let (mut session, mut cursor) = self.open(set.id).await?;
        let mut level = match self.known.take() {
            Some((id, level)) if id == set.id => level,
            _ => Level::new(self.scope().clone(), &self.server_url, self.served(&set)),
        };
        if let Some(statistics) = session.statistics.or(set.statistics) {
            level.confirm(statistics, false, Utc::now());
        }
        self.live.begin(set.id);
        self.tell(&level);
        let ended = self.listen(&mut session, &mut level, &mut cursor, stop).await;
        match &ended {
            Ok(Ended::Stopped) => {
                match timeout(FAREWELL, session.close()).await {
                    Ok(Ok(())) => cursor.session = None,
                    // Remembered, it is deleted by the next start.
                    other => tracing::warn!(?other, "the session could not be deleted"),
                }
                self.remember(&cursor);
            }
            Err(Failure { kind: Kind::SetGone, .. }) => {}
            _ => self.known = Some((set.id, level)),
        }
        ended
    }

    /// What the set really can serve; says so where that is not what was asked for.
    fn served(&self, set: &ScaleSet) -> Labels {
        let own = Labels::new([&self.name]);
        let served = Labels::new(set.labels.iter().map(|label| &label.name)).union(&own);
        let missing = self.labels.difference(&served);
        if missing.is_empty() {
            self.live.warn(None);
            return served;
        }
        let warning = format!(
            "The scale set {} of {} lacks the labels {missing}: jobs that ask for them are not \
             assigned to it. Labels are fixed when a set is made: delete it on GitHub, or choose \
             another scale_set; a GitHub Enterprise Server before 3.21 may keep none but the first.",
            self.name,
            self.scope(),
        );
        tracing::warn!("{warning}");
        self.live.warn(Some(warning));
        served
    }

    async fn open(&self, set: u64) -> Result<(Session, Cursor)> {
        let mut cursor = self.cursors.get(self.scope());
        if cursor.set != set {
            // Another set has other messages.
            cursor = Cursor { set, ..Cursor::default() };
        }
        if let Some(own) = cursor.session.take() {
            // Our own, of before: the set has one session at a time.
            if let Err(Failure { error, .. }) = self.service.close(set, &own).await {
                tracing::debug!(%error, "the session of before was gone");
            }
        }
        let session = Session::open(self.service.clone(), set, &self.owner).await?;
        cursor.session = Some(session.id.clone());
        self.remember(&cursor);
        Ok((session, cursor))
    }

    /// Tells the board what there is, and returns a revision of the demand that has it.
    fn tell(&self, level: &Level) -> u64 {
        let room = self.decided.borrow().room(self.scope());
        self.board.assign(self.scope(), Some(level.assigned(room, Utc::now())))
    }

    fn remember(&self, cursor: &Cursor) {
        if let Err(error) = self.cursors.set(self.scope(), cursor.clone()) {
            tracing::warn!(%error, "the place in the queue is not remembered");
        }
    }

    async fn listen(
        &mut self,
        session: &mut Session,
        level: &mut Level,
        cursor: &mut Cursor,
        stop: &CancellationToken,
    ) -> Result<Ended> {
        let (mut failures, mut checked) = (0, Instant::now());
        loop {
            let capacity = self.decided.borrow().room(self.scope());
            let changed = changed(self.decided.clone(), self.scope(), capacity);
            let heard = tokio::select! {
                heard = session.next(cursor.last_message, capacity) => heard,
                // Nothing is lost: what was not acknowledged is told again.
                () = changed => continue,
                () = stop.cancelled() => return Ok(Ended::Stopped),
            };
            let done = async {
                if let Heard::Message(message) = heard? {
                    self.take(session, level, cursor, &message).await?;
                    // A queue that is never silent does not say which of the older jobs still wait.
                    if checked.elapsed() < UNCHECKED {
                        return Ok(());
                    }
                }
                checked = Instant::now();
                self.check(session, level, cursor.set).await
            };
            let done = tokio::select! {
                done = done => done,
                () = stop.cancelled() => return Ok(Ended::Stopped),
            };
            match done {
                Ok(()) => failures = 0,
                Err(Failure { kind: Kind::SessionGone, .. }) => return Ok(Ended::Gone),
                Err(failure) if failure.kind == Kind::SetGone => return Err(failure),
                Err(failure) => {
                    failures += 1;
                    if failures == FAILURES {
                        return Err(failure);
                    }
                    tracing::debug!(error = %failure.error, "the queue failed");
                    tokio::select! {
                        () = sleep(jittered(FIRST_WAIT * failures)) => {}
                        () = stop.cancelled() => return Ok(Ended::Stopped),
                    }
                }
            }
        }
    }

    /// Takes in a message; acknowledged when the loop has decided on it.
    async fn take(
        &mut self,
        session: &mut Session,
        level: &mut Level,
        cursor: &mut Cursor,
        message: &Message,
    ) -> Result<()> {
        let applied = level.apply(message, Utc::now());
        applied.ended.iter().for_each(|ending| self.board.ended(ending.clone()));
        if applied.doubtful {
            // Where even that is not known the jobs of the message count.
            match self.service.show(cursor.set).await {
                Ok(set) => {
                    if let Some(told) = set.statistics {
                        level.confirm(told, true, Utc::now());
                    }
                }
                Err(failure) if failure.kind == Kind::SetGone => return Err(failure),
                Err(failure) => tracing::debug!(error = %failure.error, "nothing was confirmed"),
            }
        }
        self.acquire(session, level, &applied.offered).await?;
        let revision = self.tell(level);
        let decided = self.decided.wait_for(|decided| decided.revision >= revision);
        if !matches!(timeout(DECISION, decided).await, Ok(Ok(_))) {
            tracing::warn!(id = message.id, "nothing was decided on a message: it comes again");
            return Ok(());
        }
        session.acknowledge(message.id).await?;
        cursor.last_message = message.id;
        self.remember(cursor);
        Ok(())
    }

    /// The queue had nothing to tell: looks whether that is so.
    async fn check(&self, session: &mut Session, level: &mut Level, set: u64) -> Result<()> {
        let now = Utc::now();
        let set = self.service.show(set).await?;
        if let Some(statistics) = set.statistics {
            level.confirm(statistics, false, now);
        }
        if level.has_offers() {
            let offered = self.service.acquirable(set.id).await?;
            let offered: Vec<_> = offered.iter().map(|event| event.runner_request_id).collect();
            self.acquire(session, level, &offered).await?;
        }
        self.tell(level);
        Ok(())
    }

    /// Acquires as many of the offered jobs as there is room for; they are assigned by a message.
    async fn acquire(&self, session: &mut Session, level: &Level, offered: &[u64]) -> Result<()> {
        let room = self.decided.borrow().room(self.scope()).saturating_sub(level.jobs());
        let wanted: Vec<_> = offered.iter().copied().take(room).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let acquired = session.acquire(&wanted).await?;
        tracing::debug!(wanted = wanted.len(), acquired = acquired.len(), "offered jobs");
        Ok(())
    }
}

/// Resolves when what `scope` can run is no longer `told`.
async fn changed(mut decided: watch::Receiver<Decided>, scope: &Scope, told: usize) {
    loop {
        if decided.wait_for(|decided| decided.room(scope) != told).await.is_err() {
            // Whoever decides is gone; we will be told to stop.
            std::future::pending::<()>().await;
        }
        sleep(BURST).await;
        if decided.borrow().room(scope) != told {
            return;
        }
    }
}

/// Listeners that failed together do not come again together.
fn jittered(wait: Duration) -> Duration {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let part = nanos.unwrap_or_default().subsec_nanos() % 256;
    wait.mul_f64(0.75 + f64::from(part) / 512.0)
}
