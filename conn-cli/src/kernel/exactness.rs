//! Whether a hook counts every connection on this machine, and why.

use super::{Backend, Preemption};

/// Whether a hook counts every connection here. Each holds the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// It does.
    Exact(String),
    /// It may miss some, and that was known when it was attached.
    Inexact(String),
    /// It did when it was attached, and no longer does.
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
/// Of the pair on a preemptible kernel before Linux 5.11 it is cautious: there the reader of a map
/// is not preempted (`migrate_disable` was `preempt_disable`).
#[must_use]
pub fn judge(backend: Backend, preemption: Preemption, counts_misses: bool) -> Exactness {
    let exact = |reason: &str| Exactness::Exact(reason.to_owned());
    let inexact = |reason: &str| {
        Exactness::Inexact(reason.to_owned() + if counts_misses { "" } else { UNCOUNTED })
    };
    match backend {
        Backend::Kretprobe if preemption.is_preemptible() => {
            inexact(&format!("{}, so {MISSED}", preemptible(preemption)))
        }
        Backend::Kretprobe => exact(&format!("this kernel is not preemptible ({preemption})")),
        Backend::Lsm => exact("no other program makes the kernel skip an LSM program"),
        Backend::Fentry => exact("no other program makes the kernel skip an fentry program"),
        Backend::Tracepoint => inexact(
            "the kernel skips the tracepoint where it interrupts or preempts another eBPF program \
             or one that reads BPF maps",
        ),
        Backend::Filter => exact("nothing makes the kernel skip a socket filter"),
    }
}

/// Judges a hook over a run that began with the preemption `before` and ended with `after`.
#[must_use]
pub fn judge_run(
    backend: Backend,
    (before, after): (Preemption, Preemption),
    counts_misses: bool,
) -> Exactness {
    let at_start = judge(backend, before, counts_misses);
    if !at_start.is_exact() || judge(backend, after, counts_misses).is_exact() {
        return at_start;
    }
    let reason = format!(
        "the preemption of this kernel was switched from {before} to {after} during the run, so \
         {MISSED}"
    );
    Exactness::Lost(reason + if counts_misses { "" } else { UNCOUNTED })
}

/// Whether the count is only the least that it can be: connections are missing, or may be, and
/// nobody knows how many. A hook that was inexact from the start does not make it so by itself: the
/// user was told before anything was counted.
#[must_use]
pub fn is_at_least(exactness: &Exactness, missed_runs: Option<u64>) -> bool {
    match missed_runs {
        Some(missed) => missed > 0,
        None => matches!(exactness, Exactness::Lost(_)),
    }
}

const MISSED: &str = "connections would be missed whenever another program reads BPF maps";
const UNCOUNTED: &str = ", and the kernel does not count how often";

/// Says that the kernel is preemptible, or may be.
fn preemptible(preemption: Preemption) -> String {
    match preemption {
        Preemption::Unknown => "this kernel may be preemptible (it does not tell)".to_owned(),
        known => format!("this kernel is preemptible ({known})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Backend; 5] = [
        Backend::Kretprobe,
        Backend::Lsm,
        Backend::Fentry,
        Backend::Tracepoint,
        Backend::Filter,
    ];

    fn exact(preemption: Preemption) -> Vec<Backend> {
        let is_exact = |backend: &Backend| judge(*backend, preemption, true).is_exact();
        ALL.into_iter().filter(is_exact).collect()
    }

    #[test]
    fn the_pair_is_exact_where_the_kernel_is_not_preemptible() {
        use Backend::{Fentry, Filter, Kretprobe, Lsm};
        for preemption in [Preemption::None, Preemption::Voluntary] {
            assert_eq!(exact(preemption), [Kretprobe, Lsm, Fentry, Filter]);
        }
        for preemption in [
            Preemption::Full,
            Preemption::Lazy,
            Preemption::Realtime,
            Preemption::Unknown,
        ] {
            assert_eq!(exact(preemption), [Lsm, Fentry, Filter]);
        }
    }

    #[test]
    fn the_reason_names_the_preemption_and_what_is_not_counted() {
        let reason = |counts| {
            let exactness = judge(Backend::Kretprobe, Preemption::Lazy, counts);
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
    fn missed_runs_make_a_count_the_least_that_it_can_be() {
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
    fn a_switch_during_the_run_counts() {
        use Preemption::{Full, None, Voluntary};
        let of_pair = |before, after| judge_run(Backend::Kretprobe, (before, after), true);
        assert!(of_pair(Voluntary, None).is_exact());
        let switched = of_pair(Voluntary, Full);
        assert!(
            matches!(&switched, Exactness::Lost(why) if why.contains("from voluntary to full"))
        );
        // What could be missed until then is as before.
        assert_eq!(
            of_pair(Full, Voluntary),
            judge(Backend::Kretprobe, Full, true)
        );
        assert!(judge_run(Backend::Fentry, (Voluntary, Full), true).is_exact());
    }
}
