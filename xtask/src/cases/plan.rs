//! The list of cases: what is run, with which hooks, and in which guests.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::accept::Accept;
use super::exact::{Count, Family, First};
use super::outcome::Id;
use super::{as_user, flood, leftovers, privileges, text};
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
    /// Run conn-cli as an ordinary user, with these options.
    pub(super) as_user: Option<&'static [&'static str]>,
}

impl Bench {
    /// conn-cli that watches `port` with this bench's hook.
    pub(super) fn conn_cli(&self, port: u16) -> Command {
        let mut command = Command::new(&self.conn_cli);
        command
            .args(["--port", &port.to_string()])
            .args(["--probe", &self.hook.to_string()]);
        match self.as_user {
            Some(options) => as_user::command(options, &command),
            None => command,
        }
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

type Run = fn(&Bench) -> Result<String>;

enum Body {
    Count(Count),
    Other(Run),
}

/// A case.
struct Case {
    name: &'static str,
    hooks: &'static [Hook],
    runs: fn(Place, Hook) -> bool,
    body: Body,
}

/// Each way to see an accepted connection.
const EACH: &[Hook] = &[Hook::Kretprobe, Hook::Fentry, Hook::Tracepoint];

fn in_every_guest(place: Place, _: Hook) -> bool {
    matches!(place, Place::Guest(_))
}

/// In the guests, and on the machine itself with what its kernel has.
fn everywhere(place: Place, hook: Hook) -> bool {
    match place {
        Place::Guest(_) | Place::Native { has_kprobes: true } => true,
        Place::Native { has_kprobes: false } => hook == Hook::Tracepoint,
        Place::LockedDown => false,
    }
}

/// Debian's 5.10 was built without MPTCP.
fn with_mptcp(place: Place, _: Hook) -> bool {
    matches!(place, Place::Guest(line) if line != Line::V5_10)
}

/// Since 5.11 maps are accounted to a cgroup, not to the memory lock limit.
fn with_memory_lock(place: Place, _: Hook) -> bool {
    place == Place::Guest(Line::V5_10)
}

fn locked_down(place: Place, _: Hook) -> bool {
    place == Place::LockedDown
}

fn without_kprobes(place: Place, _: Hook) -> bool {
    place == Place::Native { has_kprobes: false }
}

const fn count(name: &'static str, count: Count) -> Case {
    Case {
        name,
        hooks: EACH,
        runs: in_every_guest,
        body: Body::Count(count),
    }
}

const fn blocked(threads: u32) -> Count {
    Count {
        accept: Accept::Threads(threads),
        ..Count::PLAIN
    }
}

const fn other(name: &'static str, hooks: &'static [Hook], run: Run) -> Case {
    Case {
        name,
        hooks,
        runs: in_every_guest,
        body: Body::Other(run),
    }
}

const CASES: &[Case] = &[
    Case {
        hooks: &[Hook::Auto, Hook::Kretprobe, Hook::Fentry, Hook::Tracepoint],
        runs: everywhere,
        ..count("ipv4", Count::PLAIN)
    },
    Case {
        runs: everywhere,
        ..count(
            "ipv6",
            Count {
                family: Family::V6,
                ..Count::PLAIN
            },
        )
    },
    Case {
        runs: everywhere,
        ..count(
            "dual-stack",
            Count {
                family: Family::Dual,
                ..blocked(4)
            },
        )
    },
    count("blocked-64", blocked(64)),
    count("blocked-512", blocked(512)),
    count(
        "server-afterwards",
        Count {
            first: First::Tracer,
            ..blocked(64)
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
    Case {
        runs: with_mptcp,
        ..count(
            "mptcp",
            Count {
                mptcp: true,
                ..blocked(4)
            },
        )
    },
    count(
        "other-netns",
        Count {
            netns: true,
            ..blocked(4)
        },
    ),
    count(
        "other-port",
        Count {
            other_port: true,
            ..blocked(4)
        },
    ),
    other("flood-unread", EACH, flood::unread),
    other("flood-terminated", EACH, flood::terminated),
    other("reader-closes", EACH, flood::reader_closes),
    Case {
        runs: everywhere,
        ..other("text", EACH, text::text)
    },
    other("killed", EACH, leftovers::killed),
    other("dropped-privileges", EACH, privileges::dropped),
    // The number of a tracepoint is in tracefs, which is root's alone.
    other(
        "two-capabilities",
        &[Hook::Kretprobe, Hook::Fentry],
        privileges::two_capabilities,
    ),
    other("not-root", &[Hook::Auto], privileges::not_root),
    other("bad-port", &[Hook::Auto], privileges::bad_port),
    Case {
        runs: with_memory_lock,
        ..other("memory-lock", &[Hook::Kretprobe], privileges::memory_lock)
    },
    Case {
        runs: locked_down,
        ..other("lockdown", &[Hook::Kretprobe], privileges::lockdown)
    },
    Case {
        runs: without_kprobes,
        ..other("no-kprobes", &[Hook::Kretprobe], privileges::no_kprobes)
    },
];

impl Case {
    fn run(&self, bench: &Bench) -> Result<String> {
        match &self.body {
            Body::Count(count) => count.run(bench),
            Body::Other(run) => run(bench),
        }
    }
}

/// What is to run in a place; `only`, if not empty, names the cases wanted.
pub(crate) fn planned(place: Place, only: &[String]) -> Vec<Id> {
    CASES
        .iter()
        .filter(|case| only.is_empty() || only.iter().any(|name| name == case.name))
        .flat_map(|case| {
            let hooks = case
                .hooks
                .iter()
                .filter(move |hook| (case.runs)(place, **hook));
            hooks.map(|hook| Id {
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
        as_user: None,
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
        assert!(planned(Place::Native { has_kprobes: false }, &[]).len() > 3);
        assert!(planned(Place::Native { has_kprobes: true }, &[]).len() > 9);
        assert!(!planned(Place::LockedDown, &[]).is_empty());
    }
}
