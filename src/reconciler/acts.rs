//! Acting: launches and removals are begun here, and accounted for when they come back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::answers::{given_up, refusal, stopping};
use super::doubts::{in_its_words, is_deserter};
use super::told::{About, Told};
use super::{Asker, Outcome, Reconciler};
use crate::error::{Code, Error, Result};
use crate::lifecycle::{Failure, Parts, subject};
use crate::metrics::Failing;
use crate::model::{Ended, JobResult, Origin, Runner, Scope};
use crate::plan::{Action, Held, Order, Removal};
use crate::ports::{Deregistered, NewRunner, Registration};
use crate::snapshot::{Event, EventKind};

/// A piece of work that came back.
pub(super) enum Worked {
    Launched(NewRunner, Result<String, Failure>),
    Removed {
        runner: Box<Runner>,
        why: Removal,
        was_online: bool,
        took: Duration,
        removed: Result<Option<Ended>>,
    },
    Forgotten(String, Result<Deregistered>),
    /// The source knows that the loop has ended.
    Rested,
}

impl Reconciler {
    /// Sets the actions going, or the launches alone.
    pub(super) fn act(
        &mut self,
        actions: Vec<Action>,
        launches_only: bool,
        with: Option<Registration>,
        asker: &Asker,
    ) -> Result<Vec<Outcome>> {
        if !self.stopping.is_empty() {
            return Err(stopping());
        }
        let mut accepted = Vec::new();
        let mut refused = None;
        for action in actions {
            match action {
                Action::Launch(order) => {
                    accepted.push(self.launch(order, with.clone(), asker.clone())?);
                }
                Action::Refuse { ask, why } => {
                    let message = format!("no runner by hand for {}: {why}", ask.repo);
                    let about = About::default().because(&why);
                    Self::log(Told::Refuse, ask.repo.as_str(), &message, &about);
                    refused = Some(refusal(&why, self.used()));
                }
                Action::Remove { name, why } if !launches_only => self.remove(&name, why),
                Action::Forget { scope, id, name } if !launches_only => {
                    self.forget(scope, id, name)
                }
                Action::Hold { .. } | Action::Remove { .. } | Action::Forget { .. } => {}
            }
        }
        match refused {
            Some(error) if accepted.is_empty() => Err(error),
            _ => Ok(accepted),
        }
    }

    /// Sets the launches among the actions going, as far as the rate of launches by hand allows.
    pub(super) fn act_by_hand(
        &mut self,
        mut actions: Vec<Action>,
        with: Option<Registration>,
        asker: &Asker,
    ) -> Result<Vec<Outcome>> {
        let now = Instant::now().into_std();
        let is_launch = |action: &Action| matches!(action, Action::Launch(_));
        let wanted = actions.iter().filter(|action| is_launch(action)).count();
        if wanted > 0 {
            let mut left = self.by_hand.left(now)?;
            actions.retain(|action| {
                let kept = !is_launch(action) || left > 0;
                left = left.saturating_sub(usize::from(is_launch(action)));
                kept
            });
        }
        let accepted = self.act(actions, true, with, asker)?;
        self.by_hand.take(accepted.len(), now);
        if accepted.len() < wanted {
            let launched = accepted.len();
            let message = format!("provision_rate left room for {launched} of {wanted} runners");
            let about = About::default().because("provision_rate");
            self.tell(Told::Refuse, "provision", message, &about);
        }
        Ok(accepted)
    }

    fn launch(
        &mut self,
        order: Order,
        with: Option<Registration>,
        asker: Asker,
    ) -> Result<Outcome> {
        let Order { scope, repo, labels, origin, job, beside_sets } = order;
        let name = format!("{}{}", self.prefix, (self.parts.suffix)()?);
        // Before it is registered: whoever kills us in between leaves that to be found.
        let now = (self.parts.clock)();
        self.parts.leftovers.remember(&scope.to_string(), "", now.into());
        self.turns.take(repo.as_ref());
        let runner = NewRunner { name, scope, repo, labels, origin, beside_sets };
        let outcome = self.flights.begin(runner.clone());
        // Also after the next decisions, which may be far away, it is known what was done for the job.
        if let Some(job) = job {
            let covered = Held::Covered { runner: runner.name.clone() };
            Arc::make_mut(&mut self.held).insert(job, covered);
        }
        let about = match (job, origin) {
            (Some(job), _) => format!("launching {} for job {job}", runner.name),
            (None, Origin::Manual) => format!("launching {}, asked for by hand", runner.name),
            (None, _) => format!("launching {}, to be kept ready", runner.name),
        };
        self.journeys.order(&runner.name, job, now);
        let fields = About { job, ..About::runner(&runner.name).because(origin.as_str()) };
        self.tell(Told::Launch, &runner.subject(), about, &fields);
        let (parts, cancelled, published) =
            (self.parts.clone(), self.cancelled.child_token(), self.published.clone());
        self.works.spawn(async move {
            let clock = parts.clock.clone();
            let step = |step: &str| asker.tell(&runner.name, step);
            let pulling = |percent: &str| {
                step(percent);
                let (subject, message) = (runner.subject(), percent.to_owned());
                let event = Event { at: clock(), kind: EventKind::Image, subject, message };
                published.send_modify(|snapshot| snapshot.push(event));
            };
            let launch = async {
                let launched = parts.launch(&runner, with, &pulling, &step, &cancelled);
                let launched = unless_panicked(launched, Failure::Runner).await;
                unwanted(&parts, &asker, launched).await
            };
            let tie = async {
                asker.gone.cancelled().await;
                cancelled.cancel();
                std::future::pending().await
            };
            let launched = tokio::select! {
                biased;
                launched = launch => launched,
                never = tie => never,
            };
            if launched.is_ok() {
                step("started");
            }
            Worked::Launched(runner, launched)
        });
        Ok(outcome)
    }

    fn remove(&mut self, name: &str, why: Removal) {
        let Some(runner) = self.runners.iter().find(|runner| runner.container.name == name) else {
            return;
        };
        let reason = format!("{why}{}", in_its_words(runner));
        let message = format!("removing {name}: {reason}");
        let job = runner.job.as_ref().map(|job| job.job.id);
        let about = About { job, ..About::runner(name).because(reason) };
        Self::log(Told::Remove, &subject(&runner.container), &message, &about);
        self.removals.begin(name);
        let was_online = self.memory.was_online(name);
        let (parts, runner) = (self.parts.clone(), Box::new(runner.clone()));
        self.works.spawn(async move {
            let begin = Instant::now();
            let removed = unless_panicked(parts.remove(&runner, why, false), |error| error).await;
            Worked::Removed { runner, why, was_online, took: begin.elapsed(), removed }
        });
    }

    fn forget(&mut self, scope: Scope, id: u64, name: String) {
        let message = format!("removing the registration of {name}, which has no container");
        Self::log(Told::Forget, &scope.to_string(), &message, &About::runner(&name));
        self.removals.begin(&name);
        let parts = self.parts.clone();
        self.works.spawn(async move {
            let forgotten = parts.registrar.deregister(&scope, id);
            let forgotten = unless_panicked(forgotten, |error| error).await;
            Worked::Forgotten(name, forgotten)
        });
    }

    pub(super) fn account(&mut self, worked: Worked) {
        let now = (self.parts.clock)();
        match worked {
            Worked::Launched(runner, Ok(id)) => {
                self.troubles.image_succeeded();
                let about = About::runner(&runner.name);
                let about = about.after(self.journeys.started(&runner.name, now));
                let message = format!("{} started", runner.name);
                self.tell(Told::Launched, &runner.subject(), message, &about);
                self.published.send_modify(|snapshot| snapshot.provisioned += 1);
                self.flights.succeeded(&runner, &id, self.epoch);
            }
            Worked::Launched(runner, Err(failure)) => {
                // It may be registered all the same, and be listed later.
                self.parts.leftovers.remember(&runner.scope.to_string(), "", now.into());
                let (error, is_certain) = match failure {
                    Failure::Image(error) => {
                        self.troubles.image_failed(&error, now);
                        (error, true)
                    }
                    Failure::Runner(error) => {
                        self.troubles.launch_failed(runner.repo.as_ref(), &error, now);
                        (error, false)
                    }
                    Failure::Cancelled if self.stopping.is_empty() => (given_up(), true),
                    Failure::Cancelled => (stopping(), true),
                };
                let message = format!("{} was not launched: {}", runner.name, error.message);
                let about = About::runner(&runner.name).because(error.code.as_str());
                let about = about.after(self.journeys.failed(&runner.name, now));
                self.tell_failure(Failing::Launch, &runner.subject(), message, &about);
                if is_certain {
                    self.flights.failed(&runner, error);
                } else {
                    self.flights.doubted(&runner, error, self.epoch);
                    if self.goes_on() {
                        self.rounds.count_soon(Instant::now());
                    }
                }
                self.wake_for_retry();
            }
            Worked::Removed { runner, why, was_online, took, removed } => {
                let name = &runner.container.name;
                match removed {
                    Ok(Some(ended)) => {
                        let deserted = is_deserter(why, &ended);
                        let reason = match deserted {
                            true => format!("{why} without having done its job, by its log"),
                            false => format!("{why}{}", in_its_words(&runner)),
                        };
                        let message = format!("{name} removed: {reason}");
                        let about = About::runner(name).because(reason).after(Some(took));
                        let subject = subject(&runner.container);
                        self.tell(Told::Removed, &subject, message, &about);
                        self.removals.settled(name, self.epoch);
                        let may_have_served = self.judge(&runner, why, was_online, &ended);
                        if !may_have_served {
                            self.memory.dismiss(name);
                        }
                        let has_served = may_have_served && ended.exit_code == Some(0) && !deserted;
                        let result = JobResult::in_log(&ended.log_tail);
                        let result = result.or_else(|| self.parts.board.result_of(name));
                        self.journeys.gone(&runner, has_served, result, now);
                    }
                    Ok(None) => self.removals.failed(name),
                    Err(error) => {
                        let message = format!("{name} was not removed: {}", error.message);
                        let about = About::runner(name).because(error.code.as_str());
                        let (subject, about) =
                            (subject(&runner.container), about.after(Some(took)));
                        self.tell_failure(Failing::Remove, &subject, message, &about);
                        self.removals.failed(name);
                    }
                }
            }
            Worked::Rested => {}
            Worked::Forgotten(name, forgotten) => match forgotten {
                // It has got a job meanwhile: it is somebody's.
                Ok(Deregistered::Busy) => self.removals.failed(&name),
                Ok(Deregistered::Gone) => {
                    let message = "registration without a container removed".into();
                    let about = About::runner(&name);
                    self.tell(Told::Forgotten, &name, message, &about);
                    self.removals.settled(&name, self.epoch);
                }
                Err(error) => {
                    let message = format!("a registration was not removed: {}", error.message);
                    let about = About::runner(&name).because(error.code.as_str());
                    self.parts.metrics.failed(Failing::Remove);
                    Self::log(Told::ForgetFailed, &name, &message, &about);
                    self.removals.failed(&name);
                }
            },
        }
        self.publish(|_| ());
    }

    /// Whether the runner may have served a job. A container that started is no runner yet: one that
    /// was never online and did not end well is a failed launch, or a broken image would be started
    /// without end.
    fn judge(&mut self, runner: &Runner, why: Removal, was_online: bool, ended: &Ended) -> bool {
        let container = &runner.container;
        let repo = container.repo.as_ref();
        let served = was_online || ended.exit_code == Some(0);
        let reason = match (why, ended.exit_code) {
            (Removal::NeverOnline, _) => why.to_string(),
            (Removal::Finished, Some(code)) if !served => {
                format!("it ended with code {code} before it was online")
            }
            (Removal::Finished, _) => {
                self.troubles.launch_succeeded(repo);
                return true;
            }
            (Removal::Overtime | Removal::ByHand, _) => return true,
            // GitHub has agreed that it had no job.
            (Removal::Surplus | Removal::Lost | Removal::Deaf, _) => return false,
        };
        let error = Error::new(
            Code::ContainerFailed,
            format!("Container failed to start: {}: {reason}.", container.name),
            "Look at its last words in the history file of the state directory, and at \
             runner_image and registration.",
        );
        self.troubles.launch_failed(repo, &error, (self.parts.clock)());
        let about = About::runner(&container.name).because(reason);
        self.tell_failure(Failing::Launch, &subject(container), error.message, &about);
        self.wake_for_retry();
        false
    }

    /// After a failed launch the loop looks again when the wait is over, not a whole interval later.
    fn wake_for_retry(&mut self) {
        let now = (self.parts.clock)();
        let Some(wait) = self.troubles.next_retry(now).filter(|_| self.goes_on()) else {
            return;
        };
        let retry = Instant::now() + wait;
        self.rounds.look_by(retry);
        self.rounds.pass_by(retry);
    }
}

/// What became of a launch whose asker may be gone: then it is undone, unless the runner has found
/// a job already.
async fn unwanted(
    parts: &Parts,
    asker: &Asker,
    launched: Result<String, Failure>,
) -> Result<String, Failure> {
    let Ok(id) = launched else { return launched };
    if !asker.gone.is_cancelled() {
        return Ok(id);
    }
    match parts.undo(&id).await {
        Ok(true) => Err(Failure::Cancelled),
        Ok(false) => Ok(id),
        Err(error) => {
            tracing::warn!(id, %error, "a runner that nobody wants stays until it is idle too long");
            Ok(id)
        }
    }
}

/// The outcome of `work`, also when it ended in a bug: what was begun would count for ever.
async fn unless_panicked<T, E>(
    work: impl Future<Output = Result<T, E>>,
    failure: impl FnOnce(Error) -> E,
) -> Result<T, E> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        let report = "Please report it with the log.";
        Err(failure(Error::internal("A task of the loop broke off.", report)))
    })
}
