use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::Utc;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::adapters::memory::MemoryEngine;
use crate::assemble;
use crate::config::{Environment, OperatorOptions, StartInput, load};
use crate::history::History;
use crate::lifecycle::Parts;
use crate::model::{Container, Demand, Ended, Inspection, Usage};
use crate::ports::{DemandSource, Engine, Launch, Report};
use crate::views::Mode;

/// An engine without containers and a source of work: the one is slow, the other fails, and both
/// are counted.
#[derive(Default)]
struct Counted {
    listings: AtomicUsize,
    looks: AtomicUsize,
}

const SLOW: Duration = Duration::from_secs(5);

#[async_trait]
impl DemandSource for Counted {
    async fn demand(&self) -> Result<Demand> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Err(Error::new(Code::GithubUnreachable, "GitHub does not answer.", "Wait."))
    }
}

#[async_trait]
impl Engine for Counted {
    async fn host(&self) -> Result<crate::ports::Host> {
        let process = Arc::new(|_| Box::pin(std::future::pending()) as _);
        MemoryEngine::new(process, Arc::new(Utc::now)).host().await
    }

    async fn prepare(&self, _: Report<'_>) -> Result<()> {
        Ok(())
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(SLOW).await;
        Ok(Vec::new())
    }

    async fn launch(&self, _: &Launch) -> Result<String> {
        Err(gone())
    }

    async fn stop(&self, _: &Container) -> Result<Ended> {
        Err(gone())
    }

    async fn remove(&self, _: &Container) -> Result<()> {
        Ok(())
    }

    async fn inspect(&self, _: &str) -> Result<Inspection> {
        Err(gone())
    }

    async fn usage(&self, _: &str) -> Result<Usage> {
        Err(gone())
    }

    async fn logs(&self, _: &str, _: usize) -> Result<String> {
        Err(gone())
    }

    async fn changed(&self) {
        std::future::pending().await
    }
}

fn sources(home: &TempDir) -> Sources {
    let home = home.path().display().to_string();
    let env: Environment =
        [("HOME", home.clone()), ("XDG_RUNTIME_DIR", home.clone())].into_iter().collect();
    let operator = OperatorOptions { state_dir: Some(home), ..OperatorOptions::default() };
    Sources { env, operator, ..Sources::default() }
}

fn service(counted: &Arc<Counted>) -> (TempDir, RunnerKit, Host) {
    let home = tempfile::tempdir().unwrap();
    let sources = sources(&home);
    let loaded = load(&sources, &StartInput::default()).unwrap();
    let Parts { registrar, .. } =
        assemble::parts(&loaded.config, &sources.env, counted.clone()).unwrap();
    let history = Arc::new(History::in_memory());
    let (source, engine) = (counted.clone(), counted.clone());
    let parts = Parts::new(source, registrar, engine, history, Arc::new(Utc::now));
    let kit = RunnerKit::from_parts(loaded.config.clone(), parts, Mode::Service);
    let host = Host::service(kit.clone(), &loaded);
    (home, kit, host)
}

/// Watches `resource` for `span`.
async fn watched(host: &Host, resource: Resource, span: Duration) {
    let (_keep, wanted) = watch::channel(BTreeSet::from([resource]));
    let changes = Changes::default();
    let watching = host.watch(wanted, &changes);
    assert!(tokio::time::timeout(span, watching).await.is_err(), "it goes on");
}

#[tokio::test]
async fn what_changes_often_is_told_once_to_a_client_that_is_slow() {
    let changes = Changes::default();
    for _ in 0..1_000 {
        changes.add(&Resource::Status);
        changes.add(&Resource::Events);
    }
    assert_eq!(changes.next().await, [Resource::Status, Resource::Events].into());
    changes.add(&Resource::Events);
    assert_eq!(changes.next().await, [Resource::Events].into());
}

#[tokio::test(start_paused = true)]
async fn watching_leaves_a_slow_engine_alone_most_of_the_time() {
    let counted = Arc::new(Counted::default());
    let (_home, _kit, host) = service(&counted);
    watched(&host, Resource::log("c0ffee"), SLOW * 100).await;
    let busy = counted.listings.load(Ordering::SeqCst);
    assert!((10..=21).contains(&busy), "{busy} of 100");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_has_seen_is_not_asked_for_because_somebody_watches_it() {
    let counted = Arc::new(Counted::default());
    let (_home, kit, host) = service(&counted);
    kit.start_unchecked().await.unwrap();
    let queue = Resource::Queue("octo-org/a".parse().unwrap());
    watched(&host, queue, Duration::from_secs(600)).await;
    let events = kit.events().iter().filter(|event| event.subject == "look").count();
    let looks = counted.looks.load(Ordering::SeqCst);
    assert!(events > 3 && looks <= events + 1, "{looks} looks, {events} of the loop");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_told_of_and_not_waited_for_without_end() {
    let home = tempfile::tempdir().unwrap();
    let host = Host::caller(sources(&home)).unwrap();
    std::fs::create_dir(home.path().join("ipfs-accelerate")).unwrap();
    // It listens and never accepts.
    let _hangs = UnixListener::bind(home.path().join("ipfs-accelerate/default.sock")).unwrap();
    let patience = Duration::from_secs(60);
    for tool in [operations::STATUS, operations::START] {
        let entry = operations::find(tool).unwrap();
        let call = Call::by("test", Transport::Stdio);
        let told = host.call(entry, Arguments::new(), &call);
        let told = tokio::time::timeout(patience, told).await.expect("an answer").unwrap_err();
        assert!(told.message.contains("did not answer"), "{told}");
    }
    let read = tokio::time::timeout(patience, host.read(&Resource::Status)).await;
    assert_eq!(read.expect("an answer").unwrap_err().code, Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_up_at_once_is_not_called_without_end() {
    let home = tempfile::tempdir().unwrap();
    let host = Host::caller(sources(&home)).unwrap();
    std::fs::create_dir(home.path().join("ipfs-accelerate")).unwrap();
    let socket = home.path().join("ipfs-accelerate/default.sock");
    let listener = UnixListener::bind(socket).unwrap();
    let calls = async {
        let began = Instant::now();
        for _ in 0..20 {
            drop(listener.accept().await.unwrap());
        }
        began.elapsed()
    };
    let (_keep, wanted) = watch::channel(BTreeSet::from([Resource::Status]));
    let changes = Changes::default();
    tokio::select! {
        () = host.watch(wanted, &changes) => panic!("it goes on"),
        elapsed = calls => assert!(elapsed >= POLL * 9, "{elapsed:?}"),
    }
}
