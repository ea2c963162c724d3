//! Registrations of ours that nobody needs any more: where they are looked for, and until when.
//!
//! A scope is remembered before a runner is registered there, and across restarts, so that a
//! service that is killed in between leaves nothing for good. It is forgotten when none of ours is
//! listed there any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};

use super::Reconciler;
use crate::error::{Code, Error};
use crate::lifecycle::is_ours;
use crate::model::Scope;
use crate::plan::UNCLAIMED;

/// A registration whose answer was lost may come about so late, and not be listed for so long: a scope
/// in which one was tried is clean only after that.
const UNSEEN: Duration = Duration::from_secs(180);
/// GitHub refuses now and then what it allows a moment later: a scope in which a runner was launched is
/// believed to be closed only after that.
const REFUSED: Duration = Duration::from_secs(600);

impl Reconciler {
    /// Where registrations are looked for, beside the scopes of the containers.
    pub(super) fn where_to_look(&self) -> Vec<Scope> {
        // The files are read here, once for each look.
        scopes(self.parts.leftovers.all()).chain(self.scopes.iter().cloned()).collect()
    }

    /// A look that began `at` showed what is registered, but for the scopes that are `unlisted`.
    pub(super) fn see_leftovers(
        &mut self,
        unlisted: &mut BTreeMap<Scope, Error>,
        at: SystemTime,
        now: DateTime<Utc>,
    ) {
        let (prefix, registered) = (&self.prefix, &self.registered);
        let is_ours = |name: &str| is_ours(prefix, name);
        self.memory.look_for_unclaimed(registered, &self.containers, is_ours, now);
        let launching = self.flights.runners().map(|runner| &runner.scope);
        let inhabited: BTreeSet<&Scope> =
            self.containers.iter().map(|one| &one.scope).chain(launching).collect();
        let leftovers = &self.parts.leftovers;
        // Should they have been lost: what runs may leave something, too.
        for scope in inhabited.iter().map(ToString::to_string) {
            if !leftovers.knows(&scope) {
                leftovers.remember(&scope, "", now.into());
            }
        }
        for scope in scopes(leftovers.known()).filter(|scope| !inhabited.contains(scope)) {
            let closed = unlisted.get(&scope).filter(|error| is_closed(error));
            let is_clean =
                registered.get(&scope).is_some_and(|all| !all.iter().any(|one| is_ours(&one.name)));
            let patience = if closed.is_some() { REFUSED } else { UNSEEN };
            let is_over = closed.is_some() || is_clean;
            let forgotten = is_over && leftovers.forget(&scope.to_string(), at - patience);
            // Told once: until it is forgotten each look finds the same.
            if let Some(error) = closed.filter(|_| forgotten) {
                tracing::warn!(%scope, %error, "leftovers are looked for no longer");
            }
            // Where jobs wait it is told; of others nobody would know what it is about.
            if closed.is_some() && !self.scopes.contains(&scope) {
                unlisted.remove(&scope);
            }
        }
    }

    /// The time until a look can tell that a registration has been unclaimed for long enough.
    pub(super) fn until_ripe(&self) -> Option<Duration> {
        let left = self.memory.unclaimed().values().map(|one| UNCLAIMED - one.lasted());
        left.filter(|left| *left > TimeDelta::zero()).min()?.to_std().ok()
    }
}

fn scopes(hints: BTreeMap<String, String>) -> impl Iterator<Item = Scope> {
    hints.into_keys().filter_map(|name| Scope::parse(&name))
}

/// Whether the scope is no more, or the credential no longer has anything to do there.
fn is_closed(error: &Error) -> bool {
    matches!(error.code, Code::NotFound | Code::TokenDenied)
}
