//! Where things are done and read: by the running service when there is one, else in this process.

mod health;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use once_cell::sync::OnceCell;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::caller::{Caller, Done};
use super::remote::Remote;
use crate::audit::{Audit, Outcome, Record, Transport};
use crate::config::{Loaded, Row, Sources};
use crate::error::{Code, Error, Result};
use crate::model::Repo;
use crate::operations::{self, Answer, Arguments, Call, Entry};
use crate::resource::Resource;
use crate::runner_kit::RunnerKit;
use crate::views::WorkflowQueue;
use crate::webhook::{Delivered, Delivery};

/// How to operate it, for an assistant that wants to know more than the tools tell.
const HELP: &str = include_str!("help.md");
/// Records of the audit log that are read at once.
const RECORDS: usize = 100;
/// How long calls that were cancelled may take to end: as long as a loop takes that is stopped.
const SETTLING: Duration = Duration::from_secs(10);
/// Changes that follow each other closely are one.
const SPACING: Duration = Duration::from_millis(200);
/// How many times longer than looking at what is watched the pause after it is.
const REST: u32 = 4;
/// How often what no event tells of (what a runner prints) is looked at while it is watched, and
/// how often a caller looks whether there is a service now.
const POLL: Duration = Duration::from_secs(1);

/// Resources that have changed, until somebody is told: each once, however slow the client is.
#[derive(Debug, Clone, Default)]
pub struct Changes(watch::Sender<BTreeSet<Resource>>);

impl Changes {
    /// Has it told that `resource` may have changed.
    pub fn add(&self, resource: &Resource) {
        self.0.send_if_modified(|untold| untold.insert(resource.clone()));
    }

    /// What has changed since the last time; waits until something has. Cancel-safe.
    pub async fn next(&self) -> BTreeSet<Resource> {
        let mut untold = self.0.subscribe();
        // It never ends: the sender is here.
        let _ = untold.wait_for(|untold| !untold.is_empty()).await;
        let mut told = BTreeSet::new();
        self.0.send_if_modified(|untold| {
            std::mem::swap(untold, &mut told);
            false
        });
        told
    }
}

/// Does operations and reads resources, wherever that has to be done.
pub struct Host {
    place: Place,
    state_dir: PathBuf,
    audit: OnceCell<Audit>,
    /// Calls under way that may change something.
    calls: TaskTracker,
}

enum Place {
    /// This process is the service.
    Service { kit: Box<RunnerKit>, rows: Vec<Row> },
    /// This process is a caller.
    Caller(Box<Caller>),
}

impl Host {
    /// The service itself, whose configuration is `loaded`.
    pub fn service(kit: RunnerKit, loaded: &Loaded) -> Self {
        Self::at(
            Place::Service { kit: Box::new(kit), rows: loaded.rows.clone() },
            &loaded.config.state_dir,
        )
    }

    /// A caller that is configured by `sources`.
    pub fn caller(sources: Sources) -> Result<Self> {
        Ok(Self::calling(Caller::new(sources, false)?))
    }

    /// A caller that is configured by `sources`, and serves HTTP itself where that is wanted.
    pub fn server(sources: Sources) -> Result<Self> {
        Ok(Self::calling(Caller::new(sources, true)?))
    }

    fn calling(caller: Caller) -> Self {
        let state_dir = caller.loaded.config.state_dir.clone();
        Self::at(Place::Caller(Box::new(caller)), &state_dir)
    }

    fn at(place: Place, state_dir: &Path) -> Self {
        Self {
            place,
            state_dir: state_dir.to_owned(),
            audit: OnceCell::new(),
            calls: TaskTracker::new(),
        }
    }

    /// The log of calls; who only looks has no need that one can be kept.
    fn audit(&self) -> Result<&Audit> {
        self.audit.get_or_try_init(|| Audit::open(&self.state_dir))
    }

    /// The configuration of this process, where it is a caller.
    pub fn loaded(&self) -> Option<&Loaded> {
        match &self.place {
            Place::Service { .. } => None,
            Place::Caller(caller) => Some(&caller.loaded),
        }
    }

    /// Does the operation `entry`; whoever does it keeps a record of what it changes.
    pub async fn call(
        &self,
        entry: &'static Entry,
        arguments: Arguments,
        call: &Call,
    ) -> Result<Answer<Value>> {
        let given = if entry.hints.read_only { None } else { Some(arguments.clone()) };
        if given.is_some() {
            // Nothing is changed where no record of it could be kept.
            self.audit()?;
        }
        let _under_way = given.is_some().then(|| self.calls.token());
        let Done { answer, elsewhere } = match &self.place {
            Place::Service { kit, .. } => {
                let work = entry.call(kit, arguments, call);
                Done { answer: call.unless_cancelled(work).await, elsewhere: false }
            }
            Place::Caller(caller) => caller.call(entry, arguments, call).await,
        };
        if let (Some(given), false) = (given, elsewhere) {
            self.record(entry, given, call, answer.as_ref().map(|answer| answer.message.as_str()));
        }
        answer
    }

    /// Waits until the calls that may change something have ended, and so are on record: for a
    /// moment only, for they were cancelled.
    pub async fn settle(&self) {
        self.calls.close();
        // What takes longer ends with the process.
        let _ = tokio::time::timeout(SETTLING, self.calls.wait()).await;
    }

    /// Keeps a record of a call that changed something, or was not allowed to.
    pub fn record(
        &self,
        entry: &Entry,
        arguments: Arguments,
        call: &Call,
        answer: Result<&str, &Error>,
    ) {
        let record = Record {
            at: chrono::Utc::now(),
            caller: call.caller.clone(),
            tool: entry.tool.to_owned(),
            arguments,
            outcome: Outcome::of(answer),
        };
        // What was done can't be taken back because its record could not be written.
        if let Err(error) = self.audit().and_then(|audit| audit.record(record)) {
            tracing::error!(%error, "the audit log was not written");
        }
    }

    /// What is in `resource`: text of its type.
    pub async fn read(&self, resource: &Resource) -> Result<String> {
        match (resource, &self.place) {
            (Resource::Help, _) => Ok(HELP.to_owned()),
            (Resource::Audit, _) => to_text(&self.audit()?.latest(RECORDS, None)?.items),
            (_, Place::Service { kit, rows }) => read(kit, rows, resource).await,
            (_, Place::Caller(caller)) => match Remote::read(&caller.places, resource).await {
                Some(text) => text,
                None => read(caller.kit()?, &caller.loaded.rows, resource).await,
            },
        }
    }

    /// Takes what GitHub delivered, where the loop is in this process.
    pub fn deliver(&self, delivery: &Delivery) -> Result<Delivered> {
        match &self.place {
            Place::Service { kit, .. } => kit.deliver(delivery),
            Place::Caller(caller) => match caller.staying() {
                Some(kit) => kit.deliver(delivery),
                None => Err(Error::new(
                    Code::NotFound,
                    "No autoscaler runs in this process, so nobody here acts on webhooks.",
                    "Have GitHub send them to the service: `runner start --http`.",
                )),
            },
        }
    }

    /// The repositories that are known without asking GitHub.
    pub async fn repos(&self) -> Vec<String> {
        let kit = match &self.place {
            Place::Service { kit, .. } => Some(&**kit),
            Place::Caller(caller) => {
                let arguments = operations::to_arguments(&json!({ "all": true, "limit": 1_000 }));
                let call = Call::by("completion", Transport::Socket);
                let tool = operations::QUEUES;
                let asked = arguments.unwrap_or_default();
                if let Some(Ok(answer)) = Remote::call(&caller.places, tool, asked, &call).await {
                    return members(&answer.data, "repo");
                }
                caller.made()
            }
        };
        let known = kit.map(RunnerKit::known_repos).unwrap_or_default();
        known.iter().map(ToString::to_string).collect()
    }

    /// The repositories where jobs wait, those that wait first: three at most.
    pub async fn waiting(&self) -> Result<Vec<Repo>> {
        let entry = operations::find(operations::QUEUES).ok_or_else(gone)?;
        let call = Call::by("prompt", Transport::Socket);
        let answer = self.call(entry, Arguments::new(), &call).await?;
        let queues: Vec<WorkflowQueue> = serde_json::from_value(answer.data).map_err(|_| gone())?;
        Ok(queues
            .into_iter()
            .filter(WorkflowQueue::waits)
            .take(3)
            .map(|queue| queue.repo)
            .collect())
    }

    /// The containers there are, by name and by id.
    pub async fn containers(&self) -> Vec<String> {
        let Some(entry) = operations::find(operations::CONTAINERS) else { return Vec::new() };
        let call = Call::by("completion", Transport::Socket);
        let Ok(answer) = self.call(entry, Arguments::new(), &call).await else {
            return Vec::new();
        };
        let names = members(&answer.data, "runner_name");
        names.into_iter().chain(members(&answer.data, "container_id")).collect()
    }

    /// Tells `changed` what of `wanted` may have changed, for as long as it is awaited.
    pub async fn watch(&self, mut wanted: watch::Receiver<BTreeSet<Resource>>, changed: &Changes) {
        match &self.place {
            Place::Service { kit, .. } => self.watch_here(kit, wanted, changed).await,
            Place::Caller(caller) => loop {
                if Remote::watch(&caller.places, &mut wanted, changed).await {
                    // The service has ended, and with it what it told.
                    wanted.borrow_and_update().iter().for_each(|resource| changed.add(resource));
                }
                // Until there is a service again, things change in this process, if anywhere.
                let made = caller.made();
                let served = async {
                    loop {
                        // First of all: one that hangs up at once must not be called without end.
                        tokio::time::sleep(POLL).await;
                        let found = caller.places.connect().await.is_some();
                        if found || caller.made().is_some() != made.is_some() {
                            return;
                        }
                    }
                };
                match made {
                    None => served.await,
                    Some(kit) => tokio::select! {
                        () = self.watch_here(kit, wanted.clone(), changed) => return,
                        () = served => {}
                    },
                }
            },
        }
    }

    async fn watch_here(
        &self,
        kit: &RunnerKit,
        mut wanted: watch::Receiver<BTreeSet<Resource>>,
        changed: &Changes,
    ) {
        let mut state = kit.subscribe();
        let mut sampled = kit.subscribe_samples();
        let mut seen: BTreeMap<Resource, u64> = BTreeMap::new();
        loop {
            let began = Instant::now();
            let seen_by_loop = {
                let snapshot = state.borrow_and_update();
                snapshot.running && snapshot.demand.is_some()
            };
            let now = wanted.borrow_and_update().clone();
            seen.retain(|resource, _| now.contains(resource));
            for resource in &now {
                // What the loop has not seen would be asked for at GitHub.
                if matches!(resource, Resource::Queue(_)) && !seen_by_loop {
                    continue;
                }
                let hash = self.fingerprint(kit, resource).await;
                if seen.insert(resource.clone(), hash).is_some_and(|before| before != hash) {
                    changed.add(resource);
                }
            }
            let silent = now.iter().any(|resource| {
                matches!(
                    resource,
                    Resource::Log { .. }
                        | Resource::Container(_)
                        | Resource::Audit
                        | Resource::Usage
                )
            });
            // However much is watched, most of the time the engine is left alone.
            tokio::time::sleep(SPACING.max(began.elapsed() * REST)).await;
            tokio::select! {
                ended = state.changed() => if ended.is_err() { return },
                ended = wanted.changed() => if ended.is_err() { return },
                ended = sampled.changed() => if ended.is_err() { return },
                () = tokio::time::sleep(POLL), if silent => {}
            }
        }
    }

    /// What differs when `resource` has changed.
    async fn fingerprint(&self, kit: &RunnerKit, resource: &Resource) -> u64 {
        let text = match resource {
            // A day of them is long, and they change with the latest only.
            Resource::Samples => Ok(kit.subscribe_samples().borrow().to_string()),
            // What it uses changes all the time and is told by a resource of its own.
            Resource::Container(key) => {
                kit.container_at_rest(key).await.and_then(|detail| to_text(&detail))
            }
            other => self.read(other).await,
        };
        let mut hasher = DefaultHasher::new();
        match text {
            Ok(text) => text.hash(&mut hasher),
            Err(error) => error.code.hash(&mut hasher),
        }
        hasher.finish()
    }
}

async fn read(kit: &RunnerKit, rows: &[Row], resource: &Resource) -> Result<String> {
    match resource {
        Resource::Status => to_text(&kit.get_status().await?),
        Resource::Config => to_text(&rows),
        Resource::Events => to_text(&kit.events()),
        Resource::Queue(repo) => to_text(&kit.queue(repo).await?),
        Resource::Container(container) => to_text(&kit.container(container).await?),
        Resource::Samples => to_text(&kit.samples()),
        Resource::Usage => to_text(&kit.usage().await?),
        Resource::Log { container, lines } => kit.container_log(container, *lines).await,
        Resource::Help | Resource::Audit => Err(gone()),
    }
}

fn to_text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::internal(format!("It could not be written as JSON: {error}."), "Please report it.")
    })
}

/// The texts that the entries of `list` have under `name`.
fn members(list: &Value, name: &str) -> Vec<String> {
    let entries = list.as_array().into_iter().flatten();
    entries.filter_map(|entry| entry.get(name)?.as_str()).map(str::to_owned).collect()
}

fn gone() -> Error {
    Error::new(Code::Internal, "The service ended while it was asked.", "Start it again.")
}

#[cfg(test)]
mod tests;
