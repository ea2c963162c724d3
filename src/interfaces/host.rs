//! Where an operation is done: by the running service when there is one, else in this process.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use once_cell::sync::OnceCell;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::service::{self, Claim, Places};
use crate::assemble;
use crate::config::{Loaded, Sources, StartInput, load};
use crate::error::{Code, Error, Result};
use crate::operations::{self, Answer, Arguments, Entry};
use crate::runner_kit::RunnerKit;
use crate::views::{Mode, Status};

/// How long a service may take until it answers: its first checks wait for GitHub and the engine.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it answers.
const START_POLL: Duration = Duration::from_millis(20);

/// How often a service that is there is called: for two seconds.
const CALLS: usize = 100;

/// Who does what is asked.
enum Found {
    /// The service did.
    Answer(Result<Answer<Value>>),
    /// This process is to; what changes nothing needs no claim.
    Claim(Option<Claim>),
}

/// A call: what the caller wants to be told meanwhile, and whether it still waits.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// Told what is being done.
    pub progress: Option<UnboundedSender<String>>,
    /// Cancelled when the caller no longer waits.
    pub cancelled: CancellationToken,
}

impl Call {
    /// Does `work`, and tells the caller meanwhile what happens in `kit`.
    async fn watched<T>(&self, kit: &RunnerKit, work: impl Future<Output = T>) -> T {
        let Some(progress) = &self.progress else { return work.await };
        let mut state = kit.subscribe();
        // The latest event is old news.
        let mut told = state.borrow_and_update().events.back().map(|event| event.at);
        let telling = async {
            while state.changed().await.is_ok() {
                let snapshot = state.borrow_and_update();
                for event in snapshot.events.iter().filter(|event| Some(event.at) > told) {
                    // Who no longer listens is answered all the same.
                    let _ = progress.send(format!("{}: {}", event.subject, event.message));
                }
                told = snapshot.events.back().map(|event| event.at).or(told);
            }
            std::future::pending().await
        };
        tokio::select! {
            done = work => done,
            never = telling => never,
        }
    }
}

/// Does operations, wherever they have to be done.
pub struct Host(Place);

enum Place {
    /// This process is the service.
    Service(RunnerKit),
    /// This process is a caller.
    Caller(Box<Caller>),
}

struct Caller {
    sources: Sources,
    loaded: Loaded,
    places: Places,
    /// Made when something has to be done here; may fail, and be tried again.
    kit: OnceCell<RunnerKit>,
}

impl Host {
    /// The service itself.
    pub fn service(kit: RunnerKit) -> Self {
        Self(Place::Service(kit))
    }

    /// A caller that is configured by `sources`.
    pub fn caller(sources: Sources) -> Result<Self> {
        let loaded = load(&sources, &StartInput::default())?;
        let places = Places::of(&loaded.config, &sources.env);
        Ok(Self(Place::Caller(Box::new(Caller { sources, loaded, places, kit: OnceCell::new() }))))
    }

    /// The configuration of this process, where it is a caller.
    pub fn loaded(&self) -> Option<&Loaded> {
        match &self.0 {
            Place::Service(_) => None,
            Place::Caller(caller) => Some(&caller.loaded),
        }
    }

    /// The status, whoever holds the loop.
    pub async fn status(&self) -> Result<Status> {
        let entry = operations::find(operations::STATUS).ok_or_else(gone)?;
        let answer = self.call(entry, Arguments::new(), &Call::default()).await?;
        serde_json::from_value(answer.data).map_err(|_| gone())
    }

    /// Does the operation `entry`.
    pub async fn call(
        &self,
        entry: &'static Entry,
        arguments: Arguments,
        call: &Call,
    ) -> Result<Answer<Value>> {
        match &self.0 {
            Place::Service(kit) => call.watched(kit, entry.call(kit, arguments)).await,
            Place::Caller(caller) => caller.call(entry, arguments, call).await,
        }
    }
}

impl Caller {
    fn kit(&self) -> Result<&RunnerKit> {
        let env = &self.sources.env;
        self.kit.get_or_try_init(|| assemble::kit(self.loaded.config.clone(), env, Mode::InProcess))
    }

    async fn call(
        &self,
        entry: &'static Entry,
        arguments: Arguments,
        call: &Call,
    ) -> Result<Answer<Value>> {
        let claim = match self.find_or_claim(entry, &arguments).await? {
            Found::Answer(answer) => return answer,
            Found::Claim(claim) => claim,
        };
        if entry.tool == operations::START {
            drop(claim);
            return self.start(arguments, call).await;
        }
        // Launches are counted by the process that makes them: whoever holds the claim.
        let kit = self.kit()?;
        let answer = call.watched(kit, entry.call(kit, arguments)).await;
        drop(claim);
        answer
    }

    /// The answer of the running service, or the claim to do it here.
    async fn find_or_claim(&self, entry: &Entry, arguments: &Arguments) -> Result<Found> {
        // A service that has just begun to end may be found twice; one that can't be talked to
        // must not be tried for ever.
        for _ in 0..CALLS {
            if let Some(answer) = self.places.call(entry.tool, arguments.clone()).await {
                return Ok(Found::Answer(answer));
            }
            if entry.hints.read_only {
                return Ok(Found::Claim(None));
            }
            if let Some(claim) = self.places.claim_or_find().await? {
                return Ok(Found::Claim(Some(claim)));
            }
            tokio::time::sleep(START_POLL).await;
        }
        Err(gone())
    }

    async fn start(&self, arguments: Arguments, call: &Call) -> Result<Answer<Value>> {
        let input: StartInput = operations::parse(arguments.clone())?;
        let loaded = load(&self.sources, &input)?;
        if loaded.background.unwrap_or(true) {
            self.spawn(&loaded, input).await?;
            let entry = operations::find(operations::START).ok_or_else(gone)?;
            let answer =
                self.places.call(entry.tool, Arguments::new()).await.ok_or_else(gone)??;
            let mut answer = changed(answer);
            answer.message = answer.message.replace("ran already", "started");
            return Ok(answer);
        }
        self.stay(loaded, call).await
    }

    /// Holds the loop in this process until it is stopped or the call is cancelled.
    async fn stay(&self, loaded: Loaded, call: &Call) -> Result<Answer<Value>> {
        let places = Places::of(&loaded.config, &self.sources.env);
        let claim = places.claim()?;
        let kit = assemble::kit(loaded.config, &self.sources.env, Mode::InProcess)?;
        let shutdown = call.cancelled.cancelled();
        call.watched(&kit, service::run(kit.clone(), claim, false, || (), shutdown)).await?;
        let status = operations::find(operations::STATUS).ok_or_else(gone)?;
        status.call(&kit, Arguments::new()).await.map(changed)
    }

    /// Starts a detached service and waits until it answers, or says why it does not.
    async fn spawn(&self, loaded: &Loaded, input: StartInput) -> Result<()> {
        let places = Places::of(&loaded.config, &self.sources.env);
        let failed = |error: std::io::Error| {
            Error::internal(
                format!("The service could not be started: {error}."),
                "Run `ipfs-accelerate runner start` in the foreground to see why.",
            )
        };
        // Held for a moment only, to make the directory and to find out early.
        drop(places.claim()?);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&places.log)
            .map_err(failed)?;
        let before = log.metadata().map_err(failed)?.len();
        let mut command = tokio::process::Command::new(std::env::current_exe().map_err(failed)?);
        if let Some(file) = &self.sources.file {
            command.arg("--config").arg(file);
        }
        command.args(["runner", "start", "--detached"]);
        command.args(self.sources.start.merged(&input).to_flags());
        command.args(self.sources.operator.to_flags());
        let errors = log.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child = command.spawn().map_err(failed)?;
        let answered = async {
            loop {
                if places.connect().await.is_some() {
                    return Ok(());
                }
                if let Some(status) = child.try_wait().map_err(failed)? {
                    return Err(last_words(&places.log, before).unwrap_or_else(|| {
                        failed(std::io::Error::other(format!("it ended with {status}")))
                    }));
                }
                tokio::time::sleep(START_POLL).await;
            }
        };
        match tokio::time::timeout(START_PATIENCE, answered).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::internal(
                "The service does not answer yet.",
                format!("Look at its log, {}.", places.log.display()),
            )),
        }
    }
}

/// The error that a service wrote to its log before it ended.
fn last_words(log: &Path, before: u64) -> Option<Error> {
    let text = std::fs::read(log).ok()?;
    let new = text.get(usize::try_from(before).ok()?..)?;
    let text = String::from_utf8_lossy(new);
    let start = text.rfind("{\n  \"error\"").or_else(|| text.rfind("{\n  \"success\""))?;
    let envelope: Value = serde_json::from_str(text.get(start..)?.trim()).ok()?;
    serde_json::from_value(envelope.get("error")?.clone()).ok()
}

/// The status that `answer` tells, as the answer to a start that made it so.
fn changed(mut answer: Answer<Value>) -> Answer<Value> {
    if let Value::Object(data) = &mut answer.data {
        data.insert("changed".into(), true.into());
    }
    answer
}

fn gone() -> Error {
    Error::new(Code::Internal, "The service ended while it was asked.", "Start it again.")
}
