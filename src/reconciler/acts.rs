//! Acting: launches and removals are begun here, and accounted for when they come back.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::time::Instant;

use super::answers::{random_suffix, refusal, stopping};
use super::{Outcome, Reconciler};
use crate::error::{Error, Result};
use crate::lifecycle::{Failure, subject};
use crate::model::{Origin, Runner, Scope};
use crate::plan::{Action, Order, Removal};
use crate::ports::{NewRunner, Registration};
use crate::snapshot::{Event, EventKind};

/// A piece of work that came back.
pub(super) enum Worked {
    Launched(NewRunner, Result<String, Failure>),
    Removed(Box<Runner>, Removal, Result<bool>),
    Forgotten(String, Result<()>),
}

impl Reconciler {
    /// Sets the actions going. While the autoscaler is off only launches are done: what was asked.
    pub(super) fn act(
        &mut self,
        actions: Vec<Action>,
        launches_only: bool,
        with: Option<Registration>,
    ) -> Result<Vec<Outcome>> {
        if !self.stopping.is_empty() {
            return Err(stopping());
        }
        let mut accepted = Vec::new();
        let mut refused = None;
        for action in actions {
            match action {
                Action::Launch(order) => accepted.push(self.launch(order, with.clone())?),
                Action::Refuse { why, .. } => refused = Some(refusal(&why, self.used())),
                Action::Hold { job, why } => tracing::debug!(job, %why, "a job waits"),
                Action::Remove { name, why } if !launches_only => self.remove(&name, why),
                Action::Forget { scope, id, name } if !launches_only => {
                    self.forget(scope, id, name)
                }
                Action::Remove { .. } | Action::Forget { .. } => {}
            }
        }
        match refused {
            Some(error) if accepted.is_empty() => Err(error),
            _ => Ok(accepted),
        }
    }

    fn launch(&mut self, order: Order, with: Option<Registration>) -> Result<Outcome> {
        let Order { scope, repo, labels, origin, job } = order;
        let name = format!("{}{}", self.limits.name_prefix, random_suffix()?);
        let runner = NewRunner { name, scope, repo, labels, origin };
        let outcome = self.flights.begin(runner.clone());
        let about = match (job, origin) {
            (Some(job), _) => format!("launching {} for job {job}", runner.name),
            (None, Origin::Manual) => format!("launching {}, asked for by hand", runner.name),
            (None, _) => format!("launching {}, to be kept ready", runner.name),
        };
        self.event(EventKind::Launch, &runner.subject(), about);
        let (parts, cancelled, published) =
            (self.parts.clone(), self.cancelled.clone(), self.published.clone());
        self.works.spawn(async move {
            let clock = parts.clock.clone();
            let report = |step: &str| {
                let (subject, message) = (runner.subject(), step.to_owned());
                let event = Event { at: clock(), kind: EventKind::Image, subject, message };
                published.send_modify(|snapshot| snapshot.push(event));
            };
            let launch = parts.launch(&runner, with, &report, &cancelled);
            let launched = AssertUnwindSafe(launch).catch_unwind().await;
            let launched = launched.unwrap_or_else(|_| Err(Failure::Runner(bug())));
            Worked::Launched(runner, launched)
        });
        Ok(outcome)
    }

    fn remove(&mut self, name: &str, why: Removal) {
        let Some(runner) = self.runners.iter().find(|runner| runner.container.name == name) else {
            return;
        };
        self.removals.begin(name);
        let (parts, runner) = (self.parts.clone(), Box::new(runner.clone()));
        self.works.spawn(async move {
            let removed = AssertUnwindSafe(parts.remove(&runner, why, false)).catch_unwind().await;
            Worked::Removed(runner, why, removed.unwrap_or_else(|_| Err(bug())))
        });
    }

    fn forget(&mut self, scope: Scope, id: u64, name: String) {
        self.removals.begin(&name);
        let parts = self.parts.clone();
        self.works.spawn(async move {
            let forget = parts.registrar.deregister(&scope, id);
            let forgotten = AssertUnwindSafe(forget).catch_unwind().await;
            Worked::Forgotten(name, forgotten.unwrap_or_else(|_| Err(bug())).map(drop))
        });
    }

    pub(super) fn account(&mut self, worked: Worked) {
        let now = (self.parts.clock)();
        match worked {
            Worked::Launched(runner, Ok(id)) => {
                self.troubles.launch_succeeded(runner.repo.as_ref());
                self.event(
                    EventKind::Launch,
                    &runner.subject(),
                    format!("{} started", runner.name),
                );
                self.published.send_modify(|snapshot| snapshot.provisioned += 1);
                self.flights.succeeded(&runner, &id, self.epoch);
            }
            Worked::Launched(runner, Err(failure)) => {
                let error = match failure {
                    Failure::Image(error) => {
                        self.troubles.image_failed(&error, now);
                        error
                    }
                    Failure::Runner(error) => {
                        self.troubles.launch_failed(runner.repo.as_ref(), &error, now);
                        error
                    }
                    Failure::Cancelled => stopping(),
                };
                let message = format!("{} was not launched: {}", runner.name, error.message);
                self.event(EventKind::Failure, &runner.subject(), message);
                self.flights.failed(&runner, error);
                self.wake_for_retry();
            }
            Worked::Removed(runner, why, removed) => {
                let name = &runner.container.name;
                match removed {
                    Ok(true) => {
                        let message = format!("{name} removed: {why}");
                        self.event(EventKind::Remove, &subject(&runner.container), message);
                        self.removals.settled(name, self.epoch);
                    }
                    Ok(false) => self.removals.failed(name),
                    Err(error) => {
                        let message = format!("{name} was not removed: {}", error.message);
                        self.event(EventKind::Failure, &subject(&runner.container), message);
                        self.removals.failed(name);
                    }
                }
            }
            Worked::Forgotten(name, forgotten) => match forgotten {
                Ok(()) => {
                    self.event(
                        EventKind::Remove,
                        &name,
                        "registration without a container removed".into(),
                    );
                    self.removals.settled(&name, self.epoch);
                }
                Err(error) => {
                    tracing::warn!(%name, %error, "a registration was not removed");
                    self.removals.failed(&name);
                }
            },
        }
        self.publish(|_| ());
    }

    /// After a failed launch the loop looks again when the wait is over, not a whole interval later.
    fn wake_for_retry(&mut self) {
        let now = (self.parts.clock)();
        let Some(wait) =
            self.troubles.next_retry(now).filter(|_| self.on && self.stopping.is_empty())
        else {
            return;
        };
        let retry = Instant::now() + wait;
        self.next_look = Some(self.next_look.map_or(retry, |next| next.min(retry)));
    }
}

/// The error for a piece of work that broke: it must not take a place for ever.
fn bug() -> Error {
    Error::internal("A part of the program broke down.", "Please report it with the log.")
}
