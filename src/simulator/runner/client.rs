//! The runner's HTTP client.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};

use super::settings::Settings;
use crate::simulator::{
    model::Conclusion,
    runner_side::{Deed, PREFIX, Registered, Report, Told},
};

/// How often a request is tried before the server counts as gone. The real runner tries for hours;
/// a simulated one must not outlive its simulator by much.
const ATTEMPTS: u32 = 6;

/// The first pause between two tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A registered runner's connection.
#[derive(Debug)]
pub(super) struct Client {
    http: Http<HttpConnector, Full<axum::body::Bytes>>,
    url: String,
    name: String,
    session: String,
}

/// A request failed, and would again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{status} from {path}: {body}")]
    Refused { status: StatusCode, path: String, body: String },
    #[error("no answer from {url}: {reason}")]
    Unreachable { url: String, reason: String },
}

impl Client {
    /// Registers, once: a registration whose answer was lost has still used its name.
    pub(super) async fn register(settings: &Settings) -> Result<Self, Failure> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut client = Self {
            http: Http::builder(TokioExecutor::new()).build(connector),
            url: settings.url.clone(),
            name: settings.name.clone(),
            session: String::new(),
        };
        client.witness(None).await;
        let body = client.post("/register", &settings.registration).await?.body;
        let registered: Registered = parse("/register", &body)?;
        client.session = registered.session;
        Ok(client)
    }

    pub(super) async fn poll(&self) -> Result<Option<Told>, Failure> {
        let answer = self.post_again("/poll", &()).await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(None),
            _ => parse("/poll", &answer.body).map(Some),
        }
    }

    /// Says what it does, once: the beginning of its process, or of a job.
    pub(super) async fn witness(&self, job: Option<u64>) {
        let deed = Deed { runner: self.name.clone(), job };
        // Who does not hear it has gone, and so has all else that this runner works for.
        let _ = self.post("/witness", &deed).await;
    }

    /// Tells that the job begins; false when it is another's by now.
    pub(super) async fn started(&self, job: u64) -> Result<bool, Failure> {
        self.about(&format!("/jobs/{job}/started"), &()).await
    }

    /// Tells how the job ended; false when it is another's by now.
    pub(super) async fn completed(
        &self,
        job: u64,
        conclusion: Conclusion,
    ) -> Result<bool, Failure> {
        self.about(&format!("/jobs/{job}/completed"), &Report { conclusion }).await
    }

    pub(super) async fn remove(&self) -> Result<(), Failure> {
        self.post_again("/remove", &()).await.map(|_| ())
    }

    async fn about(&self, path: &str, body: &impl Serialize) -> Result<bool, Failure> {
        match self.post_again(path, body).await {
            Ok(_) => Ok(true),
            Err(Failure::Refused { status: StatusCode::CONFLICT, .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Posts until there is an answer that is not the server's own trouble.
    async fn post_again(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.post(path, body).await {
                Err(Failure::Refused { status, .. }) if status.is_server_error() => {}
                Err(Failure::Unreachable { .. }) => {}
                settled => return settled,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.post(path, body).await
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let url = format!("{}{PREFIX}{path}", self.url);
        let unreachable = |reason: String| Failure::Unreachable { url: self.url.clone(), reason };
        let body = serde_json::to_vec(body).map_err(|error| unreachable(error.to_string()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.session))
            .body(Full::from(body))
            .map_err(|error| unreachable(error.to_string()))?;
        let answer =
            self.http.request(request).await.map_err(|error| unreachable(error.to_string()))?;
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| unreachable(error.to_string()))?.to_bytes().to_vec();
        if status.is_success() {
            return Ok(Answer { status, body });
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(Failure::Refused { status, path: path.to_owned(), body })
    }
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

/// An answer that cannot be read is as good as none.
fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::Unreachable { url: path.to_owned(), reason: error.to_string() })
}
