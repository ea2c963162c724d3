//! From a configuration to a service object with real adapters: the only place that knows both.

use crate::config::{Environment, RunnerConfig};
use crate::error::{Error, Result};
use crate::runner_kit::RunnerKit;
use crate::views::Mode;

/// The service object for `config`.
pub fn kit(_config: RunnerConfig, _env: &Environment, _mode: Mode) -> Result<RunnerKit> {
    Err(Error::internal("adapters are not merged yet", ""))
}
