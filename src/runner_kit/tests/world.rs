//! A small world on tokio's paused clock: the loop, a GitHub and the engine in memory, whose runners
//! take one job each.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures::FutureExt;
use tokio::time::Instant;

pub(super) use super::github::{Fate, Github, State};
use crate::adapters::memory::MemoryEngine;
use crate::config::{OperatorOptions, RunnerConfig, Sources, StartInput, load};
use crate::history::History;
use crate::lifecycle::Parts;
use crate::model::Repo;
use crate::ports::{Clock, Launch};
use crate::runner_kit::RunnerKit;
use crate::views::Mode;

pub(super) struct World {
    pub(super) github: Arc<Github>,
    pub(super) engine: Arc<MemoryEngine>,
    pub(super) kit: RunnerKit,
    pub(super) parts: Parts,
}

pub(super) fn repo(name: &str) -> Repo {
    format!("o/{name}").parse().unwrap()
}

fn clock() -> Clock {
    let (begin, epoch) = (Instant::now(), DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
    Arc::new(move || epoch + TimeDelta::from_std(begin.elapsed()).unwrap())
}

impl World {
    pub(super) fn new(max_runners: i64) -> Self {
        Self::with(StartInput { max_runners: Some(max_runners), ..StartInput::default() })
    }

    pub(super) fn with(input: StartInput) -> Self {
        Self::bounded(input, OperatorOptions::default())
    }

    pub(super) fn bounded(input: StartInput, operator: OperatorOptions) -> Self {
        let env = [("HOME", "/nowhere")].into_iter().collect();
        let sources = Sources { env, operator, ..Sources::default() };
        let input = StartInput { labels: Some(vec!["self-hosted".into()]), ..input };
        let config: RunnerConfig = load(&sources, &input).unwrap().config;
        let clock = clock();
        let github = Arc::new(Github::new(clock.clone()));
        let hub = github.clone();
        let process = move |launch: Launch| hub.clone().be_runner(launch).boxed();
        let engine = Arc::new(MemoryEngine::new(Arc::new(process), clock.clone()));
        github.print_on(&engine);
        let history = Arc::new(History::in_memory());
        let parts = Parts::new(github.clone(), github.clone(), engine.clone(), history, clock);
        let kit = RunnerKit::from_parts(config, parts.clone(), Mode::InProcess);
        Self { github, engine, kit, parts }
    }

    /// Another service object on the same world, as after a restart.
    pub(super) fn restarted(&self) -> RunnerKit {
        let Parts { source, registrar, engine, history, leftovers, clock, .. } = self.parts.clone();
        let mut parts = Parts::new(source, registrar, engine, history, clock);
        parts.leftovers = leftovers;
        RunnerKit::from_parts(self.kit.config().clone(), parts, Mode::InProcess)
    }

    /// Lets time pass until `done`; fails after two hours of it.
    pub(super) async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..7_200 * 4 {
            if done(self) {
                return;
            }
            tokio::time::advance(Duration::from_millis(250)).await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        panic!("never came about: {what}");
    }

    pub(super) async fn pass(&self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        self.until("time passes", |_| Instant::now() >= end).await;
    }

    pub(super) async fn live(&self) -> usize {
        self.parts.engine.containers().await.unwrap().iter().filter(|c| !c.ended).count()
    }

    pub(super) async fn containers(&self) -> usize {
        self.parts.engine.containers().await.unwrap().len()
    }
}
