//! The DaemonSet, as the schema of Kubernetes has it.

use anyhow::Result;
use lab::packages::Install;
use lab::{command, workspace};

use super::python;

const PACKAGE: &str = "kubernetes-validate==1.37.0";

/// The oldest and the newest version that it is checked against.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];

/// Checks it strictly: a field that does not exist is an error.
pub(super) fn check(install: Install) -> Result<String> {
    let path = workspace::root().join("deploy/kubernetes/daemonset.yaml");
    for version in VERSIONS {
        let mut validate = python::with_package(PACKAGE, install)?;
        validate.args([
            "-m",
            "kubernetes_validate",
            "--strict",
            "--quiet",
            "-k",
            version,
        ]);
        command::run(validate.arg(&path))?;
    }
    Ok(format!("valid in {} to {}", VERSIONS[0], VERSIONS[1]))
}
