//! GitHub's state and the rules by which it changes: no IO, no clock; every transition is told
//! what time it is.

mod runners;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use self::runners::Credential;
pub(super) use self::runners::{Message, NewRunner, Refusal};
use super::{
    apps::{self, Apps},
    model::{Account, Job, JobStatus, Repo, Run, Runner, Scope},
    options::Options,
    random::Random,
    scaleset::{ScaleSet, Sets},
    spec::{JobSpec, RepoSpec},
};

/// A moment; all of the simulator's times are in UTC.
type Time = DateTime<Utc>;

/// Everything that GitHub knows, as a test sees it.
#[derive(Debug)]
pub struct State {
    pub(super) options: Options,
    pub(super) random: Random,
    next_id: u64,
    accounts: Vec<Account>,
    /// By full name in lower case: GitHub's names are case-insensitive.
    repos: BTreeMap<String, Repo>,
    runs: BTreeMap<u64, Run>,
    jobs: BTreeMap<u64, Job>,
    /// Jobs whose `needs` are not completed yet, by run; GitHub does not list them.
    blocked: HashMap<u64, Vec<JobSpec>>,
    runners: BTreeMap<u64, Runner>,
    departed: Vec<Runner>,
    credentials: HashMap<String, Credential>,
    /// Whether anybody is told what happens.
    pub(super) hooked: bool,
    events: Vec<JobEvent>,
    pub(super) apps: Apps,
    pub(super) sets: Sets,
}

/// Something that happened to a job, in the words of webhooks, and the job just then.
#[derive(Debug, Clone)]
pub(super) struct JobEvent {
    pub(super) action: &'static str,
    pub(super) job: Job,
}

/// What the state was asked about does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The simulated GitHub has no {0}.")]
pub struct Unknown(pub(super) String);

impl State {
    pub(super) fn new(options: Options, now: Time) -> Self {
        let mut state = Self {
            random: Random::new(options.seed),
            // GitHub's identifiers of jobs have outgrown 32 bits, and so do these.
            next_id: 40_000_000_000 + options.seed % 1_000 * 1_000_000,
            accounts: Vec::new(),
            repos: BTreeMap::new(),
            runs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            blocked: HashMap::new(),
            runners: BTreeMap::new(),
            departed: Vec::new(),
            credentials: HashMap::new(),
            hooked: false,
            events: Vec::new(),
            apps: Apps::default(),
            sets: Sets::default(),
            options,
        };
        let logins: Vec<_> = state.options.tokens.iter().map(|(_, login)| login.clone()).collect();
        logins.iter().for_each(|login| state.add_account(login, false, now));
        state
    }

    /// All users and organisations.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// All repositories, by name.
    pub fn repos(&self) -> impl Iterator<Item = &Repo> {
        self.repos.values()
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.values()
    }

    /// All jobs that GitHub lists, oldest first.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.values()
    }

    /// The jobs of one run, oldest first.
    pub fn jobs_of(&self, run: u64) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(move |job| job.run_id == run)
    }

    /// How many jobs stand like this.
    pub fn count(&self, status: JobStatus) -> usize {
        self.jobs.values().filter(|job| job.status == status).count()
    }

    /// Whether every job has ended and none is blocked by another.
    pub fn is_all_done(&self) -> bool {
        self.blocked.is_empty() && self.count(JobStatus::Completed) == self.jobs.len()
    }

    /// The registered runners, oldest first.
    pub fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.runners.values()
    }

    /// The runners whose registration is gone, in the order in which they went.
    pub fn departed(&self) -> &[Runner] {
        &self.departed
    }

    /// Whether GitHub shows this runner as online.
    pub fn is_online(&self, runner: &Runner, now: DateTime<Utc>) -> bool {
        runner.connections > 0
            || runner.connected_once && now < runner.seen_at + self.options.offline_after
    }

    /// The scale sets, oldest first.
    pub fn scale_sets(&self) -> impl Iterator<Item = &ScaleSet> {
        self.sets.all()
    }

    /// The account of this login.
    pub fn account(&self, login: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.login.eq_ignore_ascii_case(login))
    }

    /// The repository of this full name.
    pub fn repo(&self, full_name: &str) -> Option<&Repo> {
        self.repos.get(&full_name.to_lowercase())
    }

    /// The run of this identifier.
    pub fn run(&self, id: u64) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// The job of this identifier.
    pub fn job(&self, id: u64) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// The registered runner of this identifier.
    pub fn runner(&self, id: u64) -> Option<&Runner> {
        self.runners.get(&id)
    }

    /// What has happened to jobs since there is a hook.
    pub(super) fn events(&self) -> &[JobEvent] {
        &self.events
    }

    fn tell(&mut self, action: &'static str, job: u64) {
        if let Some(job) = self.jobs.get(&job).filter(|_| self.hooked) {
            self.events.push(JobEvent { action, job: job.clone() });
        }
    }

    /// The login that a token belongs to.
    pub(super) fn login_of(&self, token: &str) -> Option<String> {
        let known = self.options.tokens.iter().find(|(known, _)| known == token);
        known.map(|(_, login)| login.clone())
    }

    /// Whether this login may know of this repository.
    pub(super) fn sees(&self, login: &str, repo: &Repo) -> bool {
        !repo.private || self.works_on(login, repo)
    }

    /// Whether `GET /user/repos` lists this repository, and under which affiliation.
    pub(super) fn affiliation(&self, login: &str, repo: &Repo) -> Option<&'static str> {
        if apps::installation_of(login).is_some() {
            None
        } else if repo.owner.eq_ignore_ascii_case(login) {
            Some("owner")
        } else if repo.collaborators.iter().any(|other| other.eq_ignore_ascii_case(login)) {
            Some("collaborator")
        } else if self.account(&repo.owner).is_some_and(|owner| owner.organization) {
            // Every login is a member of every organisation here.
            Some("organization_member")
        } else {
            None
        }
    }

    fn works_on(&self, login: &str, repo: &Repo) -> bool {
        match apps::installation_of(login) {
            Some(id) => self.apps.installation(id).is_some_and(|own| own.covers(repo)),
            None => self.affiliation(login, repo).is_some(),
        }
    }

    /// Whether this login may have rights on the runners of `scope` at all: a user's token here has
    /// them everywhere, an installation's on what it is installed on.
    pub(super) fn reaches(&self, login: &str, scope: &Scope) -> bool {
        let Some(own) = apps::installation_of(login).and_then(|id| self.apps.installation(id))
        else {
            return apps::installation_of(login).is_none();
        };
        match scope {
            Scope::Repo(repo) => self.repo(repo).is_some_and(|repo| own.covers(repo)),
            Scope::Org(org) => own.account.eq_ignore_ascii_case(org),
        }
    }

    pub(super) fn add_account(&mut self, login: &str, organization: bool, now: Time) {
        if self.account(login).is_none() {
            let account = Account {
                id: self.fresh_id(),
                login: login.to_owned(),
                organization,
                runners_denied: false,
                created_at: now,
            };
            self.accounts.push(account);
        }
    }

    pub(super) fn deny_runners_of(&mut self, login: &str) -> Result<(), Unknown> {
        let account =
            self.accounts.iter_mut().find(|account| account.login.eq_ignore_ascii_case(login));
        account.ok_or_else(|| Unknown(format!("account {login}")))?.runners_denied = true;
        Ok(())
    }

    pub(super) fn add_repo(&mut self, spec: RepoSpec, now: Time) {
        let (owner, name) = spec.full_name.split_once('/').unwrap_or(("acme", &spec.full_name));
        self.add_account(owner, true, now);
        let repo = Repo {
            id: self.fresh_id(),
            owner: owner.to_owned(),
            name: name.to_owned(),
            created_at: spec.pushed_at.unwrap_or(now),
            pushed_at: (!spec.never_pushed).then(|| spec.pushed_at.unwrap_or(now)),
            archived: spec.archived,
            disabled: spec.disabled,
            private: spec.private,
            denied: spec.denied,
            collaborators: spec.collaborators,
        };
        self.repos.insert(repo.full_name().to_lowercase(), repo);
    }

    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn covers(scope: &Scope, repo: &str) -> bool {
        match scope {
            Scope::Repo(own) => own.eq_ignore_ascii_case(repo),
            Scope::Org(org) => {
                repo.split_once('/').is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(org))
            }
        }
    }
}
