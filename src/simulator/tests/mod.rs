//! The simulator as its clients see it, over TCP.

mod apps;
mod faults;
mod hooks;
pub(crate) mod keys;
mod rest;
mod runners;

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::{Options, RepoSpec, Simulator, TOKEN};

pub(super) const REPO: &str = "acme/api";

/// A simulator with one repository.
pub(super) async fn github(options: Options) -> Simulator {
    let github = Simulator::start(options).await.unwrap();
    github.add_repo(RepoSpec::new(REPO));
    github
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A REST client that expects nothing.
pub(super) struct Client {
    http: Http<HttpConnector, Full<axum::body::Bytes>>,
    api_url: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Client {
    pub(super) fn new(github: &Simulator) -> Self {
        Self {
            http: Http::builder(TokioExecutor::new()).build_http(),
            api_url: github.api_url(),
            headers: vec![
                ("authorization", format!("Bearer {TOKEN}")),
                ("user-agent", "test".into()),
            ],
        }
    }

    /// The same client with another value of a header; an empty value leaves it out.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            self.headers.push((name, value.into()));
        }
        self
    }

    /// The answer, or the error of a connection that broke.
    pub(super) async fn attempt(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api_url))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = self.http.request(request.body(Full::from(body.to_owned()))?).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await?.to_bytes().to_vec();
        Ok(Answer { status, headers, body })
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.attempt("GET", path, "").await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.attempt("POST", path, body).await.unwrap()
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.attempt("DELETE", path, "").await.unwrap()
    }
}
