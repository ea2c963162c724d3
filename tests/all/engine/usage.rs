//! What containers use, by the kernel's counters.

use runner_kit::model::Usage;

use super::*;

impl World {
    /// What one runner uses, by two looks.
    async fn usage(&self) -> (Usage, Usage) {
        let id = self.engine.launch(&self.launch("r")).await.unwrap();
        let first = self.engine.usage(&id).await.unwrap();
        (first, self.engine.usage(&id).await.unwrap())
    }
}

#[tokio::test]
async fn a_runner_at_work_uses_a_processor_and_one_that_waits_does_not() {
    let busy = World::new("busy", "while true; do true; done").await;
    let idle = World::new("idle", "sleep 60").await;
    let (busy, idle) = tokio::join!(busy.usage(), idle.usage());
    for usage in [busy.0, busy.1] {
        assert!(usage.cpu_percent > 20.0 && usage.cpu_percent < 200.0, "{usage:?}");
    }
    for usage in [idle.0, idle.1, busy.0, busy.1] {
        assert!(usage.memory_bytes > 0 && usage.memory_bytes < 64 << 20, "{usage:?}");
        assert_eq!(usage.memory_limit, 64 << 20);
    }
    assert!(idle.1.cpu_percent < 20.0, "{idle:?}");
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
