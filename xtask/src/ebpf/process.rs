//! Runs the programs that build the objects.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a command that reports to the user by itself.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    // Standard output belongs to the task, not to what it runs.
    let status = command
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} failed: {status}");
    Ok(())
}

/// Runs a command for what it prints.
pub(super) fn text(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        output.status.success(),
        "{program} failed: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout)
        .with_context(|| format!("{program} printed something that is not UTF-8"))
}
