//! Watch everything that the credential can see, look at the queues, stop when asked.
//!
//! ```text
//! cargo run --example basic
//! ```

use std::error::Error;
use std::time::Duration;

use runner_kit::RunnerKit;
use runner_kit::config::{Environment, Sources, StartInput, load};
use runner_kit::runner_kit::QueueFilter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Defaults, configuration file and environment, as for the command line.
    let sources = Sources { env: Environment::from_process(), ..Sources::default() };
    let kit = RunnerKit::new(load(&sources, &StartInput::default())?.config)?;

    let started = kit.start_autoscaler().await?;
    for warning in &started.status.warnings {
        eprintln!("{warning}");
    }

    // The first look has been taken when there is a time of the last check.
    let mut state = kit.subscribe();
    let first_look =
        state.wait_for(|state| state.last_check.is_some() || state.last_error.is_some());
    tokio::time::timeout(Duration::from_secs(120), first_look).await??;

    let status = kit.get_status().await?;
    println!("{} runners, {} jobs wait", status.active_runners, status.queued_jobs);
    for queue in kit.get_workflow_queues(&QueueFilter::default()).await?.items {
        println!("{}: {} workflows, {} pending", queue.repo, queue.total_workflows, queue.pending);
    }

    println!("Ctrl-C stops watching; runners finish their jobs.");
    tokio::signal::ctrl_c().await?;
    let stopped = kit.stop_autoscaler().await?;
    println!("{} runners are left", stopped.runners_left);
    Ok(())
}
