//! Bad days on demand: which requests go wrong, how, and how often.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};

use super::random::Random;

/// A way for a request to go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status with GitHub's kind of body, and nothing is done (500, 502, 404, …).
    Status(u16),
    /// 403 of the secondary limit with `retry-after`.
    SecondaryLimit {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// 429 with `retry-after`.
    TooManyRequests {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// No answer, ever, and nothing is done.
    Hang,
    /// The right answer, late.
    Delay(Duration),
    /// The connection is reset before anything is done.
    Reset,
    /// The right thing is done, and the connection is reset before the answer.
    LostAfterEffect,
    /// The right headers and only half of the body they promise.
    Truncated,
    /// A complete response whose body is not JSON.
    Malformed,
}

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Often {
    /// The next so many matching requests.
    Times(u32),
    /// Every matching request.
    Always,
    /// Each matching request with this probability, from 0 to 1.
    Probability(f64),
}

#[derive(Debug)]
struct Rule<F> {
    fault: F,
    method: String,
    path: GlobMatcher,
    often: Often,
}

/// The faults in force, in the order in which they were injected.
#[derive(Debug)]
pub(super) struct Faults<F>(Vec<Rule<F>>);

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Clone> Faults<F> {
    /// `pattern` is `METHOD PATH`, each of which may hold `*`, for instance
    /// `GET /repos/acme/*/actions/runs`.
    pub(super) fn inject(
        &mut self,
        fault: F,
        pattern: &str,
        often: Often,
    ) -> Result<(), globset::Error> {
        let (method, path) = pattern.split_once(' ').unwrap_or(("*", pattern));
        let path = GlobBuilder::new(path).literal_separator(false).build()?.compile_matcher();
        self.0.push(Rule { fault, method: method.to_owned(), path, often });
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes this request, if one does.
    pub(super) fn strike(&mut self, method: &str, path: &str, random: &mut Random) -> Option<F> {
        let struck = self.0.iter_mut().find_map(|rule| {
            let matches = (rule.method == "*" || rule.method == method) && rule.path.is_match(path);
            let strikes = matches
                && match &mut rule.often {
                    Often::Always => true,
                    Often::Times(left) => {
                        let some = *left > 0;
                        *left = left.saturating_sub(1);
                        some
                    }
                    Often::Probability(probability) => random.unit() < *probability,
                };
            strikes.then(|| rule.fault.clone())
        });
        self.0.retain(|rule| rule.often != Often::Times(0));
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(faults: &mut Faults<Fault>, method: &str, path: &str) -> Option<Fault> {
        faults.strike(method, path, &mut Random::new(1))
    }

    #[test]
    fn a_fault_strikes_what_matches_as_often_as_it_should() {
        let mut faults = Faults::default();
        faults.inject(Fault::Status(500), "GET /repos/acme/*/runs", Often::Times(2)).unwrap();
        assert_eq!(struck(&mut faults, "POST", "/repos/acme/api/runs"), None);
        assert_eq!(struck(&mut faults, "GET", "/repos/other/api/runs"), None);
        for _ in 0..2 {
            let fault = struck(&mut faults, "GET", "/repos/acme/api/actions/runs");
            assert_eq!(fault, Some(Fault::Status(500)));
        }
        assert_eq!(struck(&mut faults, "GET", "/repos/acme/api/runs"), None);
    }

    #[test]
    fn of_two_faults_the_first_strikes_until_it_is_used_up() {
        let mut faults = Faults::default();
        faults.inject(Fault::Hang, "* *", Often::Times(1)).unwrap();
        faults.inject(Fault::Reset, "* *", Often::Always).unwrap();
        let two = [(); 2].map(|()| struck(&mut faults, "GET", "/user"));
        assert_eq!(two, [Some(Fault::Hang), Some(Fault::Reset)]);
        faults.clear();
        assert_eq!(struck(&mut faults, "GET", "/user"), None);
    }

    #[test]
    fn a_probability_is_met_about_as_often_as_it_says() {
        let mut faults = Faults::default();
        let mut random = Random::new(7);
        faults.inject(Fault::Reset, "* *", Often::Probability(0.25)).unwrap();
        let struck = (0..10_000).filter(|_| faults.strike("GET", "/", &mut random).is_some());
        assert!((2_300..2_700).contains(&struck.count()));
    }
}
