//! GitHub's Actions service towards autoscalers: scale sets, their message sessions and queues, and
//! their runners, as the client `actions/scaleset` and the controllers that use it see them.
//!
//! Jobs whose labels are all a set's go to that set, as many at a time as its listener says that it
//! can run; they then wait for a runner of the set and for no other. Limits: one runner group for
//! each scope, no enterprises, and what the service does after three assignments in vain is a guess.

mod agents;
mod follow;
mod queue;
mod service;
mod sessions;
mod sets;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use self::{
    follow::{follow, next_deadline},
    queue::router as queue_router,
    service::{registration_router, router},
    sets::Sets,
};
pub use self::{
    sets::{ScaleSet, Stage},
    shapes::Statistics,
};
use super::{Simulator, state::Unknown};

/// Where the service is, below the server's URL: the client must keep the whole path.
pub(super) const PREFIX: &str = "/_actions/tenant-1";

/// Where the queues are, below the server's URL.
pub(super) const QUEUE: &str = "/_queue";

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct ScaleSetOptions {
    /// How long a queue holds a request when there is nothing to tell (about 50 seconds).
    pub poll: Duration,
    /// How long the administration's and the queues' tokens are valid.
    pub token_lifetime: Duration,
    /// How long a session lasts after its last sign of life.
    pub session_timeout: Duration,
    /// How long an assigned job waits for a runner of its set before it is taken back.
    pub pickup: Duration,
    /// How long such a job waits before it is assigned again; twice as long each further time.
    pub requeue: Duration,
    /// Whether jobs are offered first and have to be acquired, as an older Enterprise Server does.
    pub offers: bool,
}

impl Default for ScaleSetOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(50),
            token_lifetime: Duration::from_secs(3_600),
            session_timeout: Duration::from_secs(300),
            pickup: Duration::from_secs(300),
            requeue: Duration::from_secs(30),
            offers: false,
        }
    }
}

/// What was seen of the real service on bad days, beyond [faults](super::Fault) of transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Answers begin with a byte order mark.
    Bom,
    /// A new session has an empty address for its queue.
    EmptyQueueUrl,
    /// A message says that nothing is assigned, whatever its body lists.
    ZeroStatistics,
    /// The queue answers 200 with nothing.
    EmptyBody,
    /// A new set keeps the first of its labels only.
    DroppedLabels,
}

/// Troubles that are still to come, by kind.
pub(super) type Troubles = BTreeMap<Trouble, u32>;

impl Simulator {
    /// The scale set of this name, as it is now.
    pub fn scale_set(&self, name: &str) -> Option<ScaleSet> {
        self.look(|state| state.sets.named(name).cloned())
    }

    /// All scale sets, oldest first.
    pub fn scale_sets(&self) -> Vec<ScaleSet> {
        self.look(|state| state.scale_sets().cloned().collect())
    }

    /// Deletes a scale set as the service sometimes does by itself, with its session and runners.
    pub fn delete_scale_set(&self, name: &str) -> Result<(), Unknown> {
        self.on_set(name, |set| {
            set.deleted = true;
        })
    }

    /// Ends a set's session without a word to its owner.
    pub fn evict_session(&self, name: &str) -> Result<(), Unknown> {
        self.on_set(name, |set| set.session = None)
    }

    /// Somebody else opens a session of the set, in place of any that is open.
    pub fn take_session(&self, name: &str) -> Result<(), Unknown> {
        self.change_sets(|sets, now| {
            let id = sets.named(name)?.id;
            sets.open(id, "somebody-else", now)
        })
    }

    /// Makes the set's queue token worthless, while its session goes on.
    pub fn revoke_queue_token(&self, name: &str) -> Result<(), Unknown> {
        self.on_set(name, |set| {
            if let Some(session) = &mut set.session {
                session.token.clear();
            }
        })
    }

    /// Makes all of the administration's tokens worthless.
    pub fn revoke_admin_tokens(&self) {
        self.0.shared.change(|world, _| world.state.sets.revoke());
    }

    /// Puts a message of an unknown kind into a set's queue.
    pub fn send_unknown_message(&self, name: &str) -> Result<(), Unknown> {
        self.on_set(name, |set| set.send_unknown())
    }

    /// Lets `trouble` befall the next so many answers that it can befall.
    pub fn trouble(&self, trouble: Trouble, times: u32) {
        self.0.shared.change(|world, _| world.state.sets.troubles.insert(trouble, times));
    }

    fn on_set(&self, name: &str, change: impl FnOnce(&mut ScaleSet)) -> Result<(), Unknown> {
        self.change_sets(|sets, _| sets.named_mut(name).map(change))
    }

    fn change_sets(
        &self,
        change: impl FnOnce(&mut Sets, chrono::DateTime<chrono::Utc>) -> Option<()>,
    ) -> Result<(), Unknown> {
        let unknown = || Unknown("scale set of this name".into());
        self.0.shared.change(|world, now| change(&mut world.state.sets, now)).ok_or_else(unknown)
    }
}
