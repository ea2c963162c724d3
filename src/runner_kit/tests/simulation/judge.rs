//! What must hold, at every step and in the end.

use super::setting::Fault;
use super::world::{Invariant, SimContainer, State};
use crate::demand::JobState;
use crate::model::{Origin, Phase, is_hosted};
use crate::snapshot::Snapshot;
use crate::views::Status;

impl State {
    /// The container `name` has been made: was there room for it?
    pub(super) fn judge_bound(&mut self, name: &str) {
        let (live, most) = (self.live().count(), self.setting.max_runners);
        if live > most {
            self.violated(Invariant::Bound, format!("{live} runners live, at most {most} may"));
        }
        let repo = self.containers.get(name).and_then(|one| one.container.repo.clone());
        let (Some(repo), Some(most)) = (repo, self.setting.max_per_repo) else { return };
        let live = self.live().filter(|one| one.container.repo.as_ref() == Some(&repo)).count();
        if live > most {
            let what = format!("{live} runners live for {repo}, at most {most} may");
            self.violated(Invariant::Bound, what);
        }
    }

    /// A container is gone: what was it good for?
    pub(super) fn bury(&mut self, gone: &SimContainer) {
        self.tally.launched += 1;
        let is_asked = gone.container.origin != Origin::Queue;
        self.tally.excused += usize::from(gone.worked != is_asked);
        // It had to be replaced, or so it looked: also one that served in the end.
        self.tally.excused += usize::from(gone.is_faulty);
        // Its own launch, and that of the queue's runner that it leaves without a job.
        if gone.worked && is_asked {
            self.tally.excused += 2;
        }
    }

    /// What is told, compared with what could be known.
    pub(super) fn judge_snapshot(&mut self, snapshot: &Snapshot) {
        // Before the first look is over, runners are counted afresh for whoever asks.
        if !snapshot.running || snapshot.last_check.is_none() {
            return;
        }
        let (now, life) = (self.now, self.services);
        let is_known =
            |one: &&SimContainer| one.known.is_some_and(|(of, since)| of == life && since < now);
        let known = self.live().filter(is_known).count();
        let used = snapshot.used;
        if used < known {
            self.violated(Invariant::Truth, format!("{known} runners were seen, {used} are told"));
        }
        let shown: Vec<_> = snapshot.demand.iter().flat_map(|demand| demand.jobs()).collect();
        for job in shown.iter().filter(|job| !is_hosted(&job.labels)) {
            if !snapshot.held.contains_key(&job.id) {
                let what = format!("job {} waits and nobody says why", job.id);
                return self.violated(Invariant::Explained, what);
            }
        }
    }

    /// What is left that has no purpose: nothing, once all is over.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let open =
            |job: &&super::world::SimJob| job.is_servable && *job.state() != JobState::Completed;
        let open: Vec<u64> = self.jobs.values().filter(open).map(|job| job.job.id).collect();
        if !open.is_empty() {
            left.push(format!("jobs {open:?} are not done"));
        }
        let kept = self.kept();
        for (name, container) in &self.containers {
            if container.listed(self.now).ended {
                left.push(format!("the container {name} has ended"));
            }
        }
        let live = self.live().count();
        if live > kept {
            left.push(format!("{live} runners where {kept} are to be kept"));
        }
        for (id, registration) in &self.registrations {
            let name = &registration.name;
            if registration.state().is_some() && !self.containers.contains_key(name) {
                left.push(format!("the registration {id} of {name}"));
            }
        }
        left
    }

    /// Runners that are to be kept ready.
    fn kept(&self) -> usize {
        let scopes = self.setting.warm().count();
        (self.setting.min_idle * scopes).min(self.setting.max_runners)
    }

    /// The end, after quiet time: everything is over, and told as it is.
    pub(super) fn judge_end(&mut self, status: &Status) {
        let left = self.leftovers();
        for what in left {
            let is_job = what.starts_with("jobs");
            self.violated(if is_job { Invariant::Served } else { Invariant::Clean }, what);
        }
        let live = self.live().count();
        let open =
            |job: &&super::world::SimJob| *job.state() == JobState::Queued && job.is_servable;
        let queued = self.jobs.values().filter(open).count();
        let told = (status.active_runners, status.capacity.used, status.queued_jobs);
        if told != (live, live, queued) {
            let what =
                format!("(active, used, queued) is {told:?}, and truly {:?}", (live, live, queued));
            self.violated(Invariant::Truth, what);
        }
        self.judge_launches();
    }

    fn judge_launches(&mut self) {
        // What was not seen as it was, or was forgotten, may be launched for once more.
        let blurs =
            [Fault::StaleList, Fault::HookLate, Fault::Kill, Fault::Restart, Fault::ClockJump];
        // Of a job that is counted nobody can tell that it is the one that has begun.
        let unnamed = self.setting.scale_set && self.setting.counts_only;
        let blurred = unnamed || blurs.iter().any(|fault| self.faults.contains_key(fault));
        let tally = self.tally.clone();
        let excused = tally.excused + tally.cancelled;
        // A set that is full may be launched for until it is clear that it will not be given a job.
        let unclear = 3 * self.faults.get(&Fault::Unassigned).copied().unwrap_or_default();
        let slack = if blurred { self.jobs.len() } else { unclear as usize };
        if tally.launched > excused + slack {
            let what = format!(
                "{} runners were launched and removed, {excused} of them for a reason",
                tally.launched
            );
            self.violated(Invariant::Justified, what);
        }
    }
}

/// Whether the loop sees that all is over.
pub(super) fn is_settled(snapshot: &Snapshot) -> bool {
    let phases = snapshot.runners.iter().all(|runner| runner.phase == Phase::Idle);
    phases && snapshot.last_error.is_none()
}
