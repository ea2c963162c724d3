//! Labels, and who can serve whom by them.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clean_text;

/// Characters of a label on GitHub, and more labels than any job needs.
const LONGEST: usize = 256;
const MOST: usize = 64;
/// Characters and labels that are shown of a set.
const LONGEST_SHOWN: usize = 50;
const MOST_SHOWN: usize = 8;

/// A set of labels, in lower case: GitHub compares them without regard to case.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
#[schemars(with = "Vec<String>")]
pub struct Labels(BTreeSet<String>);

impl Labels {
    /// The labels in `texts`, folded and without blanks.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let folded = |text: T| text.as_ref().trim().to_lowercase();
        Self(texts.into_iter().map(folded).filter(|text| !text.is_empty()).collect())
    }

    /// The labels that a workflow asks for: strangers' text. What is no fit label is made one that
    /// nobody has, and never one that somebody might have.
    pub fn of_strangers<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut texts = texts.into_iter();
        let fit = |text: T| {
            let text = text.as_ref().trim().to_owned();
            let clean = clean_text(&text, LONGEST);
            if clean == text { clean } else { format!("{}…", clean.trim_end_matches('…')) }
        };
        let mut labels = Self::new(texts.by_ref().take(MOST).map(fit));
        if texts.next().is_some() {
            labels.0.insert("…".to_owned());
        }
        labels
    }

    /// Some of them, the beginning of each: enough to recognise them by.
    #[must_use]
    pub fn shortened(&self) -> Self {
        let shown = self.iter().take(MOST_SHOWN).map(|label| clean_text(label, LONGEST_SHOWN));
        let more = (self.len() > MOST_SHOWN).then(|| "…".to_owned());
        Self(shown.chain(more).collect())
    }

    /// Whether each of these labels is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether `label` (in lower case) is one of them.
    pub fn contains(&self, label: &str) -> bool {
        self.0.contains(label)
    }

    /// The labels of both.
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// Those of these labels that `other` lacks.
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Labels {
    /// Comma-separated, the form of the runner's `LABELS` variable and of our container label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(index, label)| {
            if index > 0 { write!(f, ",{label}") } else { f.write_str(label) }
        })
    }
}

impl From<Vec<String>> for Labels {
    fn from(texts: Vec<String>) -> Self {
        Self::new(texts)
    }
}

impl From<Labels> for Vec<String> {
    fn from(labels: Labels) -> Self {
        labels.0.into_iter().collect()
    }
}

/// Labels of architectures, as GitHub's runners have them.
const ARCHITECTURES: [&str; 4] = ["x64", "arm64", "arm", "x86"];

/// Whether a runner with `ours` can take a job that asks for `wanted`; otherwise the labels it lacks.
///
/// With `filter_by_arch` off, a label that names an architecture is not asked of the host: the
/// runner is registered with it all the same.
pub fn served_by(wanted: &Labels, ours: &Labels, filter_by_arch: bool) -> Result<(), Labels> {
    // Mostly it lacks none, and this is asked of thousands of jobs.
    if wanted.is_subset(ours) && !wanted.is_empty() {
        return Ok(());
    }
    let mut missing = wanted.difference(ours);
    if !filter_by_arch {
        missing = missing.difference(&Labels::new(ARCHITECTURES));
    }
    if missing.is_empty() && !wanted.is_empty() { Ok(()) } else { Err(missing) }
}

/// Whether GitHub's own machines serve a job: `ubuntu-latest`, `windows-2025`, `macos-15-xlarge`, …
pub fn is_hosted(wanted: &Labels) -> bool {
    const SYSTEMS: [&str; 3] = ["ubuntu-", "windows-", "macos-"];
    !wanted.contains("self-hosted")
        && wanted.iter().any(|label| SYSTEMS.iter().any(|system| label.starts_with(system)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_strangers_are_made_harmless_and_never_into_those_of_a_runner() {
        let ours = Labels::new(["self-hosted", "linux"]);
        assert!(Labels::of_strangers([" Self-Hosted", "linux"]).is_subset(&ours));
        for odd in ["linux\u{200b}", "\u{1b}linux", "lin\u{202e}ux"] {
            let labels = Labels::of_strangers(["self-hosted", odd]);
            assert!(!labels.is_subset(&ours), "{odd:?}");
            assert!(!labels.to_string().contains(crate::model::is_unsafe), "{odd:?}");
        }
        let many = vec!["linux"; MOST + 1];
        assert!(!Labels::of_strangers(many).is_subset(&ours), "some of them are not known");
        let long = Labels::of_strangers(["x".repeat(100_000)]);
        assert!(long.to_string().len() < 300);
    }
}
