//! Which runs there are: each case with each of its hooks, on a machine or on any.

use std::fmt;

use lab::hook::Hook;
use lab::machine::{Line, Machine, Processors};

use crate::case::Case;
use crate::list::CASES;

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

/// A case with one of its hooks.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) case: &'static Case,
    pub(crate) hook: Hook,
}

impl Run {
    /// Whether it is planned on a machine.
    pub(crate) fn is_planned(self, machine: Machine, depth: Depth) -> bool {
        depth.includes(machine, self.hook) && (self.case.runs)(machine, self.hook)
    }
}

/// Its name, which is the same everywhere: `blocked-64/fentry`.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.case.name, self.hook)
    }
}

/// All runs that are planned on any machine.
pub(crate) fn all() -> impl Iterator<Item = Run> {
    CASES.iter().flat_map(|case| {
        let hooks = case.hooks.iter();
        hooks.map(move |hook| Run { case, hook: *hook })
    })
}

/// The runs that are planned on this machine.
pub(crate) fn planned(machine: Machine, depth: Depth) -> impl Iterator<Item = Run> {
    all().filter(move |run| run.is_planned(machine, depth))
}
