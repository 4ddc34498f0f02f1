//! A server whose thread name would corrupt a terminal or JSON.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use crate::context::Context;

/// Few enough that a pipe holds all of the output.
const CONNECTIONS: u32 = 10;

/// The server's thread name as conn-cli must show it, after decoding the JSON.
const ESCAPED: &str = r#"\u{1b}[2J"\\\xff\n"#;

pub(crate) fn hostile_name(context: &Context) -> Result<String> {
    let serve = Serve {
        hostile_name: true,
        ..Serve::threads(1, Family::V4.listen())
    };
    let server = Server::start(serve, context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let mut stdout = tracer.take_stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    tracer.process.signal(Signal::INT)?;
    let ended = tracer.wait(Vec::new())?;
    let mut output = Vec::new();
    stdout.read_to_end(&mut output)?;
    for byte in &output {
        ensure!(
            *byte == b'\n' || !byte.is_ascii_control(),
            "control character {byte:#x} in {}",
            output.escape_ascii()
        );
    }
    let output = String::from_utf8(output).context("not UTF-8")?;
    let report = Report::new(&Ended {
        stdout: output.lines().map(str::to_owned).collect(),
        ..ended
    })?;
    let figures = report.check(&served)?;
    report.check_live(&[("comm", ESCAPED.into())])?;
    Ok(format!("{figures} comm={ESCAPED}"))
}
