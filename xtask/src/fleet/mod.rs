//! `cargo xtask fleet`: conn-cli with the programs that its metrics are for.

mod prometheus;

use std::path::PathBuf;

use anyhow::Result;
use lab::packages::Install;
use lab::{command, workspace};

/// Have Prometheus scrape conn-cli, and compare what it answers with the server's count
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The conn-cli to test, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
    /// Also VictoriaMetrics
    #[arg(long)]
    all: bool,
    /// Where the programs are; this is only how it starts itself as root
    #[arg(long, hide = true, requires = "conn_cli")]
    programs: Option<PathBuf>,
}

impl Args {
    /// With this conn-cli.
    pub(crate) fn with(conn_cli: PathBuf, all: bool) -> Self {
        Self {
            conn_cli: Some(conn_cli),
            all,
            programs: None,
        }
    }
}

pub(crate) fn run(args: &Args, _: Install) -> Result<()> {
    if let (Some(programs), Some(conn_cli)) = (&args.programs, &args.conn_cli) {
        return prometheus::run(conn_cli, programs, args.all);
    }
    let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
    let programs = prometheus::obtain(args.all)?;
    let mut itself = command::as_root(std::env::current_exe()?);
    itself.arg("fleet").args(args.all.then_some("--all"));
    itself.arg("--conn-cli").arg(conn_cli);
    command::run(itself.arg("--programs").arg(programs))
}
