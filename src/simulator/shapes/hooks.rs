//! What webhooks carry.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Shapes, node_id, second};
use crate::simulator::{
    model::{Account, Repo, Run},
    state::JobEvent,
};

impl Shapes {
    /// `webhook-workflow-job-…`, which has the job of the REST description in it.
    pub(in crate::simulator) fn job_event(
        &self,
        event: &JobEvent,
        run: &Run,
        repo: &Repo,
        owner: Option<&Account>,
    ) -> Value {
        let mut payload = json!({
            "action": event.action,
            "workflow_job": self.job(&event.job, run),
            "repository": self.repo(repo, owner, true),
            "sender": self.owner(owner),
        });
        let org = owner.filter(|owner| owner.organization);
        if let (Some(org), Some(payload)) = (org, payload.as_object_mut()) {
            payload.insert("organization".into(), self.organization(org));
        }
        payload
    }

    /// `webhook-ping`.
    pub(in crate::simulator) fn ping(&self, hook: u64, url: &str, now: DateTime<Utc>) -> Value {
        json!({
            "zen": "Approachable is better than simple.",
            "hook_id": hook,
            "hook": {
                "type": "App",
                "id": hook,
                "name": "web",
                "active": true,
                "events": ["workflow_job"],
                "config": {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": url},
                "app_id": hook,
                "created_at": second(now),
                "updated_at": second(now),
                "deliveries_url": format!("{}/app/hook/deliveries", self.api_url),
            },
        })
    }

    /// `organization-simple-webhooks`.
    fn organization(&self, account: &Account) -> Value {
        let api = format!("{}/orgs/{}", self.api_url, account.login);
        json!({
            "login": account.login,
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
        })
    }
}
