//! Answers by address, so that GitHub can say "not modified", which costs nothing of the hourly
//! budget (docs.github.com: best practices for the REST API, conditional requests).

use std::any::TypeId;
use std::sync::Arc;

use lru::LruCache;

/// Bytes kept: enough for the lists of fifty thousand quiet repositories.
const CAPACITY: usize = 64 << 20;
/// What an entry costs beside its texts: its links, its place in the table, the allocator.
const OVERHEAD: usize = 160;

/// An answer and its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cached {
    pub(super) etag: Box<str>,
    /// What was read of it, as JSON: GitHub's own text is a hundred times as long, and may be part
    /// of a larger buffer.
    pub(super) read: Arc<[u8]>,
    /// As what it was read: other readers would miss what was left out.
    pub(super) kind: TypeId,
    /// Whether the answer said that there is a next page.
    pub(super) more: bool,
}

/// The answers of one credential, the least recently used of which are forgotten.
#[derive(Debug)]
pub(super) struct Cache {
    answers: LruCache<Box<str>, Cached>,
    pub(super) bytes: usize,
    capacity: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { answers: LruCache::unbounded(), bytes: 0, capacity: CAPACITY }
    }
}

impl Cache {
    pub(super) fn get(&mut self, path: &str) -> Option<Cached> {
        self.answers.get(path).cloned()
    }

    pub(super) fn put(&mut self, path: &str, answer: Cached) {
        self.bytes += weight(path, &answer);
        if let Some((path, old)) = self.answers.push(path.into(), answer) {
            self.bytes -= weight(&path, &old);
        }
        while self.bytes > self.capacity {
            let Some((path, old)) = self.answers.pop_lru() else { break };
            self.bytes -= weight(&path, &old);
        }
    }

    pub(super) fn forget(&mut self, path: &str) {
        if let Some(old) = self.answers.pop(path) {
            self.bytes -= weight(path, &old);
        }
    }
}

fn weight(path: &str, answer: &Cached) -> usize {
    OVERHEAD + path.len() + answer.etag.len() + answer.read.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Cached {
        let (etag, read) = (Box::default(), vec![0; bytes].into());
        Cached { etag, read, kind: TypeId::of::<()>(), more: false }
    }

    #[test]
    fn the_least_recently_used_answers_are_forgotten_when_it_is_full() {
        let mut cache = Cache { capacity: 25 + 2 * OVERHEAD, ..Cache::default() };
        cache.put("a", answer(9));
        cache.put("b", answer(9));
        assert!(cache.get("a").is_some());
        cache.put("c", answer(9));
        assert!(cache.get("a").is_some() && cache.get("b").is_none() && cache.get("c").is_some());
        assert_eq!(cache.bytes, 20 + 2 * OVERHEAD);
    }

    #[test]
    fn an_answer_that_replaces_another_is_weighed_once() {
        let mut cache = Cache::default();
        cache.put("a", answer(9));
        cache.put("a", answer(4));
        assert_eq!(cache.bytes, 5 + OVERHEAD);
        cache.forget("a");
        assert_eq!(cache.bytes, 0);
    }
}
