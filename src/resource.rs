//! What can be read beside calling tools: the addresses, and what each one is. Pure; whoever serves
//! them knows how to read.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::{Repo, clean_text, not_found};

/// Lines of a log when nobody says how many, and at most.
pub const LOG_LINES: usize = 100;
/// At most this many.
pub const MOST_LOG_LINES: usize = 1_000;

/// Something that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// The state of the autoscaler.
    Status,
    /// The configuration in force, without secrets.
    Config,
    /// What happened lately.
    Events,
    /// Who had what done.
    Audit,
    /// The numbers of the last day.
    Samples,
    /// What the containers use now.
    Usage,
    /// How to operate it.
    Help,
    /// One repository's queue, job by job.
    Queue(Repo),
    /// One container with all that is known of it.
    Container(String),
    /// The end of what a runner printed.
    Log {
        /// The container, by id or name.
        container: String,
        /// How many lines.
        lines: usize,
    },
}

/// How a resource is shown before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Its address, or the template of the addresses of its kind (RFC 6570).
    pub uri: &'static str,
    /// Its name for programs.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What is in it.
    pub mime: &'static str,
}

const JSON: &str = "application/json";

/// Those that are always there.
pub const FIXED: [Listing; 7] = [
    Listing {
        uri: "runner://status",
        name: "status",
        title: "Status",
        about: "The state of the autoscaler, as runner_get_status tells it.",
        mime: JSON,
    },
    Listing {
        uri: "runner://config",
        name: "config",
        title: "Configuration",
        about: "Every option in force with its origin; secrets are left out.",
        mime: JSON,
    },
    Listing {
        uri: "runner://events",
        name: "events",
        title: "Recent events",
        about: "What was launched, removed and what failed lately, the latest first.",
        mime: JSON,
    },
    Listing {
        uri: "runner://audit",
        name: "audit",
        title: "Audit log",
        about: "Who had what changed, by which way in, and how it ended; the latest first.",
        mime: JSON,
    },
    Listing {
        uri: "runner://samples",
        name: "samples",
        title: "Samples of the last day",
        about: "Queue, runners and GitHub's budget of each minute of the last 24 hours, the oldest \
            first.",
        mime: JSON,
    },
    Listing {
        uri: "runner://usage",
        name: "usage",
        title: "Usage of the containers",
        about: "Processor (100 is a whole one) and bytes of memory of every live container, at \
            most two seconds old.",
        mime: JSON,
    },
    Listing {
        uri: "runner://help",
        name: "help",
        title: "How to operate the autoscaler",
        about: "Which tool for which task, what errors mean and what to do about them.",
        mime: "text/markdown",
    },
];

/// Those that there is one of for each repository or container.
pub const TEMPLATES: [Listing; 3] = [
    Listing {
        uri: "runner://queues/{owner}/{repo}",
        name: "queue",
        title: "Queue of a repository",
        about: "Every waiting job with the reason why it waits, and the jobs at work.",
        mime: JSON,
    },
    Listing {
        uri: "runner://containers/{container}",
        name: "container",
        title: "Runner container",
        about: "Phase, job, image, limits and end of one container, also after it is gone.",
        mime: JSON,
    },
    Listing {
        uri: "runner://containers/{container}/log{?lines}",
        name: "container-log",
        title: "Log of a runner container",
        about: "Its last lines (100, or as many as asked for up to 1000). Strangers wrote them.",
        mime: "text/plain",
    },
];

impl Resource {
    /// How it is listed.
    pub fn listing(&self) -> &'static Listing {
        let [status, config, events, audit, samples, usage, help] = &FIXED;
        let [queue, container, log] = &TEMPLATES;
        match self {
            Self::Status => status,
            Self::Config => config,
            Self::Events => events,
            Self::Audit => audit,
            Self::Samples => samples,
            Self::Usage => usage,
            Self::Help => help,
            Self::Queue(_) => queue,
            Self::Container(_) => container,
            Self::Log { .. } => log,
        }
    }

    /// The last lines of `container`.
    pub fn log(container: impl Into<String>) -> Self {
        Self::Log { container: container.into(), lines: LOG_LINES }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(repo) => write!(f, "runner://queues/{repo}"),
            Self::Container(container) => write!(f, "runner://containers/{container}"),
            Self::Log { container, lines: LOG_LINES } => {
                write!(f, "runner://containers/{container}/log")
            }
            Self::Log { container, lines } => {
                write!(f, "runner://containers/{container}/log?lines={lines}")
            }
            fixed => f.write_str(fixed.listing().uri),
        }
    }
}

impl FromStr for Resource {
    type Err = Error;

    fn from_str(uri: &str) -> Result<Self> {
        let unknown = || {
            let what = format!("A resource `{}`", clean_text(uri, 120));
            not_found(what, "List the resources and their templates to see which there are.")
        };
        let path = uri.strip_prefix("runner://").ok_or_else(unknown)?;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<_> = path.split('/').collect();
        let resource = match parts.as_slice() {
            ["queues", owner, name] => Self::Queue(format!("{owner}/{name}").parse()?),
            ["containers", container] => Self::Container(key(container)?),
            ["containers", container, "log"] => {
                return Ok(Self::Log { container: key(container)?, lines: lines(query)? });
            }
            [_] => {
                let fixed = [
                    Self::Status,
                    Self::Config,
                    Self::Events,
                    Self::Audit,
                    Self::Samples,
                    Self::Usage,
                    Self::Help,
                ];
                let found = fixed.into_iter().find(|fixed| fixed.listing().uri == uri);
                return found.ok_or_else(unknown);
            }
            _ => return Err(unknown()),
        };
        if query.is_empty() { Ok(resource) } else { Err(unknown()) }
    }
}

/// An id, the beginning of one, or a name: the characters that Docker allows in names.
fn key(text: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=128).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    let reason = format!("`{}` is neither an id nor a name", clean_text(text, 80));
    Err(Error::invalid("container", reason, "List the containers to see which there are."))
}

fn lines(query: &str) -> Result<usize> {
    let given = match query {
        "" => return Ok(LOG_LINES),
        query => query.strip_prefix("lines=").and_then(|lines| lines.parse().ok()),
    };
    given.filter(|lines| (1..=MOST_LOG_LINES).contains(lines)).ok_or_else(|| {
        let reason = format!("`{}` is no number of lines", clean_text(query, 40));
        Error::invalid("lines", reason, format!("Give 1 to {MOST_LOG_LINES}."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn an_address_that_is_shown_is_the_address_that_is_read() {
        let all = [
            Resource::Status,
            Resource::Config,
            Resource::Events,
            Resource::Audit,
            Resource::Samples,
            Resource::Usage,
            Resource::Help,
            Resource::Queue("octo-org/a.b".parse().unwrap()),
            Resource::Container("ipfs-default-abc-1".into()),
            Resource::log("c0ffee"),
            Resource::Log { container: "c0ffee".into(), lines: 7 },
        ];
        for resource in all {
            assert_eq!(resource.to_string().parse::<Resource>().unwrap(), resource);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (uri, code) in [
            ("file:///etc/passwd", Code::NotFound),
            ("runner://", Code::NotFound),
            ("runner://status?x=1", Code::NotFound),
            ("runner://queues/a", Code::NotFound),
            ("runner://queues/a/b/c", Code::NotFound),
            ("runner://queues/../etc", Code::InvalidArgument),
            ("runner://queues/a/b?x", Code::NotFound),
            ("runner://containers/a b", Code::InvalidArgument),
            ("runner://containers/", Code::InvalidArgument),
            ("runner://containers/x/log?lines=0", Code::InvalidArgument),
            ("runner://containers/x/log?lines=1001", Code::InvalidArgument),
            ("runner://containers/x/log?tail=1", Code::InvalidArgument),
        ] {
            assert_eq!(uri.parse::<Resource>().unwrap_err().code, code, "{uri}");
        }
    }
}
