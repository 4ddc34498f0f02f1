//! `cargo xtask bench`: compares the cost of conn-cli with that of programs that do the same.

mod inputs;
pub(crate) mod live;
mod measure;
mod packets;
mod peers;
pub(crate) mod rate;
mod read;
mod scale;
mod sockets;
mod spread;
mod table;
mod text;
mod truth;

use anyhow::Result;
use clap::Subcommand;

/// Compare conn-cli with the programs that are used instead of it
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Read(read::Args),
    Live(live::Args),
    Rate(rate::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Read(args) => read::run(args),
        Command::Live(args) => live::run(args),
        Command::Rate(args) => rate::run(args),
    }
}
