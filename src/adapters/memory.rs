//! An engine without containers: each runner's process is an async function of this program.
//!
//! For `demo` on a machine without Docker, and for tests. It keeps the port's promises (unique
//! names, nothing left of a failed launch, wakes that are never lost); limits, images and work
//! directories mean nothing to it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::error::{Code, Error, Result};
use crate::model::{Container, Ended, not_found};
use crate::ports::{Engine, Host, Launch, Registration, Report};

/// What a runner does, until its exit code.
pub type Process = Arc<dyn Fn(Launch) -> BoxFuture<'static, i64> + Send + Sync>;

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The exit code of a process that was told to end: 128 and SIGTERM.
const TERMINATED: i64 = 143;
/// The exit code of a process that broke: 128 and SIGABRT.
const ABORTED: i64 = 134;

/// Runners in memory.
pub struct MemoryEngine {
    process: Process,
    now: Clock,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    shared: Mutex<Shared>,
    wake: Notify,
}

#[derive(Default)]
struct Shared {
    entries: BTreeMap<u64, Entry>,
    launched: u64,
    host: Option<Host>,
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
    fn check(&self) -> Result<()> {
        if self.unreachable {
            return Err(Error::new(
                Code::DockerUnreachable,
                "Docker is not accessible: the engine in memory was told not to answer.",
                "Let it answer again.",
            ));
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Option<(u64, &Entry)> {
        self.entries.iter().find(|(_, e)| e.container.id == id).map(|(number, e)| (*number, e))
    }
}

impl MemoryEngine {
    /// An engine whose runners do what `process` says and whose clock is `now`.
    pub fn new(process: Process, now: Clock) -> Self {
        Self { process, now, state: Arc::default() }
    }

    /// What `host` answers from now on.
    pub fn set_host(&self, host: Host) {
        self.state.lock().host = Some(host);
    }

    /// Whether it answers at all from now on. Processes go on.
    pub fn set_reachable(&self, reachable: bool) {
        self.state.lock().unreachable = !reachable;
        self.state.wake.notify_one();
    }

    /// Lets the next `count` launches fail with `error`.
    pub fn fail_next_launches(&self, count: usize, error: &Error) {
        self.state.lock().failures.extend(std::iter::repeat_n(error.clone(), count));
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
        let shared = self.state.lock();
        shared.check()?;
        Ok(shared.host.clone().unwrap_or_else(|| Host {
            engine_id: "memory".to_owned(),
            engine: "in-memory engine".to_owned(),
            cpus: std::thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
            memory: 0,
            warnings: Vec::new(),
        }))
    }

    async fn prepare(&self, _: Report<'_>) -> Result<()> {
        self.state.lock().check()
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        let shared = self.state.lock();
        shared.check()?;
        Ok(shared.entries.values().map(|entry| entry.container.clone()).collect())
    }

    async fn launch(&self, launch: &Launch) -> Result<String> {
        let mut shared = self.state.lock();
        shared.check()?;
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
        shared.launched += 1;
        let number = shared.launched;
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
        self.state.wake.notify_one();
        Ok(id)
    }

    async fn stop(&self, container: &Container) -> Result<Ended> {
        let found = {
            let shared = self.state.lock();
            shared.check()?;
            shared.find(&container.id).map(|(number, entry)| {
                entry.task.abort();
                number
            })
        };
        let Some(number) = found else {
            return Ok(Ended { exit_code: None, log_tail: String::new() });
        };
        self.state.ended(number, TERMINATED);
        let shared = self.state.lock();
        let entry = shared.entries.get(&number);
        Ok(Ended {
            exit_code: entry.and_then(|entry| entry.exit_code),
            log_tail: entry.map(|entry| entry.log.join("\n")).unwrap_or_default(),
        })
    }

    async fn remove(&self, container: &Container) -> Result<()> {
        let mut shared = self.state.lock();
        shared.check()?;
        if let Some(number) = shared.find(&container.id).map(|(number, _)| number)
            && let Some(entry) = shared.entries.remove(&number)
        {
            entry.task.abort();
            self.state.wake.notify_one();
        }
        Ok(())
    }

    async fn logs(&self, id: &str, lines: usize) -> Result<String> {
        let shared = self.state.lock();
        shared.check()?;
        let Some((_, entry)) = shared.find(id) else {
            return Err(not_found(format!("The container {id}"), "List the containers there are."));
        };
        let first = entry.log.len().saturating_sub(lines);
        Ok(entry.log.get(first..).unwrap_or_default().join("\n"))
    }

    async fn changed(&self) {
        self.state.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::model::{Labels, Origin, Scope};
    use crate::ports::NewRunner;

    fn launch(name: &str) -> Launch {
        Launch {
            runner: NewRunner {
                name: name.to_owned(),
                scope: Scope::org("octo-org"),
                repo: None,
                labels: Labels::new(["linux"]),
                origin: Origin::Queue,
            },
            registration: Registration::Jit { runner_id: 7, config: "j1t".into() },
        }
    }

    /// An engine whose runners exit with 3 when the gate lets them.
    fn gated() -> (MemoryEngine, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let inner = Arc::clone(&gate);
        let process: Process = Arc::new(move |_| {
            let gate = Arc::clone(&inner);
            async move { gate.acquire().await.map_or(1, |_| 3) }.boxed()
        });
        (MemoryEngine::new(process, Arc::new(|| DateTime::UNIX_EPOCH)), gate)
    }

    async fn only(engine: &MemoryEngine) -> Container {
        engine.containers().await.unwrap().pop().unwrap()
    }

    #[tokio::test]
    async fn a_runner_is_listed_while_it_runs_and_after_it_has_ended_until_it_is_removed() {
        let (engine, gate) = gated();
        let id = engine.launch(&launch("r-1")).await.unwrap();
        engine.changed().await;
        let running = only(&engine).await;
        assert_eq!((running.id.as_str(), running.ended), (id.as_str(), false));
        assert_eq!((running.created_at, running.runner_id), (DateTime::UNIX_EPOCH, Some(7)));
        gate.add_permits(1);
        engine.changed().await;
        let ended = only(&engine).await;
        assert_eq!((ended.status.as_str(), ended.ended), ("exited", true));
        assert_eq!(engine.stop(&ended).await.unwrap().exit_code, Some(3));
        engine.remove(&ended).await.unwrap();
        engine.remove(&ended).await.unwrap();
        assert_eq!(engine.containers().await.unwrap(), []);
        assert_eq!(engine.logs(&id, 9).await.unwrap_err().code, Code::NotFound);
    }

    #[tokio::test]
    async fn a_stopped_runner_has_ended_before_its_process_did() {
        let (engine, _gate) = gated();
        let id = engine.launch(&launch("r-1")).await.unwrap();
        let ended = engine.stop(&only(&engine).await).await.unwrap();
        assert_eq!(ended.exit_code, Some(TERMINATED));
        assert_eq!(ended.log_tail, "r-1 started\nr-1 exited with code 143");
        assert_eq!(engine.logs(&id, 1).await.unwrap(), "r-1 exited with code 143");
        assert!(only(&engine).await.ended);
    }

    #[tokio::test]
    async fn a_name_is_used_once() {
        let (engine, _gate) = gated();
        engine.launch(&launch("r-1")).await.unwrap();
        let error = engine.launch(&launch("r-1")).await.unwrap_err();
        assert!(error.message.starts_with("Container failed to start"), "{error}");
        assert_eq!(engine.containers().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn launches_fail_as_often_as_they_were_told_to_and_leave_nothing() {
        let (engine, _gate) = gated();
        engine.fail_next_launches(2, &Error::new(Code::ContainerFailed, "m", "r"));
        for _ in 0..2 {
            engine.launch(&launch("r-1")).await.unwrap_err();
            assert_eq!(engine.containers().await.unwrap(), []);
        }
        engine.launch(&launch("r-1")).await.unwrap();
    }

    #[tokio::test]
    async fn an_engine_out_of_reach_fails_every_call_and_its_runners_go_on() {
        let (engine, gate) = gated();
        engine.launch(&launch("r-1")).await.unwrap();
        let container = only(&engine).await;
        engine.set_reachable(false);
        assert_eq!(engine.containers().await.unwrap_err().code, Code::DockerUnreachable);
        assert_eq!(engine.host().await.unwrap_err().code, Code::DockerUnreachable);
        assert_eq!(engine.stop(&container).await.unwrap_err().code, Code::DockerUnreachable);
        assert_eq!(engine.launch(&launch("r-2")).await.unwrap_err().code, Code::DockerUnreachable);
        gate.add_permits(1);
        while engine.changed().now_or_never().is_some() {}
        engine.changed().await;
        engine.set_reachable(true);
        assert!(only(&engine).await.ended);
    }

    #[tokio::test]
    async fn a_process_that_panics_has_ended_too() {
        let process: Process = Arc::new(|_| async { panic!("on purpose") }.boxed());
        let engine = MemoryEngine::new(process, Arc::new(Utc::now));
        engine.launch(&launch("r-1")).await.unwrap();
        while !only(&engine).await.ended {
            engine.changed().await;
        }
        let ended = engine.stop(&only(&engine).await).await.unwrap();
        assert_eq!(ended.exit_code, Some(ABORTED));
    }

    #[tokio::test]
    async fn a_wake_that_nobody_waited_for_is_kept() {
        let (engine, _gate) = gated();
        engine.launch(&launch("r-1")).await.unwrap();
        assert!(engine.changed().now_or_never().is_some());
        assert!(engine.changed().now_or_never().is_none());
    }
}
