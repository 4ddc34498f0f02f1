//! Whether a hook counts every connection on this machine, and why.

use super::{hook::Hook, preemption::Preemption};

/// Whether a hook counts every connection here. Each variant holds the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// It counts every connection.
    Exact(String),
    /// It may miss connections, which was known when it was attached.
    Inexact(String),
    /// It was exact when it was attached and no longer is.
    Lost(String),
}

impl Exactness {
    /// Whether it counts every connection.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Why, or why not.
    #[must_use]
    pub fn reason(&self) -> &str {
        let (Self::Exact(reason) | Self::Inexact(reason) | Self::Lost(reason)) = self;
        reason
    }
}

/// Judges a hook on a kernel with this preemption. `counts_misses`: whether the kernel counts how
/// often it skips the hook's program.
///
/// On a preemptible kernel before Linux 5.11, calling the pair inexact is cautious: there
/// `migrate_disable` was `preempt_disable`, so the reader of a map is not preempted.
#[must_use]
pub(crate) fn judge(hook: Hook, preemption: Preemption, counts_misses: bool) -> Exactness {
    let exact = |reason: &str| Exactness::Exact(reason.to_owned());
    let inexact = |reason: &str| {
        Exactness::Inexact(reason.to_owned() + if counts_misses { "" } else { UNCOUNTED })
    };
    match hook {
        Hook::Kretprobe if preemption.is_preemptible() => {
            inexact(&format!("{}, so {MISSED}", preemptible(preemption)))
        }
        Hook::Kretprobe => exact(&format!("this kernel is not preemptible ({preemption})")),
        Hook::Lsm => exact("no other program makes the kernel skip an LSM program"),
        Hook::Fentry | Hook::Requests => {
            exact("no other program makes the kernel skip an fentry program")
        }
        Hook::Tracepoint => inexact("the kernel may skip the program where a packet interrupts it"),
        Hook::SockOps => exact("nothing makes the kernel skip a sock_ops program"),
        Hook::Filter => exact("nothing makes the kernel skip a socket filter"),
    }
}

/// Judges a hook over a run that began with the preemption `before` and ended with `after`.
#[must_use]
pub(crate) fn judge_run(
    hook: Hook,
    (before, after): (Preemption, Preemption),
    counts_misses: bool,
) -> Exactness {
    let at_start = judge(hook, before, counts_misses);
    if !at_start.is_exact() || judge(hook, after, counts_misses).is_exact() {
        return at_start;
    }
    let reason = format!(
        "the preemption of this kernel was switched from {before} to {after} during the run, so \
         {MISSED}"
    );
    Exactness::Lost(reason + if counts_misses { "" } else { UNCOUNTED })
}

/// Whether the count is only a lower bound: an unknown number of connections is, or may be,
/// missing. A hook that was inexact from the start is not enough: the announcement said so before
/// anything was counted.
#[must_use]
pub(crate) fn is_at_least(exactness: &Exactness, missed_runs: Option<u64>) -> bool {
    match missed_runs {
        Some(missed) => missed > 0,
        None => matches!(exactness, Exactness::Lost(_)),
    }
}

const MISSED: &str = "connections would be missed whenever another program reads BPF maps";
const UNCOUNTED: &str = ", and the kernel does not count how often";

/// A clause that says that the kernel is, or may be, preemptible.
fn preemptible(preemption: Preemption) -> String {
    match preemption {
        Preemption::Unknown => "this kernel may be preemptible (mode unknown)".to_owned(),
        known => format!("this kernel is preemptible ({known})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact_hooks(preemption: Preemption) -> Vec<Hook> {
        let is_exact = |hook: &Hook| judge(*hook, preemption, true).is_exact();
        Hook::ALL.into_iter().filter(is_exact).collect()
    }

    #[test]
    fn the_pair_is_exact_if_the_kernel_is_not_preemptible() {
        use Hook::{Fentry, Filter, Kretprobe, Lsm, Requests, SockOps};
        for preemption in [Preemption::None, Preemption::Voluntary] {
            let exact = [Kretprobe, Lsm, Fentry, SockOps, Requests, Filter];
            assert_eq!(exact_hooks(preemption), exact);
        }
        for preemption in [
            Preemption::Full,
            Preemption::Lazy,
            Preemption::Realtime,
            Preemption::Unknown,
        ] {
            let exact = [Lsm, Fentry, SockOps, Requests, Filter];
            assert_eq!(exact_hooks(preemption), exact);
        }
    }

    #[test]
    fn the_reason_names_the_preemption_and_uncounted_misses() {
        let reason = |counts_misses| {
            let exactness = judge(Hook::Kretprobe, Preemption::Lazy, counts_misses);
            exactness.reason().to_owned()
        };
        assert_eq!(
            reason(true),
            "this kernel is preemptible (lazy), so connections would be missed whenever another \
             program reads BPF maps"
        );
        assert!(reason(false).ends_with("and the kernel does not count how often"));
    }

    #[test]
    fn missed_runs_make_the_count_a_lower_bound() {
        let exact = Exactness::Exact(String::new());
        assert!(!is_at_least(&exact, None));
        assert!(!is_at_least(&exact, Some(0)));
        assert!(is_at_least(&exact, Some(1)));
        let inexact = Exactness::Inexact(String::new());
        assert!(!is_at_least(&inexact, None));
        assert!(is_at_least(&inexact, Some(1)));
        let lost = Exactness::Lost(String::new());
        assert!(is_at_least(&lost, None));
        assert!(!is_at_least(&lost, Some(0)));
    }

    #[test]
    fn a_switch_to_full_preemption_loses_exactness() {
        use Preemption::{Full, None, Voluntary};
        let judge_pair = |before, after| judge_run(Hook::Kretprobe, (before, after), true);
        assert!(judge_pair(Voluntary, None).is_exact());
        let switched = judge_pair(Voluntary, Full);
        assert!(
            matches!(&switched, Exactness::Lost(why) if why.contains("from voluntary to full"))
        );
        // Connections may be missing from before the switch.
        assert_eq!(
            judge_pair(Full, Voluntary),
            judge(Hook::Kretprobe, Full, true)
        );
        assert!(judge_run(Hook::Fentry, (Voluntary, Full), true).is_exact());
    }
}
