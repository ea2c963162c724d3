use chrono::{DateTime, Days};
use serde_json::{Value, json};

use super::{Client, REPO, github};
use crate::simulator::{JobSpec, Options, Permission, RepoSpec, RunSpec, Simulator, TOKEN};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn jit_request(name: &str) -> String {
    json!({"name": name, "runner_group_id": 1, "labels": ["self-hosted"]}).to_string()
}

#[tokio::test]
async fn a_wrong_token_and_no_token_are_answered_by_401() {
    let github = github(Options::default()).await;
    for (value, message) in
        [("Bearer nonsense", "Bad credentials"), ("", "Requires authentication")]
    {
        let answer = Client::new(&github).with("authorization", value).get("/user").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["message"]), (401, &json!(message)));
    }
    let classic = format!("token {TOKEN}");
    let answer = Client::new(&github).with("authorization", &classic).get("/user").await;
    assert_eq!(answer.json()["login"], "octocat");
}

#[tokio::test]
async fn a_client_without_a_name_is_refused() {
    let github = github(Options::default()).await;
    let answer = Client::new(&github).with("user-agent", "").get("/user").await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn an_unchanged_answer_is_a_304_that_costs_nothing() {
    let github = github(Options::default()).await;
    let path = "/repos/acme/api/actions/runs?status=queued";
    let first = Client::new(&github).get(path).await;
    let again = Client::new(&github).with("if-none-match", first.header("etag"));
    let second = again.get(path).await;
    assert_eq!((second.status.as_u16(), second.body.len()), (304, 0));
    assert_eq!(second.header("x-ratelimit-used"), "1");
    github.queue_run(REPO, RunSpec::new("ci").job(JobSpec::new("build"))).unwrap();
    let third = again.get(path).await;
    assert_eq!(third.json()["total_count"], 1);
    assert_eq!(third.header("x-ratelimit-used"), "2");
    let counters = github.counters();
    assert_eq!((counters.total, counters.charged), (3, 2));
    assert_eq!(counters.by_status, [(200, 2), (304, 1)].into());
}

#[tokio::test]
async fn the_first_page_changes_its_tag_when_a_second_one_comes() {
    let github = github(Options::default()).await;
    let path = "/orgs/acme/repos?per_page=1&sort=full_name";
    let first = Client::new(&github).get(path).await;
    github.add_repo(RepoSpec::new("acme/zebra"));
    let again = Client::new(&github).with("if-none-match", first.header("etag")).get(path).await;
    assert_eq!(again.status, 200);
    assert!(again.header("link").contains("rel=\"next\""));
}

#[tokio::test]
async fn the_pages_of_a_list_are_linked_and_together_are_the_list() {
    let github = github(Options::default()).await;
    let run = RunSpec::new("ci").matrix("test", 256, |job| job);
    let run = github.queue_run(REPO, run).unwrap();
    let client = Client::new(&github);
    let mut next = format!("/repos/acme/api/actions/runs/{run}/jobs?per_page=100&filter=latest");
    let mut sizes = Vec::new();
    while !next.is_empty() {
        let answer = client.get(&next).await;
        assert_eq!(answer.json()["total_count"], 256);
        sizes.push(answer.json()["jobs"].as_array().unwrap().len());
        let links = answer.header("link").to_owned();
        let link = links.split(", ").find(|link| link.ends_with("rel=\"next\"")).unwrap_or("");
        let url = link.trim_start_matches('<').split('>').next().unwrap();
        next = url.strip_prefix(&github.api_url()).unwrap_or("").to_owned();
    }
    assert_eq!(sizes, [100, 100, 56]);
}

#[tokio::test]
async fn repositories_are_listed_by_affiliation_and_push() {
    let github = Simulator::start(Options::default()).await.unwrap();
    let day = |day: u64| DateTime::UNIX_EPOCH + Days::new(20_000 + day);
    github.add_user("hubot");
    github.add_repo(RepoSpec::new("octocat/mine").private().pushed_at(day(1)));
    github.add_repo(RepoSpec::new("acme/ours").pushed_at(day(3)));
    github.add_repo(RepoSpec::new("hubot/theirs").pushed_at(day(2)));
    github.add_repo(RepoSpec::new("hubot/secret").private());
    github.add_repo(RepoSpec::new("hubot/shared").private().shared_with("octocat"));
    github.add_repo(RepoSpec::new("acme/empty").never_pushed());
    let client = Client::new(&github);
    for (path, expected) in [
        ("/user/repos?affiliation=owner", vec!["mine"]),
        ("/user/repos?sort=full_name", vec!["empty", "ours", "shared", "mine"]),
        ("/orgs/acme/repos?sort=pushed&direction=desc", vec!["ours", "empty"]),
        ("/users/hubot/repos", vec!["theirs"]),
        ("/users/octocat/repos", vec![]),
    ] {
        assert_eq!(names(&client.get(path).await.json()), expected, "{path}");
    }
    let empty = client.get("/orgs/acme/repos?sort=pushed&direction=asc").await.json();
    assert_eq!(empty[0]["pushed_at"], Value::Null);
    assert_eq!(client.get("/repos/hubot/secret").await.status, 404);
}

#[tokio::test]
async fn what_does_not_exist_is_a_404() {
    let github = github(Options::default()).await;
    let client = Client::new(&github);
    for path in [
        "/orgs/nobody",
        "/orgs/octocat/repos",
        "/repos/acme/nothing/actions/runs",
        "/repos/acme/api/actions/jobs/1",
        "/repos/acme/api/actions/runners/1",
        "/something/else",
    ] {
        let answer = client.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["status"]),
            (404, &json!("404")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let github = github(Options::default()).await;
    github.add_repo(RepoSpec::new("acme/vault").forbidden());
    github.add_repo(RepoSpec::new("acme/half").denies(Permission::Administration));
    github.deny_runners_of("acme").unwrap();
    let client = Client::new(&github);
    assert_eq!(client.get("/repos/acme/vault").await.status, 200);
    assert_eq!(client.get("/repos/acme/half/actions/runs").await.status, 200);
    for (answer, permission) in [
        (client.get("/repos/acme/vault/actions/runs").await, "actions=read"),
        (client.get("/repos/acme/half/actions/runners").await, "administration=read"),
        (
            client.post("/repos/acme/half/actions/runners/registration-token", "").await,
            "administration=write",
        ),
        (
            client.post("/orgs/acme/actions/runners/generate-jitconfig", &jit_request("a")).await,
            "organization_self_hosted_runners=write",
        ),
    ] {
        assert_eq!(answer.json()["message"], "Resource not accessible by personal access token");
        assert_eq!(answer.header("x-accepted-github-permissions"), permission);
        assert_eq!(answer.status, 403);
    }
}

#[tokio::test]
async fn an_exhausted_limit_refuses_until_it_is_reset() {
    let github = github(Options { rate_limit: 1, ..Options::default() }).await;
    let client = Client::new(&github);
    assert_eq!(client.get("/user").await.header("x-ratelimit-remaining"), "0");
    let refused = client.get("/user").await;
    assert_eq!((refused.status.as_u16(), refused.header("x-ratelimit-remaining")), (403, "0"));
    let reset: i64 = refused.header("x-ratelimit-reset").parse().unwrap();
    assert!(reset > github.now().timestamp());
    assert_eq!(client.get("/rate_limit").await.json()["rate"]["remaining"], 0);
    github.skip(std::time::Duration::from_secs(3_600));
    assert_eq!(client.get("/user").await.status, 200);
}

#[tokio::test]
async fn the_secondary_limit_says_when_to_come_back() {
    let github = github(Options { secondary_limit: Some(1), ..Options::default() }).await;
    let client = Client::new(&github);
    assert_eq!(client.get("/user").await.status, 200);
    let refused = client.get("/user").await;
    assert_eq!(refused.status, 403);
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
}

#[tokio::test]
async fn runs_are_filtered_by_status_and_newest_first() {
    let github = github(Options::default()).await;
    let hosted = JobSpec::new("lint").labels(["ubuntu-latest"]);
    let done = github.queue_run(REPO, RunSpec::new("lint").job(hosted)).unwrap();
    github.wait_until(|state| state.is_all_done()).await;
    let nameless = RunSpec::new("ci").without_name().without_branch().job(JobSpec::new("build"));
    let queued = github.queue_run(REPO, nameless).unwrap();
    let client = Client::new(&github);
    let ids = async |query: &str| {
        let runs = client.get(&format!("/repos/acme/api/actions/runs{query}")).await.json();
        let runs = runs["workflow_runs"].as_array().unwrap().clone();
        runs.iter().map(|run| run["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [queued, done]);
    assert_eq!(ids("?status=queued").await, [queued]);
    assert_eq!(ids("?status=success").await, [done]);
    assert_eq!(ids("?created=%3C2020-01-01").await, [0_u64; 0]);
    assert_eq!(ids("?created=%3E%3D2020-01-01").await, [queued, done]);
    let jobs = client.get(&format!("/repos/acme/api/actions/runs/{queued}/jobs")).await.json();
    for null in ["workflow_name", "head_branch", "runner_id", "runner_group_id", "completed_at"] {
        assert_eq!(jobs["jobs"][0][null], Value::Null, "{null}");
    }
}

#[tokio::test]
async fn jit_configurations_are_checked_and_their_runners_listed_and_removed() {
    let github = github(Options::default()).await;
    let client = Client::new(&github);
    let runners = "/repos/acme/api/actions/runners";
    let path = format!("{runners}/generate-jitconfig");
    let made = client.post(&path, &jit_request("one")).await;
    assert_eq!(made.status, 201);
    assert_eq!(client.post(&path, &jit_request("one")).await.status, 409);
    assert_eq!(client.post(&path, "{").await.status, 400);
    for invalid in [
        json!({"name": "two", "runner_group_id": 1}),
        json!({"name": "two", "runner_group_id": 1, "labels": []}),
        json!({"name": "two", "runner_group_id": 1, "labels": vec!["x"; 101]}),
        json!({"name": "two", "runner_group_id": 2, "labels": ["x"]}),
        json!({"name": "", "runner_group_id": 1, "labels": ["x"]}),
    ] {
        assert_eq!(client.post(&path, &invalid.to_string()).await.status, 422, "{invalid}");
    }
    let listed = client.get(&format!("{runners}?name=one")).await.json();
    assert_eq!(listed["runners"][0], made.json()["runner"]);
    assert_eq!(client.get(&format!("{runners}?name=on")).await.json()["total_count"], 0);
    let one = format!("{runners}/{}", listed["runners"][0]["id"]);
    assert_eq!(client.delete(&one).await.status, 204);
    assert_eq!(client.delete(&one).await.status, 404);
}
