//! What others watch the service by: the supervisor's socket, health, the log, metrics and the
//! dashboard that draws them, and what the service is installed with.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use http::{Method, StatusCode};
use runner_kit::simulator::{JobSpec, JobStatus, RepoSpec, RunSpec, TOKEN};
use serde_json::Value;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use crate::support::http::{Server, Site, terminate};
use crate::support::program::{EXECUTABLE, Home};
use crate::support::world::World;

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn file(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A supervisor's socket, and what was said there.
struct Supervisor {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Supervisor {
    fn in_the(home: &Home) -> Self {
        let path = home.path().join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), path }
    }

    /// What is said next: each line a variable and its value.
    async fn next(&self) -> BTreeMap<String, String> {
        let mut bytes = [0; 4096];
        let heard = tokio::time::timeout(PATIENCE, self.socket.recv(&mut bytes)).await;
        let length = heard.expect("the program says something").unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        let pair = |line: &str| line.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
        text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("{text}"))).collect()
    }

    /// The first thing said from now on that has `name`, and how often it was said meanwhile that
    /// the loop lives.
    async fn until(&self, name: &str) -> (BTreeMap<String, String>, usize) {
        let mut beats = 0;
        loop {
            let said = self.next().await;
            if said.contains_key(name) {
                return (said, beats);
            }
            beats += usize::from(said.get("WATCHDOG").is_some_and(|value| value == "1"));
        }
    }
}

/// Starts the service as systemd does, with its log in a file.
fn start(home: &Home, supervisor: &Supervisor, line: &str) -> Child {
    let log = std::fs::File::create(home.path().join("service.log")).unwrap();
    let mut command = home.command(line);
    command.env("NOTIFY_SOCKET", &supervisor.path).env("WATCHDOG_USEC", "200000");
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[tokio::test]
async fn a_supervisor_is_told_when_it_is_ready_what_it_does_that_it_lives_and_that_it_stops() {
    let world = World::new("watch-notify", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let supervisor = Supervisor::in_the(&world.home);
    let mut service = start(&world.home, &supervisor, &world.start_line(2));
    let (ready, _) = supervisor.until("READY").await;
    assert_eq!(ready["READY"], "1");
    assert_eq!(ready["STATUS"], "0 of 2 runners; 0 jobs wait.", "its first look is over");
    for _ in 0..3 {
        assert_eq!(supervisor.until("WATCHDOG").await.0["WATCHDOG"], "1");
    }
    let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(3));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
    let (mut said, mut beats) = supervisor.until("STATUS").await;
    while said["STATUS"] != "1 of 2 runners; 0 jobs wait." {
        let (next, more) = supervisor.until("STATUS").await;
        (said, beats) = (next, beats + more);
    }
    assert!(beats > 0, "it lives while it works");
    terminate(&service);
    let (stopping, _) = supervisor.until("STOPPING").await;
    assert_eq!(stopping["STOPPING"], "1");
    assert!(service.wait().await.unwrap().success(), "{}", world.home.service_log());
    world.until("it is done", |state| state.count(JobStatus::Completed) == 1).await;
    let mut next = world.home.serve(&world.start_line(1)).await;
    world.until_nothing_is_left().await;
    next.kill().await.unwrap();
}

#[tokio::test]
async fn with_keep_trying_it_is_ready_when_it_listens_and_says_what_is_wrong() {
    let nowhere = [
        ("GITHUB_TOKEN", TOKEN.to_owned()),
        ("GITHUB_API_URL", "http://127.0.0.1:9".to_owned()),
        ("GITHUB_SERVER_URL", "http://127.0.0.1:9".to_owned()),
        ("DOCKER_HOST", "unix:///nonexistent/docker.sock".to_owned()),
        ("RUNNER_KIT_INSTANCE", "watch-trying".to_owned()),
    ];
    let home = Home::new(nowhere);
    let supervisor = Supervisor::in_the(&home);
    let mut service = start(&home, &supervisor, "runner start --keep-trying --http 127.0.0.1:0");
    let (mut said, _) = supervisor.until("READY").await;
    while !said["STATUS"].starts_with("Docker is not accessible") {
        (said, _) = supervisor.until("STATUS").await;
    }
    assert_eq!(supervisor.until("WATCHDOG").await.0["WATCHDOG"], "1", "its loop goes round");
    let site = Site::said(&home.service_log());
    let health = site.ask(Method::GET, "/healthz").send().await;
    assert_eq!(health.status, StatusCode::OK, "an outage is no reason to start it anew");
    let reply = site.ask(Method::GET, "/readyz").send().await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let told = reply.json();
    assert_eq!(
        (&told["status"], &told["reasons"][0]["code"]),
        (&"not_ready".into(), &"first_look".into())
    );
    assert!(!told.to_string().contains("nonexistent"), "where things are is nobody's business");
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_program_reads_each_decision_in_the_log_and_its_numbers_in_the_metrics() {
    let json = [("RUNNER_KIT_LOG_FORMAT", "json")];
    let world = World::new("watch-log", &json).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let line = format!("{} --http 127.0.0.1:0", world.start_line(1));
    let mut service = world.home.serve(&line).await;
    let job = |label: &str| JobSpec::new("build").labels(["self-hosted", label]);
    let linux = job("linux").takes(Duration::from_millis(1500));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(linux)).unwrap();
    let strange = job("gpu\u{1b}[2J\nrunner").takes(Duration::from_secs(1));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(strange)).unwrap();
    world.until("one is done", |state| state.count(JobStatus::Completed) == 1).await;
    world.until_nothing_is_left().await;

    let site = listening(&world.home);
    let token = world.home.path().join("state/ipfs-accelerate/http-token-read");
    let token = std::fs::read_to_string(token).unwrap();
    let text = loop {
        // The loop accounts for a removal after it has come about.
        let reply = site.ask(Method::GET, "/metrics").bearer(&token).send().await;
        let text = reply.body;
        if sample(&text, "gha_completed_jobs_total") == 1.0 {
            break text;
        }
    };
    let log = lines(&world.home);
    service.kill().await.unwrap();
    the_log_tells_each_decision(&log);
    the_metrics_tell_the_same(&text);
    the_dashboard_asks_for_what_there_is(&text);
}

/// The lines of the log that are whole.
fn lines(home: &Home) -> Vec<Value> {
    let log = home.service_log();
    assert!(!log.contains('\u{1b}') && !log.contains(TOKEN), "{log}");
    assert!(!log.contains("#code="), "a link signs somebody in: {log}");
    log.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn listening(home: &Home) -> Site {
    let log = lines(home);
    let address = log.iter().find_map(|line| line["more"]["address"].as_str()).unwrap();
    Site::said(&format!("Serving MCP at http://{address}/mcp\n"))
}

fn the_log_tells_each_decision(log: &[Value]) {
    let expected = [
        "duration_ms",
        "event",
        "job",
        "level",
        "message",
        "more",
        "reason",
        "runner",
        "subject",
        "target",
        "time",
    ];
    for line in log {
        let names: Vec<_> = line.as_object().unwrap().keys().collect();
        assert_eq!(names, expected, "{line}");
        assert!(line["time"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().is_ok());
    }
    let of =
        |event: &str| log.iter().filter(move |line| line["event"] == event).collect::<Vec<_>>();
    let [launch, launched, remove, removed, hold] =
        ["launch", "launched", "remove", "removed", "hold"].map(|event| match of(event)[..] {
            [line] => line,
            ref all => panic!("{event}: {all:?} in {log:#?}"),
        });
    assert_eq!(of("start").len(), 1);
    for line in [launch, launched, remove, removed, hold] {
        assert_eq!((&line["subject"], &line["level"]), (&"octo-org/a".into(), &"info".into()));
    }
    for line in [launched, remove, removed] {
        assert_eq!(line["runner"], launch["runner"]);
    }
    assert!(launch["job"].is_u64() && hold["job"].is_u64() && launch["job"] != hold["job"]);
    assert_eq!(
        (&launch["reason"], &removed["reason"]),
        (&"queue".into(), &"it has finished".into())
    );
    assert!(launched["duration_ms"].as_u64() > Some(0) && removed["duration_ms"].is_u64());
    // On one line, and without what would clear a terminal.
    let reason = hold["reason"].as_str().unwrap();
    assert!(reason.starts_with("no runner here has the labels gpu"), "{reason}");
    assert!(!reason.chars().any(char::is_control), "{reason:?}");
}

/// The sum of all series of `name`.
fn sample(text: &str, name: &str) -> f64 {
    let series = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_it = rest.starts_with('{') || rest.starts_with(' ');
        is_it.then(|| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    });
    series.sum()
}

fn the_metrics_tell_the_same(text: &str) {
    for (name, value) in [
        ("gha_assigned_jobs", 0.0),
        ("gha_running_jobs", 0.0),
        ("gha_registered_runners", 0.0),
        ("gha_busy_runners", 0.0),
        ("gha_idle_runners", 0.0),
        ("gha_min_runners", 0.0),
        ("gha_max_runners", 1.0),
        ("gha_desired_runners", 0.0),
        ("gha_started_jobs_total", 1.0),
        ("gha_completed_jobs_total", 1.0),
        ("gha_job_startup_duration_seconds_count", 1.0),
        ("gha_job_execution_duration_seconds_count", 1.0),
        ("runner_kit_failures_total", 0.0),
    ] {
        assert!(text.contains(&format!("\n{name}{{")), "{name}: {text}");
        assert_eq!(sample(text, name), value, "{name}: {text}");
    }
    for step in ["detect", "decide", "register", "create", "start", "online", "busy", "clean"] {
        let name = format!("runner_kit_phase_seconds_count{{phase=\"{step}\"}}");
        let count = sample(&text.replace(&name, step), step);
        assert!(count >= 1.0, "{step}: {text}");
    }
    for part in ["look", "decide", "pass"] {
        let name = format!("runner_kit_loop_seconds_count{{part=\"{part}\"}}");
        assert!(sample(&text.replace(&name, part), part) >= 1.0, "{part}: {text}");
    }
    let began =
        r#"gha_started_jobs_total{name="watch-log",organization="octo-org",repository="a"} 1"#;
    assert!(text.contains(began), "{text}");
    // The runner has said so itself: GitHub was only polled.
    let ended = r#"organization="octo-org",repository="a",job_result="succeeded"} 1"#;
    let ended = format!("gha_completed_jobs_total{{name=\"watch-log\",{ended}");
    assert!(text.contains(&ended), "{text}");
    for secret in ["build", "ipfs-watch-log-"] {
        assert!(!text.contains(secret), "whoever names a job makes a series: {text}");
    }
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}

fn the_dashboard_asks_for_what_there_is(text: &str) {
    let dashboard: Value =
        serde_json::from_str(&file("packaging/grafana/ipfs-accelerate.json")).unwrap();
    let exported: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut asked = BTreeSet::new();
    for target in targets {
        let query = target["expr"].as_str().unwrap();
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = |word: &&str| word.starts_with("runner_kit_") || word.starts_with("gha_");
        let names: Vec<_> = words.filter(ours).collect();
        assert!(!names.is_empty(), "{query}");
        asked.extend(names);
    }
    let unknown: Vec<_> = asked.difference(&exported).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not exported: {exported:?}");
    assert!(asked.len() > 15, "{asked:?}");
}

#[tokio::test]
async fn the_units_command_line_and_variables_are_the_programs_and_systemd_takes_it() {
    let unit = file("packaging/systemd/ipfs-accelerate.service");
    let all = |key: &str| {
        let lines = unit.lines().filter_map(|line| line.split_once('='));
        lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect::<Vec<_>>()
    };
    let directory = tempfile::tempdir().unwrap();
    let credential = directory.path().join("github-token");
    std::fs::write(&credential, TOKEN).unwrap();
    std::fs::set_permissions(&credential, std::os::unix::fs::PermissionsExt::from_mode(0o400))
        .unwrap();
    let [command] = all("ExecStart")[..] else { panic!("one command") };
    let line = command.strip_prefix("/usr/local/bin/ipfs-accelerate ").unwrap();
    let line = line.replace("%d", directory.path().to_str().unwrap()) + " --print-config";
    let home = Home::new([]);
    let mut program = home.command(&line);
    for pair in all("Environment").iter().flat_map(|line| line.split_whitespace()) {
        let (name, value) = pair.split_once('=').unwrap();
        program.env(name, value);
    }
    let output = program.output().await.unwrap();
    let rows: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let option = |name: &str| {
        rows.as_array().unwrap().iter().find(|row| row["option"] == name).unwrap()["value"].clone()
    };
    // What it writes is where the unit lets it.
    let [state] = all("StateDirectory")[..] else { panic!("one directory") };
    let state = format!("/var/lib/{state}");
    assert_eq!(option("state_dir"), state.as_str());
    assert!(option("runner_work_dir").as_str().unwrap().starts_with(&state));
    assert!(all("RestartPreventExitStatus").contains(&"2"));

    let file = directory.path().join("ipfs-accelerate.service");
    std::fs::write(&file, unit.replace("/usr/local/bin/ipfs-accelerate", EXECUTABLE)).unwrap();
    let verify = |file: &std::path::Path| {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["verify", "--man=no"]).arg(file).output()
    };
    let found = verify(&file).await.expect("the Debian package systemd has systemd-analyze");
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success() && !said.contains("ipfs-accelerate.service"), "{said}");
    // It would say so.
    std::fs::write(&file, unit.replace("ProtectHome", "ProtectHouse")).unwrap();
    let found = verify(&file).await.unwrap();
    assert!(String::from_utf8_lossy(&found.stderr).contains("ProtectHouse"));
}

#[tokio::test]
async fn the_image_of_the_service_starts_it_and_asks_for_its_health_where_it_answers() {
    let dockerfile = file("Dockerfile");
    let (_, service) = dockerfile.split_once("FROM program AS service").unwrap();
    let command: Vec<String> = service
        .lines()
        .find_map(|line| line.strip_prefix("CMD "))
        .map(|line| serde_json::from_str(line).unwrap())
        .unwrap();
    let home = Home::new([]);
    let shown = home.run(&format!("{} --print-config", command.join(" "))).await;
    let http = shown.data();
    let http = http.as_array().unwrap().iter().find(|row| row["option"] == "http").unwrap();
    assert_eq!(http["value"], "127.0.0.1:8080");
    assert!(service.contains("USER 10001:10001") && dockerfile.contains("STOPSIGNAL SIGTERM"));

    let compose = file("examples/compose.yaml");
    let command = compose.lines().find_map(|line| line.trim().strip_prefix("command: ")).unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    let done = home.run(&format!("{} --print-config", words.join(" "))).await;
    assert_eq!(done.code, 0, "{done:?}");

    // The check itself, tried on a server: it succeeds where one answers, and only there.
    let check = service.lines().find_map(|line| line.trim().strip_prefix("CMD [\"bash\"")).unwrap();
    let words: Vec<String> = serde_json::from_str(&format!("[\"bash\"{check}")).unwrap();
    let home = Home::new([("RUNNER_KIT_INSTANCE", "watch-image".to_owned())]);
    let server = Server::start(&home, "").await;
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let tried = async |port: &str| {
        let script = words[2].replace("8080", port);
        Command::new("bash").args(["-c", &script]).output().await.unwrap().status.success()
    };
    assert!(tried(port).await);
    assert!(!tried("9").await);
    assert!(server.end().await.success());
}
