//! Whether the loop goes round can be told from outside.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Builder;

use super::world::World;
use crate::error::Result;
use crate::model::Demand;
use crate::ports::{Decided, DemandSource};
use crate::runner_kit::{RunnerKit, Unready};
use crate::views::Mode;

/// A source that keeps the loop where it is until the other end is dropped.
struct Holding(Mutex<Receiver<()>>);

#[async_trait]
impl DemandSource for Holding {
    async fn demand(&self) -> Result<Demand> {
        Ok(Demand::default())
    }

    fn decided(&self, _: &Decided) {
        let _ = self.0.lock().unwrap().recv();
    }
}

#[tokio::test]
async fn a_loop_that_hangs_does_not_answer_and_one_that_goes_round_does() {
    let (hold, held) = channel();
    let world = World::new(1);
    let mut parts = world.parts.clone();
    parts.source = Arc::new(Holding(Mutex::new(held)));
    // On threads of its own: a thread that hangs may be the one that wakes all others.
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let kit = {
        let _here = elsewhere.enter();
        RunnerKit::from_parts(world.kit.config().clone(), parts, Mode::InProcess)
    };
    kit.pulse().await.unwrap();
    assert_eq!(kit.unready(), [Unready::Off]);
    kit.start_unchecked().await.unwrap();
    // It hangs as soon as it has decided something.
    let patience = Duration::from_millis(50);
    while tokio::time::timeout(patience, kit.pulse()).await.is_ok() {}
    drop(hold);
    kit.pulse().await.unwrap();
    elsewhere.shutdown_background();
}
