//! A process that is not the service: it has the running service do what is asked, starts one, or
//! does it itself.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use serde_json::Value;

use super::host::Host;
use super::logfile;
use super::remote::Remote;
use super::service::{self, Claim, Places};
use crate::assemble;
use crate::config::{Loaded, Sources, StartInput, load};
use crate::error::{Code, Error, Result};
use crate::operations::{self, Answer, Arguments, Call, Entry};
use crate::runner_kit::RunnerKit;
use crate::views::Mode;

/// How long a service may take until it answers: its first checks wait for GitHub and the engine.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it answers.
const START_POLL: Duration = Duration::from_millis(20);

/// How often a service that is there is called: for two seconds.
const CALLS: usize = 100;

/// How long a service that nobody waits for any more has to end.
const END_PATIENCE: Duration = Duration::from_secs(12);

/// Who does what is asked.
enum Found {
    /// The service did.
    Answer(Result<Answer<Value>>),
    /// This process is to; what changes nothing needs no claim.
    Claim(Option<Claim>),
}

/// What became of a call, and where.
pub(super) struct Done {
    pub(super) answer: Result<Answer<Value>>,
    /// Whether the service did it, and so keeps the record of it.
    pub(super) elsewhere: bool,
}

pub(super) struct Caller {
    pub(super) sources: Sources,
    pub(super) loaded: Loaded,
    pub(super) places: Places,
    /// Whether this process serves HTTP, where that is wanted: a service that it starts does not.
    serves_http: bool,
    /// Made when something has to be done here; may fail, and be tried again.
    kit: OnceCell<RunnerKit>,
    /// What holds the loop, while that is in this process.
    staying: Mutex<Option<RunnerKit>>,
}

impl Caller {
    pub(super) fn new(sources: Sources, serves_http: bool) -> Result<Self> {
        let loaded = load(&sources, &StartInput::default())?;
        let places = Places::of(&loaded.config, &sources.env);
        Ok(Self {
            sources,
            loaded,
            places,
            serves_http,
            kit: OnceCell::new(),
            staying: Mutex::default(),
        })
    }

    /// What does it here, made at first use.
    pub(super) fn kit(&self) -> Result<&RunnerKit> {
        let env = &self.sources.env;
        self.kit.get_or_try_init(|| assemble::kit(self.loaded.config.clone(), env, Mode::InProcess))
    }

    /// What does it here, if anything was done yet.
    pub(super) fn made(&self) -> Option<&RunnerKit> {
        self.kit.get()
    }

    /// What holds the loop, while that is in this process.
    pub(super) fn staying(&self) -> Option<RunnerKit> {
        self.stay_or_go().clone()
    }

    fn stay_or_go(&self) -> MutexGuard<'_, Option<RunnerKit>> {
        self.staying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn call(
        &self,
        entry: &'static Entry,
        arguments: Arguments,
        call: &Call,
    ) -> Done {
        let here = |answer| Done { answer, elsewhere: false };
        let claim = match self.find_or_claim(entry, &arguments, call).await {
            Ok(Found::Answer(answer)) => return Done { answer, elsewhere: true },
            Ok(Found::Claim(claim)) => claim,
            Err(error) => return here(Err(error)),
        };
        if entry.tool == operations::START {
            drop(claim);
            return here(self.start(arguments, call).await);
        }
        // Launches are counted by the process that makes them: whoever holds the claim.
        let answer = async { entry.call(self.kit()?, arguments, call).await };
        let answer = call.unless_cancelled(answer).await;
        drop(claim);
        here(answer)
    }

    /// The answer of the running service, or the claim to do it here.
    async fn find_or_claim(
        &self,
        entry: &Entry,
        arguments: &Arguments,
        call: &Call,
    ) -> Result<Found> {
        // A service that has just begun to end may be found twice; one that can't be talked to
        // must not be tried for ever.
        for _ in 0..CALLS {
            let asked = Remote::call(&self.places, entry.tool, arguments.clone(), call).await;
            if let Some(answer) = asked {
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
            self.spawn(&loaded, input, call).await?;
            let asked =
                Remote::call(&self.places, operations::STATUS, Arguments::new(), call).await;
            let mut answer = changed(asked.ok_or_else(gone)??);
            answer.message = format!("The autoscaler started. {}", answer.message);
            return Ok(answer);
        }
        self.stay(loaded, call).await
    }

    /// Holds the loop in this process until it is stopped or the call is cancelled.
    async fn stay(&self, loaded: Loaded, call: &Call) -> Result<Answer<Value>> {
        let places = Places::of(&loaded.config, &self.sources.env);
        let claim = places.claim()?;
        let kit = assemble::kit(loaded.config.clone(), &self.sources.env, Mode::InProcess)?;
        let host = Arc::new(Host::service(kit.clone(), &loaded));
        let shutdown = call.cancelled.cancelled();
        let here = || *self.stay_or_go() = Some(kit.clone());
        let running = service::run(kit.clone(), host, claim, false, here, shutdown);
        let ended = tokio::select! {
            ended = running => ended,
            never = narrate(&kit, call) => never,
        };
        *self.stay_or_go() = None;
        ended?;
        let status = operations::find(operations::STATUS).ok_or_else(gone)?;
        status.call(&kit, Arguments::new(), call).await.map(changed)
    }

    /// Starts a detached service and waits until it answers, or says why it does not.
    async fn spawn(&self, loaded: &Loaded, input: StartInput, call: &Call) -> Result<()> {
        let places = Places::of(&loaded.config, &self.sources.env);
        let failed = |error: std::io::Error| {
            Error::internal(
                format!("The service could not be started: {error}."),
                "Run `ipfs-accelerate runner start` in the foreground to see why.",
            )
        };
        // Held for a moment only, to make the directory and to find out early.
        drop(places.claim()?);
        let log = logfile::open(&places.log).map_err(failed)?;
        let before = log.metadata().map_err(failed)?.len();
        let mut command = tokio::process::Command::new(std::env::current_exe().map_err(failed)?);
        if let Some(file) = &self.sources.file {
            command.arg("--config").arg(file);
        }
        command.args(["runner", "start", "--detached"]);
        command.args(self.sources.start.merged(&input).to_flags());
        command.args(self.sources.operator.to_flags());
        if self.serves_http {
            command.arg("--no-http");
        }
        let errors = log.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        call.tell("starting the service");
        let mut child = command.spawn().map_err(failed)?;
        call.tell("the service looks at the credential, GitHub and Docker");
        let answered = async {
            loop {
                if places.connect().await.is_some() {
                    call.tell("the service answers");
                    return Ok(());
                }
                if call.cancelled.is_cancelled() {
                    end(&mut child).await;
                    return Err(call.given_up());
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

/// Tells the caller what happens in `kit`, for as long as it is awaited.
async fn narrate(kit: &RunnerKit, call: &Call) -> Result<()> {
    let mut state = kit.subscribe();
    // The latest event is old news.
    let mut told = state.borrow_and_update().events.back().map(|event| event.at);
    while state.changed().await.is_ok() {
        let snapshot = state.borrow_and_update();
        for event in snapshot.events.iter().filter(|event| Some(event.at) > told) {
            call.tell(format!("{}: {}", event.subject, event.message));
        }
        told = snapshot.events.back().map(|event| event.at).or(told);
    }
    std::future::pending().await
}

/// Ends a service that was just started.
async fn end(child: &mut tokio::process::Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(process) = id.and_then(rustix::process::Pid::from_raw) {
        // One that has ended meanwhile is what was wanted.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }
    let _ = tokio::time::timeout(END_PATIENCE, child.wait()).await;
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
