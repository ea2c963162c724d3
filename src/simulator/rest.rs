//! x
use std::sync::Arc;
use axum::Router;
use super::server::Shared;
pub(super) fn router(_: &Arc<Shared>) -> Router { Router::new() }
