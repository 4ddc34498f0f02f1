//! The command line.

mod read;
mod show;
#[cfg(test)]
mod tests;
mod trace;

use clap::{ArgAction, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

pub use self::{
    read::ReadArgs,
    show::ShowArgs,
    trace::{Probe, TraceArgs},
};

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
pub struct Args {
    /// A command other than tracing.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,

    /// Print this help
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// What conn-cli does besides tracing.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the connections in what iptables, nftables, tcpdump and strace wrote
    ///
    /// It needs no privileges. Options go after the word read.
    #[command(after_help = EXIT_STATUS, disable_help_flag = true)]
    Read(ReadArgs),
}

impl Args {
    /// Parses the arguments of this process, and exits if they are wrong.
    #[must_use]
    pub fn from_env() -> Self {
        let args = Self::parse();
        if let Err(why) = args.check() {
            let error = Self::command().error(ErrorKind::ArgumentConflict, why);
            error.exit()
        }
        args
    }

    /// Checks whether the options go together.
    ///
    /// # Errors
    /// Which options do not go together, and why.
    pub fn check(&self) -> Result<(), String> {
        match &self.command {
            Some(Command::Read(read)) => read.check(),
            None => self.trace.check(),
        }
    }
}
