//! Watch one organisation, with more runners and shorter waits, and tell what happens.
//!
//! ```text
//! cargo run --example organisation -- my-org
//! ```

use std::env;
use std::error::Error;

use runner_kit::RunnerKit;
use runner_kit::config::{Environment, Sources, StartInput, load};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let owner = env::args().nth(1).ok_or("name an organisation")?;
    let sources = Sources { env: Environment::from_process(), ..Sources::default() };
    let wanted = StartInput {
        owner: Some(owner),
        poll_interval: Some(60),
        max_runners: Some(20),
        ..StartInput::default()
    };
    let kit = RunnerKit::new(load(&sources, &wanted)?.config)?;
    kit.start_autoscaler().await?;

    let mut state = kit.subscribe();
    let mut told = None;
    loop {
        tokio::select! {
            changed = state.changed() => changed?,
            _ = tokio::signal::ctrl_c() => break,
        }
        let snapshot = state.borrow_and_update().clone();
        for event in snapshot.events.iter().filter(|event| Some(event.at) > told) {
            println!("{} {}: {}", event.at.format("%H:%M:%S"), event.subject, event.message);
        }
        told = snapshot.events.iter().map(|event| event.at).max().or(told);
    }
    kit.stop_autoscaler().await?;
    Ok(())
}
