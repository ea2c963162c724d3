//! The tree of commands, derived from the table of operations.

use clap::{Arg, ArgAction, Args, Command, value_parser};

use crate::config::{OperatorOptions, StartInput};
use crate::interfaces::bundle;
use crate::interfaces::demo::DemoArgs;
use crate::model::Repo;
use crate::operations::{Entry, OPERATIONS, START};

const ABOUT: &str = "Starts one-job GitHub Actions runner containers for queued jobs.";

const EXAMPLES: &str = "\
Examples:
  ipfs-accelerate demo                                      see it at work, without GitHub
  ipfs-accelerate runner start --owner myorg --background   start watching
  ipfs-accelerate runner status --format text               how it is going
  ipfs-accelerate mcp start                                 serve an assistant on stdio
  ipfs-accelerate doctor --format text                      why something does not work";

pub(super) fn command() -> Command {
    Command::new("ipfs-accelerate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(everywhere())
        .subcommand(runner())
        .subcommand(mcp())
        .subcommand(doctor())
        .subcommand(DemoArgs::augment_args(Command::new("demo")).about(
            "Show the whole system at work: a simulated GitHub, and real runners where Docker answers",
        ))
        .subcommand(
            Command::new("bundle")
                .about("Pack this program as an MCP bundle (.mcpb) that assistants install")
                .arg(
                    Arg::new("output")
                        .long("output")
                        .value_name("FILE")
                        .default_value(bundle::FILE)
                        .help("Where to write it"),
                ),
        )
        .subcommand(
            Command::new("simulated-runner")
                .hide(true)
                .about("Be the runner of a simulated GitHub, as the environment says"),
        )
        .subcommand(
            Command::new("generate")
                .hide(true)
                .about("Write the generated files: schemas and tables")
                .arg(Arg::new("directory").default_value(".")),
        )
}

/// Options that are taken anywhere on the line.
fn everywhere() -> [Arg; 3] {
    [
        Arg::new("config").long("config").value_name("FILE").global(true).help(
            "Configuration file (default: ipfs-accelerate/config.toml in the user's configuration)",
        ),
        Arg::new("format")
            .long("format")
            .value_parser(["json", "text"])
            .default_value("json")
            .global(true)
            .help("What to print: JSON for programs, text for people"),
        Arg::new("verbose")
            .long("verbose")
            .short('v')
            .action(ArgAction::SetTrue)
            .global(true)
            .help("Log more, on stderr"),
    ]
}

fn runner() -> Command {
    let runner = Command::new("runner")
        .about("Operate the autoscaler")
        .subcommand_required(true)
        .arg_required_else_help(true);
    OPERATIONS.iter().map(operation).fold(runner, Command::subcommand).subcommand(history())
}

/// No operation: what was called is read from the state directory, whether a service runs or not.
fn history() -> Command {
    let command = Command::new("history")
        .about("Show who has changed something here, and what came of it")
        .long_about(
            "Shows the calls that may have changed something, the newest first: when, who called \
             and by which way, the tool, its arguments and the outcome. It is read from audit.jsonl \
             in the state directory; no service is needed.",
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("COUNT")
                .value_parser(value_parser!(u16).range(1..=1_000))
                .default_value("100")
                .help("At most this many entries, 1 to 1000"),
        )
        .arg(
            Arg::new("cursor")
                .long("cursor")
                .value_name("CURSOR")
                .help("The cursor that the page before named"),
        );
    configured(command)
}

fn operation(entry: &Entry) -> Command {
    let command = Command::new(entry.command).about(entry.title).long_about(entry.about);
    if entry.tool == START {
        let command = StartInput::augment_args(command).next_help_heading("Operator's options");
        return OperatorOptions::augment_args(command)
            .arg(flag(
                "print_config",
                "print-config",
                "Show the configuration in force and its origins, and start nothing",
            ))
            .arg(flag(
                "keep_trying",
                "keep-trying",
                "Start also when GitHub or Docker do not answer yet",
            ))
            .arg(flag("detached", "detached", "Leave the terminal's session").hide(true))
            .arg(flag("no_http", "no-http", "Leave HTTP to who starts it").hide(true));
    }
    configured((entry.augment)(command))
}

/// The configuration counts where no service runs; there is no need to see all of it every time.
fn configured(command: Command) -> Command {
    let known: Vec<_> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
    let command = command.next_help_heading("Configuration, when no service runs");
    let command = OperatorOptions::augment_args(StartInput::augment_args(command));
    let command = command.mut_arg("background", |arg| arg.hide(true));
    command
        .mut_args(|arg| if known.contains(arg.get_id()) { arg } else { arg.hide_short_help(true) })
}

fn mcp() -> Command {
    let start =
        Command::new("start").about("Serve MCP on stdio, or with --http over streamable HTTP");
    // Two things could be called read-only here; the tools are meant.
    let tools =
        |command| configured(command).mut_arg("read_only", |arg| arg.long("read-only-containers"));
    let start = tools(start).mut_arg("http", |arg| arg.hide_short_help(false)).arg(flag(
        "look_only",
        "read-only",
        "Offer only the tools that change nothing",
    ));
    let link = Command::new("link")
        .about("Print a link that signs a browser in at the HTTP server that runs here, once");
    let link = tools(link).arg(flag("look_only", "read-only", "Let it only look"));
    Command::new("mcp")
        .about("Serve assistants and dashboards")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(start)
        .subcommand(link)
}

fn doctor() -> Command {
    let command = Command::new("doctor")
        .about("Look for what is wrong with this set-up, and say what to do about it")
        .long_about(
            "Looks at the credential and its rights, GitHub, this host's clock, Docker, the image, \
             labels, network, disk, state directory and service. It changes nothing. The exit code \
             is 0 when nothing failed, else 1.",
        )
        .arg(
            Arg::new("repo")
                .long("repo")
                .value_name("OWNER/NAME")
                .value_parser(|text: &str| text.parse::<Repo>().map_err(|error| error.message))
                .help("Look at the rights for this repository alone"),
        );
    configured(command)
}

fn flag(id: &'static str, long: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(long).action(ArgAction::SetTrue).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn each_command_is_described_by_its_operation() {
        let tree = command();
        let runner = tree.find_subcommand("runner").unwrap();
        for entry in &OPERATIONS {
            let about = runner.find_subcommand(entry.command).unwrap().get_about().unwrap();
            assert_eq!(about.to_string(), entry.title, "{}", entry.command);
        }
    }

    #[test]
    fn format_and_verbose_are_taken_anywhere_on_the_line() {
        for line in [
            ["ipfs-accelerate", "--format", "text", "runner", "status", "--verbose"],
            ["ipfs-accelerate", "--verbose", "runner", "status", "--format", "text"],
        ] {
            let matches = command().try_get_matches_from(line).unwrap();
            let (_, runner) = matches.subcommand().unwrap();
            let (_, status) = runner.subcommand().unwrap();
            assert_eq!(status.get_one::<String>("format").unwrap(), "text");
            assert!(status.get_flag("verbose"));
        }
    }

    #[test]
    fn the_history_is_read_where_the_state_is_and_is_no_operation() {
        let line = ["ipfs-accelerate", "runner", "history", "--limit", "5", "--state-dir", "/x"];
        let matches = command().try_get_matches_from(line).unwrap();
        let (_, runner) = matches.subcommand().unwrap();
        let (name, history) = runner.subcommand().unwrap();
        assert_eq!((name, history.get_one::<u16>("limit")), ("history", Some(&5)));
        assert!(OPERATIONS.iter().all(|entry| entry.command != name));
        for limit in ["0", "1001", "many"] {
            let line = ["ipfs-accelerate", "runner", "history", "--limit", limit];
            assert!(command().try_get_matches_from(line).is_err(), "{limit}");
        }
    }

    #[test]
    fn the_guides_own_commands_are_understood_word_for_word() {
        for line in [
            "runner start",
            "runner start --owner myorg --interval 60 --max-runners 8 --image myoung34/github-runner:latest",
            "runner start --owner myorg --background",
            "runner status",
            "runner list-workflows",
            "runner list-containers",
            "runner provision --repo owner/repo",
            "runner provision",
            "runner stop-container --container abc123def456",
            "runner stop",
            "mcp start",
            "mcp start --http",
        ] {
            let words = std::iter::once("ipfs-accelerate").chain(line.split(' '));
            command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
