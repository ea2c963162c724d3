//! A rule of one's own, instead of the loop: up to three runners at once for what matters most.
//!
//! ```text
//! cargo run --example custom_provisioning -- my-org/critical-app my-org/main-service
//! ```

use std::collections::HashSet;
use std::env;
use std::error::Error;

use runner_kit::RunnerKit;
use runner_kit::config::{Environment, Sources, StartInput, load};
use runner_kit::error::Code;
use runner_kit::model::Repo;
use runner_kit::runner_kit::QueueFilter;

/// Runners of one repository that are launched in one go.
const AT_ONCE: usize = 3;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let important: HashSet<Repo> =
        env::args().skip(1).map(|name| name.parse()).collect::<Result<_, _>>()?;
    let sources = Sources { env: Environment::from_process(), ..Sources::default() };
    let kit = RunnerKit::new(load(&sources, &StartInput::default())?.config)?;

    let queues = kit.get_workflow_queues(&QueueFilter::default()).await?.items;
    for queue in queues.iter().filter(|queue| important.contains(&queue.repo)) {
        for _ in 0..queue.queued_jobs.min(AT_ONCE) {
            let token = kit.generate_runner_token(&queue.repo).await?;
            match kit.launch_runner_container(&queue.repo, &token).await {
                Ok(runner) => println!("{}: {} launched", runner.repo, runner.runner_name),
                // The bound holds for every rule.
                Err(error) if error.code == Code::AtCapacity => {
                    println!("{error}");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
