//! The options of `conn-cli compare`.

use std::path::{Path, PathBuf};

use clap::ArgAction;

use super::{read::RecordArgs, show::ConnectionArgs};
use crate::model::options::CompareOptions;

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

    /// How to take the records.
    #[command(flatten)]
    records: RecordArgs,

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
            ports: self.connections.ports()?,
            ends: self.connections.ends(),
            records: self.records.options(),
            top: self.top.filter(|top| *top > 0),
            json: self.json,
        })
    }
}
