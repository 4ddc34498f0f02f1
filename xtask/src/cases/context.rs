//! What a case is told: the conn-cli to run, the hook, and the port.

use std::path::PathBuf;
use std::process::Command;

use lab::as_user;
use lab::hook::Hook;

use super::hidden;

/// The parameters of a run.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) conn_cli: PathBuf,
    pub(super) hook: Hook,
    /// The server's port; the next one is free too.
    pub(super) port: u16,
    /// Run conn-cli as an ordinary user, with these options of `as-user`.
    pub(super) as_user: Option<&'static [&'static str]>,
    /// A directory of the kernel that is hidden from conn-cli.
    pub(super) hidden: Option<&'static str>,
}

impl Context {
    /// A conn-cli that watches `port` with this hook.
    pub(super) fn conn_cli(&self, port: u16) -> Command {
        self.with(port, &["--probe", &self.hook.to_string()])
    }

    /// A conn-cli that watches `port` for SYNs only, which needs no hook.
    pub(super) fn conn_cli_for_syns(&self, port: u16) -> Command {
        self.with(port, &["--event", "syn"])
    }

    fn with(&self, port: u16, options: &[&str]) -> Command {
        let mut command = Command::new(&self.conn_cli);
        command.args(["--port", &port.to_string()]).args(options);
        if let Some(options) = self.as_user {
            command = as_user::command(options, &command);
        }
        if let Some(directory) = self.hidden {
            hidden::hide(&mut command, directory);
        }
        command
    }
}
