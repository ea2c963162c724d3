//! The service as a client sees it that knows nothing but the protocol.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use super::*;
use crate::simulator::{
    JobSpec, Options, RepoSpec, RunSpec, Simulator, TOKEN, model::Scope, state::NewRunner,
};

const REPO: &str = "acme/api";

struct Client {
    http: Http<HttpConnector, Full<axum::body::Bytes>>,
    github: Simulator,
    base: String,
    admin: String,
}

struct Answer(StatusCode, Vec<u8>);

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.1).unwrap()
    }

    fn refusal(&self) -> (u16, String) {
        let name = self.json()["typeKey"].as_str().unwrap_or_default().to_owned();
        (self.0.as_u16(), name)
    }
}

impl Client {
    /// From a token of the REST API to one of the service.
    async fn new(options: ScaleSetOptions) -> Self {
        let options = Options { scale_sets: options, ..Options::default() };
        let github = Simulator::start(options).await.unwrap();
        github.add_repo(RepoSpec::new(REPO));
        let http = Http::builder(TokioExecutor::new()).build_http();
        let mut client = Self { http, github, base: String::new(), admin: String::new() };
        let api = client.github.api_url();
        let path = format!("{api}/repos/{REPO}/actions/runners/registration-token");
        let token = client.send("POST", &path, &format!("Bearer {TOKEN}"), &[], "").await.json();
        let body = json!({
            "url": format!("{}/{REPO}", client.github.url()), "runner_event": "register",
        });
        let auth = format!("RemoteAuth {}", token["token"].as_str().unwrap());
        let path = format!("{api}/actions/runner-registration");
        let admitted = client.send("POST", &path, &auth, &[], &body.to_string()).await.json();
        client.base = admitted["url"].as_str().unwrap().trim_end_matches('/').to_owned();
        client.admin = format!("Bearer {}", admitted["token"].as_str().unwrap());
        client
    }

    async fn send(
        &self,
        method: &str,
        url: &str,
        auth: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        let own = [("authorization", auth), ("user-agent", "test")];
        for (name, value) in own.iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let response = self.http.request(request).await.unwrap();
        let status = response.status();
        Answer(status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let mark = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/_apis/{path}{mark}api-version=6.0-preview", self.base);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &url, &self.admin, &[], &body).await
    }

    async fn set(&self, labels: &[&str]) -> u64 {
        let labels: Vec<_> =
            labels.iter().map(|name| json!({"type": "System", "name": name})).collect();
        let body = json!({"name": "pool", "runnerGroupId": 1, "labels": labels});
        let made = self.ask("POST", "runtime/runnerscalesets", body).await.json();
        made["id"].as_u64().unwrap()
    }

    async fn open(&self, set: u64) -> Answer {
        let path = format!("runtime/runnerscalesets/{set}/sessions");
        self.ask("POST", &path, json!({"ownerName": "me"})).await
    }

    async fn poll(&self, session: &Value, last: u64, capacity: &str) -> Answer {
        let queue = session["messageQueueUrl"].as_str().unwrap();
        let auth = format!("Bearer {}", session["messageQueueAccessToken"].as_str().unwrap());
        let url = format!("{queue}&lastMessageId={last}");
        self.send("GET", &url, &auth, &[("x-scalesetmaxcapacity", capacity)], "").await
    }
}

fn quick() -> ScaleSetOptions {
    ScaleSetOptions { poll: Duration::from_millis(20), ..ScaleSetOptions::default() }
}

#[tokio::test]
async fn a_set_is_made_found_shown_and_deleted() {
    let client = Client::new(quick()).await;
    let sets = "runtime/runnerscalesets";
    let id = client.set(&[]).await;
    let found = client.ask("GET", &format!("{sets}?runnerGroupId=1&name=pool"), Value::Null).await;
    let found = found.json();
    assert_eq!(
        (&found["count"], &found["value"][0]["labels"][0]["name"]),
        (&json!(1), &json!("pool"))
    );
    let again = client.ask("POST", sets, json!({"name": "pool", "runnerGroupId": 1})).await;
    assert_eq!(again.refusal(), (409, "RunnerScaleSetExistsException".into()));
    let one = format!("{sets}/{id}");
    let shown = client.ask("GET", &one, Value::Null).await.json();
    assert_eq!(shown["statistics"]["totalAssignedJobs"], 0);
    assert_eq!(client.ask("DELETE", &one, Value::Null).await.0, 204);
    let gone = client.ask("GET", &one, Value::Null).await;
    assert_eq!(gone.refusal(), (404, "RunnerScaleSetNotFoundException".into()));
    let groups = client.ask("GET", "runtime/runnergroups/?groupName=other", Value::Null).await;
    assert_eq!(groups.json()["count"], 0);
    let unversioned = format!("{}/_apis/{sets}", client.base);
    assert_eq!(client.send("GET", &unversioned, &client.admin, &[], "").await.0, 400);
}

#[tokio::test]
async fn a_set_has_one_session_whose_jobs_come_within_its_capacity_until_they_are_acknowledged() {
    let client = Client::new(quick()).await;
    let set = client.set(&["linux", "pool"]).await;
    let session = client.open(set).await.json();
    assert_eq!(client.open(set).await.refusal().1, "RunnerScaleSetSessionConflictException");
    assert_eq!(client.poll(&session, 0, "5").await.0, 202);
    let labelled = |labels: &[&str]| JobSpec::new("test").labels(labels.iter().copied());
    let run = RunSpec::new("ci").matrix("test", 3, |job| job.labels(["POOL"]));
    client.github.queue_run(REPO, run.job(labelled(&["gpu", "pool"]))).unwrap();
    assert_eq!(client.poll(&session, 0, "2").await.0, 200, "what was assigned to five");
    let told = client.poll(&session, 0, "2").await.json();
    assert_eq!(
        (&told["messageId"], &told["statistics"]["totalAssignedJobs"]),
        (&json!(1), &json!(3))
    );
    let jobs: Vec<Value> = serde_json::from_str(told["body"].as_str().unwrap()).unwrap();
    assert_eq!((jobs.len(), &jobs[0]["messageType"]), (3, &json!("JobAssigned")));
    assert_eq!(client.poll(&session, 1, "2").await.0, 202, "no more than that");
    let queue = session["messageQueueUrl"].as_str().unwrap().replace("message?", "message/1?");
    let auth = format!("Bearer {}", session["messageQueueAccessToken"].as_str().unwrap());
    assert_eq!(client.send("DELETE", &queue, &auth, &[], "").await.0, 204);
    assert_eq!(client.poll(&session, 0, "2").await.0, 202);
    let wrong = client.send("GET", &queue, &client.admin, &[], "").await;
    assert!(wrong.0 == 401 || wrong.0 == 405, "the administration's token reads no queue");
    let set = client.github.scale_set("pool").unwrap();
    assert_eq!((set.delivered, set.acknowledged), (vec![1, 1], vec![1]));
}

#[tokio::test]
async fn offered_jobs_are_acquired_once_and_with_the_queues_token() {
    let client = Client::new(ScaleSetOptions { offers: true, ..quick() }).await;
    let set = client.set(&["pool"]).await;
    let session = client.open(set).await.json();
    client.poll(&session, 0, "5").await;
    let run = RunSpec::new("ci").job(JobSpec::new("test").labels(["pool"]));
    client.github.queue_run(REPO, run).unwrap();
    let path = format!("runtime/runnerscalesets/{set}/acquirablejobs");
    let offered = client.ask("GET", &path, Value::Null).await.json();
    let request = offered["value"][0]["runnerRequestId"].clone();
    let url = format!(
        "{}/_apis/runtime/runnerscalesets/{set}/acquirejobs?api-version=6.0-preview",
        client.base
    );
    let body = json!([request, 1]).to_string();
    assert_eq!(client.send("POST", &url, &client.admin, &[], &body).await.0, 401);
    let auth = format!("Bearer {}", session["messageQueueAccessToken"].as_str().unwrap());
    for expected in [json!([request]), json!([])] {
        let got = client.send("POST", &url, &auth, &[], &body).await.json();
        assert_eq!(got["value"], expected);
    }
    assert_eq!(client.ask("GET", &path, Value::Null).await.0, 204);
}

#[tokio::test]
async fn jobs_of_a_set_are_for_its_runners_and_for_no_others() {
    let client = Client::new(quick()).await;
    let set = client.set(&["self-hosted"]).await;
    let session = client.open(set).await.json();
    client.poll(&session, 0, "1").await;
    let run = RunSpec::new("ci").matrix("test", 2, |job| job);
    client.github.queue_run(REPO, run).unwrap();
    let told = client.github.0.shared.change(|world, now| {
        let new = |name: &str| NewRunner {
            name: name.into(),
            labels: vec!["self-hosted".into()],
            ephemeral: true,
            group_id: 1,
        };
        let scope = Scope::Repo(REPO.into());
        ["set", "set-2", "other", "other-2"].map(|name| {
            let of = name.starts_with("set").then_some(set);
            let registered = world.state.register_jit_of(of, scope.clone(), new(name), now);
            world.state.poll(registered.unwrap().0, now).is_some()
        })
    });
    assert_eq!(told, [true, false, true, false], "one job is the set's, the other is not");
}

#[tokio::test]
async fn runners_of_a_set_are_listed_by_both_apis_and_removed_once() {
    let client = Client::new(quick()).await;
    let set = client.set(&["self-hosted"]).await;
    let path = format!("runtime/runnerscalesets/{set}/generatejitconfig");
    let made = client.ask("POST", &path, json!({"name": "one", "workFolder": "w"})).await.json();
    assert!(made["encodedJITConfig"].as_str().is_some_and(|config| !config.is_empty()));
    let taken = client.ask("POST", &path, json!({"name": "One"})).await;
    assert_eq!(taken.refusal(), (409, "AgentExistsException".into()));
    let api = client.github.api_url();
    let url = format!("{api}/repos/{REPO}/actions/runners");
    let listed = client.send("GET", &url, &format!("Bearer {TOKEN}"), &[], "").await.json();
    assert_eq!(listed["runners"][0]["id"], made["runner"]["id"]);
    let agents = "distributedtask/pools/0/agents";
    let named = client.ask("GET", &format!("{agents}?agentName=one"), Value::Null).await.json();
    assert_eq!(named["value"][0]["runnerScaleSetId"], set);
    let one = format!("{agents}/{}", made["runner"]["id"]);
    assert_eq!(client.ask("GET", &one, Value::Null).await.0, 200);
    assert_eq!(client.ask("DELETE", &one, Value::Null).await.0, 204);
    let gone = client.ask("DELETE", &one, Value::Null).await;
    assert_eq!(gone.refusal(), (404, "AgentNotFoundException".into()));
}

#[tokio::test]
async fn a_job_that_nobody_picks_up_is_assigned_three_times_and_then_no_more() {
    let options = ScaleSetOptions {
        pickup: Duration::from_secs(60),
        requeue: Duration::from_secs(10),
        session_timeout: Duration::from_secs(3_600),
        ..quick()
    };
    let client = Client::new(options).await;
    let set = client.set(&["pool"]).await;
    let session = client.open(set).await.json();
    client.poll(&session, 0, "5").await;
    let run = RunSpec::new("ci").job(JobSpec::new("test").labels(["pool"]));
    client.github.queue_run(REPO, run).unwrap();
    let until = |jobs: usize| {
        client
            .github
            .wait_until(move |state| state.sets.named("pool").unwrap().jobs().count() == jobs)
    };
    for wait in [10, 20, 40] {
        until(1).await;
        client.github.skip(Duration::from_secs(60));
        until(0).await;
        client.github.skip(Duration::from_secs(wait));
    }
    let again = client.github.0.shared.change(|world, now| {
        follow(&mut world.state, now);
        world.state.sets.named("pool").unwrap().jobs().count()
    });
    assert_eq!(again, 0);
    let told = client.poll(&session, 0, "5").await.json();
    let body: Vec<Value> = serde_json::from_str(told["body"].as_str().unwrap()).unwrap();
    let kinds: Vec<_> = body.iter().map(|one| one["messageType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["JobAssigned", "JobCompleted"].repeat(3));
    assert_eq!(body[1]["result"], "canceled");
}
