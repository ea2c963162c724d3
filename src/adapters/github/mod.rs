//! GitHub's REST API: one client with its limits and its cache, and the registrar on top of it.
//!
//! Octocrab is the transport; models, retries, limits and conditional requests are our own, since
//! an autoscaler must not lose a page over one unknown word nor send a registration twice. So are the
//! credentials: each installation of an app has its own, and octocrab does not repeat what an
//! expired token was refused.
//!
//! Limits are kept by waiting, not by meeting them. On its way out a request waits for a place among
//! those about the same repository (`room`), for its turn under the secondary limit (`turns`, by the
//! rules of `window`), and for a place among all; `limits` and `share` know what answers have told
//! and what looks may cost. Acts go before looks everywhere.

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
mod room;
mod sending;
mod share;
mod standing;
#[cfg(test)]
mod tests;
mod turns;
mod window;

pub use app::AppKey;
pub use client::GithubClient;
pub use credentials::Credential;
pub(crate) use installations::Installed;
pub use registrar::GithubRegistrar;
pub use standing::{Identity, Standing};
pub use turns::Readiness;
