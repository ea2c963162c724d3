//! What it answers.

use super::*;
use async_trait::async_trait;

#[async_trait]
impl DemandSource for Github {
    async fn demand(&self) -> Result<Demand> {
        if self.change(|state| state.gated) {
            self.gate.notified().await;
        }
        let breaks = self.change(|state| std::mem::take(&mut state.breaks));
        assert!(!breaks, "on purpose");
        self.answers()?;
        Ok(self.change(|state| {
            state.looks += 1;
            let mut repos = BTreeMap::new();
            let open = state.jobs.values().filter(|job| !job.done);
            for FakeJob { job, runner, started_at, is_bound, .. } in open {
                let demand = repos.entry(job.repo.clone()).or_insert_with(|| RepoDemand {
                    repo: job.repo.clone(),
                    running: 0,
                    failed: 0,
                    pending: 0,
                    queued: vec![],
                    in_progress: vec![],
                });
                match runner.as_ref().filter(|_| !is_bound) {
                    None => demand.queued.push(Job { seen_at: self.now(), ..job.clone() }),
                    Some(name) => demand.in_progress.push(RunningJob {
                        job: JobRef {
                            id: job.id,
                            run_id: job.run_id,
                            name: job.name.clone(),
                            url: String::new(),
                        },
                        runner_name: name.clone(),
                        started_at: *started_at,
                    }),
                }
            }
            let unseen = state
                .blind
                .iter()
                .map(|repo| (repo.clone(), Error::internal("unseen", "")))
                .collect();
            repos.retain(|repo, _| !state.blind.contains(repo));
            Demand {
                repos: repos.into_values().collect(),
                unseen,
                unlisted: BTreeMap::new(),
                rate_limit: None,
                is_listed: true,
                ..Demand::default()
            }
        }))
    }
}

#[async_trait]
impl Registrar for Github {
    async fn check(&self) -> Result<()> {
        self.answers()
    }

    async fn register(&self, runner: &NewRunner) -> Result<Registration> {
        self.answers()?;
        assert!(!self.change(|state| state.broken), "as the test wants it");
        self.change(|state| {
            if let Some(error) = &state.refused {
                return Err(error.clone());
            }
            state.registrations += 1;
            let id = state.registrations;
            let name = runner.name.clone();
            state.runners.push(Registered { id, name, online: false, busy: false });
            Ok(Registration::Jit { runner_id: id, config: "jit".into() })
        })
    }

    async fn token(&self, _: &Scope) -> Result<RegistrationToken> {
        self.answers()?;
        Ok(RegistrationToken {
            token: "token".into(),
            expires_at: self.now() + TimeDelta::hours(1),
        })
    }

    async fn deregister(&self, scope: &Scope, id: u64) -> Result<Deregistered> {
        self.answers()?;
        let now = self.now();
        self.change(|state| {
            let runner = state.runners.iter_mut().find(|runner| runner.id == id);
            let Some((runner, takes)) = runner.zip(state.late_job.take()) else { return };
            runner.busy = true;
            let name = runner.name.clone();
            state.add(scope, repo("a"), takes, now).runner = Some(name);
        });
        if self.change(|state| state.keeps_registrations) {
            return Err(Error::new(Code::GithubUnreachable, "GitHub does not answer.", "Wait."));
        }
        Ok(self.change(|state| {
            if state.runners.iter().any(|runner| runner.id == id && runner.busy) {
                return Deregistered::Busy;
            }
            state.runners.retain(|runner| runner.id != id);
            Deregistered::Gone
        }))
    }

    async fn registered(&self, scope: &Scope) -> Result<Vec<Registered>> {
        self.answers()?;
        self.change(|state| {
            state.listings.push(scope.clone());
            if state.closed.contains(scope) {
                return Err(Error::new(Code::NotFound, "There is no such repository.", "Look."));
            }
            if state.hidden.contains(scope) {
                return Err(Error::new(
                    Code::GithubUnreachable,
                    "GitHub answers with 502.",
                    "Wait.",
                ));
            }
            Ok(state.runners.clone())
        })
    }
}
