//! The one binary of integration tests: linked once, run in parallel.

mod engine;
mod support;
