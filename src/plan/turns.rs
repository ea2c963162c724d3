//! Whose turn it was, so that all come to theirs.

use std::collections::BTreeMap;

use crate::model::Repo;

/// When each repository was last launched for: not the time, which may be set back, but the order.
/// `None` is what is launched for no certain repository. Losing it costs nobody more than a turn.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    last: BTreeMap<Option<Repo>, u64>,
    count: u64,
}

impl Turns {
    /// It was the turn of `repo`.
    pub fn take(&mut self, repo: Option<&Repo>) {
        self.count += 1;
        self.last.insert(repo.cloned(), self.count);
    }

    /// Forgets repositories that are no longer watched.
    pub fn keep(&mut self, is_watched: impl Fn(&Repo) -> bool) {
        self.last.retain(|repo, _| repo.as_ref().is_none_or(&is_watched));
    }

    /// Each repository and the number of its last turn.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&Repo>, u64)> {
        self.last.iter().map(|(repo, turn)| (repo.as_ref(), *turn))
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.last.len()
    }
}
