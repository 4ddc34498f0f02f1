//! The hooks and machines of the cases, and the runs that follow from the list.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::as_user;
use super::hidden;
use super::list::CASES;
use super::outcome::Id;
use crate::vm::{Line, Processors};

/// The hook that conn-cli attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Auto,
    Kretprobe,
    Lsm,
    Fentry,
    Tracepoint,
}

impl Hook {
    const ALL: [Self; 5] = [
        Self::Auto,
        Self::Kretprobe,
        Self::Lsm,
        Self::Fentry,
        Self::Tracepoint,
    ];

    /// Whether it sees accepts, and not only completed handshakes.
    pub(super) fn sees_accepts(self) -> bool {
        self != Self::Tracepoint
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kretprobe => "kretprobe",
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        })
    }
}

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

/// Where a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    Guest(Line),
    /// A guest whose kernel preempts its own code. Linux 7 always does, so its [`Machine::Guest`]
    /// is one, too.
    Preemptible(Line, Processors),
    /// A guest whose kernel is locked down.
    LockedDown,
    /// This machine, without a guest.
    Native {
        has_kprobes: bool,
    },
}

/// How many of the runs are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The runs that every change is tested with.
    Usual,
    /// All runs.
    All,
}

impl Depth {
    /// Whether cases run on a machine with a hook.
    fn includes(self, machine: Machine, hook: Hook) -> bool {
        let is_heavy = match machine {
            // The newest kernel runs these.
            Machine::Guest(Line::V6_1 | Line::V6_12) => hook == Hook::Lsm,
            // A single processor is preempted more often.
            Machine::Preemptible(_, processors) => processors != Processors::One,
            _ => false,
        };
        self == Self::All || !is_heavy
    }
}

/// The runs on a machine; `only`, if not empty, names the wanted cases.
pub(crate) fn planned(machine: Machine, only: &[String], depth: Depth) -> Vec<Id> {
    CASES
        .iter()
        .filter(|case| only.is_empty() || only.iter().any(|name| name == case.name))
        .flat_map(|case| {
            let hooks = case.hooks.iter().filter(move |hook| {
                depth.includes(machine, **hook) && (case.runs)(machine, **hook)
            });
            hooks.map(|hook| Id {
                case: case.name.to_owned(),
                hook: hook.to_string(),
            })
        })
        .collect()
}

/// Fails if one of the names is not that of a case.
pub(crate) fn check_names(names: &[String]) -> Result<()> {
    for name in names {
        if !CASES.iter().any(|case| case.name == name) {
            let all: Vec<_> = CASES.iter().map(|case| case.name).collect();
            bail!("there is no case {name}; the cases are {}", all.join(", "));
        }
    }
    Ok(())
}

/// Runs a case by its name.
pub(super) fn run(id: &Id, conn_cli: PathBuf, port: u16) -> Result<String> {
    let case = CASES
        .iter()
        .find(|case| case.name == id.case)
        .with_context(|| format!("there is no case {}", id.case))?;
    let hook = Hook::ALL
        .into_iter()
        .find(|hook| hook.to_string() == id.hook)
        .with_context(|| format!("there is no hook {}", id.hook))?;
    case.run(&Context {
        conn_cli,
        hook,
        port,
        as_user: None,
        hidden: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_names_are_distinct() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(CASES[..index].iter().all(|other| other.name != case.name));
        }
    }

    const MACHINES: [Machine; 9] = [
        Machine::Guest(Line::V5_10),
        Machine::Guest(Line::V6_1),
        Machine::Guest(Line::V6_12),
        Machine::Guest(Line::Newest),
        Machine::Preemptible(Line::V6_1, Processors::One),
        Machine::Preemptible(Line::V6_1, Processors::Two),
        Machine::LockedDown,
        Machine::Native { has_kprobes: false },
        Machine::Native { has_kprobes: true },
    ];

    #[test]
    fn every_machine_has_cases() {
        for machine in Line::ALL.map(Machine::Guest) {
            assert!(
                planned(machine, &[], Depth::Usual).len() > 70,
                "{machine:?}"
            );
        }
        assert!(planned(Machine::Native { has_kprobes: false }, &[], Depth::Usual).len() > 20);
        assert!(planned(Machine::Native { has_kprobes: true }, &[], Depth::Usual).len() > 30);
        assert!(!planned(Machine::LockedDown, &[], Depth::Usual).is_empty());
        let preemptible = |depth| {
            let machine = Machine::Preemptible(Line::V6_1, Processors::Two);
            planned(machine, &[], depth).len()
        };
        assert!(preemptible(Depth::All) > 100 && preemptible(Depth::Usual) == 0);
    }

    #[test]
    fn every_case_runs_with_each_of_its_hooks() {
        for case in CASES {
            for hook in case.hooks {
                let runs = |machine: &Machine| (case.runs)(*machine, *hook);
                assert!(MACHINES.iter().any(runs), "{hook} {}", case.name);
            }
        }
    }
}
