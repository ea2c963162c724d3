//! One container: which one is meant, what is known of it, what it printed, its end.

use chrono::SubsecRound;

use super::lists::shown;
use super::{RunnerKit, gone};
use crate::error::{Code, Error, Result};
use crate::history::Entry;
use crate::lifecycle::subject;
use crate::model::{Container, Labels, Phase, Runner, clean_text, not_found};
use crate::plan::Removal;
use crate::views::{ContainerDetail, End, RunnerContainer, StoppedContainer, short};

/// What a key (an id, the beginning of one, or a name) means.
enum Meant {
    /// A container that is there.
    There(Container),
    /// A runner that is only remembered.
    Remembered(Entry),
}

impl RunnerKit {
    /// Stops the runner container that `key` (an id, the beginning of one, or a name) means, and
    /// removes what it leaves. A busy one only with `force`.
    pub async fn stop_runner_container(&self, key: &str, force: bool) -> Result<StoppedContainer> {
        let container = match self.meant(key).await? {
            Meant::There(container) => container,
            Meant::Remembered(entry) => {
                return Ok(StoppedContainer {
                    container_id: short(&entry.container_id),
                    repo: entry.repo,
                    stopped: true,
                    was: Phase::Exited,
                    changed: false,
                });
            }
        };
        let runner = self.join(vec![container]).await.pop().ok_or_else(gone)?;
        let was = runner.phase;
        let unknown = !runner.certain && was != Phase::Exited;
        if (was == Phase::Busy || unknown) && !force {
            return Err(unconfirmed(&runner, unknown));
        }
        // Once begun it is finished, whoever stops waiting: half done it would leave a runner that
        // runs and that GitHub does not know.
        let (parts, ending) = (self.parts.clone(), runner.clone());
        let removed =
            tokio::spawn(async move { parts.remove(&ending, Removal::ByHand, force).await });
        if removed.await.map_err(|_| gone())??.is_none() {
            return Err(unconfirmed(&runner, false));
        }
        Ok(StoppedContainer {
            container_id: short(&runner.container.id),
            repo: subject(&runner.container),
            stopped: true,
            was,
            changed: was != Phase::Exited,
        })
    }

    /// All that is known of the container that `key` means; of one that is gone, what is remembered.
    pub async fn container(&self, key: &str) -> Result<ContainerDetail> {
        self.detail(key, true).await
    }

    /// The same without what it uses, which is never twice the same.
    pub(crate) async fn container_at_rest(&self, key: &str) -> Result<ContainerDetail> {
        self.detail(key, false).await
    }

    async fn detail(&self, key: &str, measured: bool) -> Result<ContainerDetail> {
        let container = match self.meant(key).await? {
            Meant::There(container) => container,
            Meant::Remembered(entry) => return Ok(remembered(entry)),
        };
        let usage = async {
            let runs = measured && !container.ended;
            if runs { self.parts.engine.usage(&container.id).await.ok() } else { None }
        };
        let (inspection, usage) = tokio::join!(self.parts.engine.inspect(&container.id), usage);
        let inspection = inspection?;
        let runner = self.known(vec![container]).await.pop().ok_or_else(gone)?;
        let end = (runner.phase == Phase::Exited).then_some(End {
            at: None,
            why: None,
            exit_code: inspection.exit_code,
        });
        Ok(ContainerDetail {
            container: shown(&runner),
            origin: Some(runner.container.origin),
            since: runner.since.trunc_subsecs(0),
            inspection: Some(inspection),
            usage,
            end,
        })
    }

    /// The last `lines` lines that the runner in the container `key` printed; of one that is gone,
    /// those that are remembered. Text of strangers, without control characters.
    pub async fn container_log(&self, key: &str, lines: usize) -> Result<String> {
        match self.meant(key).await? {
            Meant::There(container) => self.parts.engine.logs(&container.id, lines).await,
            Meant::Remembered(Entry { ended, .. }) => {
                let skipped = ended.log_tail.lines().count().saturating_sub(lines);
                Ok(ended.log_tail.lines().skip(skipped).collect::<Vec<_>>().join("\n"))
            }
        }
    }

    async fn meant(&self, key: &str) -> Result<Meant> {
        if key.is_empty() {
            let remedy = "Give an id, the beginning of one, or a name.";
            return Err(Error::invalid("container", "it is empty", remedy));
        }
        let containers = self.parts.engine.containers().await?;
        let exactly = |container: &Container| container.name == key || container.id == key;
        let begins = |container: &Container| container.id.starts_with(key);
        let exact: Vec<_> = containers.iter().filter(|c| exactly(c)).collect();
        let meant = if exact.is_empty() {
            containers.iter().filter(|c| begins(c)).collect()
        } else {
            exact
        };
        match meant.as_slice() {
            [one] => Ok(Meant::There((*one).clone())),
            [] => self.parts.history.find(key).map(Meant::Remembered).ok_or_else(|| {
                let what = format!("A runner container `{}`", clean_text(key, 80));
                not_found(what, "List the containers to see which there are.")
            }),
            _ => {
                let reason = format!("`{}` is the beginning of several ids", clean_text(key, 80));
                let remedy = "Give more digits, or the runner's name.";
                Err(Error::invalid("container", reason, remedy))
            }
        }
    }
}

fn remembered(entry: Entry) -> ContainerDetail {
    ContainerDetail {
        container: RunnerContainer {
            container_id: short(&entry.container_id),
            repo: entry.repo,
            status: "removed".to_owned(),
            created_at: entry.at,
            runner_name: entry.runner_name,
            labels: Labels::default(),
            phase: Phase::Exited,
            job: None,
        },
        origin: None,
        since: entry.at.trunc_subsecs(0),
        inspection: None,
        usage: None,
        end: Some(End {
            at: Some(entry.at),
            why: Some(entry.why),
            exit_code: entry.ended.exit_code,
        }),
    }
}

fn unconfirmed(runner: &Runner, unknown: bool) -> Error {
    let name = &runner.container.name;
    let message = if unknown {
        format!("GitHub could not be asked whether {name} has a job, so it was not stopped.")
    } else {
        format!("{name} has a job, so it was not stopped: the job would fail.")
    };
    let remedy = "Wait for its job to end, or confirm with force (on the command line --force).";
    Error::new(Code::ConfirmationRequired, message, remedy).about(&runner.container.id)
}
