//! The systemd unit, as systemd-analyze judges it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::packages::{self, Install};
use lab::{command, workspace};

/// Ten times the exposure that is allowed at most.
const MAX_EXPOSURE: u32 = 25;

/// Where the unit expects the program.
const INSTALLED: &str = "/usr/bin/conn-cli";

/// What docs/fleet.md adds, so that the listeners of containers are seen.
const FOR_CONTAINERS: &str = "[Service]
AmbientCapabilities=CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_DAC_READ_SEARCH
CapabilityBoundingSet=CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_DAC_READ_SEARCH
";

/// Has it verified as if it were installed, and its exposure judged, also with what the documents add.
pub(super) fn check(conn_cli: &Path, install: Install) -> Result<String> {
    packages::require(&["systemd-analyze", "man"], install)?;
    let root = workspace::root();
    let unit = fs::read_to_string(root.join("deploy/conn-cli.service"))?;
    let fleet = fs::read_to_string(root.join("docs/fleet.md"))?;
    ensure!(
        fleet.contains(FOR_CONTAINERS),
        "docs/fleet.md has other lines for containers"
    );
    let directory = root.join("target/unit");
    let manual = directory.join("man/man1");
    fs::create_dir_all(&manual)?;
    let mut generate = Command::new(conn_cli);
    let page = command::output(generate.args(["generate", "man"]))?;
    fs::write(manual.join("conn-cli.1"), page)?;
    ensure!(
        unit.contains(INSTALLED),
        "the unit does not start {INSTALLED}"
    );
    let installed = unit.replace(INSTALLED, &conn_cli.display().to_string());
    let path = directory.join("conn-cli.service");
    fs::write(&path, installed)?;
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg(&path);
    let output = verify.env("MANPATH", directory.join("man")).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success() && said.is_empty(),
        "systemd-analyze verify: {}\n{said}",
        output.status
    );
    let mut exposures = Vec::new();
    for unit in [unit.clone(), unit + FOR_CONTAINERS] {
        fs::write(&path, unit)?;
        exposures.push(exposure(&path)?);
    }
    Ok(format!(
        "exposure {}, for containers {}",
        exposures[0], exposures[1]
    ))
}

/// The exposure, unless it is more than allowed.
fn exposure(unit: &Path) -> Result<String> {
    let mut analyze = Command::new("systemd-analyze");
    analyze
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={MAX_EXPOSURE}"));
    let output = command::output(analyze.arg(unit))?;
    let (_, level) = { output.lines() }
        .find_map(|line| line.split_once("Overall exposure level for conn-cli.service: "))
        .context("systemd-analyze tells no exposure")?;
    Ok(level.split_whitespace().next().unwrap_or(level).to_owned())
}
