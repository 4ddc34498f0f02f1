//! `conn-cli check` says what tracing does.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::report::Report;
use lab::tracer::{Tracer, run_to_end};
use rustix::process::Signal;
use serde_json::Value;

use crate::context::Context;

/// The hook that it names is the one that `auto` takes, and the exit status says whether that counts
/// accepts exactly.
pub(crate) fn is_what_is_used(context: &Context) -> Result<String> {
    let ended = run_to_end(Command::new(&context.conn_cli).args(["check", "--json"]))?;
    let check: Value = serde_json::from_str(ended.stdout.first().context("it wrote nothing")?)?;
    let named = check["uses"][0]["hooks"][0].clone();
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    ensure!(
        report.summary["probe"] == named && report.summary["self_test"]["result"] == "passed",
        "check names {named}, tracing uses {}",
        report.summary
    );
    let sees_accepts = ["kretprobe", "lsm", "fentry"]
        .map(Value::from)
        .contains(&named);
    let is_exact = sees_accepts && report.summary["exact"] == true;
    ensure!(
        check["counts_accepts_exactly"] == is_exact
            && ended.status.code() == Some(i32::from(!is_exact)),
        "ended with {}: {check}",
        ended.status
    );
    Ok(format!("{named}, exact accepts: {is_exact}"))
}
