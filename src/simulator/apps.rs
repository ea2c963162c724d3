//! GitHub Apps: who they are, where they are installed, and what tokens they are given.
//!
//! docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App" and "Authenticating as a
//! GitHub App installation": a token that the app has signed itself is good for `/app` and for
//! finding installations; all else is asked with a token that an installation was given.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous::insecure_decode, decode};
use serde::Deserialize;
use serde_json::Value;

use super::{
    model::Repo,
    problem::Problem,
    state::{State, Unknown},
};

/// docs.github.com: a signed token ends 10 minutes from now at most.
const LONGEST: TimeDelta = TimeDelta::minutes(10);

/// A GitHub App to register: `AppSpec::new(7, public_key)`.
#[derive(Debug, Clone)]
pub struct AppSpec {
    id: u64,
    public_key: String,
}

impl AppSpec {
    /// The app `id`, whose own tokens are signed with the private half of `public_key` (PEM).
    pub fn new(id: u64, public_key: impl Into<String>) -> Self {
        Self { id, public_key: public_key.into() }
    }
}

/// A GitHub App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// GitHub's identifier.
    pub id: u64,
    /// The name in URLs.
    pub slug: String,
    /// The other identifier.
    pub client_id: String,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    public_key: String,
}

/// An app's presence on an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// GitHub's identifier.
    pub id: u64,
    /// The app.
    pub app: u64,
    /// Login of the account.
    pub account: String,
    /// Full names of the repositories that were selected; none means all.
    pub repos: Option<Vec<String>>,
    /// When it was suspended, if it is.
    pub suspended_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Installation {
    /// Whether its tokens have rights on `repo`.
    pub fn covers(&self, repo: &Repo) -> bool {
        let name = repo.full_name();
        self.account.eq_ignore_ascii_case(&repo.owner)
            && self.repos.as_ref().is_none_or(|repos| {
                repos.iter().any(|selected| selected.eq_ignore_ascii_case(&name))
            })
    }
}

/// All apps, installations and their tokens.
#[derive(Debug, Default)]
pub(super) struct Apps {
    apps: Vec<App>,
    installations: BTreeMap<u64, Installation>,
    tokens: HashMap<String, (u64, DateTime<Utc>)>,
}

/// What a signed token says.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: Value,
    iat: Value,
    exp: Value,
}

const INSTALLATION: &str = "installation/";
const APP: &str = "app/";

/// The installation that a caller is.
pub(super) fn installation_of(caller: &str) -> Option<u64> {
    caller.strip_prefix(INSTALLATION)?.parse().ok()
}

/// The app that a caller is.
pub(super) fn app_of(caller: &str) -> Option<u64> {
    caller.strip_prefix(APP)?.parse().ok()
}

/// Whether a caller of this kind may ask for `path` at all.
pub(super) fn may_ask(caller: &str, path: &str) -> Result<(), Problem> {
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let of_apps = matches!(
        *parts,
        ["app", ..] | ["orgs" | "users", _, "installation"] | ["repos", _, _, "installation"]
    );
    let of_users = matches!(*parts, ["user", ..]);
    let of_installations = matches!(*parts, ["installation", ..]);
    let forbidden = Problem::Forbidden { permission: "", integration: true };
    match (app_of(caller), installation_of(caller)) {
        (Some(_), _) if !of_apps => Err(forbidden),
        (None, _) if of_apps => Err(Problem::BadAssertion("A JSON web token could not be decoded")),
        (None, Some(_)) if of_users => Err(forbidden),
        (None, None) if of_installations => {
            Err(Problem::Forbidden { permission: "", integration: false })
        }
        _ => Ok(()),
    }
}

impl Apps {
    /// The app of this identifier.
    pub(super) fn app(&self, id: u64) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id)
    }

    /// The installation of this identifier.
    pub(super) fn installation(&self, id: u64) -> Option<&Installation> {
        self.installations.get(&id)
    }

    /// The installations of an app, oldest first.
    pub(super) fn installations_of(&self, app: u64) -> impl Iterator<Item = &Installation> {
        self.installations.values().filter(move |installation| installation.app == app)
    }

    /// Whose `token` this is: an installation's, or an app's own; none that an app could have.
    pub(super) fn identify(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Option<Result<String, Problem>> {
        if token.split('.').count() == 3 {
            return Some(self.verify(token, now).map(|id| format!("{APP}{id}")));
        }
        let (id, ends_at) = self.tokens.get(token)?;
        let installation = self.installations.get(id).filter(|_| now < *ends_at)?;
        Some(match installation.suspended_at {
            Some(_) => Err(Problem::Suspended),
            None => Ok(format!("{INSTALLATION}{id}")),
        })
    }

    /// The app that has signed `token`, if it did so properly.
    fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<u64, Problem> {
        const UNREADABLE: Problem = Problem::BadAssertion("A JSON web token could not be decoded");
        let claimed = insecure_decode::<Claims>(token).map_err(|_| UNREADABLE)?.claims;
        let issuer = match &claimed.iss {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let app =
            self.apps.iter().find(|app| app.id.to_string() == issuer || app.client_id == issuer);
        let app = app.ok_or(Problem::UnknownApp)?;
        let key = DecodingKey::from_rsa_pem(app.public_key.as_bytes()).map_err(|_| UNREADABLE)?;
        // The times are held against this server's clock, not against the wall's.
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        decode::<Claims>(token, &key, &validation).map_err(|_| UNREADABLE)?;
        let time =
            |claim: &Value| claim.as_i64().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        if time(&claimed.iat).is_none_or(|iat| iat > now) {
            return Err(Problem::BadAssertion(
                "'Issued at' claim ('iat') must be an Integer representing the time that the \
                 assertion was issued",
            ));
        }
        match time(&claimed.exp) {
            Some(exp) if exp > now + LONGEST => Err(Problem::BadAssertion(
                "'Expiration time' claim ('exp') is too far in the future",
            )),
            Some(exp) if exp > now => Ok(app.id),
            _ => Err(Problem::BadAssertion(
                "'Expiration time' claim ('exp') must be a numeric value representing the future \
                 time at which the assertion expires",
            )),
        }
    }
}

impl State {
    pub(super) fn add_app(&mut self, spec: AppSpec, now: DateTime<Utc>) {
        let app = App {
            id: spec.id,
            slug: format!("app-{}", spec.id),
            client_id: format!("Iv23li{:014}", spec.id),
            created_at: now,
            public_key: spec.public_key,
        };
        self.apps.apps.retain(|known| known.id != app.id);
        self.apps.apps.push(app);
    }

    pub(super) fn install_app(
        &mut self,
        app: u64,
        account: &str,
        repos: Option<&[&str]>,
        now: DateTime<Utc>,
    ) -> Result<u64, Unknown> {
        self.apps.app(app).ok_or_else(|| Unknown(format!("app {app}")))?;
        let account = self.account(account).ok_or_else(|| Unknown(format!("account {account}")))?;
        let account = account.login.clone();
        let id = self.fresh_id();
        let repos = repos.map(|repos| repos.iter().map(ToString::to_string).collect());
        let new = Installation { id, app, account, repos, suspended_at: None, created_at: now };
        self.apps.installations.insert(id, new);
        Ok(id)
    }

    pub(super) fn suspend(
        &mut self,
        installation: u64,
        suspended: bool,
        now: DateTime<Utc>,
    ) -> Result<(), Unknown> {
        let found = self.apps.installations.get_mut(&installation);
        let found = found.ok_or_else(|| Unknown(format!("installation {installation}")))?;
        found.suspended_at = suspended.then_some(now);
        Ok(())
    }

    pub(super) fn uninstall(&mut self, installation: u64) -> Result<(), Unknown> {
        let gone = self.apps.installations.remove(&installation);
        gone.map(drop).ok_or_else(|| Unknown(format!("installation {installation}")))
    }

    /// A new token of an installation, and its end.
    pub(super) fn issue_installation_token(
        &mut self,
        installation: u64,
        now: DateTime<Utc>,
    ) -> (String, DateTime<Utc>) {
        let token = self.random.secret("ghs_");
        let ends_at = now + self.options.installation_token_lifetime;
        self.apps.tokens.insert(token.clone(), (installation, ends_at));
        (token, ends_at)
    }
}
