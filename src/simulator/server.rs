//! The listener, what all handlers share, and the task that lets time pass.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::Router;
use chrono::{DateTime, Utc};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    clock::Clock,
    faults::{Fault, Faults},
    hooks::Hooks,
    journal::Journal,
    limits::Limits,
    options::Options,
    random::Random,
    rest,
    runner_side::{self, Deed},
    scaleset,
    shapes::Shapes,
    state::State,
    wire::{Wire, Wired},
};

/// What changes, behind one lock that is never held across an await.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) state: State,
    pub(super) limits: Limits,
    pub(super) faults: Faults<Fault>,
    pub(super) hooks: Hooks,
    pub(super) journal: Journal,
    pub(super) random: Random,
    pub(super) deeds: Vec<Deed>,
}

/// What all handlers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) url: String,
    pub(super) ending: CancellationToken,
    world: Mutex<World>,
    changes: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn api_url(&self) -> String {
        format!("{}/api/v3", self.url)
    }

    pub(super) fn shapes(&self) -> Shapes {
        Shapes { url: self.url.clone(), api_url: self.api_url() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        // A test that panicked while it looked at the state has changed nothing.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world, and wakes all who wait for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World, DateTime<Utc>) -> T) -> T {
        let mut world = self.lock();
        let now = world.clock.now();
        let answer = change(&mut world, now);
        scaleset::follow(&mut world.state, now);
        drop(world);
        self.changes.send_modify(|version| *version += 1);
        answer
    }

    /// Told of each change.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) async fn wait_until(&self, mut is_so: impl FnMut(&World) -> bool) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if is_so(&self.lock()) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Calls `attempt` now and after every change, until it has an answer.
    pub(super) async fn first<T>(
        &self,
        mut attempt: impl FnMut(&mut World, DateTime<Utc>) -> Option<T>,
    ) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let answer = {
                let mut world = self.lock();
                let now = world.clock.now();
                let answer = attempt(&mut world, now);
                scaleset::follow(&mut world.state, now);
                answer
            };
            if let Some(answer) = answer {
                self.changes.send_modify(|version| *version += 1);
                return answer;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Lets time do its work, waking at the state's next deadline or when a change moves it.
    async fn pass_time(self: Arc<Self>) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let (changed, wait) = {
                let mut world = self.lock();
                let now = world.clock.now();
                let changed = world.state.advance(now);
                let deadline = world.state.next_deadline();
                (changed, deadline.map(|deadline| (deadline - now).to_std().unwrap_or_default()))
            };
            if changed {
                self.changes.send_modify(|version| *version += 1);
                continue;
            }
            // Timers are as fine as a millisecond, so that waiting less would only be spinning.
            let wait = wait.map(|wait| wait.max(Duration::from_millis(1)));
            tokio::select! {
                () = sleep(wait) => {}
                _ = changes.changed() => {}
                () = self.ending.cancelled() => return,
            }
        }
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// A simulator that listens until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) shared: Arc<Shared>,
    pub(super) address: SocketAddr,
    _ends_with_it: DropGuard,
}

impl Server {
    pub(super) async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let ending = CancellationToken::new();
        let url = options.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let clock = Clock::start();
        let world = World {
            state: State::new(options.clone(), clock.now()),
            limits: Limits::new(&options),
            faults: Faults::default(),
            hooks: Hooks::default(),
            journal: Journal::default(),
            random: Random::new(options.seed.rotate_left(32)),
            deeds: Vec::new(),
            clock,
        };
        let shared = Arc::new(Shared {
            url,
            options,
            ending: ending.clone(),
            world: Mutex::new(world),
            changes: watch::Sender::new(0),
        });
        let app = Router::new()
            .nest("/api/v3", rest::router(&shared).merge(scaleset::registration_router(&shared)))
            .nest(scaleset::PREFIX, scaleset::router(&shared))
            .nest(scaleset::QUEUE, scaleset::queue_router(&shared))
            .nest(runner_side::PREFIX, runner_side::router(&shared));
        let service = app.into_make_service_with_connect_info::<Wire>();
        let ended = ending.clone().cancelled_owned();
        tokio::spawn(async move {
            axum::serve(Wired(listener), service).with_graceful_shutdown(ended).await
        });
        tokio::spawn(Arc::clone(&shared).pass_time());
        Ok(Self { shared, address, _ends_with_it: ending.drop_guard() })
    }
}
