//! Runs and jobs: how they are queued, follow each other, begin and end.

use super::{State, Time, Unknown};
use crate::simulator::{
    model::{Conclusion, Job, JobStatus, Run},
    options::LostJob,
    scaleset,
    spec::{JobSpec, RunSpec},
};

impl State {
    pub(in crate::simulator) fn queue_run(
        &mut self,
        repo: &str,
        spec: RunSpec,
        now: Time,
    ) -> Result<u64, Unknown> {
        let repo =
            self.repo(repo).ok_or_else(|| Unknown(format!("repository {repo}")))?.full_name();
        let created_at = spec.created_at.unwrap_or(now);
        let id = self.fresh_id();
        let number = 1 + self.runs.values().filter(|run| run.repo == repo).count() as u64;
        self.runs.insert(
            id,
            Run {
                id,
                number,
                repo,
                workflow: spec.workflow,
                named: spec.named,
                branch: spec.branch,
                event: spec.event,
                status: JobStatus::Queued,
                conclusion: None,
                created_at,
                updated_at: created_at,
            },
        );
        self.blocked.insert(id, spec.jobs);
        self.follow(id, created_at);
        self.advance(now);
        Ok(id)
    }

    pub(in crate::simulator) fn release_job(&mut self, id: u64, now: Time) -> Result<(), Unknown> {
        let job = self.jobs.get_mut(&id).ok_or_else(|| Unknown(format!("job {id}")))?;
        if matches!(job.status, JobStatus::Waiting | JobStatus::Pending | JobStatus::Requested) {
            job.status = JobStatus::Queued;
            job.queued_at = now;
            let run = job.run_id;
            self.tell("queued", id);
            self.follow(run, now);
            self.advance(now);
        }
        Ok(())
    }

    pub(in crate::simulator) fn cancel_run(&mut self, id: u64, now: Time) -> Result<(), Unknown> {
        if !self.runs.contains_key(&id) {
            return Err(Unknown(format!("run {id}")));
        }
        self.blocked.remove(&id);
        let jobs: Vec<_> =
            self.jobs_of(id).map(|job| (job.id, job.status, job.is_hosted())).collect();
        for (id, status, hosted) in jobs {
            if status == JobStatus::InProgress && !hosted {
                // Its runner is told, and reports the end of it.
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.cancelled = true;
                }
            } else {
                self.withdraw(id);
                self.complete(id, Conclusion::Cancelled, now);
            }
        }
        self.follow(id, now);
        Ok(())
    }

    /// Ends a job. Its run, and the jobs that need it, follow.
    pub(super) fn complete(&mut self, id: u64, conclusion: Conclusion, now: Time) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.status != JobStatus::Completed)
        else {
            return;
        };
        job.status = JobStatus::Completed;
        job.conclusion = Some(conclusion);
        job.completed_at = Some(now);
        let run = job.run_id;
        self.tell("completed", id);
        self.follow(run, now);
    }

    /// What becomes of a job whose runner is gone.
    pub(super) fn lose(&mut self, id: u64, now: Time) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let conclusion = if job.cancelled { Conclusion::Cancelled } else { Conclusion::Failure };
        // A job that never began loses nothing; it simply waits for another runner.
        let again =
            job.status == JobStatus::Queued || self.options.lost_job == LostJob::IsQueuedAgain;
        if job.status != JobStatus::Completed && again && !job.cancelled {
            job.status = JobStatus::Queued;
            job.queued_at = now;
            (job.started_at, job.runner_id, job.runner_name) = (None, None, None);
            let run = job.run_id;
            self.follow(run, now);
        } else {
            self.complete(id, conclusion, now);
        }
    }

    /// Lets time do its work: hosted jobs begin and end, lost and unstarted jobs are taken from
    /// their runners, abandoned registrations go. Tells whether anything changed.
    pub(in crate::simulator) fn advance(&mut self, now: Time) -> bool {
        let hosted: Vec<_> = self
            .jobs
            .values()
            .filter(|job| job.is_hosted() && job.status != JobStatus::Completed)
            .map(|job| (job.id, job.status, hosted_end(job), job.intended))
            .collect();
        let mut changed = false;
        for (id, status, end, intended) in hosted {
            if status == JobStatus::Queued {
                self.begin(id, None, now);
                changed = true;
            } else if let Some(end) = end.filter(|end| *end <= now) {
                self.complete(id, intended, end);
                changed = true;
            }
        }
        let changed = changed | self.advance_runners(now);
        changed | scaleset::follow(self, now)
    }

    /// When [`advance`](Self::advance) next has something to do.
    pub(in crate::simulator) fn next_deadline(&self) -> Option<Time> {
        let hosted = self.jobs.values().filter(|job| job.is_hosted()).filter_map(hosted_deadline);
        let sets = scaleset::next_deadline(self);
        hosted.chain(self.runner_deadlines()).chain(sets).min()
    }

    /// Puts a job in progress, on a self-hosted runner or on GitHub's own.
    pub(super) fn begin(&mut self, id: u64, runner: Option<u64>, now: Time) {
        let name = match runner {
            Some(runner) => self.runners.get(&runner).map(|runner| runner.name.clone()),
            None => Some(format!("GitHub Actions {}", id % 1_000)),
        };
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.status == JobStatus::Queued) else {
            return;
        };
        job.status = JobStatus::InProgress;
        job.started_at = Some(now);
        job.begun += 1;
        job.runner_id = runner.or(Some(id % 1_000));
        job.runner_name = name;
        let run = job.run_id;
        self.tell("in_progress", id);
        self.follow(run, now);
    }

    /// Brings a run into line with its jobs: unblocks those whose `needs` are met, and derives the
    /// run's status and conclusion.
    fn follow(&mut self, run: u64, now: Time) {
        while self.unblock(run, now) {}
        let blocked = self.blocked.contains_key(&run);
        let jobs: Vec<_> = self.jobs_of(run).map(|job| (job.status, job.conclusion)).collect();
        let (status, conclusion) = summary(&jobs, blocked);
        if let Some(run) = self.runs.get_mut(&run) {
            (run.status, run.conclusion, run.updated_at) = (status, conclusion, now);
        }
    }

    /// Lists one blocked job of the run whose needs have all ended, if there is one.
    fn unblock(&mut self, run: u64, now: Time) -> bool {
        let Some(blocked) = self.blocked.get(&run) else { return false };
        let met = |spec: &JobSpec| {
            spec.needs.iter().all(|need| {
                !blocked.iter().any(|other| other.name == *need)
                    && self
                        .jobs_of(run)
                        .all(|job| job.key != *need || job.status == JobStatus::Completed)
            })
        };
        let Some(place) = blocked.iter().position(met) else {
            if blocked.is_empty() {
                self.blocked.remove(&run);
            }
            return false;
        };
        let Some(spec) = self.blocked.get_mut(&run).map(|blocked| blocked.remove(place)) else {
            return false;
        };
        self.list(run, spec, now);
        true
    }

    fn list(&mut self, run: u64, spec: JobSpec, now: Time) {
        let Some(repo) = self.runs.get(&run).map(|run| run.repo.clone()) else { return };
        let skipped = self.jobs_of(run).any(|job| {
            spec.needs.contains(&job.key) && job.conclusion != Some(Conclusion::Success)
        });
        let id = self.fresh_id();
        let status =
            if skipped { JobStatus::Completed } else { spec.held.unwrap_or(JobStatus::Queued) };
        self.jobs.insert(
            id,
            Job {
                id,
                run_id: run,
                repo,
                name: match spec.leg {
                    Some(leg) => format!("{} ({leg})", spec.name),
                    None => spec.name.clone(),
                },
                key: spec.name,
                labels: spec.labels,
                takes: spec.takes,
                intended: spec.conclusion,
                status,
                conclusion: skipped.then_some(Conclusion::Skipped),
                created_at: now,
                queued_at: now,
                started_at: None,
                completed_at: skipped.then_some(now),
                runner_id: None,
                runner_name: None,
                begun: 0,
                cancelled: false,
            },
        );
        match status {
            JobStatus::Queued => self.tell("queued", id),
            // Both come, as in GitHub's own examples: a job may be called queued before its gate.
            JobStatus::Waiting => {
                ["waiting", "queued"].into_iter().for_each(|it| self.tell(it, id))
            }
            JobStatus::Completed => self.tell("completed", id),
            _ => {}
        }
    }
}

/// When a hosted job that has begun ends.
fn hosted_end(job: &Job) -> Option<Time> {
    job.started_at.map(|started| started + job.takes)
}

fn hosted_deadline(job: &Job) -> Option<Time> {
    match job.status {
        JobStatus::Queued => Some(job.queued_at),
        JobStatus::InProgress => hosted_end(job),
        _ => None,
    }
}

/// A run's status and conclusion, from its listed jobs and from whether others are to come.
fn summary(
    jobs: &[(JobStatus, Option<Conclusion>)],
    blocked: bool,
) -> (JobStatus, Option<Conclusion>) {
    let any = |wanted: JobStatus| jobs.iter().any(|(status, _)| *status == wanted);
    let all = |wanted: JobStatus| jobs.iter().all(|(status, _)| *status == wanted);
    if all(JobStatus::Completed) && !blocked {
        let ended = |wanted| jobs.iter().any(|(_, conclusion)| *conclusion == Some(wanted));
        let conclusion = [Conclusion::Cancelled, Conclusion::TimedOut, Conclusion::Failure]
            .into_iter()
            .find(|conclusion| ended(*conclusion))
            .unwrap_or(Conclusion::Success);
        return (JobStatus::Completed, Some(conclusion));
    }
    let status = if any(JobStatus::InProgress) || any(JobStatus::Completed) {
        JobStatus::InProgress
    } else if any(JobStatus::Queued) {
        JobStatus::Queued
    } else {
        jobs.first().map_or(JobStatus::Queued, |(status, _)| *status)
    };
    (status, None)
}
