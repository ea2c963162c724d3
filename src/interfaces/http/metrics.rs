//! Metrics in the format of Prometheus: the guide's five, and what goes with them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::measures;
use super::webhooks::Deliveries;
use crate::interfaces::host::Host;
use crate::views::Status;

pub(super) async fn scrape(State((host, deliveries)): State<(Arc<Host>, Deliveries)>) -> Response {
    // What is counted and measured is known where the loop is.
    let further = host.holder().map(|kit| measures::registries(&kit));
    match host.status().await.map(|status| text(&status, deliveries, further)) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// Status is the one truth; the registry is only its rendering, made for each scrape.
fn text(status: &Status, deliveries: Deliveries, further: Option<[Registry; 2]>) -> String {
    let mut registry = Registry::with_prefix("runner_kit");
    let mut gauge = |name: &str, help: &str, value: usize| {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        registry.register(name, help, ConstGauge::new(value));
    };
    gauge("running", "Whether the loop runs", status.running.into());
    gauge("active_runners", "Runner containers that have not ended", status.active_runners);
    gauge("max_runners", "Runners that are allowed", status.capacity.max);
    gauge(
        "queued_workflows",
        "Workflow runs with a queued job that runners here can serve",
        status.queued_workflows,
    );
    gauge("queued_jobs", "Queued jobs that runners here can serve", status.queued_jobs);
    gauge("repositories_monitored", "Repositories that are watched", status.repositories_monitored);
    gauge(
        "last_look_failed",
        "Whether something fails just now",
        status.last_error.is_some().into(),
    );
    if let Some(limit) = &status.rate_limit {
        let remaining = usize::try_from(limit.remaining).unwrap_or(usize::MAX);
        gauge("rate_limit_remaining", "Requests left of GitHub's hourly budget", remaining);
    }
    let mut counter = |name: &str, help: &str, value: u64| {
        registry.register(name, help, ConstCounter::new(value));
    };
    counter("iterations", "Looks at the demand since the start", status.iterations);
    counter("provisioned_runners", "Runners launched since the start", status.provisioned_runners);
    registry.register("webhook_deliveries", "Webhooks that came, by outcome", deliveries);
    let mut text = String::new();
    let mut all = std::iter::once(registry).chain(further.into_iter().flatten());
    let encoded = all.try_for_each(|registry| encode_registry(&mut text, &registry));
    match encoded.and_then(|()| encode_eof(&mut text)) {
        Ok(()) => text,
        // A String takes everything.
        Err(_) => String::new(),
    }
}
