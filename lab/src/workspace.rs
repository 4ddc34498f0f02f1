//! This workspace: where it is, its cargo, and the programs that cargo builds from it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command;

/// The root of the workspace that this was built from.
pub fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// The cargo that runs this program, in this workspace.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.current_dir(root()).stderr(Stdio::inherit());
    cargo
}

/// The path of the conn-cli to test: the given one, or the release build of this tree.
pub fn conn_cli(path: Option<&Path>) -> Result<PathBuf> {
    path.map_or_else(build_conn_cli, |path| Ok(path.to_owned()))
}

/// Cargo's arguments that build conn-cli as it is released.
pub const BUILD_CONN_CLI: [&str; 4] = ["build", "--release", "--package", "conn-cli"];

/// Builds conn-cli as it is released, and returns its path.
pub fn build_conn_cli() -> Result<PathBuf> {
    build("conn-cli", &BUILD_CONN_CLI)
}

/// Runs cargo with these arguments, and returns the path of the program that it built for the
/// target `name`.
pub fn build(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    build_with(cargo(), name, arguments)
}

/// The same with this cargo, which may have a compiler of its own.
pub fn build_with(mut cargo: Command, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    cargo
        .args(arguments)
        .arg("--message-format=json-render-diagnostics");
    command::output(&mut cargo)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .with_context(|| format!("cargo built no {name}"))
}
