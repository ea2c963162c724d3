//! `demo`: the whole system at work without a token. A simulated GitHub in this process, the real
//! Docker engine where one answers, and one screen to watch. Nothing is left behind.

pub mod image;
mod screen;
mod script;
mod stage;
mod view;

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use tokio_util::sync::CancellationToken;

pub use self::stage::Choice;
use self::stage::Stage;
use self::view::View;
use super::host::Host;
use super::http::{self, Access, Listening};
use super::mcp::McpServer;
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::model::Phase;
use crate::simulator::{Options, Simulator};

/// The screen is drawn at least this often, so that times go on.
const FRAME: Duration = Duration::from_millis(250);

// `concat!`: a plain doc comment would become the description of the command.
#[doc = concat!("What can be chosen for the demo.")]
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// End after this many seconds (default: when q or Ctrl-C is pressed).
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,

    /// Where runners run.
    #[arg(long, value_enum, default_value = "auto")]
    pub engine: Choice,

    /// Most runners at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(i64).range(1..=50))]
    pub max_runners: i64,

    /// Print what happens line by line instead of drawing a screen.
    #[arg(long)]
    pub plain: bool,
}

/// Shows the system at work until `stop` is cancelled or the time is over.
pub async fn run(args: DemoArgs, env: &Environment, stop: CancellationToken) -> Result<()> {
    let github = Simulator::start(Options::default()).await.map_err(|error| {
        Error::internal(
            format!("The simulated GitHub could not be started: {error}."),
            "Check the network of this host.",
        )
    })?;
    script::populate(&github);
    let stage = Stage::set(&github, args.engine, args.max_runners, env).await?;
    let shown = show(&args, &github, &stage, &stop).await;
    stop.cancel();
    // Nobody may be looking any more.
    let _ = writeln!(std::io::stderr(), "Ending the runners and removing what was made…");
    let engine = stage.engine.clone();
    let left = stage.clear(&github).await;
    let view = shown?;
    say(&summary(&view, &engine, &left), &stop);
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::internal(
        format!("Something was left behind: {}.", left.join("; ")),
        "Remove it by hand.",
    ))
}

/// Be the runner of a simulated GitHub, as the environment says; the exit code.
pub async fn simulated_runner() -> i32 {
    crate::simulator::runner::run(|name| std::env::var(name).ok()).await
}

async fn show(
    args: &DemoArgs,
    github: &Simulator,
    stage: &Stage,
    stop: &CancellationToken,
) -> Result<View> {
    let host = Arc::new(Host::service(stage.kit.clone(), &stage.loaded));
    let access = Access::of(&stage.loaded)?;
    let routes = http::routes(host.clone(), &access);
    let listening = Listening::bind(([127, 0, 0, 1], 0).into(), access).await?;
    let mut view = View {
        engine: stage.engine.clone(),
        github: github.url(),
        dashboard: listening.link(http::Role::Operate)?.link,
        max: stage.kit.config().max_runners,
        ..View::default()
    };
    let servers = http::by_role(McpServer::new(host, false));
    let serving = listening.serve(servers, routes, stop.clone());
    tokio::spawn(serving);
    stage.kit.start_autoscaler().await?;

    let screen = std::io::stdout().is_terminal() && !args.plain;
    let mut terminal = if screen { Some(Screen::open(stop)?) } else { None };
    let mut printed = None;
    if terminal.is_none() {
        println!(
            "Engine: {}\nGitHub: simulated at {}\nDashboard: {}",
            view.engine, view.github, view.dashboard
        );
    }
    let begin = Instant::now();
    let end = args.seconds.map(Duration::from_secs);
    let mut arrivals = tokio::time::interval(script::PAUSE);
    let mut frames = tokio::time::interval(FRAME);
    let mut state = stage.kit.subscribe();
    let mut step = 0;
    while !stop.is_cancelled() && end.is_none_or(|end| begin.elapsed() < end) {
        tokio::select! {
            _ = arrivals.tick() => {
                script::arrive(github, step).map_err(|error| Error::internal(format!("{error:?}"), ""))?;
                step += 1;
            }
            _ = frames.tick() => {}
            changed = state.changed() => if changed.is_err() { break },
            () = stop.cancelled() => {}
        }
        let snapshot = state.borrow_and_update().clone();
        let most = snapshot.runners.iter().filter(|runner| runner.phase != Phase::Exited).count();
        view.most = view.most.max(most);
        view.elapsed = begin.elapsed();
        view.refresh(&snapshot, github, Utc::now());
        match &mut terminal {
            Some(terminal) => terminal.draw(&view)?,
            None => {
                let new = view.actions.iter().rev().filter(|action| Some(action.at) > printed);
                let line = |action: &view::Action| {
                    format!("{} {}\n", action.at.format("%H:%M:%S"), action.text)
                };
                say(&new.map(line).collect::<String>(), stop);
                printed = view.actions.first().map(|action| action.at).or(printed);
            }
        }
    }
    Ok(view)
}

/// Prints `text`; who no longer listens has seen enough.
fn say(text: &str, stop: &CancellationToken) {
    let mut out = std::io::stdout();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        stop.cancel();
    }
}

/// What came of it.
fn summary(view: &View, engine: &str, left: &[String]) -> String {
    let tally = &view.tally;
    let wait = |part| tally.quantile(part).map_or("–".to_owned(), screen::short);
    let mut text = format!(
        "\n{} in {}: {} served, {} failed, {} cut short by the end, {} still waiting.\n",
        engine,
        screen::short(view.elapsed),
        tally.served,
        tally.failed,
        tally.running,
        tally.waiting,
    );
    text += &format!(
        "Wait from queued to started: median {}, 95 % within {}.\n",
        wait(0.5),
        wait(0.95)
    );
    text += &format!("Most runners at once: {} of {}.\n", view.most, view.max);
    text +=
        &format!("GitHub API: {} requests, {} of them not charged.\n", view.requests, view.free);
    if tally.stuck > 0 {
        text += &format!(
            "{} waits for a label that no runner here has (gpu), as the queue said.\n",
            tally.stuck
        );
    }
    if left.is_empty() {
        text += "Nothing was left behind.\n";
    }
    text
}

/// The terminal, given back however the demo ends.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn open(stop: &CancellationToken) -> Result<Self> {
        let terminal = ratatui::try_init().map_err(|error| {
            Error::internal(format!("The terminal cannot be drawn to: {error}."), "Use --plain.")
        })?;
        let stop = stop.clone();
        std::thread::spawn(move || watch_keys(&stop));
        Ok(Self { terminal })
    }

    fn draw(&mut self, view: &View) -> Result<()> {
        let drawn = self.terminal.draw(|frame| screen::draw(frame, view));
        drawn.map(drop).map_err(|error| {
            Error::internal(format!("The terminal is gone: {error}."), "Use --plain.")
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// In raw mode Ctrl-C is a key and no signal.
fn watch_keys(stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match event::poll(FRAME)
            .and_then(|ready| if ready { event::read().map(Some) } else { Ok(None) })
        {
            Ok(Some(Event::Key(key))) => {
                let interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    stop.cancel();
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
