use std::time::Duration;

use chrono::TimeZone;

use super::*;
use crate::config::{Bounds, EngineKind, PullPolicy, RegistrationKind, RunnerEnv, ScopeKind};
use crate::error::Code;
use crate::model::{Labels, Origin};
use crate::ports::NewRunner;

pub(crate) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()
}

pub(crate) fn config() -> RunnerConfig {
    RunnerConfig {
        owner: None,
        poll_interval: Duration::from_secs(120),
        since_days: 1,
        max_runners: 10,
        max_per_repo: None,
        filter_by_arch: true,
        enable_p2p: false,
        repos: Vec::new(),
        exclude_repos: Vec::new(),
        labels: Labels::new(["self-hosted", "linux", "x64"]),
        scope: ScopeKind::Repo,
        runner_group: None,
        scale_set: None,
        registration: RegistrationKind::Token,
        min_idle: 0,
        idle_timeout: Duration::from_secs(300),
        job_timeout: None,
        runner_image: "myoung34/github-runner:latest".to_owned(),
        profile: Profile::Community,
        pull: PullPolicy::Missing,
        runner_work_dir: "/tmp/_work".into(),
        runner_user: None,
        docker_access: DockerAccess::Socket,
        read_only: false,
        network_mode: "host".to_owned(),
        memory_limit: 4 << 30,
        cpu_limit: 4.0,
        pids_limit: 4096,
        min_free_disk: 0,
        prune_images: false,
        api_budget: 50,
        instance: "default".to_owned(),
        engine: EngineKind::Docker,
        token_file: None,
        app_id: None,
        app_key_file: None,
        state_dir: "/tmp/state".into(),
        api_url: "https://api.github.com".to_owned(),
        server_url: "https://github.com".to_owned(),
        bounds: Bounds::default(),
        runner_env: RunnerEnv::default(),
    }
}

pub(crate) fn launch() -> Launch {
    let repo: crate::model::Repo = "octo-org/website".parse().unwrap();
    Launch {
        runner: NewRunner {
            name: "runner-1".to_owned(),
            scope: Scope::Repo(repo.clone()),
            repo: Some(repo),
            labels: Labels::new(["self-hosted", "linux", "x64"]),
            origin: Origin::Queue,
            beside_sets: false,
        },
        registration: Registration::Token("t0ken".into()),
    }
}

fn jit() -> Launch {
    Launch { registration: Registration::Jit { runner_id: 7, config: "j1t".into() }, ..launch() }
}

fn site() -> Site {
    Site {
        cpus: 8,
        memory: 16 << 30,
        socket: "/run/user/7/docker.sock".into(),
        data: Some("/var/lib/docker".into()),
        shares_files: true,
        maps_ids: false,
    }
}

fn made(config: &RunnerConfig, launch: &Launch) -> ContainerCreateBody {
    container(config, launch, &site(), Some(500), Path::new("/tmp/_work/runner-1"), now())
}

fn host(config: &RunnerConfig) -> HostConfig {
    made(config, &launch()).host_config.unwrap()
}

fn variable(body: &ContainerCreateBody, name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    body.env.as_ref()?.iter().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

fn targets(host: &HostConfig) -> Vec<&str> {
    host.mounts.iter().flatten().filter_map(|mount| mount.target.as_deref()).collect()
}

#[test]
fn every_runner_is_confined_and_bounded() {
    let host = host(&config());
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    assert_eq!(host.cap_add.unwrap(), ["NET_ADMIN", "NET_RAW"]);
    assert_eq!((host.pids_limit, host.memory), (Some(4096), Some(4 << 30)));
    assert_eq!(host.nano_cpus, Some(4_000_000_000));
    assert_eq!((host.privileged, host.restart_policy, host.auto_remove), (None, None, None));
}

#[test]
fn the_default_image_runs_as_its_runner_user_with_the_sockets_group() {
    let body = made(&config(), &launch());
    assert_eq!(body.user.as_deref(), Some("1001:121"));
    assert_eq!((body.entrypoint, body.cmd), (None, None));
    let host = body.host_config.unwrap();
    assert_eq!(host.group_add.as_deref(), Some(&["500".to_owned()][..]));
    let socket = host.mounts.unwrap().pop().unwrap();
    assert_eq!(socket.source.as_deref(), Some("/run/user/7/docker.sock"));
    assert_eq!(socket.target.as_deref(), Some("/var/run/docker.sock"));
}

#[test]
fn without_docker_access_there_is_neither_socket_nor_group() {
    let host = host(&RunnerConfig { docker_access: DockerAccess::None, ..config() });
    assert_eq!(host.group_add, None);
    assert_eq!(targets(&host), ["/tmp/_work/runner-1"]);
}

#[test]
fn the_work_directory_has_the_same_path_inside_and_outside() {
    let work = host(&config()).mounts.unwrap().swap_remove(0);
    assert_eq!(work.typ, Some(MountType::BIND));
    assert_eq!(work.source, work.target);
    assert_eq!(work.target.as_deref(), Some("/tmp/_work/runner-1"));
}

#[test]
fn on_an_engine_elsewhere_the_work_directory_is_a_volume() {
    let site = Site { shares_files: false, ..site() };
    let work = mounts(&config(), "runner-1", &site, Path::new("/tmp/_work/runner-1")).remove(0);
    assert_eq!(
        (work.typ, work.source.as_deref()),
        (Some(MountType::VOLUME), Some("runner-1-work"))
    );
    assert!(warnings(&config(), &site).iter().any(|line| line.contains("volumes")));
}

#[test]
fn a_registration_token_goes_with_all_that_the_images_entry_point_needs() {
    let body = made(&config(), &launch());
    let expected = [
        ("RUNNER_TOKEN", "t0ken"),
        ("REPO_URL", "https://github.com/octo-org/website"),
        ("RUNNER_NAME", "runner-1"),
        ("LABELS", "linux,self-hosted,x64"),
        ("NO_DEFAULT_LABELS", "true"),
        ("RUNNER_WORKDIR", "/tmp/_work/runner-1"),
        ("EPHEMERAL", "true"),
        ("DISABLE_AUTO_UPDATE", "true"),
        ("DISABLE_AUTOMATIC_DEREGISTRATION", "true"),
        ("RUN_AS_ROOT", "false"),
        ("UNSET_CONFIG_VARS", "true"),
    ];
    for (name, value) in expected {
        assert_eq!(variable(&body, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(body.env.unwrap().len(), expected.len());
}

#[test]
fn an_organisations_runner_names_organisation_group_and_host() {
    let config = RunnerConfig {
        runner_group: Some("builders".to_owned()),
        server_url: "https://ghe.example:8443".to_owned(),
        ..config()
    };
    let mut launch = launch();
    launch.runner.scope = Scope::org("octo-org");
    let body = made(&config, &launch);
    for (name, value) in [
        ("RUNNER_SCOPE", Some("org")),
        ("ORG_NAME", Some("octo-org")),
        ("RUNNER_GROUP", Some("builders")),
        ("GITHUB_HOST", Some("ghe.example:8443")),
        ("REPO_URL", None),
    ] {
        assert_eq!(variable(&body, name).as_deref(), value, "{name}");
    }
}

#[test]
fn a_jit_configuration_is_all_that_its_runner_gets() {
    for (profile, entrypoint, command) in [
        (
            Profile::Community,
            Some("/usr/bin/dumb-init"),
            Some("/actions-runner/bin/Runner.Listener run"),
        ),
        (Profile::Official, None, Some("/home/runner/run.sh")),
        (Profile::Unknown, None, None),
    ] {
        let body = made(&RunnerConfig { profile, ..config() }, &jit());
        assert_eq!(body.env.unwrap(), ["ACTIONS_RUNNER_INPUT_JITCONFIG=j1t"]);
        assert_eq!(body.entrypoint.map(|words| words.join(" ")).as_deref(), entrypoint);
        assert_eq!(body.cmd.map(|words| words.join(" ")).as_deref(), command);
    }
}

#[test]
fn the_official_image_is_not_started_with_a_token_that_it_cannot_use() {
    let config = RunnerConfig { profile: Profile::Official, ..config() };
    check(&config, &jit()).unwrap();
    let error = check(&config, &launch()).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.contains("`registration`"), "{error}");
}

#[test]
fn secrets_are_in_the_environment_and_nowhere_else() {
    for (launch, secret) in [(launch(), "t0ken"), (jit(), "j1t")] {
        let mut body = made(&config(), &launch);
        assert!(body.env.take().unwrap().iter().any(|line| line.contains(secret)));
        assert!(!format!("{body:?}").contains(secret));
        assert!(!format!("{launch:?}").contains(secret));
    }
}

#[test]
fn passed_on_variables_cannot_redirect_a_runner() {
    let variables = [("CACHE_HOST", "cache:80"), ("REPO_URL", "https://elsewhere")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let body =
        made(&RunnerConfig { runner_env: RunnerEnv(variables.into()), ..config() }, &launch());
    assert_eq!(variable(&body, "CACHE_HOST").as_deref(), Some("cache:80"));
    let url = variable(&body, "REPO_URL");
    assert_eq!(url.as_deref(), Some("https://github.com/octo-org/website"));
}

#[test]
fn limits_beyond_the_host_are_clamped_and_said_so() {
    let small = Site { cpus: 2, memory: 1 << 30, ..site() };
    assert_eq!(Limits::of(&config(), &small), Limits { cpus: 2.0, memory: 1 << 30 });
    let sentences = warnings(&config(), &small).join("\n");
    assert!(sentences.contains("cpu_limit 4 is more than the host's 2 processors"), "{sentences}");
    assert!(sentences.contains("memory_limit 4.0 GiB is more than the host's 1.0 GiB"));
}

#[test]
fn limits_within_the_host_or_of_an_unknown_host_stay_as_they_are() {
    let unknown = Site { cpus: 0, memory: 0, ..site() };
    for site in [site(), unknown] {
        assert_eq!(Limits::of(&config(), &site), Limits { cpus: 4.0, memory: 4 << 30 });
        assert!(!warnings(&config(), &site).join("\n").contains("limit"));
    }
}

#[test]
fn the_cost_of_the_socket_and_of_a_read_only_root_is_said_where_it_is_chosen() {
    let dear = RunnerConfig { read_only: true, ..config() };
    let sentences = warnings(&dear, &site()).join("\n");
    assert!(sentences.contains("root on the host") && sentences.contains("380 MB"), "{sentences}");
    let cheap = RunnerConfig { docker_access: DockerAccess::None, ..config() };
    assert_eq!(warnings(&cheap, &site()), Vec::<String>::new());
}

#[test]
fn under_a_read_only_root_the_runners_home_tmp_and_run_are_writable() {
    let host = host(&RunnerConfig { read_only: true, ..config() });
    assert_eq!(host.readonly_rootfs, Some(true));
    assert!(targets(&host).contains(&"/actions-runner"));
    let mut writable: Vec<_> = host.tmpfs.unwrap().into_keys().collect();
    writable.sort();
    assert_eq!(writable, ["/run", "/tmp"]);
}

#[test]
fn a_runner_without_a_network_is_refused() {
    let config = RunnerConfig { network_mode: "none".to_owned(), ..config() };
    let error = check(&config, &launch()).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.contains("`network_mode`"), "{error}");
}
