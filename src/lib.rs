//! Autoscaler for GitHub Actions self-hosted runners on Docker hosts.

pub mod adapters;
pub mod assemble;
pub mod config;
pub mod error;
pub mod history;
pub mod interfaces;
pub mod lifecycle;
pub mod model;
pub mod operations;
pub mod pace;
pub mod plan;
pub mod ports;
mod reconciler;
pub mod runner_kit;
pub mod schema;
pub mod simulator;
pub mod snapshot;
pub mod supply;
pub mod views;
