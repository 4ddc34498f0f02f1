//! Which runs there are: each case with each of its hooks, on a machine or on any.

use std::fmt;

use lab::hook::Hook;
use lab::machine::{Line, Machine, Processors};

use crate::case::Case;
use crate::list::CASES;

/// The kernel of cases for which one is enough.
const ONE_KERNEL: Line = Line::V6_12;

/// How many of the runs are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The runs that every change is tested with.
    Usual,
    /// All runs.
    All,
}

impl Depth {
    /// Whether a run is one of them on a machine.
    fn includes(self, run: Run, machine: Machine) -> bool {
        let is_heavy = match machine {
            Machine::Guest(line) if run.case.on_one_kernel && line != ONE_KERNEL => true,
            // The newest kernel runs these.
            Machine::Guest(Line::V6_1 | Line::V6_12) => run.hook == Hook::Lsm,
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
        depth.includes(self, machine) && (self.case.runs)(machine, self.hook)
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
