//! The hooks and machines of the cases, and the runs that follow from the list.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use lab::hook::Hook;
use lab::machine::{Line, Machine, Processors};

use super::context::Context;
use super::list::CASES;

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
pub(crate) fn planned(machine: Machine, only: &[String], depth: Depth) -> Vec<String> {
    CASES
        .iter()
        .filter(|case| only.is_empty() || only.iter().any(|name| name == case.name))
        .flat_map(|case| {
            let hooks = case.hooks.iter().filter(move |hook| {
                depth.includes(machine, **hook) && (case.runs)(machine, **hook)
            });
            hooks.map(|hook| format!("{}/{hook}", case.name))
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
pub(super) fn run(name: &str, conn_cli: PathBuf, port: u16) -> Result<String> {
    let (case, hook) = name
        .split_once('/')
        .with_context(|| format!("not a case and a hook: {name}"))?;
    let case = CASES
        .iter()
        .find(|known| known.name == case)
        .with_context(|| format!("there is no case {case}"))?;
    let hook = Hook::ALL
        .into_iter()
        .find(|known| known.to_string() == hook)
        .with_context(|| format!("there is no hook {hook}"))?;
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
                let runs = |machine| (case.runs)(machine, *hook);
                assert!(Machine::all().any(runs), "{hook} {}", case.name);
            }
        }
    }
}
