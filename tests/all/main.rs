//! The one binary of integration tests: linked once, run in parallel.

// Clippy takes only the functions marked as tests for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agreement;
mod app;
mod assistant;
mod autoscaling;
mod bad_days;
mod bounds;
mod chaos;
mod demo;
mod distribution;
mod doctor;
mod engine;
mod faces;
mod fuzz;
mod generated;
mod hostile;
mod house;
mod http;
mod lessons;
mod resources;
mod scale_sets;
mod supervision;
mod support;
mod webhooks;
