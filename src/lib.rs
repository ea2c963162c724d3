//! Autoscaler for GitHub Actions self-hosted runners on Docker hosts.

pub mod adapters;
pub mod config;
pub mod error;
pub mod model;
pub mod ports;
