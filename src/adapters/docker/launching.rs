//! Which launches are under way: what there is of them already is nobody's leftover, however long
//! the engine takes.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The names of runners that are being launched.
#[derive(Debug, Default)]
pub(super) struct Launching(Mutex<Vec<String>>);

/// One launch, until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    all: &'a Launching,
    name: String,
}

impl Launching {
    pub(super) fn begin(&self, name: &str) -> UnderWay<'_> {
        self.lock().push(name.to_owned());
        UnderWay { all: self, name: name.to_owned() }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Whether others than `name` are being launched.
    pub(super) fn has_others(&self, name: &str) -> bool {
        self.lock().iter().any(|other| other != name)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut names = self.all.lock();
        // One of them: a second launch of a name fails, and must not end the first.
        if let Some(at) = names.iter().position(|name| *name == self.name) {
            names.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_launch_of_a_name_does_not_end_the_first() {
        let launching = Launching::default();
        let first = launching.begin("r-1");
        drop(launching.begin("r-1"));
        assert_eq!(launching.names(), ["r-1"]);
        drop(first);
        assert_eq!(launching.names(), Vec::<String>::new());
    }

    #[test]
    fn a_launch_is_the_last_of_a_burst_when_no_other_is_under_way() {
        let launching = Launching::default();
        let (first, _last) = (launching.begin("r-1"), launching.begin("r-2"));
        assert!(launching.has_others("r-2"));
        drop(first);
        assert!(!launching.has_others("r-2") && launching.has_others("r-1"));
    }
}
