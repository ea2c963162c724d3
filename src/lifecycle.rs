//! How a runner comes into being and how it goes, step by step, leaving nothing half made.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::demand::Board;
use crate::error::{Code, Error, Result};
use crate::hints::Hints;
use crate::history::{Entry, History};
use crate::metrics::{Metrics, Step};
use crate::model::{Container, Ended, Phase, Registered, Runner, Scope};
use crate::plan::Removal;
use crate::ports::{
    Clock, DemandSource, Deregistered, Engine, Host, Launch, NewRunner, Registrar, Registration,
    Report,
};
use crate::samples::Samples;

/// Containers that are started at a time: enough to keep an engine busy, too few to make it time out.
const LAUNCHES: usize = 16;

/// Tells what the name of the next runner ends with; tests choose it.
pub type Suffix = Arc<dyn Fn() -> Result<String> + Send + Sync>;

/// The adapters that a service object works with.
#[derive(Clone)]
pub struct Parts {
    /// Where work comes from.
    pub source: Arc<dyn DemandSource>,
    /// Where runners are registered.
    pub registrar: Arc<dyn Registrar>,
    /// Where they run.
    pub engine: Arc<dyn Engine>,
    /// Where those who are told of jobs unasked put what they hear; `source` reads it.
    pub board: Arc<Board>,
    /// Where their ends are remembered.
    pub history: Arc<History>,
    /// Where the numbers of the last day are kept.
    pub samples: Arc<Samples>,
    /// The scopes where registrations of ours may be left, those of killed services included.
    pub leftovers: Arc<Hints>,
    /// Where it is told how long each step takes.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// The ends of runners' names.
    pub suffix: Suffix,
    host: Arc<OnceCell<Host>>,
    permits: Arc<Semaphore>,
}

/// Where a launch failed: it decides who has to wait before the next try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The image: no runner can be launched.
    Image(Error),
    /// Registration or container: this repository waits.
    Runner(Error),
    /// Nobody: the loop was told to end.
    Cancelled,
}

/// The runners as engine and GitHub saw them in one look.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) containers: Vec<Container>,
    pub(crate) registered: BTreeMap<Scope, Vec<Registered>>,
    /// Scopes that could not be listed, and why.
    pub(crate) unlisted: BTreeMap<Scope, Error>,
}

impl Parts {
    /// The parts together; samples and leftovers are kept in memory.
    pub fn new(
        source: Arc<dyn DemandSource>,
        registrar: Arc<dyn Registrar>,
        engine: Arc<dyn Engine>,
        history: Arc<History>,
        clock: Clock,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(LAUNCHES));
        let samples = Arc::new(Samples::in_memory());
        let leftovers = Arc::new(Hints::in_memory());
        let (board, metrics, host) = (Arc::default(), Arc::default(), Arc::default());
        let suffix = Arc::new(random_suffix);
        Self {
            source,
            registrar,
            engine,
            board,
            history,
            samples,
            leftovers,
            metrics,
            clock,
            suffix,
            host,
            permits,
        }
    }

    /// What the engine's host is; asked once.
    pub(crate) async fn host(&self) -> Result<&Host> {
        self.host.get_or_try_init(|| self.engine.host()).await
    }

    /// Looks at the runners once.
    pub(crate) async fn look(&self, scopes: Vec<Scope>) -> Result<Observation> {
        let containers = self.engine.containers().await?;
        let mut registered = BTreeMap::new();
        let mut unlisted = BTreeMap::new();
        for (scope, listed) in self.list(&containers, scopes).await {
            match listed {
                Ok(runners) => drop(registered.insert(scope, runners)),
                Err(error) => drop(unlisted.insert(scope, error)),
            }
        }
        Ok(Observation { containers, registered, unlisted })
    }

    /// GitHub's runners in the scopes of `containers` and in `scopes`.
    pub(crate) async fn list(
        &self,
        containers: &[Container],
        mut scopes: Vec<Scope>,
    ) -> Vec<(Scope, Result<Vec<Registered>>)> {
        scopes.extend(containers.iter().map(|container| container.scope.clone()));
        scopes.sort();
        scopes.dedup();
        let list = |scope: Scope| async {
            let listed = self.registrar.registered(&scope).await;
            (scope, listed)
        };
        futures::future::join_all(scopes.into_iter().map(list)).await
    }

    /// Image, registration, container. What fails on the way is undone. `pulling` is told how the
    /// image comes, which concerns everybody; `step` what is done for this runner.
    pub(crate) async fn launch(
        &self,
        runner: &NewRunner,
        with: Option<Registration>,
        pulling: Report<'_>,
        step: Report<'_>,
        cancelled: &CancellationToken,
    ) -> Result<String, Failure> {
        // A pull can take many minutes: nothing has begun yet that would have to be finished.
        tokio::select! {
            biased;
            ready = self.engine.prepare(pulling) => ready.map_err(Failure::Image)?,
            () = cancelled.cancelled() => return Err(Failure::Cancelled),
        }
        step("registering with GitHub");
        // Beside each other, as fast as GitHub allows: one that is slow takes nobody's place.
        let registration = match with {
            Some(registration) => registration,
            None => {
                let begin = Instant::now();
                let registered = self.registrar.register(runner).await;
                self.metrics.took(Step::Register, begin.elapsed());
                registered.map_err(Failure::Runner)?
            }
        };
        let permit = tokio::select! {
            biased;
            permit = self.permits.acquire() => permit,
            () = cancelled.cancelled() => {
                self.take_back(&runner.scope, &registration).await;
                return Err(Failure::Cancelled);
            }
        };
        if cancelled.is_cancelled() {
            drop(permit);
            self.take_back(&runner.scope, &registration).await;
            return Err(Failure::Cancelled);
        }
        step("starting the container");
        self.start(runner.clone(), registration).await.map_err(Failure::Runner)
    }

    /// Removes the runner that was just launched, whose container is `id`, since nobody waits for
    /// it any more; whether it went: one that has a job already stays.
    pub(crate) async fn undo(&self, id: &str) -> Result<bool> {
        let listed = self.engine.containers().await?;
        let Some(container) = listed.into_iter().find(|container| container.id == id) else {
            return Ok(true);
        };
        let runner = Runner {
            container,
            registered: None,
            certain: false,
            phase: Phase::Starting,
            since: (self.clock)(),
            lost_since: None,
            heartbeat: None,
            at_work_until: None,
            spent_at: None,
            job: None,
        };
        Ok(self.remove(&runner, Removal::ByHand, false).await?.is_some())
    }

    /// Starts `runner`; on failure its registration is taken back.
    pub(crate) async fn start(
        &self,
        runner: NewRunner,
        registration: Registration,
    ) -> Result<String> {
        let launch = Launch { runner, registration };
        let launched = self.engine.launch(&launch).await;
        if launched.is_err() {
            self.take_back(&launch.runner.scope, &launch.registration).await;
        }
        launched
    }

    /// Removes a registration that was made ahead and will not be used.
    async fn take_back(&self, scope: &Scope, registration: &Registration) {
        let Registration::Jit { runner_id, .. } = registration else { return };
        if let Err(error) = self.registrar.deregister(scope, *runner_id).await {
            // The next looks find it: a registration of ours without a container.
            tracing::warn!(%scope, id = runner_id, %error, "a registration could not be taken back");
        }
    }

    /// Ends `runner`, removes what it leaves and tells how it ended; nothing when it turned out to
    /// have a job and so was kept. The container, which carries what is known of the runner, goes last: whoever is
    /// interrupted finds it again.
    pub(crate) async fn remove(
        &self,
        runner: &Runner,
        why: Removal,
        force: bool,
    ) -> Result<Option<Ended>> {
        let (container, begin) = (&runner.container, Instant::now());
        let force = force || why.may_interrupt();
        let ended = if container.ended || force {
            let ended = self.engine.stop(container).await?;
            if let Err(error) = self.deregister(runner).await {
                self.give_up_on(&error, runner)?;
            }
            ended
        } else {
            // Only GitHub knows whether a job is on its way to it, and refuses when it is.
            if self.deregister(runner).await? == Deregistered::Busy {
                return Ok(None);
            }
            self.engine.stop(container).await?
        };
        self.remember(container, why, ended.clone());
        self.engine.remove(container).await?;
        self.metrics.took(Step::Clean, begin.elapsed());
        Ok(Some(ended))
    }

    async fn deregister(&self, runner: &Runner) -> Result<Deregistered> {
        let container = &runner.container;
        if container.ended && runner.certain && runner.registered.is_none() {
            // It has dropped it already. Were it wrong, the next looks would find a registration of
            // ours without a container.
            return Ok(Deregistered::Gone);
        }
        let known = container.runner_id.or(runner.registered.as_ref().map(|found| found.id));
        let id = match known {
            Some(id) => Some(id),
            // A list may be some seconds old, and a runner that lives have got a job since.
            None if runner.certain && container.ended => None,
            None => self.registrar.find(&container.scope, &container.name).await?,
        };
        match id {
            Some(id) => self.registrar.deregister(&container.scope, id).await,
            None => Ok(Deregistered::Gone),
        }
    }

    /// Whether an ended container may go although its registration could not be removed.
    fn give_up_on(&self, error: &Error, runner: &Runner) -> Result<()> {
        // GitHub itself drops one-job runners that are offline for a day.
        let patience = chrono::TimeDelta::minutes(15);
        let waited = (self.clock)() - runner.since;
        if error.code == Code::NotFound || waited >= patience { Ok(()) } else { Err(error.clone()) }
    }

    fn remember(&self, container: &Container, why: Removal, ended: Ended) {
        let entry = Entry {
            container_id: container.id.clone(),
            runner_name: container.name.clone(),
            repo: subject(container),
            at: (self.clock)(),
            why: why.to_string(),
            ended,
        };
        // A full disk must not keep containers alive.
        if let Err(error) = self.history.record(entry) {
            tracing::warn!(%error, "the end of a runner was not recorded");
        }
    }
}

/// What the names of this instance's runners on this engine begin with. The engine's id is part of
/// it, since several hosts may register runners with one repository.
pub(crate) fn name_prefix(instance: &str, engine_id: &str) -> String {
    let tame = engine_id.chars().filter(char::is_ascii_alphanumeric);
    let engine: String = tame.take(6).collect::<String>().to_ascii_lowercase();
    format!("ipfs-{instance}-{engine}-")
}

/// Whether `name` is `prefix` and the end that we give to names. The prefix of one instance may be
/// the beginning of another one's.
pub(crate) fn is_ours(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|end| !end.contains('-'))
}

/// Eight letters and digits that no other runner has.
fn random_suffix() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::internal(
            format!("The system gives no random numbers: {error}."),
            "Check /dev/urandom.",
        )
    })?;
    let letter = |byte: u8| ALPHABET.get(usize::from(byte) % ALPHABET.len()).copied();
    Ok(bytes.into_iter().filter_map(letter).map(char::from).collect())
}

/// The repository that a container is for, or the organisation.
pub(crate) fn subject(container: &Container) -> String {
    container.repo.as_ref().map_or_else(|| container.scope.to_string(), ToString::to_string)
}
