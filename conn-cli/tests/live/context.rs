//! What a case is told: the conn-cli to run, the hook, and the port.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use lab::as_user;
use lab::hook::Hook;

use crate::hidden::{self, EditedBtf};
use crate::old_version::OldVersion;

/// The parameters of a run.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) conn_cli: PathBuf,
    pub(crate) hook: Hook,
    /// The server's port; the next one is free too.
    pub(crate) port: u16,
    /// Run conn-cli as an ordinary user, with these options of `as-user`.
    pub(crate) as_user: Option<&'static [&'static str]>,
    /// A directory of the kernel that is hidden from conn-cli.
    pub(crate) hidden: Option<&'static str>,
    /// What conn-cli sees as the kernel's BTF.
    pub(crate) btf: Option<Rc<EditedBtf>>,
    /// Have uname(2) tell conn-cli an old version of Linux.
    pub(crate) old_version: Option<OldVersion>,
    /// Have conn-cli show diagnostics, which are no messages.
    pub(crate) verbose: bool,
}

impl Context {
    /// Whether conn-cli can find out a connection's network namespace.
    pub(crate) fn shows_netns(&self) -> bool {
        self.hidden != Some(hidden::BTF) && self.btf.as_ref().is_none_or(|btf| btf.has("skc_net"))
    }

    /// A conn-cli that watches `port` with this hook.
    pub(crate) fn conn_cli(&self, port: u16) -> Command {
        self.with(port, &["--probe", &self.hook.to_string()])
    }

    /// A conn-cli that watches `port` for SYNs only, which needs no hook.
    pub(crate) fn conn_cli_for_syns(&self, port: u16) -> Command {
        self.with(port, &["--event", "syn"])
    }

    fn with(&self, port: u16, options: &[&str]) -> Command {
        let mut command = Command::new(&self.conn_cli);
        command.args(["--port", &port.to_string()]).args(options);
        command.args(self.verbose.then_some("-v"));
        if let Some(options) = self.as_user {
            command = as_user::command(options, &command);
        }
        if let Some(directory) = self.hidden {
            hidden::hide(&mut command, directory);
        }
        if let Some(btf) = &self.btf {
            btf.show(&mut command);
        }
        match self.old_version {
            Some(old_version) => old_version.tell(command),
            None => command,
        }
    }
}
