//! An engine without containers: each runner's process is an async function of this program.
//!
//! For `demo` on a machine without Docker, and for tests. It keeps the port's promises (unique
//! names, nothing left of a failed launch, wakes that are never lost); limits, images and work
//! directories mean nothing to it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::error::{Code, Error, Result};
use crate::model::{Container, Ended, Inspection, Usage, not_found};
use crate::ports::{Clock, Engine, Host, Launch, Registration, Report};

/// What a runner does, until its exit code.
pub type Process = Arc<dyn Fn(Launch) -> BoxFuture<'static, i64> + Send + Sync>;

/// The exit code of a process that was told to end: 128 and SIGTERM.
const TERMINATED: i64 = 143;
/// The exit code of a process that broke: 128 and SIGABRT.
const ABORTED: i64 = 134;

/// How long a call to an engine that hangs takes, as with a real one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runners in memory.
pub struct MemoryEngine {
    process: Process,
    now: Clock,
    state: Arc<State>,
    hanging: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    shared: Mutex<Shared>,
    wake: Notify,
}

#[derive(Default)]
struct Shared {
    entries: BTreeMap<u64, Entry>,
    launched: Vec<String>,
    most: usize,
    unreachable: bool,
    failures: VecDeque<Error>,
}

struct Entry {
    container: Container,
    task: AbortHandle,
    exit_code: Option<i64>,
    log: Vec<String>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the end of a process, the first time that it is told.
    fn ended(&self, number: u64, code: i64) {
        if let Some(entry) = self.lock().entries.get_mut(&number)
            && !entry.container.ended
        {
            entry.container.ended = true;
            entry.container.status = "exited".to_owned();
            entry.log.push(format!("{} exited with code {code}", entry.container.name));
            entry.exit_code = Some(code);
            self.wake.notify_one();
        }
    }
}

impl Shared {
    fn live(&self) -> usize {
        self.entries.values().filter(|entry| !entry.container.ended).count()
    }

    fn find(&self, id: &str) -> Option<(u64, &Entry)> {
        self.entries.iter().find(|(_, e)| e.container.id == id).map(|(number, e)| (*number, e))
    }
}

impl MemoryEngine {
    /// An engine whose runners do what `process` says and whose clock is `now`.
    pub fn new(process: Process, now: Clock) -> Self {
        Self { process, now, state: Arc::default(), hanging: watch::Sender::new(false) }
    }

    /// Whether it answers at all from now on. Processes go on.
    pub fn set_reachable(&self, reachable: bool) {
        self.state.lock().unreachable = !reachable;
        self.state.wake.notify_one();
    }

    /// Whether calls get no answer from now on; each is given up after half a minute.
    pub fn set_hanging(&self, hanging: bool) {
        self.hanging.send_replace(hanging);
    }

    /// Lets the next `count` launches fail with `error`.
    pub fn fail_next_launches(&self, count: usize, error: &Error) {
        self.state.lock().failures.extend(std::iter::repeat_n(error.clone(), count));
    }

    /// The runner `name` prints `line`.
    pub fn print(&self, name: &str, line: &str) {
        let mut shared = self.state.lock();
        let named = shared.entries.values_mut().find(|entry| entry.container.name == name);
        named.into_iter().for_each(|entry| entry.log.push(line.to_owned()));
    }

    /// The names of all runners so far, in the order of their launches.
    pub fn launched(&self) -> Vec<String> {
        self.state.lock().launched.clone()
    }

    /// The most processes that there were at once so far.
    pub fn most_at_once(&self) -> usize {
        self.state.lock().most
    }

    /// What every call begins with: the state, if the engine answers.
    async fn answer(&self) -> Result<MutexGuard<'_, Shared>> {
        let failed = |reason: &str| {
            let message = format!("Docker is not accessible: the engine in memory {reason}.");
            Error::new(Code::DockerUnreachable, message, "Let it answer again.")
        };
        let mut hanging = self.hanging.subscribe();
        if tokio::time::timeout(PATIENCE, hanging.wait_for(|hanging| !hanging)).await.is_err() {
            return Err(failed("did not answer in time"));
        }
        let shared = self.state.lock();
        if shared.unreachable { Err(failed("was told not to answer")) } else { Ok(shared) }
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let containers = self.state.lock().entries.len();
        f.debug_struct("MemoryEngine").field("containers", &containers).finish_non_exhaustive()
    }
}

impl Drop for MemoryEngine {
    fn drop(&mut self) {
        self.state.lock().entries.values().for_each(|entry| entry.task.abort());
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn host(&self) -> Result<Host> {
        drop(self.answer().await?);
        Ok(Host {
            engine_id: "memory".to_owned(),
            engine: "in-memory engine".to_owned(),
            cpus: std::thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
            memory: 0,
            warnings: Vec::new(),
        })
    }

    async fn prepare(&self, _: Report<'_>) -> Result<()> {
        self.answer().await.map(drop)
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        let shared = self.answer().await?;
        Ok(shared.entries.values().map(|entry| entry.container.clone()).collect())
    }

    async fn launch(&self, launch: &Launch) -> Result<String> {
        let mut shared = self.answer().await?;
        if let Some(error) = shared.failures.pop_front() {
            return Err(error);
        }
        let runner = &launch.runner;
        if shared.entries.values().any(|entry| entry.container.name == runner.name) {
            return Err(Error::new(
                Code::ContainerFailed,
                format!("Container failed to start: the name {} is in use.", runner.name),
                "Remove the other container of this name, or wait until it is gone.",
            ));
        }
        shared.launched.push(runner.name.clone());
        let number = shared.launched.len() as u64;
        // Spread, so that short prefixes differ, and as long as an engine's.
        let id = format!("{:016x}{number:048x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let container = Container {
            id: id.clone(),
            name: runner.name.clone(),
            scope: runner.scope.clone(),
            repo: runner.repo.clone(),
            labels: runner.labels.clone(),
            created_at: (self.now)(),
            origin: runner.origin,
            runner_id: match launch.registration {
                Registration::Jit { runner_id, .. } => Some(runner_id),
                Registration::Token(_) => None,
            },
            status: "running".to_owned(),
            ended: false,
        };
        let (process, state) = ((self.process)(launch.clone()), Arc::clone(&self.state));
        let task = tokio::spawn(async move {
            let code = AssertUnwindSafe(process).catch_unwind().await.unwrap_or(ABORTED);
            state.ended(number, code);
        });
        let entry = Entry {
            log: vec![format!("{} started", container.name)],
            container,
            task: task.abort_handle(),
            exit_code: None,
        };
        shared.entries.insert(number, entry);
        shared.most = shared.most.max(shared.live());
        self.state.wake.notify_one();
        Ok(id)
    }

    async fn stop(&self, container: &Container) -> Result<Ended> {
        let found = {
            let shared = self.answer().await?;
            shared.find(&container.id).map(|(number, entry)| (number, entry.task.clone()))
        };
        let Some((number, task)) = found else {
            return Ok(Ended { exit_code: None, log_tail: String::new() });
        };
        task.abort();
        // It ends at its next step, and what it holds goes with it: not before is it stopped.
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
        self.state.ended(number, TERMINATED);
        let shared = self.state.lock();
        let entry = shared.entries.get(&number);
        Ok(Ended {
            exit_code: entry.and_then(|entry| entry.exit_code),
            log_tail: entry.map(|entry| entry.log.join("\n")).unwrap_or_default(),
        })
    }

    async fn remove(&self, container: &Container) -> Result<()> {
        let mut shared = self.answer().await?;
        if let Some(number) = shared.find(&container.id).map(|(number, _)| number)
            && let Some(entry) = shared.entries.remove(&number)
        {
            entry.task.abort();
            self.state.wake.notify_one();
        }
        Ok(())
    }

    async fn inspect(&self, id: &str) -> Result<Inspection> {
        let shared = self.answer().await?;
        let (_, entry) = shared.find(id).ok_or_else(|| unknown(id))?;
        Ok(Inspection {
            image: "none: the engine in memory".to_owned(),
            started_at: Some(entry.container.created_at),
            exit_code: entry.exit_code,
            ..Inspection::default()
        })
    }

    async fn usage(&self, id: &str) -> Result<Usage> {
        let shared = self.answer().await?;
        let running = shared.find(id).filter(|(_, entry)| !entry.container.ended);
        // A process here is a part of this program's, which nobody measures.
        running.map(|_| Usage::default()).ok_or_else(|| unknown(id))
    }

    async fn logs(&self, id: &str, lines: usize) -> Result<String> {
        let shared = self.answer().await?;
        let (_, entry) = shared.find(id).ok_or_else(|| unknown(id))?;
        let first = entry.log.len().saturating_sub(lines);
        Ok(entry.log.get(first..).unwrap_or_default().join("\n"))
    }

    async fn changed(&self) {
        self.state.wake.notified().await;
    }
}

fn unknown(id: &str) -> Error {
    not_found(format!("The container {id}"), "List the containers there are.")
}

#[cfg(test)]
mod tests;
