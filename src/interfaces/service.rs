//! The service: the one process per host and instance that holds the loop, found by a lock in the
//! state directory and reached over a Unix socket that speaks MCP.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rmcp::ServiceExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::host::Host;
use super::mcp::McpServer;
use crate::audit::Transport;
use crate::config::{Environment, RunnerConfig};
use crate::error::{Code, Error, Result};
use crate::runner_kit::RunnerKit;
use crate::snapshot::Snapshot;

/// How long connections may take to get and read the last answers when the service ends: longer
/// than a stop counts the runners that it leaves.
const DRAIN: Duration = Duration::from_secs(3);

/// How long a process that is starting or ending is waited for: a stop takes ten seconds at most.
const CLAIM_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks whether it has.
const CLAIM_POLL: Duration = Duration::from_millis(50);

/// Where the service of an instance keeps what others find it by.
#[derive(Debug, Clone)]
pub struct Places {
    lock: PathBuf,
    socket: PathBuf,
    /// What a detached service prints.
    pub log: PathBuf,
}

impl Places {
    /// The places of the instance of `config`.
    pub fn of(config: &RunnerConfig, env: &Environment) -> Self {
        let file = |ending: &str| config.state_dir.join(format!("{}.{ending}", config.instance));
        let runtime =
            env.get("XDG_RUNTIME_DIR").map(|runtime| Path::new(runtime).join("ipfs-accelerate"));
        let sockets = runtime.unwrap_or_else(|| config.state_dir.clone());
        let socket = sockets.join(format!("{}.sock", config.instance));
        Self { lock: file("lock"), socket, log: file("log") }
    }

    /// Makes this process the service, unless another one is.
    pub fn claim(&self) -> Result<Claim> {
        let failed = |error: io::Error| cannot(&self.lock, &error);
        make_private(self.lock.parent()).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.lock)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Claim { file, places: self.clone() }),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                Code::AlreadyRunning,
                "Another process of this instance is at work.",
                "Wait for it, or choose another instance with --instance.",
            )),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Makes this process the service; `None` when there is one that answers. A process that is
    /// just starting or ending holds the claim and does not answer: it is waited for.
    pub async fn claim_or_find(&self) -> Result<Option<Claim>> {
        let patience = Instant::now() + CLAIM_PATIENCE;
        loop {
            if self.connect().await.is_some() {
                return Ok(None);
            }
            match self.claim() {
                Ok(claim) => return Ok(Some(claim)),
                Err(error) if error.code == Code::AlreadyRunning && Instant::now() < patience => {
                    tokio::time::sleep(CLAIM_POLL).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether there is a service. Leaves no trace.
    pub(super) async fn look(&self) -> Presence {
        if self.connect().await.is_some() {
            return Presence::Answers;
        }
        // Whoever claims at this very moment tries again.
        let held = File::open(&self.lock)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        if held { Presence::Silent } else { Presence::Absent }
    }

    /// Connects to the service; `None` when there is none.
    pub(super) async fn connect(&self) -> Option<UnixStream> {
        // The service may have been started with another runtime directory: the lock tells.
        let told = fs::read_to_string(&self.lock).ok().filter(|path| !path.is_empty());
        let socket = told.map_or_else(|| self.socket.clone(), PathBuf::from);
        UnixStream::connect(socket).await.ok()
    }
}

/// What there is of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// One that answers.
    Answers,
    /// A process holds the lock, and does not answer.
    Silent,
    /// None.
    Absent,
}

/// Proof that this process is the service of its instance; ends with the process, however it ends.
#[derive(Debug)]
pub struct Claim {
    file: File,
    places: Places,
}

impl Claim {
    /// Lets others find this process.
    fn listen(&mut self) -> Result<UnixListener> {
        let socket = &self.places.socket;
        let failed = |error: io::Error| cannot(socket, &error);
        make_private(socket.parent()).map_err(failed)?;
        // Nobody else can be listening there: we hold the lock.
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(failed)?;
        fs::set_permissions(socket, Permissions::from_mode(0o600)).map_err(failed)?;
        let mut told = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(socket.as_os_str().as_encoded_bytes())
        };
        told().map_err(|error| cannot(&self.places.lock, &error))?;
        Ok(listener)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Whoever comes next would remove them too; this is tidiness.
        let _ = fs::remove_file(&self.places.socket);
        let _ = self.file.set_len(0);
    }
}

/// Runs the loop of `kit` and has `host` answer callers until `shutdown` resolves or somebody stops it.
/// With `keep_trying` it starts also when GitHub or the engine don't answer. `ready` is told when
/// it can be reached.
pub async fn run(
    kit: RunnerKit,
    host: Arc<Host>,
    mut claim: Claim,
    keep_trying: bool,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let mut state = kit.subscribe();
    tokio::pin!(shutdown);
    let started = async {
        if keep_trying { kit.start_unchecked().await } else { kit.start_autoscaler().await }
    };
    tokio::select! {
        started = started => started?,
        () = &mut shutdown => return Ok(()),
    };
    let listener = claim.listen()?;
    let closing = CancellationToken::new();
    let answering = tokio::spawn(answer(listener, host, kit.subscribe(), closing.clone()));
    ready();
    tokio::select! {
        () = &mut shutdown => {}
        _ = state.wait_for(|snapshot| !snapshot.running) => {}
    }
    let stopped = kit.stop_autoscaler().await;
    closing.cancel();
    // Its own bound makes it end; what it returns is nothing.
    let _ = answering.await;
    stopped.map(drop)
}

async fn answer(
    listener: UnixListener,
    host: Arc<Host>,
    state: watch::Receiver<Snapshot>,
    closing: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // Who comes after a stop is left to the next process: this one ends in a moment.
                Ok(_) if !state.borrow().running => {}
                Ok((stream, _)) => {
                    let server = McpServer::new(host.clone(), false).over(Transport::Socket);
                    connections.spawn(async move {
                        if let Ok(running) = server.serve(stream).await {
                            let _ = running.waiting().await;
                        }
                    });
                }
                // Out of file descriptors, most likely: others may be closed meanwhile.
                Err(error) => {
                    tracing::warn!(%error, "a caller was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = closing.cancelled() => break,
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    // Callers that stay connected have been answered.
    let _ = tokio::time::timeout(DRAIN, drained).await;
}

fn make_private(directory: Option<&Path>) -> io::Result<()> {
    let Some(directory) = directory else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    Error::internal(
        format!("{} cannot be used: {error}.", path.display()),
        "Choose another state_dir (or XDG_RUNTIME_DIR) that is writable and has a short path.",
    )
}
