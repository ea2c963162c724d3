//! More than there is room for: what is remembered stays bounded.

use super::world::World;
use crate::reconciler::Command;

/// Waves of jobs, the repositories that they are spread over, and the jobs of each in a wave.
const WAVES: usize = 20;
const REPOS: usize = 10;
const JOBS: u64 = 50;

#[tokio::test(start_paused = true)]
async fn nothing_is_left_in_memory_of_10000_jobs_that_came_and_went() {
    let world = World::new(200);
    world.kit.start_autoscaler().await.unwrap();
    let mut most = 0;
    for wave in 1..=WAVES {
        let before = world.github.done();
        (0..REPOS).for_each(|name| world.github.queue(&format!("r{name}"), JOBS, 1));
        let all = before + REPOS * JOBS as usize;
        world.until("a wave is over", |world| world.github.done() == all).await;
        let sizes = world.kit.ask(Command::Pulse).await.unwrap();
        most = sizes.iter().map(|(_, size)| *size).max().unwrap().max(most);
        assert!(wave > 1 || most > 100, "it does remember: {sizes:?}");
    }
    assert_eq!(world.github.done(), 10_000);
    // Runners that may have had a job are remembered for half an hour.
    assert!(most <= 2 * 10_000, "{most}");
    world.pass(45 * 60).await;
    for (what, size) in world.kit.ask(Command::Pulse).await.unwrap() {
        let bound = match what {
            "events" => 200,
            // As many as there are repositories, for as long as they are watched.
            "turns" | "scopes" => REPOS,
            _ => 0,
        };
        assert!(size <= bound, "{size} {what} are remembered");
    }
}
