//! What can be read beside calling tools: the numbers of the last day, and what containers use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use rmcp::ServiceExt;
use rmcp::model::{ReadResourceRequestParams, ResourceContents};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::TokioChildProcess;
use runner_kit::adapters::memory::MemoryEngine;
use runner_kit::config::{Sources, StartInput, load};
use runner_kit::error::Result;
use runner_kit::history::History;
use runner_kit::interfaces::host::{Changes, Host};
use runner_kit::lifecycle::Parts;
use runner_kit::model::{Demand, RateLimit, Registered, Scope};
use runner_kit::ports::{
    Clock, DemandSource, Deregistered, NewRunner, Registrar, Registration, RegistrationToken,
};
use runner_kit::resource::Resource;
use runner_kit::runner_kit::RunnerKit;
use runner_kit::simulator::{JobSpec, JobStatus, RepoSpec, RunSpec};
use runner_kit::views::Mode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::world::World;

/// A server on stdio, as an assistant has it.
struct Assistant(RunningService<RoleClient, ()>);

impl Assistant {
    async fn beside(world: &World) -> Self {
        let transport = TokioChildProcess::new(world.home.command("mcp start")).unwrap();
        Self(().serve(transport).await.unwrap())
    }

    async fn read(&self, uri: &str) -> Value {
        let read = self.0.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        match &read.contents[0] {
            ResourceContents::TextResourceContents { text, .. } => {
                serde_json::from_str(text).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// What is at `uri` once `is_so`.
    async fn read_until(&self, uri: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let read = async {
            loop {
                let told = self.read(uri).await;
                if is_so(&told) {
                    return told;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("it is so in a minute")
    }
}

#[tokio::test]
async fn samples_outlive_the_service_and_usage_is_told_of_every_live_container() {
    let world = World::new("resources-measured", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(60));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
    let mut service = world.home.serve(&world.start_line(3)).await;
    world.until("it is at work", |state| state.count(JobStatus::InProgress) == 1).await;
    let assistant = Assistant::beside(&world).await;
    let listed = assistant.0.list_all_resources().await.unwrap();
    for uri in ["runner://samples", "runner://usage"] {
        assert!(listed.iter().any(|resource| resource.uri == uri), "{uri}: {listed:?}");
    }

    let samples = assistant
        .read_until("runner://samples", |told| !told["rows"].as_array().unwrap().is_empty())
        .await;
    assert_eq!(samples["interval_s"], 60);
    let columns =
        ["at", "queued_jobs", "active_runners", "busy_runners", "capacity", "api_remaining"];
    assert_eq!(samples["columns"], json!(columns));
    let first = &samples["rows"][0];
    assert_eq!((&first[1], &first[2], &first[4]), (&json!(1), &json!(0), &json!(3)), "{first}");
    let age = chrono::Utc::now().timestamp() - first[0].as_i64().unwrap();
    assert!((0..60).contains(&age) && first[5].as_u64().unwrap() > 0, "{first}");

    let id = world.home.run("runner list-containers").await.data()[0]["container_id"].clone();
    let usage =
        assistant.read_until("runner://usage", |told| !told.as_array().unwrap().is_empty()).await;
    assert_eq!((usage.as_array().unwrap().len(), &usage[0]["container_id"]), (1, &id));
    assert!(usage[0]["cpu_percent"].as_f64().unwrap() >= 0.0, "{usage}");
    assert!(usage[0]["memory_bytes"].as_u64().unwrap() > 0, "{usage}");
    let uri = format!("runner://containers/{}", id.as_str().unwrap());
    let detail = assistant.read(&uri).await;
    assert!(detail["usage"]["memory_bytes"].as_u64().unwrap() > 0, "{detail}");
    assert!(detail["usage"]["memory_limit"].as_u64().unwrap() > 0, "{detail}");

    service.kill().await.unwrap();
    let without = Assistant::beside(&world).await.read("runner://samples").await;
    assert_eq!(without["rows"][0], *first, "without a service the file tells");
    let mut service = world.home.serve(&world.start_line(2)).await;
    let more = assistant
        .read_until("runner://samples", |told| told["rows"].as_array().unwrap().len() >= 2)
        .await;
    assert_eq!(more["rows"][0], *first);
    assert_eq!(more["rows"].as_array().unwrap().last().unwrap()[4], 2, "of the second service");
    service.kill().await.unwrap();
}

/// A GitHub with a budget and without work.
struct Quiet;

#[async_trait]
impl DemandSource for Quiet {
    async fn demand(&self) -> Result<Demand> {
        let rate_limit = RateLimit {
            limit: 5_000,
            remaining: 4_821,
            reset_at: DateTime::UNIX_EPOCH,
            forecast: String::new(),
        };
        Ok(Demand {
            repos: vec![],
            unseen: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            rate_limit: Some(rate_limit),
            is_listed: true,
            ..Demand::default()
        })
    }
}

#[async_trait]
impl Registrar for Quiet {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn register(&self, _: &NewRunner) -> Result<Registration> {
        unreachable!("nothing is to be launched")
    }

    async fn token(&self, _: &Scope) -> Result<RegistrationToken> {
        unreachable!("nothing is to be launched")
    }

    async fn deregister(&self, _: &Scope, _: u64) -> Result<Deregistered> {
        unreachable!("nothing was launched")
    }

    async fn registered(&self, _: &Scope) -> Result<Vec<Registered>> {
        Ok(vec![])
    }
}

#[tokio::test(start_paused = true)]
async fn who_watches_samples_is_told_of_each_and_of_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let env = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
    let loaded = load(&Sources { env, ..Sources::default() }, &StartInput::default()).unwrap();
    let begin = Instant::now();
    let clock: Clock =
        Arc::new(move || DateTime::UNIX_EPOCH + TimeDelta::from_std(begin.elapsed()).unwrap());
    let engine = Arc::new(MemoryEngine::new(Arc::new(|_| unreachable!()), clock.clone()));
    let history = Arc::new(History::in_memory());
    let parts = Parts::new(Arc::new(Quiet), Arc::new(Quiet), engine, history, clock);
    let kit = RunnerKit::from_parts(loaded.config.clone(), parts, Mode::Service);
    let host = Host::service(kit.clone(), &loaded);
    let (_keep, wanted) = watch::channel(BTreeSet::from([Resource::Samples]));
    let changes = Changes::default();
    let (told, count) = (changes.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            assert_eq!(told.next().await, BTreeSet::from([Resource::Samples]));
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    tokio::spawn(async move { host.watch(wanted, &changes).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    kit.start_autoscaler().await.unwrap();
    // The first at the first look, and ten minutes.
    tokio::time::sleep(Duration::from_secs(630)).await;
    assert_eq!(kit.samples().rows.len(), 11);
    let looks = kit.subscribe().borrow().iterations;
    assert!(looks > 3, "the state changed between them: {looks} looks");
    assert_eq!(count.load(Ordering::SeqCst), 11);
    let last = *kit.samples().rows.last().unwrap();
    assert_eq!((last.api_remaining, last.queued_jobs), (Some(4_821), 0));
}
