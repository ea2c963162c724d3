//! What the facts mean. No IO: each function is given what was found and says what it thinks of it.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::Check;
use crate::adapters::docker::{ImageStanding, Survey};
use crate::adapters::github::{Identity, Standing};
use crate::config::{PullPolicy, RunnerConfig, ScopeKind};
use crate::error::{Code, Error, Result};
use crate::model::{Demand, Labels, RateLimit, Scope, is_hosted};

/// A credential that ends sooner is worth a warning.
const SOON: TimeDelta = TimeDelta::days(7);
/// A clock may be off by this much: an app's tokens are dated back by as much.
const DRIFT: TimeDelta = TimeDelta::seconds(60);
/// With a clock that is off by more, tokens end too early or too late.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// The default image has 1.5 GB, and a job needs room.
const LITTLE: u64 = 10 << 30;
/// With less, images and jobs fail.
const TOO_LITTLE: u64 = 2 << 30;
/// The oldest API that the containers' options need.
const API: (u32, u32) = (1, 41);

/// Whether GitHub takes the credential, who it is, what it may by its scopes and for how long.
pub(super) fn credential(
    standing: &Standing,
    identity: &Result<Identity>,
    scope: ScopeKind,
    now: DateTime<Utc>,
) -> Check {
    const NAME: &str = "credential";
    if let Some(error) = &standing.refused {
        return Check::failed(NAME, error);
    }
    let who = match identity {
        Err(error) => return Check::failed(NAME, error),
        Ok(Identity::User(login)) => format!("the user {login}"),
        Ok(Identity::Nobody) => "a token that belongs to no user".to_owned(),
        Ok(Identity::App(installed)) => return app(NAME, installed),
    };
    if let Some(scopes) = &standing.scopes {
        let wanted: &[&str] = match scope {
            ScopeKind::Repo => &["repo"],
            ScopeKind::Org => &["repo", "admin:org"],
        };
        let missing = wanted.iter().filter(|wanted| !scopes.iter().any(|scope| scope == *wanted));
        let missing: Vec<_> = missing.copied().collect();
        // An empty list is what tokens of other kinds have.
        if !scopes.is_empty() && !missing.is_empty() {
            return Check::failure(
                NAME,
                format!("The classic token of {who} lacks the scope {}.", missing.join(", ")),
                "Add it on the token's page (Settings, Developer settings, Tokens).",
            );
        }
    }
    match standing.expires_at {
        Some(end) if end <= now => Check::failure(
            NAME,
            format!("The token of {who} ended on {}.", end.format("%Y-%m-%d")),
            "Make a new one, or use a GitHub App, whose tokens renew themselves.",
        ),
        Some(end) if end - now < SOON => Check::warning(
            NAME,
            format!("The token of {who} ends on {}.", end.format("%Y-%m-%d %H:%M UTC")),
            "Renew it before, or use a GitHub App, whose tokens renew themselves.",
        ),
        Some(end) => {
            Check::ok(NAME, format!("GitHub takes it for {who}, until {}.", end.format("%Y-%m-%d")))
        }
        None => Check::ok(NAME, format!("GitHub takes it for {who}.")),
    }
}

fn app(name: &'static str, installed: &[(String, bool)]) -> Check {
    let named = |suspended: bool| {
        let those = installed.iter().filter(|(_, is)| *is == suspended);
        those.map(|(login, _)| login.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (active, suspended) = (named(false), named(true));
    if active.is_empty() {
        let message = match suspended.is_empty() {
            true => "GitHub takes the app, which is installed nowhere.".to_owned(),
            false => format!("The app is suspended on {suspended}, and installed nowhere else."),
        };
        return Check::failure(
            name,
            message,
            "Install it, or unsuspend it, on the account whose repositories are to be watched.",
        );
    }
    if !suspended.is_empty() {
        return Check::warning(
            name,
            format!(
                "GitHub takes the app, which is installed on {active}; suspended on {suspended}."
            ),
            "Have an owner unsuspend it there, or leave that account out.",
        );
    }
    Check::ok(name, format!("GitHub takes the app, which is installed on {active}."))
}

/// Whether the runners of `scope` may be listed, and registered.
pub(super) fn permission(scope: &Scope, listed: Result<()>, written: Result<()>) -> Check {
    const NAME: &str = "permissions";
    let of = match scope {
        Scope::Repo(repo) => format!("repository {repo}"),
        Scope::Org(org) => format!("organisation {org}"),
    };
    match (listed, written) {
        (Ok(()), Ok(())) => {
            Check::ok(NAME, format!("Runners of {of} may be listed, registered and removed."))
        }
        (Err(error), _) => Check::failed(NAME, &error),
        (Ok(()), Err(error)) if error.code == Code::TokenDenied => Check::failure(
            NAME,
            format!("Runners of {of} may be listed, but neither registered nor removed."),
            error.remedy,
        ),
        (Ok(()), Err(error)) => Check::failed(NAME, &error),
    }
}

/// Whether the hourly budget lasts.
pub(super) fn budget(budget: Option<RateLimit>) -> Check {
    const NAME: &str = "github";
    match budget {
        None => Check::ok(NAME, "The API answers, and names no limit."),
        Some(RateLimit { remaining: 0, limit, reset_at, .. }) => Check::failure(
            NAME,
            format!("All {limit} requests of this hour are used up, until {reset_at}."),
            "Wait, set a longer poll_interval, or use a GitHub App, which has a budget of its own.",
        ),
        Some(RateLimit { remaining, limit, .. }) if remaining < limit / 10 => Check::warning(
            NAME,
            format!("The API answers; only {remaining} of {limit} requests are left this hour."),
            "Set a longer poll_interval, or use a GitHub App, which has a budget of its own.",
        ),
        Some(RateLimit { remaining, limit, .. }) => {
            Check::ok(NAME, format!("The API answers; {remaining} of {limit} requests are left."))
        }
    }
}

/// How far this host's clock is from GitHub's.
pub(super) fn clock(theirs: Option<DateTime<Utc>>, ours: DateTime<Utc>) -> Check {
    const NAME: &str = "clock";
    let Some(theirs) = theirs else {
        return Check::skipped(NAME, "GitHub's answer had no date.");
    };
    let off = ours - theirs;
    let way = if off > TimeDelta::zero() { "ahead of" } else { "behind" };
    let message = format!("This host's clock is {} s {way} GitHub's.", off.num_seconds().abs());
    let remedy = "Set it: `timedatectl set-ntp true`.";
    if off.abs() > SKEW {
        Check::failure(NAME, message, remedy)
    } else if off.abs() > DRIFT {
        Check::warning(NAME, message, remedy)
    } else {
        Check::ok(NAME, "This host's clock agrees with GitHub's.")
    }
}

/// Whether the engine is one that we can use, and has what the runners may take.
pub(super) fn docker(survey: &Survey, config: &RunnerConfig) -> Check {
    const NAME: &str = "docker";
    let Survey { version, api, storage, cgroup, cpus, memory, .. } = survey;
    let number = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    if number(api).is_some_and(|api| api < API) {
        return Check::failure(
            NAME,
            format!("Docker {version} speaks API {api}; 1.41 is the oldest that will do."),
            "Update the engine to 20.10 or later.",
        );
    }
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64);
    let has = format!(
        "Docker {version} (API {api}, {storage}, cgroup v{cgroup}) has {cpus} processors and {}",
        gib(*memory)
    );
    let mut worth: Vec<String> = survey.warnings.clone();
    if cgroup == "1" {
        worth.push("The host uses control groups v1, where limits are less exact.".to_owned());
    }
    let runners = config.max_runners as u64;
    let wanted = config.memory_limit.min(*memory).saturating_mul(runners);
    if *memory > 0 && wanted > *memory {
        worth.push(format!("{runners} runners may take {} of memory together.", gib(wanted)));
    }
    match worth.is_empty() {
        true => Check::ok(NAME, format!("{has}.")),
        false => Check::warning(
            NAME,
            format!("{has}. {}", worth.join(" ")),
            "Lower max_runners, memory_limit or cpu_limit where that is too much.",
        ),
    }
}

/// Whether runners will have their image, and one that runs here.
pub(super) fn image(standing: ImageStanding, config: &RunnerConfig, engine: Option<&str>) -> Check {
    const NAME: &str = "image";
    let image = &config.runner_image;
    let fits = |theirs: &str| {
        engine.is_none_or(|engine| theirs.is_empty() || processor(engine) == processor(theirs))
    };
    let strange = |theirs: &str| {
        let engine = engine.unwrap_or_default();
        Check::failure(
            NAME,
            format!("The image {image} is for {theirs}, and the engine's host is {engine}."),
            "Choose an image for this processor with runner_image.",
        )
    };
    match standing {
        ImageStanding::Present(theirs) if !fits(&theirs) => strange(&theirs),
        ImageStanding::Present(_) => {
            Check::ok(NAME, format!("The image {image} is on the engine's host."))
        }
        _ if config.pull == PullPolicy::Never => Check::failure(
            NAME,
            format!("The image {image} is not on the engine's host, and pull is never."),
            format!("Get it with `docker pull {image}`, or set pull to missing."),
        ),
        ImageStanding::Pullable(all) if !all.is_empty() && !all.iter().any(|one| fits(one)) => {
            strange(&all.join(", "))
        }
        ImageStanding::Pullable(_) => {
            Check::ok(NAME, format!("The image {image} can be pulled at the first start."))
        }
        ImageStanding::Missing(error) => Check::failed(NAME, &error),
    }
}

/// One name for what `uname` and images call differently.
fn processor(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armhf" => "arm",
        other => other,
    }
}

/// Whether jobs wait that no runner of ours could serve.
pub(super) fn labels(demand: &Demand, ours: &Labels) -> Check {
    const NAME: &str = "labels";
    let waiting = demand.jobs().filter(|job| !is_hosted(&job.labels));
    let (served, unserved): (Vec<_>, Vec<_>) = waiting.partition(|job| job.labels.is_subset(ours));
    let Some(first) = unserved.first() else {
        return Check::ok(
            NAME,
            format!("{} jobs wait, all for our labels ({ours}).", served.len()),
        );
    };
    Check::warning(
        NAME,
        format!(
            "{} waiting jobs want labels that our runners lack, such as {} for {} in {}.",
            unserved.len(),
            first.labels.difference(ours),
            first.name,
            first.repo
        ),
        "Add the labels with `labels`, or change runs-on in the workflow.",
    )
}

/// Whether GitHub's hosts can be reached: why not, for each that cannot.
pub(super) fn network(reached: &[(String, Result<(), String>)]) -> Check {
    const NAME: &str = "network";
    let failed = reached
        .iter()
        .filter_map(|(host, reached)| reached.as_ref().err().map(|why| format!("{host} ({why})")));
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() {
        let hosts: Vec<_> = reached.iter().map(|(host, _)| host.as_str()).collect();
        return Check::ok(NAME, format!("This host reaches {}.", hosts.join(", ")));
    }
    Check::failure(
        NAME,
        format!("This host does not reach {}.", failed.join(", ")),
        "Check DNS and firewall: runners need these hosts too, and where a proxy is needed, its \
         variables.",
    )
}

/// Whether there is room in the file system of `path`, where `least` must be free for a launch.
pub(super) fn disk(path: &Path, what: &str, free: u64, least: u64) -> Check {
    const NAME: &str = "disk";
    let path = path.display();
    let message =
        format!("{:.1} GiB are free for {what} ({path}).", free as f64 / (1_u64 << 30) as f64);
    if free < least {
        let message =
            format!("{message} Nothing is launched: min_free_disk is {} MiB.", least >> 20);
        Check::failure(NAME, message, "Free some, for example with `docker system prune`.")
    } else if free < TOO_LITTLE {
        Check::failure(NAME, message, "Free some, for example with `docker system prune`.")
    } else if free < LITTLE {
        Check::warning(NAME, message, "Images and jobs need room: free some before it ends.")
    } else {
        Check::ok(NAME, message)
    }
}

/// A directory as this user meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    /// It is there, with this mode; whether it can be written to.
    There { mode: u32, writable: bool },
    /// It is not; whether it could be made.
    Absent { makeable: bool },
    /// Something else has its name.
    Other,
}

/// Whether the state directory is ours alone.
pub(super) fn state_dir(path: &Path, found: Directory) -> Check {
    const NAME: &str = "state_dir";
    let path = path.display();
    let choose = "Give it to this user, or choose another with state_dir.";
    match found {
        Directory::There { writable: false, .. } | Directory::Absent { makeable: false } => {
            Check::failure(NAME, format!("This user cannot write to {path}."), choose)
        }
        Directory::Other => Check::failure(NAME, format!("{path} is no directory."), choose),
        Directory::Absent { makeable: true } => {
            Check::ok(NAME, format!("{path} will be made at the first start."))
        }
        Directory::There { mode, .. } if mode & 0o077 != 0 => Check::warning(
            NAME,
            format!("Others can look into {path}, which has logs and tokens in it."),
            format!("Run `chmod 700 {path}`."),
        ),
        Directory::There { .. } => Check::ok(NAME, format!("{path} is writable and private.")),
    }
}

/// That GitHub could not be asked, for `error`.
pub(super) fn without_github(error: &Error) -> [Check; 5] {
    let skipped = |name| Check::skipped(name, "There is no credential to ask GitHub with.");
    [
        Check::failed("credential", error),
        skipped("github"),
        skipped("clock"),
        skipped("permissions"),
        skipped("labels"),
    ]
}
