//! The help. Both kinds begin with examples; `-h` goes on with the options that are used most, on one screen.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The width of the short help, which fits any terminal.
const WIDTH: usize = 80;

/// The options of the short help, by their ids.
const SHORT: [&str; 8] = [
    "ports", "not_from", "quiet", "interval", "json", "by", "top", "long",
];

const TRACE_EXAMPLES: &str =
    "  conn-cli -p 80 -q --duration 60 --top 5      who connects most, in a minute
  conn-cli -p 80 -q --funnel                   does the accept queue overflow?
  conn-cli -p 80 --json > f; conn-cli read f   save, and read it later
  conn-cli read web.pcap                       a capture, a log, strace's output
  nohup conn-cli -p 80 > log 2>&1 &            in the background, until kill
";

const READ_EXAMPLES: &str =
    "  conn-cli read web.pcap                       a capture, compressed or not
  conn-cli read -q --since yesterday kern.log  who connected since then
  conn-cli read --interval 1m f                what conn-cli --json > f saved
  journalctl -kf | conn-cli read -p 80         connections as iptables logs them
  tcpdump -Uw - tcp | conn-cli read -p 80      as they come to an interface
";

const COMPARE_EXAMPLES: &str =
    "  conn-cli compare monday.pcap tuesday.pcap    two captures, or logs
  conn-cli compare --top 5 before after        the five that changed most
";

/// The examples of the command of this name, one on each line.
pub(super) fn examples(command: &str) -> Option<&'static str> {
    match command {
        "conn-cli" => Some(TRACE_EXAMPLES),
        "read" => Some(READ_EXAMPLES),
        "compare" => Some(COMPARE_EXAMPLES),
        _ => None,
    }
}

/// The command line with its help: the short one, if these arguments ask for it.
pub(super) fn with_help(program: Command, given: &[OsString]) -> Command {
    // `-2h` is also a time ago.
    let is_short = given.iter().any(asks_for_short) && !given.iter().any(|arg| arg == "--help");
    let help = if is_short { short } else { long };
    let program = program.mut_subcommand("read", help);
    help(program.mut_subcommand("compare", help))
}

/// Whether this is `-h`, perhaps among other options of one letter.
fn asks_for_short(arg: &OsString) -> bool {
    let arg = arg.as_encoded_bytes();
    arg.starts_with(b"-") && !arg.starts_with(b"--") && arg.contains(&b'h')
}

/// With the usage and the examples before the description.
fn long(command: Command) -> Command {
    let examples = examples(command.get_name()).unwrap_or_default();
    command.help_template(format!(
        "{{usage-heading}} {{usage}}

Examples:
{examples}
{{about-with-newline}}
{{all-args}}{{after-help}}"
    ))
}

fn short(command: Command) -> Command {
    let examples = examples(command.get_name()).unwrap_or_default();
    // Records end by themselves.
    let (usage, all, period) = match command.get_name() {
        "read" => (
            "conn-cli read [OPTIONS] [FILE]...",
            "conn-cli read --help",
            "since",
        ),
        "compare" => (
            "conn-cli compare [OPTIONS] BEFORE AFTER",
            "conn-cli compare --help",
            "since",
        ),
        _ => (
            "conn-cli [OPTIONS], or conn-cli read|compare|check|generate [OPTIONS]",
            "conn-cli --help",
            "duration",
        ),
    };
    let hide = |arg: Arg| {
        let is_shown = SHORT.contains(&arg.get_id().as_str()) || arg.get_id() == period;
        arg.hide_short_help(!is_shown)
    };
    let command = command.term_width(WIDTH).mut_args(hide);
    command.help_template(format!(
        "{{about-with-newline}}
Usage: {usage}

Examples:
{examples}
Options:
{{options}}

All options: {all}
"
    ))
}
