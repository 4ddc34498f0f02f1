//! The command line.

mod read;
mod show;
#[cfg(test)]
mod tests;
mod trace;

use clap::{
    ArgAction, CommandFactory as _, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};

use self::{read::ReadArgs, trace::TraceArgs};
use crate::model::options::Job;

const EXIT_STATUS: &str =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 130 after a second Ctrl-C.";

/// Shows every new TCP connection to a port as it happens and, on Ctrl-C, how many each
/// remote address made.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
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

    /// Print this help
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// What conn-cli does besides tracing.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the connections in what iptables, nftables, tcpdump and strace wrote
    ///
    /// It needs no privileges. Options go after the word read.
    #[command(after_help = EXIT_STATUS, disable_help_flag = true)]
    Read(ReadArgs),
}

/// What the arguments of this process ask for. If they are wrong, it says why and ends the process.
#[must_use]
pub fn job() -> Job {
    let args = Args::parse();
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
    let args = Args::try_parse_from(args).map_err(|error| error.to_string())?;
    args.job()
}

impl Args {
    fn job(&self) -> Result<Job, String> {
        Ok(match &self.command {
            Some(Command::Read(read)) => Job::Read(read.options()?),
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
