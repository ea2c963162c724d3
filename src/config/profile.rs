//! What is known of a runner image by its name.
//!
//! Facts from the images' own repositories: myoung34/docker-github-actions-runner (entry point
//! that registers with a token, user `runner` = 1001:121) and actions/runner's image (JIT, user
//! `runner` = 1001, home `/home/runner`).

use serde::Serialize;

use super::RegistrationKind;

/// Which contract an image follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// `myoung34/github-runner`, the default.
    Community,
    /// `ghcr.io/actions/actions-runner`.
    Official,
    /// Any other: its own user, the token contract, its own entry point.
    Unknown,
}

impl Profile {
    /// The profile of the image `reference`, whatever its registry's mirror, tag or digest.
    pub fn of(reference: &str) -> Self {
        let untagged = reference.split('@').next().unwrap_or(reference);
        let name = match untagged.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => untagged,
        };
        if name == "myoung34/github-runner" || name.ends_with("/myoung34/github-runner") {
            Self::Community
        } else if name == "actions/actions-runner" || name.ends_with("/actions/actions-runner") {
            Self::Official
        } else {
            Self::Unknown
        }
    }

    /// How `registration: auto` is meant for it.
    pub fn registration(self) -> RegistrationKind {
        match self {
            Self::Official => RegistrationKind::Jit,
            Self::Community | Self::Unknown => RegistrationKind::Token,
        }
    }

    /// The user its runner runs as, where the image's own `USER` is not it.
    ///
    /// Without capabilities root may not write where `runner` owns the files, so a root start of
    /// the default image could not even configure itself.
    pub fn user(self) -> Option<&'static str> {
        match self {
            Self::Community => Some("1001:121"),
            Self::Official | Self::Unknown => None,
        }
    }

    /// The directory that its runner must be able to write to.
    pub fn home(self) -> Option<&'static str> {
        match self {
            Self::Community => Some("/actions-runner"),
            Self::Official => Some("/home/runner"),
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_name_whatever_registry_port_tag_or_digest_it_has() {
        let community = [
            "myoung34/github-runner",
            "myoung34/github-runner:latest",
            "docker.io/myoung34/github-runner:2.336.0-ubuntu-noble",
            "mirror.example:5000/myoung34/github-runner@sha256:00",
        ];
        assert!(community.iter().all(|image| Profile::of(image) == Profile::Community));
        assert_eq!(Profile::of("ghcr.io/actions/actions-runner:2.336.0"), Profile::Official);
        assert_eq!(Profile::of("localhost:5000/tiny"), Profile::Unknown);
        assert_eq!(Profile::of("evil-myoung34/github-runner"), Profile::Unknown);
    }
}
