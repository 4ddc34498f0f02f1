//! What kernel threads accept.

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::several::Several;

use crate::context::Context;

const CONNECTIONS: u32 = 10;

/// It is counted and said as such; a filter that cannot judge it leaves it out, and says so.
pub(crate) fn smc(context: &Context) -> Result<String> {
    let server = Server::start(
        Serve {
            smc: true,
            ..Serve::threads(1, Family::V4.listen())
        },
        context.port,
    )?;
    let cgroup = "--cgroup /";
    let options = ["", "--by user", "--by process", "--uid 0", cgroup];
    let command = || {
        let mut command = context.conn_cli(context.port);
        command.arg("--json");
        command
    };
    let several = Several::start(command, options)?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    several.finish(|options, ended| {
        let report = Report::new(ended)?;
        let total = report.number("connections")?;
        let summary = &report.summary;
        if options.starts_with("--uid") || options == cgroup {
            let said = "10 connections that kernel threads accepted";
            ensure!(
                total == 0
                    && summary["kernel_threads"] == CONNECTIONS
                    && ended.stderr.iter().any(|line| line.starts_with(said)),
                "{summary}: {:?}",
                ended.stderr
            );
            return Ok(());
        }
        report.check_live(&[("kernel_thread", true.into())])?;
        if options.is_empty() {
            ensure!(report.counts()? == served, "not {served:?}: {summary}");
        } else {
            let rows = summary["clients"].as_array();
            ensure!(
                total == u64::from(CONNECTIONS)
                    && rows.is_some_and(|rows| rows.iter().all(|row| row["kernel_thread"] == true)),
                "{summary}"
            );
        }
        Ok(())
    })?;
    Ok(format!("server={CONNECTIONS}"))
}
