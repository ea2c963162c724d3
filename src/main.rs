//! The program `ipfs-accelerate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    runner_kit::interfaces::cli::main(std::env::args_os())
}
