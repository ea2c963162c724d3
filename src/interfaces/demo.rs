//! stub
#![allow(missing_docs)]
use crate::{config::Environment, error::Result};
#[derive(clap::Args)]
pub struct DemoArgs {}
pub async fn run(_: DemoArgs, _: &Environment) -> Result<()> {
    Ok(())
}
pub async fn simulated_runner() -> i32 {
    crate::simulator::runner::run(|n| std::env::var(n).ok()).await
}
