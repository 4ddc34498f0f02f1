//! A kernel that tells an old version, as one does for old programs, or one to which features were
//! ported back. The version changes nothing.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::tracer::run_to_end;
use serde_json::Value;

use super::exact::Count;
use super::leftovers;
use crate::context::Context;
use crate::old_version::OldVersion;

/// Each way, and how the release begins that it tells.
const WAYS: [(OldVersion, &str); 2] = [
    (OldVersion::Personality, "Linux 2.6."),
    (OldVersion::Rewritten, "Linux 4.18."),
];

/// Every connection is counted.
pub(crate) fn counts(context: &Context) -> Result<String> {
    in_each_way(context, |context| {
        let (figures, _) = Count::PLAIN.trace(context)?;
        Ok(figures.to_string())
    })
}

/// conn-cli attaches in no way that outlives it.
pub(crate) fn killed(context: &Context) -> Result<String> {
    in_each_way(context, leftovers::killed)
}

fn in_each_way(context: &Context, case: impl Fn(&Context) -> Result<String>) -> Result<String> {
    let mut found = Vec::new();
    for (way, release) in WAYS {
        let mut check = Command::new(&context.conn_cli);
        check.args(["check", "--json"]);
        let ended = run_to_end(&mut way.tell(check))?;
        let check: Value = serde_json::from_str(ended.stdout.first().context("it wrote nothing")?)?;
        let told = check["machine"][0]["value"].as_str().unwrap_or_default();
        ensure!(
            told.starts_with(release),
            "the test is at fault: conn-cli is told {told}"
        );
        let old_version = Some(way);
        let context = Context {
            old_version,
            ..context.clone()
        };
        found.push(format!("{told}: {}", case(&context)?));
    }
    Ok(found.join("; "))
}
