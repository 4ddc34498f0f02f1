//! The command line.

mod compare;
mod generate;
mod help;
mod meant;
mod period;
mod read;
mod show;
#[cfg(test)]
mod tests;
mod trace;

use std::ffi::OsString;

use clap::{
    ArgAction, CommandFactory as _, Error, FromArgMatches as _, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};

use self::{compare::CompareArgs, generate::GenerateArgs, read::ReadArgs, trace::TraceArgs};
use crate::model::options::{CheckOptions, Job};

const EXIT_STATUS: &str = "Exit status: 0 done, 1 failed or not to be trusted, 2 wrong usage, \
130 after a second Ctrl-C.";

const SHORT_ABOUT: &str = "Shows every new TCP connection to a port; on Ctrl-C, the count of each \
address";

/// What follows the short description in the long one.
const TRACE: &str = "

Each accepted connection counts once. The counts are made in the kernel: if a line cannot be shown, \
the totals are right all the same, and the end says how many lines were not shown. If the count may \
be wrong, conn-cli says so, and ends with exit status 1.

Results go to standard output: the lines, an empty line, the summary and its total. Messages go to standard \
error: a line that begins with Tracing when the probes are attached, who listens, at the end the \
total, and what else there is to say after the summary. Lines are written at once, into a pipe too. \
Colours are for terminals only, and not with NO_COLOR=1. With several ports, or none, each line ends in the port.

Ctrl-C, SIGTERM, SIGHUP, --duration, --count and a reader that goes away end it in order: the probes \
are detached, what is left is shown, then the summary. SIGUSR1 and Ctrl-\\ (SIGQUIT) show the totals so \
far, on standard error or as a line of --json, and it goes on. It waits for a reader that has only stopped \
reading; a second Ctrl-C ends it at once.";

/// Shows every new TCP connection to a port as it happens and, on Ctrl-C, how many each
/// remote address made.
#[derive(Debug, Parser)]
#[command(
    version,
    about = SHORT_ABOUT,
    long_about = format!("{SHORT_ABOUT}.{TRACE}"),
    args_conflicts_with_subcommands = true,
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = EXIT_STATUS,
)]
struct Args {
    /// A command other than tracing.
    #[command(subcommand)]
    command: Option<Command>,

    /// How to trace.
    #[command(flatten)]
    trace: TraceArgs,

    /// Print help: -h on one screen, --help with every option
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// The arguments of `conn-cli check`.
#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Write one line of JSON
    #[arg(long)]
    json: bool,

    /// Print help: -h on one screen, --help with every option
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What conn-cli does besides tracing.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the connections in what iptables, nftables, tcpdump and strace wrote
    ///
    /// It needs no privileges. Options go after the word read. Without a file, or for -, it reads
    /// standard input and shows each connection as it arrives. Several files are read in the order in
    /// which they are named; they may be of different formats, and compressed with gzip, zstd or xz.
    ///
    /// At the end, standard error has a line with the name, the format and the size of each of the first
    /// eight inputs.
    ///
    /// A retransmitted SYN, or one that was captured on several interfaces, counts once. Records that
    /// cannot be parsed are counted, and the end says where and why the first. If a file cannot be
    /// read to its end, it is named, the others are still read, and the exit status is 1.
    ///
    /// SIGUSR1 and Ctrl-\ (SIGQUIT) show the totals so far, on standard error or as a line of --json,
    /// and it goes on.
    #[command(after_help = EXIT_STATUS, disable_help_flag = true)]
    Read(Box<ReadArgs>),

    /// Compare two inputs, address by address
    ///
    /// Each input is anything that read takes: a run that was saved with --json, a capture, a log. For each
    /// address it prints the connections in BEFORE and in AFTER, and the difference, the largest first. An
    /// address is new if it is only in AFTER, and gone if it is only in BEFORE. The options choose which
    /// connections count in both. If an input cannot be read to its end, there is no comparison.
    #[command(after_help = EXIT_STATUS, disable_help_flag = true)]
    Compare(Box<CompareArgs>),

    /// Try each hook, and say what this machine allows
    ///
    /// It attaches each hook for a moment, connects to itself, and says which hooks see that, which are
    /// exact, why not and what to do, and what tracing would use. The exit status is 0 if every accepted
    /// connection can be counted, else 1.
    #[command(after_help = EXIT_STATUS, disable_help_flag = true)]
    Check(CheckArgs),

    /// Print a man page, or completions for a shell
    #[command(disable_help_flag = true)]
    Generate(GenerateArgs),
}

/// What the arguments of this process ask for. If they are wrong, it says why and ends the process.
#[must_use]
pub fn job() -> Job {
    let given: Vec<OsString> = std::env::args_os().collect();
    let args = parsed(&given).unwrap_or_else(|error| error.exit());
    args.job().unwrap_or_else(|why| {
        let error = Args::command().error(ErrorKind::ArgumentConflict, why);
        error.exit()
    })
}

/// What these arguments ask for; the first is the name of the program.
///
/// # Errors
/// What is wrong with them.
pub fn parse(args: &[&str]) -> Result<Job, String> {
    let given: Vec<OsString> = args.iter().map(OsString::from).collect();
    let args = parsed(&given).map_err(|error| error.to_string())?;
    args.job()
}

fn parsed(given: &[OsString]) -> Result<Args, Error> {
    let command = help::with_help(Args::command(), given);
    let matches = command.try_get_matches_from(given);
    let args = matches.and_then(|matches| Args::from_arg_matches(&matches));
    args.map_err(|error| meant::explained(error, given))
}

impl Args {
    fn job(&self) -> Result<Job, String> {
        Ok(match &self.command {
            Some(Command::Read(read)) => Job::Read(read.options()?),
            Some(Command::Compare(compare)) => Job::Compare(compare.options()?),
            Some(Command::Check(check)) => Job::Check(CheckOptions {
                json: check.json,
                // The defaults.
                trace: Self::parse_from(["conn-cli"]).trace.options()?,
            }),
            Some(Command::Generate(generate)) => Job::Print(generate.text(Args::command())),
            None => Job::Trace(self.trace.options()?),
        })
    }
}

/// Accepts these names, and returns the value of the one that is given.
fn named<T: Clone + Send + Sync + 'static>(
    values: impl IntoIterator<Item = (&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let values: Vec<(&str, T)> = values.into_iter().collect();
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    PossibleValuesParser::new(names).try_map(move |given| {
        let found = values.iter().find(|(name, _)| *name == given);
        found
            .map(|(_, value)| value.clone())
            .ok_or("there is no such value")
    })
}
