//! Subscriptions: telling a client what of its resources has changed, in both eras.
//!
//! Revision 2026-07-28 has one request that stays open (`subscriptions/listen`); older clients
//! subscribe address by address.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    let spelt = |resource: &Resource| asked.get(resource).cloned();
    let notify = |uri| {
        let sink = context.sink().clone();
        async move { sink.notify_resource_updated(uri).await.is_ok() }
    };
    tokio::select! {
        () = tell(host, wanted, spelt, notify) => {}
        () = context.cancelled() => {}
    }
}

/// Has `notify` told of what changes of `wanted`, under the address that `spelt` gives, until
/// nobody hears it any more.
async fn tell<F: Future<Output = bool>>(
    host: &Host,
    wanted: watch::Receiver<BTreeSet<Resource>>,
    spelt: impl Fn(&Resource) -> Option<String>,
    notify: impl Fn(String) -> F,
) {
    let changes = Changes::default();
    let forward = async {
        loop {
            for resource in changes.next().await {
                let Some(uri) = spelt(&resource) else { continue };
                if !notify(uri).await {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = host.watch(wanted, &changes) => {}
        () = forward => {}
    }
}

/// What one older client watches. A clone is another session's: it watches nothing yet.
#[derive(Default)]
pub(super) struct Watching(Mutex<Option<Watched>>);

struct Watched {
    wanted: watch::Sender<BTreeSet<Resource>>,
    /// The addresses as the client spells them.
    spelt: Arc<Mutex<BTreeMap<Resource, String>>>,
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
        let mut watched = locked(&self.0);
        let watched = watched.get_or_insert_with(|| Watched::by(Arc::clone(host), peer));
        watched.change(|spelt| {
            if spelt.len() >= MOST && !spelt.contains_key(&resource) {
                let text = format!("{MOST} resources are watched already: end one of them first.");
                return Err(ErrorData::invalid_params(text, None));
            }
            spelt.insert(resource, uri.to_owned());
            Ok(())
        })
    }

    /// Tells no more of `uri`.
    pub(super) fn end(&self, uri: &str) -> Result<(), ErrorData> {
        let resource: Resource = uri.parse().map_err(|error| refused(&error))?;
        let mut watched = locked(&self.0);
        if let Some(watched) = watched.as_mut() {
            watched.change(|spelt| spelt.remove(&resource));
        }
        Ok(())
    }
}

impl Watched {
    fn by(host: Arc<Host>, peer: Peer<RoleServer>) -> Self {
        let (wanted, wants) = watch::channel(BTreeSet::new());
        let spelt: Arc<Mutex<BTreeMap<Resource, String>>> = Arc::default();
        let spelling = Arc::clone(&spelt);
        let task = tokio::spawn(async move {
            let spelt = |resource: &Resource| locked(&spelling).get(resource).cloned();
            let notify = |uri| {
                let updated = ResourceUpdatedNotificationParam::new(uri);
                let peer = peer.clone();
                async move { peer.notify_resource_updated(updated).await.is_ok() }
            };
            tell(&host, wants, spelt, notify).await;
        });
        Self { wanted, spelt, _task: AbortOnDropHandle::new(task) }
    }

    /// Does `change` to what is watched.
    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Resource, String>) -> T) -> T {
        let mut spelt = locked(&self.spelt);
        let changed = change(&mut spelt);
        self.wanted.send_replace(spelt.keys().cloned().collect());
        changed
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
