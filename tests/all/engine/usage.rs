//! What containers use, by the kernel's counters.

use runner_kit::model::Usage;

use super::*;

/// Percent of a processor: far less than a whole one, for tests share the machine, and far more
/// than nothing.
const SOME: f64 = 20.0;

impl World {
    /// What one runner uses, once `is_so`.
    async fn usage(&self, is_so: impl Fn(&Usage) -> bool) -> Usage {
        let id = self.engine.launch(&self.launch("r")).await.unwrap();
        let measured = async {
            loop {
                let usage = self.engine.usage(&id).await.unwrap();
                assert!(usage.cpu_percent >= 0.0 && usage.cpu_percent < 200.0, "{usage:?}");
                assert!(usage.memory_bytes > 0 && usage.memory_bytes < 64 << 20, "{usage:?}");
                assert_eq!(usage.memory_limit, 64 << 20);
                if is_so(&usage) {
                    return usage;
                }
            }
        };
        tokio::time::timeout(PATIENCE, measured).await.expect("it is measured so")
    }
}

#[tokio::test]
async fn a_runner_at_work_uses_a_processor_and_one_that_waits_does_not() {
    let busy = World::new("busy", "while true; do true; done").await;
    let idle = World::new("idle", "sleep 60").await;
    let (busy, idle) = tokio::join!(
        busy.usage(|usage| usage.cpu_percent > SOME),
        idle.usage(|usage| usage.cpu_percent < SOME),
    );
    assert!(busy.cpu_percent > idle.cpu_percent, "{busy:?} {idle:?}");
}

#[tokio::test]
async fn what_has_ended_or_never_was_uses_nothing_that_could_be_measured() {
    let world = World::new("unused", "true").await;
    let container = world.run().await;
    for id in [container.id.as_str(), "0123456789abcdef"] {
        let error = world.engine.usage(id).await.unwrap_err();
        assert_eq!(error.code.as_str(), "not_found", "{error}");
    }
}
