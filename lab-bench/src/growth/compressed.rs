//! `conn-cli read` of compressed input beside the programs that decompress it.

use std::fs::File;
use std::process::Command;

use anyhow::{Result, ensure};
use lab::packages::{self, Install};

use super::{Bench, check_total};
use crate::inputs::{Kind, input};
use crate::measure::{self, Output};
use crate::table::Table;

/// The ending of the file, and the program and options that compress and decompress.
const PROGRAMS: [(&str, &str, &[&str]); 3] = [
    ("gz", "gzip", &[]),
    ("xz", "xz", &["-2"]),
    ("zst", "zstd", &["--quiet"]),
];

/// Makes sure that these programs are there.
pub(super) fn require(install: Install) -> Result<()> {
    let names = PROGRAMS.map(|(_, program, _)| program);
    packages::require(&names, install)
}

impl Bench {
    pub(super) fn compressed(&self) -> Result<Table> {
        let size = if self.is_short {
            40_000_000
        } else {
            400_000_000
        };
        let whole = input(Kind::KernelLog, size)?;
        let mut table = Table::new(&[
            "kernel log, compressed",
            "MB",
            "of MB",
            "conn-cli read: s",
            "CPU s",
            "program: s",
            "CPU s",
        ]);
        let (out, err) = (self.directory.join("out"), self.directory.join("err"));
        for (ending, program, options) in PROGRAMS {
            let path = self.directory.join("compressed").with_extension(ending);
            let mut compress = Command::new(program);
            compress.arg("-c").args(options).arg(&whole.path);
            let cost = measure::run(&mut compress, Output::File(&path), &err)?;
            ensure!(cost.succeeded, "{compress:?} failed");
            let mut conn_cli = Command::new(&self.conn_cli);
            conn_cli.args(["read", "--quiet"]).arg(&path);
            let mut decompress = Command::new(program);
            decompress.args(["-dc"]).arg(&path);
            let ours = measure::run(&mut conn_cli, Output::File(&out), &err)?;
            check_total(&err, whole.truth.connections())?;
            let theirs = measure::run(&mut decompress, Output::Nowhere, &err)?;
            ensure!(
                ours.succeeded && theirs.succeeded,
                "{conn_cli:?} or {decompress:?} failed"
            );
            let seconds = |time: std::time::Duration| format!("{:.2}", time.as_secs_f64());
            table.row(vec![
                format!("{program} {}", options.join(" ")).trim().to_owned(),
                format!("{:.0}", File::open(&path)?.metadata()?.len() as f64 / 1e6),
                format!("{:.0}", whole.size as f64 / 1e6),
                seconds(ours.wall),
                seconds(ours.cpu),
                seconds(theirs.wall),
                seconds(theirs.cpu),
            ]);
            std::fs::remove_file(path)?;
        }
        Ok(table)
    }
}
