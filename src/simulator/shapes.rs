//! JSON as GitHub's OpenAPI description has it. What an autoscaler does not read is there as well,
//! with plausible values, so that a validator and a strict client are content.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::{
    limits::Standing,
    model::{Account, Job, JobStatus, Repo, Run, Runner},
};

/// The version that the simulated runner claims.
pub(super) const RUNNER_VERSION: &str = "2.336.0";

/// Labels that GitHub marks as its own.
const BUILT_IN: [&str; 7] = ["self-hosted", "linux", "macos", "windows", "x64", "arm", "arm64"];

/// Resources of a repository with an address of their own: key, path, and whether the description
/// demands a URI without a template.
const REPO_URLS: [(&str, &str); 37] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
];

/// Makes the JSON; knows where the server is.
#[derive(Debug)]
pub(super) struct Shapes {
    pub(super) url: String,
    pub(super) api_url: String,
}

impl Shapes {
    /// `rate-limit-overview`.
    pub(super) fn rate_limit(standing: Standing) -> Value {
        let core = json!({
            "limit": standing.limit,
            "used": standing.used,
            "remaining": standing.remaining(),
            "reset": standing.resets_at.timestamp(),
        });
        let unused = |limit: u64| {
            let reset = standing.resets_at.timestamp();
            json!({"limit": limit, "used": 0, "remaining": limit, "reset": reset})
        };
        json!({
            "resources": {
                "core": core,
                "search": unused(30),
                "graphql": unused(5_000),
                "integration_manifest": unused(5_000),
                "actions_runner_registration": unused(10_000),
            },
            "rate": core,
        })
    }

    /// `simple-user`.
    fn owner(&self, account: Option<&Account>) -> Value {
        let Some(account) = account else { return Value::Null };
        let login = &account.login;
        let (api, web) = (format!("{}/users/{login}", self.api_url), &self.url);
        json!({
            "login": login,
            "id": account.id,
            "node_id": node_id("U", account.id),
            "avatar_url": format!("{web}/avatars/u/{}", account.id),
            "gravatar_id": "",
            "url": api,
            "html_url": format!("{web}/{login}"),
            "followers_url": format!("{api}/followers"),
            "following_url": format!("{api}/following{{/other_user}}"),
            "gists_url": format!("{api}/gists{{/gist_id}}"),
            "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{api}/subscriptions"),
            "organizations_url": format!("{api}/orgs"),
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events{{/privacy}}"),
            "received_events_url": format!("{api}/received_events"),
            "type": if account.organization { "Organization" } else { "User" },
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// `private-user` for the caller's own account, otherwise `public-user`.
    pub(super) fn user(&self, account: &Account, own: bool) -> Value {
        let common = json!({
            "name": account.login,
            "company": null,
            "blog": "",
            "location": null,
            "email": null,
            "hireable": null,
            "bio": null,
            "twitter_username": null,
            "public_repos": 0,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "created_at": second(account.created_at),
            "updated_at": second(account.created_at),
        });
        let private = json!({
            "user_view_type": "private",
            "private_gists": 0,
            "total_private_repos": 0,
            "owned_private_repos": 0,
            "disk_usage": 0,
            "collaborators": 0,
            "two_factor_authentication": true,
        });
        let parts = [self.owner(Some(account)), common];
        merged(parts.into_iter().chain(own.then_some(private)))
    }

    /// `organization-full`.
    pub(super) fn org(&self, account: &Account) -> Value {
        let login = &account.login;
        let api = format!("{}/orgs/{login}", self.api_url);
        json!({
            "login": login,
            "id": account.id,
            "node_id": node_id("O", account.id),
            "url": api,
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events"),
            "hooks_url": format!("{api}/hooks"),
            "issues_url": format!("{api}/issues"),
            "members_url": format!("{api}/members{{/member}}"),
            "public_members_url": format!("{api}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/u/{}", self.url, account.id),
            "description": null,
            "has_organization_projects": true,
            "has_repository_projects": true,
            "public_repos": 0,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "html_url": format!("{}/{login}", self.url),
            "type": "Organization",
            "created_at": second(account.created_at),
            "updated_at": second(account.created_at),
            "archived_at": null,
        })
    }

    /// `repository`, which `minimal-repository` is a part of.
    pub(super) fn repo(&self, repo: &Repo, owner: Option<&Account>, may_admin: bool) -> Value {
        let full_name = repo.full_name();
        let api = format!("{}/repos/{full_name}", self.api_url);
        let web = format!("{}/{full_name}", self.url);
        let host = self.url.split_once("//").map_or(self.url.as_str(), |(_, host)| host);
        let urls = REPO_URLS
            .iter()
            .map(|(key, path)| ((*key).to_owned(), Value::from(format!("{api}{path}"))));
        let pushed_at = repo.pushed_at.map(second);
        let described = json!({
            "id": repo.id,
            "node_id": node_id("R", repo.id),
            "name": repo.name,
            "full_name": full_name,
            "owner": self.owner(owner),
            "private": repo.private,
            "visibility": if repo.private { "private" } else { "public" },
            "html_url": web,
            "git_url": format!("git://{host}/{full_name}.git"),
            "ssh_url": format!("git@{host}:{full_name}.git"),
            "clone_url": format!("{web}.git"),
            "svn_url": web,
            "archived": repo.archived,
            "disabled": repo.disabled,
            "pushed_at": pushed_at,
            "created_at": second(repo.created_at),
            "updated_at": pushed_at.unwrap_or_else(|| second(repo.created_at)),
            "permissions": {
                "admin": may_admin, "maintain": may_admin, "push": may_admin, "triage": may_admin,
                "pull": true,
            },
        });
        merged([Value::Object(urls.collect()), unremarkable_repo(), described])
    }

    /// `full-repository`.
    pub(super) fn full_repo(&self, repo: &Repo, owner: Option<&Account>, may_admin: bool) -> Value {
        let mut more = json!({"network_count": 0, "subscribers_count": 0});
        if repo.pushed_at.is_none() {
            // The description does not admit the null here that it admits in listings.
            more["pushed_at"] = Value::from(second(repo.created_at));
        }
        merged([self.repo(repo, owner, may_admin), more])
    }

    /// `workflow-run`.
    pub(super) fn run(
        &self,
        run: &Run,
        repo: &Repo,
        owner: Option<&Account>,
        actor: Option<&Account>,
    ) -> Value {
        let of_repo = format!("{}/repos/{}", self.api_url, run.repo);
        let api = format!("{of_repo}/actions/runs/{}", run.id);
        let (workflow_id, suite) = (repo.id + 1, run.id + 1);
        let repository = self.repo(repo, owner, true);
        let actor = self.owner(actor);
        json!({
            "id": run.id,
            "name": run.named.then_some(&run.workflow),
            "node_id": node_id("WFR", run.id),
            "head_branch": run.branch,
            "head_sha": sha(run.id),
            "path": format!(".github/workflows/{}.yml", run.workflow),
            "display_title": format!("Change number {}", run.number),
            "run_number": run.number,
            "run_attempt": 1,
            "event": run.event,
            "status": run.status.as_str(),
            "conclusion": run.conclusion.map(|conclusion| conclusion.as_str()),
            "workflow_id": workflow_id,
            "check_suite_id": suite,
            "check_suite_node_id": node_id("CS", suite),
            "url": api,
            "html_url": format!("{}/{}/actions/runs/{}", self.url, run.repo, run.id),
            "pull_requests": [],
            "created_at": second(run.created_at),
            "updated_at": second(run.updated_at),
            "run_started_at": second(run.created_at),
            "actor": actor,
            "triggering_actor": actor,
            "jobs_url": format!("{api}/jobs"),
            "logs_url": format!("{api}/logs"),
            "check_suite_url": format!("{of_repo}/check-suites/{suite}"),
            "artifacts_url": format!("{api}/artifacts"),
            "cancel_url": format!("{api}/cancel"),
            "rerun_url": format!("{api}/rerun"),
            "previous_attempt_url": null,
            "workflow_url": format!("{of_repo}/actions/workflows/{workflow_id}"),
            "head_commit": {
                "id": sha(run.id),
                "tree_id": sha(suite),
                "message": format!("Change number {}", run.number),
                "timestamp": second(run.created_at),
                "author": {"name": "Mona", "email": "mona@example.com"},
                "committer": {"name": "Mona", "email": "mona@example.com"},
            },
            "repository": repository,
            "head_repository": repository,
        })
    }

    /// `job`.
    pub(super) fn job(&self, job: &Job, run: &Run) -> Value {
        let of_repo = format!("{}/repos/{}", self.api_url, job.repo);
        // Groups are told with the runner: GitHub's own machines are in group 0.
        let group = job.runner_id.map(|_| match job.is_hosted() {
            true => (0, "GitHub Actions"),
            false => (1, "Default"),
        });
        json!({
            "id": job.id,
            "run_id": job.run_id,
            "run_url": format!("{of_repo}/actions/runs/{}", job.run_id),
            "run_attempt": 1,
            "node_id": node_id("CR", job.id),
            "head_sha": sha(job.run_id),
            "url": format!("{of_repo}/actions/jobs/{}", job.id),
            "html_url":
                format!("{}/{}/actions/runs/{}/job/{}", self.url, job.repo, job.run_id, job.id),
            "status": job.status.as_str(),
            "conclusion": job.conclusion.map(|conclusion| conclusion.as_str()),
            "created_at": second(job.created_at),
            // GitHub fills it before the job has begun, and the description says it is never null.
            "started_at": second(job.started_at.unwrap_or(job.created_at)),
            "completed_at": job.completed_at.map(second),
            "name": job.name,
            "steps": steps(job),
            "check_run_url": format!("{of_repo}/check-runs/{}", job.id),
            "labels": job.labels,
            "runner_id": job.runner_id,
            "runner_name": job.runner_name,
            "runner_group_id": group.map(|(id, _)| id),
            "runner_group_name": group.map(|(_, name)| name),
            "workflow_name": run.named.then_some(&run.workflow),
            "head_branch": run.branch,
        })
    }

    /// `runner`.
    pub(super) fn runner(&self, runner: &Runner, online: bool) -> Value {
        let labels = runner.labels.iter().enumerate().map(|(place, name)| {
            let built_in = BUILT_IN.iter().any(|known| known.eq_ignore_ascii_case(name));
            json!({
                "id": place + 1,
                "name": name,
                "type": if built_in { "read-only" } else { "custom" },
            })
        });
        json!({
            "id": runner.id,
            "name": runner.name,
            // GitHub learns these from the process, which for a JIT runner comes later.
            "os": if runner.connected_once { "Linux" } else { "unknown" },
            "version": runner.connected_once.then_some(RUNNER_VERSION),
            "status": if online { "online" } else { "offline" },
            "busy": runner.job.is_some(),
            "ephemeral": runner.ephemeral,
            "runner_group_id": runner.group_id,
            "labels": labels.collect::<Vec<_>>(),
        })
    }

    /// `authentication-token`, with the local offset that GitHub's own answers have.
    pub(super) fn token(&self, token: &str, expires_at: DateTime<Utc>) -> Value {
        let expires_at = match FixedOffset::west_opt(8 * 3_600) {
            Some(pacific) => {
                expires_at.with_timezone(&pacific).to_rfc3339_opts(SecondsFormat::Millis, false)
            }
            None => second(expires_at),
        };
        json!({"token": token, "expires_at": expires_at})
    }
}

/// What all repositories here have in common.
fn unremarkable_repo() -> Value {
    json!({
        "mirror_url": null,
        "homepage": null,
        "description": null,
        "language": null,
        "license": null,
        "fork": false,
        "forks": 0,
        "forks_count": 0,
        "stargazers_count": 0,
        "watchers": 0,
        "watchers_count": 0,
        "size": 0,
        "default_branch": "main",
        "open_issues": 0,
        "open_issues_count": 0,
        "is_template": false,
        "topics": [],
        "has_issues": true,
        "has_projects": true,
        "has_wiki": true,
        "has_pages": false,
        "has_downloads": true,
        "has_discussions": false,
        "allow_forking": true,
        "web_commit_signoff_required": false,
    })
}

fn steps(job: &Job) -> Value {
    if job.status != JobStatus::InProgress && job.runner_id.is_none() {
        return json!([]);
    }
    json!([{
        "name": "Set up job",
        "status": job.status.as_str(),
        "conclusion": job.conclusion.map(|conclusion| conclusion.as_str()),
        "number": 1,
        "started_at": job.started_at.map(second),
        "completed_at": job.completed_at.map(second),
    }])
}

/// The keys of all objects in one; of equal keys the last counts.
fn merged(objects: impl IntoIterator<Item = Value>) -> Value {
    let mut all = Map::new();
    for object in objects {
        if let Value::Object(object) = object {
            all.extend(object);
        }
    }
    Value::Object(all)
}

fn second(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn node_id(kind: &str, id: u64) -> String {
    format!("{kind}_kwDO{id:012x}")
}

/// Something that looks like the hash of a commit.
fn sha(id: u64) -> String {
    format!("{id:040x}")
}
