//! Which hook to use: the first that is exact on this machine, decided by what really loads and
//! attaches, not by version numbers.

use std::collections::BTreeSet;

use super::{Backend, Exactness, Refusal};
use crate::{cli::Probe, connection::Stage};

/// The hook that is used, and those that were tried before it.
#[derive(Debug)]
pub struct Choice<T> {
    /// What attaching gave.
    pub attached: T,
    /// Whether it is exact here.
    pub exactness: Exactness,
    /// Each hook that comes before it in the list, or was tried before it, with the reason why it is
    /// not used.
    pub passed_over: Vec<(Backend, String)>,
}

/// The hooks that were tried in vain, in order, with the reason of each.
pub type Refused = Vec<(Backend, Refusal)>;

/// The hooks that see the last of these stages, in the order in which those that are exact are
/// tried. The tracepoint stands in where
/// nothing sees accepts, unless it is `of_tasks`: asked who accepts, which it does not know.
///
/// # Errors
/// Why `probe` does not go with what is asked.
pub fn candidates(
    probe: Probe,
    stages: &BTreeSet<Stage>,
    of_tasks: bool,
) -> Result<Vec<Backend>, String> {
    let only = |name: &str| {
        Err(format!(
            "--probe {name} is a way to see accepted connections, and --event does not ask for \
             them"
        ))
    };
    match (stages.last(), probe) {
        (Some(Stage::Accepted) | None, probe) => Ok(match probe {
            Probe::Auto if of_tasks => vec![Backend::Kretprobe, Backend::Lsm, Backend::Fentry],
            Probe::Auto => vec![
                Backend::Kretprobe,
                Backend::Lsm,
                Backend::Fentry,
                Backend::Tracepoint,
            ],
            Probe::Kretprobe => vec![Backend::Kretprobe],
            Probe::Lsm => vec![Backend::Lsm],
            Probe::Fentry => vec![Backend::Fentry],
            Probe::Tracepoint if of_tasks => {
                return Err(
                    "--probe tracepoint does not know who accepts: it does not go with --pid, \
                     --comm, --uid, --cgroup, nor with --by process, cgroup or user"
                        .to_owned(),
                );
            }
            Probe::Tracepoint => vec![Backend::Tracepoint],
        }),
        (_, Probe::Kretprobe) => only("kretprobe"),
        (_, Probe::Lsm) => only("lsm"),
        (_, Probe::Fentry) => only("fentry"),
        (Some(Stage::Syn), Probe::Tracepoint) => only("tracepoint"),
        (Some(Stage::Established), _) => Ok(vec![Backend::Tracepoint]),
        (Some(Stage::Syn), Probe::Auto) => Ok(vec![Backend::Filter]),
    }
}

/// Tries these hooks until `attach` succeeds: those that `judge` calls exact, then the others, both
/// in their order.
///
/// # Errors
/// The refusal of each hook that was tried, in order.
pub fn choose<T>(
    candidates: &[Backend],
    judge: impl Fn(Backend) -> Exactness,
    mut attach: impl FnMut(Backend) -> Result<T, Refusal>,
) -> Result<Choice<T>, Refused> {
    let judged = candidates.iter().map(|&backend| (backend, judge(backend)));
    let (exact, inexact): (Vec<_>, Vec<_>) = judged.partition(|(_, judged)| judged.is_exact());
    for (backend, exactness) in exact.iter().chain(&inexact) {
        let exact = if exactness.is_exact() {
            "exact"
        } else {
            "not exact"
        };
        log::debug!("{} is {exact} here: {}", backend.name(), exactness.reason());
    }
    // Those that come before an exact one, which is used in their place.
    let put_off: Vec<_> = inexact
        .iter()
        .map(|(backend, exactness)| (*backend, exactness.reason().to_owned()))
        .collect();
    let place = |new: Backend| candidates.iter().position(|&backend| backend == new);
    let mut refused = Refused::new();
    for (backend, exactness) in exact.into_iter().chain(inexact) {
        match attach(backend) {
            Ok(attached) => {
                let is_before = |other: Backend| place(other) < place(backend);
                let put_off = put_off
                    .into_iter()
                    .filter(|(other, _)| exactness.is_exact() && is_before(*other));
                let refused = refused.iter().map(|(other, why)| (*other, why.reason()));
                return Ok(Choice {
                    attached,
                    passed_over: put_off.chain(refused).collect(),
                    exactness,
                });
            }
            Err(refusal) if refusal.is_final() => return Err(vec![(backend, refusal)]),
            Err(refusal) => refused.push((backend, refusal)),
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::{
        super::{Preemption, judge},
        *,
    };

    /// Runs `choose` on a machine where only `works` attach; gives also what was tried.
    fn on(
        probe: Probe,
        works: &[Backend],
        refusal: &Refusal,
    ) -> (Result<Choice<Backend>, Refused>, Vec<Backend>) {
        with_preemption(Preemption::Voluntary, probe, works, refusal)
    }

    fn with_preemption(
        preemption: Preemption,
        probe: Probe,
        works: &[Backend],
        refusal: &Refusal,
    ) -> (Result<Choice<Backend>, Refused>, Vec<Backend>) {
        let mut tried = Vec::new();
        let candidates = candidates(probe, &[Stage::Accepted].into(), false).unwrap();
        let judge = |backend| judge(backend, preemption, true);
        let result = choose(&candidates, judge, |backend| {
            tried.push(backend);
            match works.contains(&backend) {
                true => Ok(backend),
                false => Err(refusal.clone()),
            }
        });
        (result, tried)
    }

    const ALL: [Backend; 4] = [
        Backend::Kretprobe,
        Backend::Lsm,
        Backend::Fentry,
        Backend::Tracepoint,
    ];

    #[test]
    fn a_hook_that_is_not_exact_is_tried_after_those_that_are() {
        let lazy = |works| with_preemption(Preemption::Lazy, Probe::Auto, works, &Refusal::NoBtf);
        let reason = judge(Backend::Kretprobe, Preemption::Lazy, true);
        let would_miss = (Backend::Kretprobe, reason.reason().to_owned());
        let (result, tried) = lazy(&ALL);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Lsm);
        assert!(choice.exactness.is_exact());
        assert_eq!(choice.passed_over, slice::from_ref(&would_miss));
        assert_eq!(tried, [Backend::Lsm]);

        let (result, _) = lazy(&ALL[2..]);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Fentry);
        assert_eq!(
            choice.passed_over,
            [would_miss, (Backend::Lsm, Refusal::NoBtf.reason())]
        );

        let (result, tried) = lazy(&[Backend::Kretprobe, Backend::Tracepoint]);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Kretprobe);
        assert!(!choice.exactness.is_exact());
        assert_eq!(tried, [Backend::Lsm, Backend::Fentry, Backend::Kretprobe]);
        assert_eq!(choice.passed_over.len(), 2);
    }

    #[test]
    fn the_pair_is_first_and_nothing_else_is_tried() {
        let (result, tried) = on(Probe::Auto, &ALL, &Refusal::NoKprobes);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Kretprobe);
        assert_eq!(choice.passed_over, []);
        assert_eq!(tried, [Backend::Kretprobe]);
    }

    #[test]
    fn auto_falls_back_in_order_and_keeps_the_reasons() {
        let (result, _) = on(Probe::Auto, &ALL[1..], &Refusal::NoKprobes);
        assert_eq!(result.unwrap().attached, Backend::Lsm);
        let (result, tried) = on(Probe::Auto, &ALL[3..], &Refusal::NoBtf);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Tracepoint);
        assert_eq!(
            choice.passed_over,
            [
                (Backend::Kretprobe, Refusal::NoBtf.reason()),
                (Backend::Lsm, Refusal::NoBtf.reason()),
                (Backend::Fentry, Refusal::NoBtf.reason())
            ]
        );
        assert_eq!(tried, ALL);
    }

    #[test]
    fn when_nothing_works_every_reason_is_given() {
        let (result, tried) = on(Probe::Auto, &[], &Refusal::NoKprobes);
        assert_eq!(
            result.unwrap_err(),
            ALL.map(|backend| (backend, Refusal::NoKprobes))
        );
        assert_eq!(tried, ALL);
    }

    #[test]
    fn insisting_tries_one() {
        for (probe, backend) in [
            (Probe::Kretprobe, Backend::Kretprobe),
            (Probe::Lsm, Backend::Lsm),
            (Probe::Fentry, Backend::Fentry),
            (Probe::Tracepoint, Backend::Tracepoint),
        ] {
            let (result, tried) = on(probe, &[], &Refusal::NoBtf);
            assert_eq!(result.unwrap_err(), [(backend, Refusal::NoBtf)]);
            assert_eq!(tried, [backend]);
            let (result, _) = on(probe, &[backend], &Refusal::NoBtf);
            assert_eq!(result.unwrap().attached, backend);
        }
    }

    #[test]
    fn what_concerns_every_hook_ends_the_search() {
        let (result, tried) = on(Probe::Auto, &ALL[1..], &Refusal::NotPermitted);
        assert_eq!(
            result.unwrap_err(),
            [(Backend::Kretprobe, Refusal::NotPermitted)]
        );
        assert_eq!(tried, [Backend::Kretprobe]);
    }

    #[test]
    fn a_probe_is_for_accepted_connections() {
        let established = [Stage::Syn, Stage::Established].into();
        for probe in [Probe::Auto, Probe::Tracepoint] {
            assert_eq!(
                candidates(probe, &established, false),
                Ok(vec![Backend::Tracepoint])
            );
        }
        assert!(candidates(Probe::Kretprobe, &established, false).is_err());
        let syn = [Stage::Syn].into();
        assert_eq!(
            candidates(Probe::Auto, &syn, false),
            Ok(vec![Backend::Filter])
        );
        assert!(candidates(Probe::Fentry, &syn, false).is_err());
        let all = [Stage::Syn, Stage::Established, Stage::Accepted].into();
        assert_eq!(candidates(Probe::Auto, &all, false), Ok(ALL.to_vec()));
        let accepted = [Stage::Accepted].into();
        assert_eq!(
            candidates(Probe::Auto, &accepted, true),
            Ok(ALL[..3].to_vec())
        );
        assert!(candidates(Probe::Tracepoint, &accepted, true).is_err());
    }
}
