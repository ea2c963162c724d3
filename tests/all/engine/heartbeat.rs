//! What a runner says of itself, read from the log that the engine keeps.

use bollard::query_parameters::KillContainerOptionsBuilder;
use runner_kit::model::{Heartbeat, Said};

use super::*;

/// A runner that goes on at each signal.
const SCRIPT: &str = r#"
    n=0; trap 'n=$((n+1))' USR1; told() { until test $n -ge $1; do sleep 0.1; done; }
    echo; echo '√ Connected to GitHub'; echo "Current runner version: '2.337.0'"
    echo '2026-09-02 13:58:18Z: Listening for Jobs'; told 1
    echo '2026-09-02 14:00:00Z: Running job: build'; told 2
    i=0; while test $i -lt 300; do i=$((i+1)); echo "[WORKER 2026-09-02 14:05:00Z INFO Worker] $i"; done; told 3
    echo '2026-09-02 14:06:00Z: Job build completed with result: Succeeded' >&2; told 4"#;

#[tokio::test]
async fn what_a_runner_says_is_read_while_it_goes_on_whichever_stream_it_says_it_on() {
    let world = World::new("heartbeat", SCRIPT).await;
    let id = world.engine.launch(&world.launch("r")).await.unwrap();
    let steps = [
        (Said::Listening, "13:58:18"),
        (Said::Working, "14:00:00"),
        (Said::Working, "14:05:00"),
        (Said::Finished, "14:06:00"),
    ];
    for (said, at) in steps {
        let expected = Heartbeat { said, at: format!("2026-09-02T{at}Z").parse().ok() };
        let heard = async {
            while Heartbeat::read(&world.engine.logs(&id, 100).await.unwrap()) != Some(expected) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        heard.unwrap_or_else(|_| panic!("it never says {expected}"));
        let signal = KillContainerOptionsBuilder::default().signal("SIGUSR1").build();
        world.docker.kill_container(&id, Some(signal)).await.unwrap();
    }
    let container = world.ended().await;
    world.engine.remove(&container).await.unwrap();
    world.assert_nothing_is_left().await;
}
