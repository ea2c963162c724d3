//! GitHub Apps, their installations and tokens.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Shapes, node_id, second};
use crate::simulator::apps::{App, Installation};
use crate::simulator::model::Account;

/// What an app needs here, and has.
fn permissions() -> Value {
    json!({
        "actions": "read",
        "administration": "write",
        "metadata": "read",
        "organization_self_hosted_runners": "write",
    })
}

impl Shapes {
    /// `integration`.
    pub(in crate::simulator) fn app(
        &self,
        app: &App,
        owner: Option<&Account>,
        installed: usize,
    ) -> Value {
        json!({
            "id": app.id,
            "slug": app.slug,
            "node_id": node_id("A", app.id),
            "client_id": app.client_id,
            "owner": self.owner(owner),
            "name": app.slug,
            "description": null,
            "external_url": self.url,
            "html_url": format!("{}/github-apps/{}", self.url, app.slug),
            "created_at": second(app.created_at),
            "updated_at": second(app.created_at),
            "permissions": permissions(),
            "events": ["workflow_job"],
            "installations_count": installed,
        })
    }

    /// `installation`.
    pub(in crate::simulator) fn installation(
        &self,
        installation: &Installation,
        app: &App,
        account: Option<&Account>,
    ) -> Value {
        let id = installation.id;
        let api = format!("{}/app/installations/{id}", self.api_url);
        let is_org = account.is_some_and(|account| account.organization);
        let settings = match is_org {
            true => format!("organizations/{}/settings", installation.account),
            false => "settings".to_owned(),
        };
        json!({
            "id": id,
            "account": self.owner(account),
            "repository_selection": if installation.repos.is_some() { "selected" } else { "all" },
            "access_tokens_url": format!("{api}/access_tokens"),
            "repositories_url": format!("{}/installation/repositories", self.api_url),
            "html_url": format!("{}/{settings}/installations/{id}", self.url),
            "app_id": app.id,
            "client_id": app.client_id,
            "app_slug": app.slug,
            "target_id": account.map_or(0, |account| account.id),
            "target_type": if is_org { "Organization" } else { "User" },
            "permissions": permissions(),
            "events": ["workflow_job"],
            "created_at": second(installation.created_at),
            "updated_at": second(installation.suspended_at.unwrap_or(installation.created_at)),
            "single_file_name": null,
            "suspended_by": installation.suspended_at.map(|_| self.owner(account)),
            "suspended_at": installation.suspended_at.map(second),
        })
    }

    /// `installation-token`.
    pub(in crate::simulator) fn installation_token(
        &self,
        token: &str,
        ends_at: DateTime<Utc>,
        selected: bool,
    ) -> Value {
        json!({
            "token": token,
            "expires_at": second(ends_at),
            "permissions": permissions(),
            "repository_selection": if selected { "selected" } else { "all" },
        })
    }
}
