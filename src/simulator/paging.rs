//! Pages and the `Link` header (docs.github.com: "Using pagination in the REST API").

use std::collections::HashMap;

use axum::{
    Json,
    extract::{FromRequestParts, Query},
    response::{IntoResponse, Response},
};
use http::{header::LINK, request::Parts};
use serde_json::Value;

use super::problem::Problem;

/// docs.github.com: 30 by default, 100 at most.
const DEFAULT: usize = 30;
const MOST: usize = 100;

/// A list request: its query, and the page that it asks for.
#[derive(Debug)]
pub(super) struct Listing {
    path: String,
    raw_query: String,
    query: HashMap<String, String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Listing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::Invalid(error.to_string()))?;
        Ok(Self {
            path: parts.uri.path().to_owned(),
            raw_query: parts.uri.query().unwrap_or_default().to_owned(),
            query,
        })
    }
}

impl Listing {
    /// A parameter of the query; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The asked-for page of `items`. `shape` makes the JSON of one of them, `wrap` that of the page.
    pub(super) fn page<T>(
        &self,
        api_url: &str,
        items: &[T],
        shape: impl Fn(&T) -> Value,
        wrap: impl FnOnce(usize, Vec<Value>) -> Value,
    ) -> Response {
        let size = self.number("per_page").unwrap_or(DEFAULT).clamp(1, MOST);
        let page = self.number("page").unwrap_or(1).max(1);
        let last = items.len().div_ceil(size).max(1);
        let shown = items.iter().skip((page - 1).saturating_mul(size)).take(size);
        let body = Json(wrap(items.len(), shown.map(shape).collect()));
        let links = self.links(api_url, page, last);
        if links.is_empty() {
            return body.into_response();
        }
        ([(LINK, links)], body).into_response()
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.get(name).and_then(|value| value.parse().ok())
    }

    fn links(&self, api_url: &str, page: usize, last: usize) -> String {
        let mut links = Vec::new();
        if page > 1 {
            links.push((page.min(last + 1) - 1, "prev"));
        }
        if page < last {
            links.extend([(page + 1, "next"), (last, "last")]);
        }
        if page > 1 {
            links.push((1, "first"));
        }
        let links = links.into_iter().map(|(page, relation)| {
            format!("<{api_url}{}?{}>; rel=\"{relation}\"", self.path, self.query_of(page))
        });
        links.collect::<Vec<_>>().join(", ")
    }

    /// The request's own query with another page, everything else as it was encoded.
    fn query_of(&self, page: usize) -> String {
        let others = self
            .raw_query
            .split('&')
            .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("page"));
        others.map(str::to_owned).chain([format!("page={page}")]).collect::<Vec<_>>().join("&")
    }
}
