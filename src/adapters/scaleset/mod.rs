//! Runner scale sets: GitHub itself says over a long poll which jobs are ours to run, and is told
//! how many we can.
//!
//! For each scope a listener keeps one set and its one message session, and puts what is assigned on
//! the board; a scope without a live session is left to the other sources. A message is acknowledged
//! only when the loop has decided on it, and place and session survive a restart.
//!
//! The protocol is that of github.com/actions/scaleset (MIT), the published description. The crate
//! `scaleset` (MIT, 0.1.0, its first release) knows it too; it would have brought a second HTTP client
//! and a second library of cryptography, and its listener acknowledges without our decision. Its
//! emulator has served as a check of this client.

mod cursors;
mod level;
mod listener;
mod service;
mod session;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::cursors::Cursors;
use self::listener::{FAREWELL, Listener};
use self::service::Service;
use self::transport::{Failure, Kind, Transport};
use crate::config::RunnerConfig;
use crate::demand::Board;
use crate::error::{Error, Result};
use crate::model::Scope;
use crate::ports::{Decided, Deregistered, NewRunner, Registrar, Registration};

/// The scale sets of a configuration.
pub struct ScaleSets {
    scopes: BTreeMap<Scope, Member>,
    config: RunnerConfig,
    name: String,
    board: Arc<Board>,
    cursors: Arc<Cursors>,
    decided: watch::Sender<Decided>,
    running: Mutex<Option<Running>>,
}

struct Member {
    service: Arc<Service>,
    live: Arc<Live>,
}

struct Running {
    stop: DropGuard,
    listeners: JoinSet<()>,
    left: Left,
}

/// Says of all scopes that no session lives there, also where listeners were broken off.
struct Left {
    scopes: Vec<(Scope, Arc<Live>)>,
    board: Arc<Board>,
}

impl Drop for Left {
    fn drop(&mut self) {
        for (scope, live) in &self.scopes {
            live.end();
            self.board.assign(scope, None);
        }
    }
}

/// How a scope's set is doing.
#[derive(Debug, Default)]
struct Live(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    /// The set, while a session of it lives.
    set: Option<u64>,
    error: Option<Error>,
    warning: Option<String>,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self) -> Option<u64> {
        self.lock().set
    }

    fn begin(&self, set: u64) {
        let mut standing = self.lock();
        (standing.set, standing.error) = (Some(set), None);
    }

    fn fail(&self, error: Error) {
        let mut standing = self.lock();
        (standing.set, standing.error) = (None, Some(error));
    }

    fn end(&self) {
        *self.lock() = Standing::default();
    }

    fn warn(&self, warning: Option<String>) {
        self.lock().warning = warning;
    }
}

impl ScaleSets {
    /// The sets that `config` asks for, if it does; they tell `board`. Registration tokens come from
    /// `registrar`.
    pub fn new(
        config: &RunnerConfig,
        board: Arc<Board>,
        registrar: &Arc<dyn Registrar>,
    ) -> Result<Option<Self>> {
        let Some(name) = config.scale_set.clone() else { return Ok(None) };
        let transport = Arc::new(Transport::new(config)?);
        let member = |scope: Scope| {
            let service = Service::new(scope.clone(), transport.clone(), registrar.clone(), config);
            (scope, Member { service: Arc::new(service), live: Arc::default() })
        };
        let file = config.state_dir.join(format!("{}.scalesets.json", config.instance));
        Ok(Some(Self {
            scopes: config.named_scopes().into_iter().map(member).collect(),
            config: config.clone(),
            name,
            board,
            cursors: Arc::new(Cursors::open(file)),
            decided: watch::Sender::default(),
            running: Mutex::default(),
        }))
    }

    /// Tells what was decided upon. The first time, and the first after a stop, listening begins. Must
    /// be called within a tokio runtime.
    pub fn decided(&self, decided: &Decided) {
        self.decided.send_if_modified(|last| {
            let is_new = last != decided;
            last.clone_from(decided);
            is_new
        });
        self.start();
    }

    fn start(&self) {
        let mut running = self.running();
        if running.is_some() {
            return;
        }
        let stop = CancellationToken::new();
        let mut listeners = JoinSet::new();
        for member in self.scopes.values() {
            let listener = Listener {
                service: member.service.clone(),
                board: self.board.clone(),
                cursors: self.cursors.clone(),
                live: member.live.clone(),
                decided: self.decided.subscribe(),
                name: self.name.clone(),
                labels: self.config.served(),
                server_url: self.config.server_url.clone(),
                owner: format!("ipfs-accelerate {} on {}", self.config.instance, host_name()),
                known: None,
            };
            listeners.spawn(listener.run(stop.clone()));
        }
        let scopes = self.scopes.iter().map(|(scope, member)| (scope.clone(), member.live.clone()));
        let left = Left { scopes: scopes.collect(), board: self.board.clone() };
        *running = Some(Running { stop: stop.drop_guard(), listeners, left });
    }

    /// Ends the sessions and waits for that, a few seconds at most. Runners are left alone.
    pub async fn stop(&self) {
        let Some(Running { stop, mut listeners, left: _left }) = self.running().take() else {
            return;
        };
        drop(stop);
        let ended = async { while listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL * 2, ended).await.is_err() {
            tracing::warn!("a session of a scale set was not ended in time");
        }
    }

    /// Whether a set's session lives in `scope`, so that runners are registered through it.
    pub fn is_live(&self, scope: &Scope) -> bool {
        self.set_of(scope).is_some()
    }

    /// Registers `runner` through its scope's set; none where no session lives there.
    pub async fn register(&self, runner: &NewRunner) -> Option<Result<Registration>> {
        let (service, set) = self.set_of(&runner.scope)?;
        Some(register(service, set, runner).await.map_err(Error::from))
    }

    /// Removes the runner `id` through its scope's set; none where that is not possible now, or where it
    /// was registered beside the set.
    pub async fn deregister(&self, scope: &Scope, id: u64) -> Option<Deregistered> {
        let (service, _) = self.set_of(scope)?;
        match service.remove(id).await {
            Ok(done) => done,
            Err(Failure { error, .. }) => {
                tracing::debug!(%scope, id, %error, "not removed through the scale set");
                None
            }
        }
    }

    /// Sentences worth knowing: sets without a session, and why; labels that a set lacks.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (scope, member) in &self.scopes {
            let standing = member.live.lock();
            all.extend(standing.warning.clone());
            all.extend(standing.error.as_ref().map(|error| {
                let name = &self.name;
                format!("The scale set {name} of {scope} has no session: {}", error.message)
            }));
        }
        all
    }

    fn set_of(&self, scope: &Scope) -> Option<(&Service, u64)> {
        let member = self.scopes.get(scope)?;
        Some((&*member.service, member.live.set()?))
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registration whose answer was lost would be one too many: it is looked for and removed.
async fn register(
    service: &Service,
    set: u64,
    runner: &NewRunner,
) -> Result<Registration, Failure> {
    let made = service.jit(set, runner).await;
    if matches!(&made, Err(failure) if failure.kind == Kind::Lost) {
        let lost = service.runner(&runner.name).await;
        if let Ok(Some(id)) = lost {
            service.remove(id).await?;
        }
    }
    made
}

/// Who holds a session, for people who wonder.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = crate::model::clean_text(name.trim(), 60);
    if name.is_empty() { "a host".to_owned() } else { name }
}
