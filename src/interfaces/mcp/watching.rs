//! Subscriptions: telling a client what of its resources has changed, in both eras.
//!
//! Revision 2026-07-28 has one request that stays open (`subscriptions/listen`); older clients
//! subscribe address by address.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::ErrorData;
use rmcp::model::{ResourceUpdatedNotificationParam, SubscriptionFilter};
use rmcp::service::{Peer, RoleServer, SubscriptionContext};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::refused;
use crate::interfaces::host::{Changes, Host};
use crate::resource::Resource;

/// Addresses that one client may watch: each is looked at after every change.
const MOST: usize = 64;

/// What of the addresses that a client of 2026-07-28 wants to watch there is.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = SubscriptionFilter::new();
    let known = |uri: &&String| uri.parse::<Resource>().is_ok();
    accepted.resource_subscriptions = requested
        .resource_subscriptions
        .as_ref()
        .map(|uris| uris.iter().filter(known).take(MOST).cloned().collect());
    accepted
}

/// Tells such a client of changes until it has heard enough.
pub(super) async fn listen(host: &Host, context: SubscriptionContext) {
    let uris = context.accepted().resource_subscriptions.clone().unwrap_or_default();
    let asked: BTreeMap<Resource, String> =
        uris.into_iter().filter_map(|uri| Some((uri.parse().ok()?, uri))).collect();
    let (_keep, wanted) = watch::channel(asked.keys().cloned().collect());
    let changes = Changes::default();
    let forward = async {
        loop {
            for resource in changes.next().await {
                let Some(uri) = asked.get(&resource) else { continue };
                if context.sink().notify_resource_updated(uri).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = host.watch(wanted, &changes) => {}
        () = forward => {}
        () = context.cancelled() => {}
    }
}

/// What one older client watches. A clone is another session's: it watches nothing yet.
#[derive(Default)]
pub(super) struct Watching(Mutex<Option<Watched>>);

struct Watched {
    /// The addresses as the client spells them.
    uris: BTreeMap<Resource, String>,
    wanted: watch::Sender<BTreeSet<Resource>>,
    spelt: watch::Sender<BTreeMap<Resource, String>>,
    /// Ends with the session.
    _task: AbortOnDropHandle<()>,
}

impl Clone for Watching {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Watching {
    /// Tells `peer` from now on when what is at `uri` changes.
    pub(super) fn begin(
        &self,
        host: &Arc<Host>,
        uri: &str,
        peer: Peer<RoleServer>,
    ) -> Result<(), ErrorData> {
        let resource: Resource = uri.parse().map_err(|error| refused(&error))?;
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watched.get_or_insert_with(|| Watched::by(Arc::clone(host), peer));
        if watched.uris.len() >= MOST && !watched.uris.contains_key(&resource) {
            let text = format!("{MOST} resources are watched already: end one of them first.");
            return Err(ErrorData::invalid_params(text, None));
        }
        watched.uris.insert(resource, uri.to_owned());
        watched.publish();
        Ok(())
    }

    /// Tells no more of `uri`.
    pub(super) fn end(&self, uri: &str) -> Result<(), ErrorData> {
        let resource: Resource = uri.parse().map_err(|error| refused(&error))?;
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = watched.as_mut() {
            watched.uris.remove(&resource);
            watched.publish();
        }
        Ok(())
    }
}

impl Watched {
    fn by(host: Arc<Host>, peer: Peer<RoleServer>) -> Self {
        let (wanted, wants) = watch::channel(BTreeSet::new());
        let (spelt, spelling) = watch::channel(BTreeMap::<Resource, String>::new());
        let task = tokio::spawn(async move {
            let changes = Changes::default();
            let forward = async {
                loop {
                    for resource in changes.next().await {
                        let uri = spelling.borrow().get(&resource).cloned();
                        let Some(uri) = uri else { continue };
                        let updated = ResourceUpdatedNotificationParam::new(uri);
                        if peer.notify_resource_updated(updated).await.is_err() {
                            return;
                        }
                    }
                }
            };
            tokio::select! {
                () = host.watch(wants, &changes) => {}
                () = forward => {}
            }
        });
        Self { uris: BTreeMap::new(), wanted, spelt, _task: AbortOnDropHandle::new(task) }
    }

    fn publish(&self) {
        self.spelt.send_replace(self.uris.clone());
        self.wanted.send_replace(self.uris.keys().cloned().collect());
    }
}
