//! What a case is, and the usual kinds of them.

use anyhow::Result;
use lab::accept::Accept;
use lab::hook::Hook;
use lab::machine::Machine;

use crate::cases::exact::Count;
use crate::context::Context;
use crate::machines::{EACH, everywhere, in_every_guest, native, once, with_last_stage};

/// Runs a case, and returns what it found.
pub(crate) type Run = fn(&Context) -> Result<String>;

/// What a case does.
pub(crate) enum Body {
    Count(Count),
    Other(Run),
}

/// A test case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) hooks: &'static [Hook],
    /// The programs of the machine that it runs, beside conn-cli.
    pub(crate) programs: &'static [&'static str],
    /// Whether the case runs on a machine with a hook.
    pub(crate) runs: fn(Machine, Hook) -> bool,
    /// Whether one kernel is enough, beside this machine's own, unless all runs are wanted.
    pub(crate) on_one_kernel: bool,
    pub(crate) body: Body,
}

impl Case {
    pub(crate) fn run(&self, context: &Context) -> Result<String> {
        match &self.body {
            Body::Count(count) => count.run(context),
            Body::Other(run) => run(context),
        }
    }
}

/// A counting case, with each hook in every guest.
pub(crate) const fn count(name: &'static str, count: Count) -> Case {
    Case {
        name,
        hooks: EACH,
        programs: &[],
        runs: in_every_guest,
        on_one_kernel: false,
        body: Body::Count(count),
    }
}

/// Counts what this many threads accept, which wait before conn-cli attaches.
pub(crate) const fn blocked(threads: u32) -> Count {
    Count {
        accept: Accept::Threads(threads),
        ..Count::PLAIN
    }
}

/// A case that runs with these hooks in every guest.
pub(crate) const fn case(name: &'static str, hooks: &'static [Hook], run: Run) -> Case {
    Case {
        name,
        hooks,
        programs: &[],
        runs: in_every_guest,
        on_one_kernel: false,
        body: Body::Other(run),
    }
}

/// A case that runs with each hook, natively, too.
pub(crate) const fn everywhere_case(name: &'static str, run: Run) -> Case {
    Case {
        runs: everywhere,
        ..case(name, EACH, run)
    }
}

/// A case of several stages, which runs natively, too.
pub(crate) const fn stages(name: &'static str, run: Run) -> Case {
    Case {
        runs: with_last_stage,
        ..case(name, EACH, run)
    }
}

/// A case that does not depend on the hook, and runs natively, too.
pub(crate) const fn single_hook(name: &'static str, run: Run) -> Case {
    Case {
        runs: once,
        ..case(name, &[Hook::Kretprobe, Hook::SockOps], run)
    }
}

/// The same case, which also runs these programs.
pub(crate) const fn needing(programs: &'static [&'static str], case: Case) -> Case {
    Case { programs, ..case }
}

/// The same case, with programs of this machine that no guest has.
pub(crate) const fn natively(case: Case) -> Case {
    Case {
        runs: native,
        ..case
    }
}

/// The same case, which does not depend on the kernel, or takes long.
pub(crate) const fn on_one_kernel(case: Case) -> Case {
    Case {
        on_one_kernel: true,
        ..case
    }
}
