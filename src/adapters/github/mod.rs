//! GitHub's REST API: one client with its limits and its cache, and the registrar on top of it.
//!
//! Octocrab is the transport; models, retries, limits and conditional requests are our own, since
//! an autoscaler must not lose a page over one unknown word nor send a registration twice.

mod cache;
mod client;
pub mod credentials;
mod errors;
mod limits;
pub(crate) mod models;
mod registrar;
mod retry;

pub use client::GithubClient;
pub use registrar::GithubRegistrar;
