//! The simulated runner's program.

/// Runs.
pub async fn run(env: impl Fn(&str) -> Option<String>) -> i32 {
    let _ = env("X");
    0
}
