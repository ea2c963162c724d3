//! GitHub's REST API: one client with its limits and its cache, and the registrar on top of it.
//!
//! Octocrab is the transport; models, retries, limits and conditional requests are our own, since
//! an autoscaler must not lose a page over one unknown word nor send a registration twice. So are the
//! credentials: each installation of an app has its own, and octocrab does not repeat what an
//! expired token was refused.

mod access;
mod app;
mod cache;
mod client;
pub mod credentials;
mod errors;
pub(crate) mod fresh;
mod installations;
mod limits;
pub(crate) mod models;
mod registrar;
pub(crate) mod retry;
mod standing;

pub use app::AppKey;
pub use client::GithubClient;
pub use credentials::Credential;
pub(crate) use installations::Installed;
pub use registrar::GithubRegistrar;
pub use standing::{Identity, Standing};
