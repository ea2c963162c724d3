//! What a poll saw of a repository, and since when it has.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::LAG;
use crate::error::Error;
use crate::model::{Job, RepoDemand, Scope};

/// What the last poll of a repository saw.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) began: DateTime<Utc>,
    pub(super) seen: Result<RepoDemand, Error>,
    /// Since when each of its queued jobs is listed.
    pub(super) listed: BTreeMap<u64, Listed>,
}

/// When a job was first listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    /// By our clock.
    pub(super) since: DateTime<Utc>,
    /// For how long the set of its scope had had room until then.
    pub(super) roomy: TimeDelta,
}

impl Looked {
    /// What a look saw that began at `began`, after one that saw `before`.
    pub(super) fn after(
        before: Option<&Self>,
        began: DateTime<Utc>,
        mut seen: Result<RepoDemand, Error>,
        roomy: impl Fn(&Scope) -> TimeDelta,
    ) -> Self {
        let known = before.map(|looked| &looked.listed);
        let list = |job: &Job| {
            let now = Listed { since: began, roomy: roomy(&job.scope) };
            let first = known.and_then(|known| known.get(&job.id)).copied().unwrap_or(now);
            // What comes from the future was told before the clock was set back, and what was counted
            // for longer by a session that is over.
            let (since, roomy) = (first.since.min(began), first.roomy.min(now.roomy));
            (job.id, Listed { since, roomy })
        };
        let listed: BTreeMap<u64, Listed> = match &seen {
            Ok(seen) => seen.queued.iter().map(list).collect(),
            Err(_) => known.cloned().unwrap_or_default(),
        };
        for job in seen.iter_mut().flat_map(|seen| &mut seen.queued) {
            let since = listed.get(&job.id).map_or(began, |listed| listed.since);
            job.queued_at = not_ahead(job.queued_at, since);
        }
        Self { began, seen, listed }
    }
}

/// When a job was queued that we know of since `known`: no later, whatever GitHub's clock says.
pub(super) fn not_ahead(queued_at: DateTime<Utc>, known: DateTime<Utc>) -> DateTime<Utc> {
    if queued_at - known > LAG { known } else { queued_at }
}
