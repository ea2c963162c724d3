//! Users, organisations and repositories.

use serde_json::{Map, Value, json};

use super::{Shapes, node_id, second};
use crate::simulator::model::{Account, Repo};

/// Resources of a repository with an address of their own: key and path.
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

impl Shapes {
    /// `simple-user`.
    pub(super) fn owner(&self, account: Option<&Account>) -> Value {
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
    pub(in crate::simulator) fn user(&self, account: &Account, own: bool) -> Value {
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
    pub(in crate::simulator) fn org(&self, account: &Account) -> Value {
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
    pub(in crate::simulator) fn repo(
        &self,
        repo: &Repo,
        owner: Option<&Account>,
        may_admin: bool,
    ) -> Value {
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
    pub(in crate::simulator) fn full_repo(
        &self,
        repo: &Repo,
        owner: Option<&Account>,
        may_admin: bool,
    ) -> Value {
        // The description does not admit the null here that it admits in listings.
        let pushed_at = second(repo.pushed_at.unwrap_or(repo.created_at));
        let more = json!({"network_count": 0, "subscribers_count": 0, "pushed_at": pushed_at});
        merged([self.repo(repo, owner, may_admin), more])
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
