//! The options of `conn-cli compare`.

use std::path::{Path, PathBuf};

use clap::ArgAction;

use super::{
    read::{RECORDS, format},
    show::ConnectionArgs,
};
use crate::model::{format::Format, options::CompareOptions};

/// The arguments of `conn-cli compare`.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// The first input: a saved run of conn-cli, or anything else that read takes; - is standard input
    #[arg(value_name = "BEFORE")]
    before: PathBuf,

    /// The second input; likewise
    #[arg(value_name = "AFTER")]
    after: PathBuf,

    /// Which connections.
    #[command(flatten)]
    connections: ConnectionArgs,

    /// Their format: kernel-log, tcpdump, pcap, strace or json [default: told by content]
    #[arg(long, value_parser = format(), hide_possible_values = true, help_heading = RECORDS)]
    format: Option<Format>,

    /// A record that is not understood is an error
    #[arg(long, help_heading = RECORDS)]
    strict: bool,

    /// Count a retransmitted SYN as one more connection
    #[arg(long, help_heading = RECORDS)]
    every_packet: bool,

    /// Only the first N addresses, and the sum of the others; 0 for all
    #[arg(long, value_name = "N")]
    top: Option<usize>,

    /// One JSON object a line
    ///
    /// One for each address, and one for the summary. docs/json.md of the project describes them.
    #[arg(long)]
    json: bool,

    /// Print help: -h on one screen, --help with every option
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl CompareArgs {
    /// The options, if they go together.
    ///
    /// # Errors
    /// Which do not, and why.
    pub(super) fn options(&self) -> Result<CompareOptions, String> {
        let stdin = Path::new("-");
        if self.before == stdin && self.after == stdin {
            return Err("standard input cannot be both BEFORE and AFTER".to_owned());
        }
        Ok(CompareOptions {
            files: [self.before.clone(), self.after.clone()],
            ports: self.connections.ports(),
            ends: self.connections.ends(),
            format: self.format,
            strict: self.strict,
            every_packet: self.every_packet,
            top: self.top.filter(|top| *top > 0),
            json: self.json,
        })
    }
}
