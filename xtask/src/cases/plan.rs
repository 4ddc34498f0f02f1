//! The list of cases: what is run, with which hooks, and in which guests.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::accept::Accept;
use super::exact::{Count, Family, First};
use super::outcome::Id;
use crate::vm::Line;

/// What conn-cli is told to attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Auto,
    Kretprobe,
    Fentry,
    Tracepoint,
}

impl Hook {
    const ALL: [Self; 4] = [Self::Auto, Self::Kretprobe, Self::Fentry, Self::Tracepoint];
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kretprobe => "kretprobe",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        })
    }
}

/// What a case is run with.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) conn_cli: PathBuf,
    pub(super) hook: Hook,
    /// The server's port; the next one is free too.
    pub(super) port: u16,
}

impl Bench {
    /// conn-cli that watches `port` with this bench's hook.
    pub(super) fn conn_cli(&self, port: u16) -> Command {
        let mut command = Command::new(&self.conn_cli);
        command
            .args(["--port", &port.to_string()])
            .args(["--probe", &self.hook.to_string()]);
        command
    }
}

/// Where a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Guest(Line),
    /// A guest whose kernel is locked down.
    LockedDown,
    /// The machine itself.
    Native {
        has_kprobes: bool,
    },
}

enum Body {
    Count(Count),
    Other(fn(&Bench) -> Result<String>),
}

/// A case.
pub(super) struct Case {
    name: &'static str,
    hooks: &'static [Hook],
    runs_in: fn(Place) -> bool,
    body: Body,
}

/// Each way to see an accepted connection.
const EACH: &[Hook] = &[Hook::Kretprobe, Hook::Fentry, Hook::Tracepoint];

fn every_guest(place: Place) -> bool {
    matches!(place, Place::Guest(_))
}

fn everywhere(place: Place) -> bool {
    place != Place::LockedDown
}

const fn count(name: &'static str, count: Count) -> Case {
    Case {
        name,
        hooks: EACH,
        runs_in: every_guest,
        body: Body::Count(count),
    }
}

const CASES: &[Case] = &[
    Case {
        name: "ipv4",
        hooks: &[Hook::Auto, Hook::Kretprobe, Hook::Fentry, Hook::Tracepoint],
        runs_in: everywhere,
        body: Body::Count(Count::PLAIN),
    },
    Case {
        runs_in: everywhere,
        ..count(
            "ipv6",
            Count {
                family: Family::V6,
                ..Count::PLAIN
            },
        )
    },
    Case {
        runs_in: everywhere,
        ..count(
            "dual-stack",
            Count {
                family: Family::Dual,
                accept: Accept::Threads(4),
                ..Count::PLAIN
            },
        )
    },
    count(
        "blocked-64",
        Count {
            accept: Accept::Threads(64),
            ..Count::PLAIN
        },
    ),
    count(
        "blocked-512",
        Count {
            accept: Accept::Threads(512),
            ..Count::PLAIN
        },
    ),
    count(
        "server-afterwards",
        Count {
            accept: Accept::Threads(64),
            first: First::Tracer,
            ..Count::PLAIN
        },
    ),
    count(
        "epoll",
        Count {
            accept: Accept::Epoll,
            ..Count::PLAIN
        },
    ),
    count(
        "io-uring",
        Count {
            accept: Accept::IoUring,
            ..Count::PLAIN
        },
    ),
    count(
        "fork",
        Count {
            accept: Accept::Fork,
            ..Count::PLAIN
        },
    ),
    count(
        "mptcp",
        Count {
            mptcp: true,
            accept: Accept::Threads(4),
            ..Count::PLAIN
        },
    ),
    count(
        "other-netns",
        Count {
            netns: true,
            accept: Accept::Threads(4),
            ..Count::PLAIN
        },
    ),
    count(
        "other-port",
        Count {
            other_port: true,
            accept: Accept::Threads(4),
            ..Count::PLAIN
        },
    ),
];

impl Case {
    fn run(&self, bench: &Bench) -> Result<String> {
        match &self.body {
            Body::Count(count) => count.run(bench),
            Body::Other(run) => run(bench),
        }
    }

    /// The hooks to run with, which the machine itself may lack.
    fn hooks(&self, place: Place) -> impl Iterator<Item = Hook> {
        let lacks_kprobes = place == Place::Native { has_kprobes: false };
        self.hooks
            .iter()
            .copied()
            .filter(move |&hook| !lacks_kprobes || hook == Hook::Tracepoint)
    }
}

/// What is to run in a place; `only`, if not empty, names the cases wanted.
pub(crate) fn planned(place: Place, only: &[String]) -> Vec<Id> {
    CASES
        .iter()
        .filter(|case| (case.runs_in)(place))
        .filter(|case| only.is_empty() || only.iter().any(|name| name == case.name))
        .flat_map(|case| {
            case.hooks(place).map(|hook| Id {
                case: case.name.to_owned(),
                hook: hook.to_string(),
            })
        })
        .collect()
}

/// Refuses the name of a case that is not there.
pub(crate) fn check_names(names: &[String]) -> Result<()> {
    for name in names {
        if !CASES.iter().any(|case| case.name == name) {
            let all: Vec<_> = CASES.iter().map(|case| case.name).collect();
            bail!("no case {name}; the cases are {}", all.join(", "));
        }
    }
    Ok(())
}

/// Runs a case by its name.
pub(super) fn run(id: &Id, conn_cli: PathBuf, port: u16) -> Result<String> {
    let case = CASES
        .iter()
        .find(|case| case.name == id.case)
        .with_context(|| format!("no case {}", id.case))?;
    let hook = Hook::ALL
        .into_iter()
        .find(|hook| hook.to_string() == id.hook)
        .with_context(|| format!("no hook {}", id.hook))?;
    case.run(&Bench {
        conn_cli,
        hook,
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(CASES[..index].iter().all(|other| other.name != case.name));
        }
    }

    #[test]
    fn every_place_has_cases() {
        for place in Line::ALL.map(Place::Guest) {
            assert!(planned(place, &[]).len() > 30, "{place:?}");
        }
        for has_kprobes in [false, true] {
            assert!(!planned(Place::Native { has_kprobes }, &[]).is_empty());
        }
    }
}
