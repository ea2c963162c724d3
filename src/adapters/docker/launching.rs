//! Which launches are under way: what there is of them already is nobody's leftover, however long
//! the engine takes.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The launches of this process.
#[derive(Debug, Default)]
pub(super) struct Launching(Mutex<Launches>);

/// The names of the runners at a moment.
#[derive(Debug, Default, Clone)]
pub(super) struct Launches {
    pub(super) under_way: Vec<String>,
    /// Their launch has failed or broken off, and what there is of them may be left: an engine that
    /// went away in its midst removes nothing.
    failed: Vec<String>,
}

impl Launches {
    /// Whether nobody will start the container `name`, which was created and not started; `is_old`
    /// says that its launch must be over, whoever's it was.
    pub(super) fn is_over(&self, name: &str, is_old: bool) -> bool {
        let is_in = |names: &[String]| names.iter().any(|other| other == name);
        !is_in(&self.under_way) && (is_old || is_in(&self.failed))
    }

    /// The launches of `names`, whoever began them, have broken off.
    pub(super) fn give_up(&mut self, names: Vec<String>) {
        self.failed.extend(names);
    }
}

/// One launch, until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    all: &'a Launching,
    name: String,
}

impl Launching {
    pub(super) fn begin(&self, name: &str) -> UnderWay<'_> {
        self.lock().under_way.push(name.to_owned());
        UnderWay { all: self, name: name.to_owned() }
    }

    /// How they stand now.
    pub(super) fn now(&self) -> Launches {
        self.lock().clone()
    }

    /// Remembers that the launch of `name` has failed.
    pub(super) fn fail(&self, name: &str) {
        self.lock().failed.push(name.to_owned());
    }

    /// Forgets those that had failed `then` and of which nothing is left.
    pub(super) fn forget(&self, then: &Launches, is_left: impl Fn(&str) -> bool) {
        self.lock().failed.retain(|name| !then.failed.contains(name) || is_left(name));
    }

    /// Whether others than `name` are being launched.
    pub(super) fn has_others(&self, name: &str) -> bool {
        self.lock().under_way.iter().any(|other| other != name)
    }

    fn lock(&self) -> MutexGuard<'_, Launches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let names = &mut self.all.lock().under_way;
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
        assert_eq!(launching.now().under_way, ["r-1"]);
        drop(first);
        assert_eq!(launching.now().under_way, Vec::<String>::new());
    }

    #[test]
    fn a_launch_is_the_last_of_a_burst_when_no_other_is_under_way() {
        let launching = Launching::default();
        let (first, _last) = (launching.begin("r-1"), launching.begin("r-2"));
        assert!(launching.has_others("r-2"));
        drop(first);
        assert!(!launching.has_others("r-2") && launching.has_others("r-1"));
    }

    #[test]
    fn what_a_failed_launch_left_is_over_at_once_and_what_others_make_only_when_it_is_old() {
        let launching = Launching::default();
        let under_way = launching.begin("r-1");
        launching.fail("r-1");
        assert!(!launching.now().is_over("r-1", true), "it is still being undone");
        drop(under_way);
        let then = launching.now();
        assert!(then.is_over("r-1", false));
        assert!(!then.is_over("r-2", false) && then.is_over("r-2", true));

        let mut seen = launching.now();
        seen.give_up(vec!["r-2".to_owned()]);
        assert!(seen.is_over("r-2", false), "another process has let go of it");

        launching.fail("r-3");
        launching.forget(&then, |name| name == "r-1");
        assert!(launching.now().is_over("r-1", false), "there is something left of it");
        launching.forget(&then, |_| false);
        assert!(!launching.now().is_over("r-1", false));
        assert!(launching.now().is_over("r-3", false), "it failed after the listing");
    }
}
