//! Chooses the hook: the first one that is exact on this machine and that loads and attaches.
//! Version numbers do not decide.

use std::collections::BTreeSet;

use super::Refusal;
use crate::{
    cli::Probe,
    model::{connection::Stage, exactness::Exactness, hook::Backend},
};

/// The hook that is used, and those that were tried before it.
#[derive(Debug)]
pub struct Choice<T> {
    /// The result of attaching it.
    pub attached: T,
    /// Whether it is exact here.
    pub exactness: Exactness,
    /// Each hook that precedes it in the list or was tried before it, with the reason why it is not
    /// used.
    pub passed_over: Vec<(Backend, String)>,
}

/// The hooks that could not be attached, in the order of the attempts, with the reason of each.
pub type Refused = Vec<(Backend, Refusal)>;

/// The hooks that see the last of these stages, in the order in which the exact ones are tried. The
/// tracepoint is the fallback for accepts unless `needs_task`: it does not know the accepting task.
///
/// # Errors
/// Why `probe` cannot be used with the stages or with `needs_task`.
pub fn candidates(
    probe: Probe,
    stages: &BTreeSet<Stage>,
    needs_task: bool,
) -> Result<Vec<Backend>, String> {
    let only = |name: &str| {
        Err(format!(
            "--probe {name} sees accepted connections, which --event does not include"
        ))
    };
    match (stages.last(), probe) {
        (Some(Stage::Accepted) | None, probe) => Ok(match probe {
            Probe::Auto if needs_task => vec![Backend::Kretprobe, Backend::Lsm, Backend::Fentry],
            Probe::Auto => vec![
                Backend::Kretprobe,
                Backend::Lsm,
                Backend::Fentry,
                Backend::Tracepoint,
            ],
            Probe::Kretprobe => vec![Backend::Kretprobe],
            Probe::Lsm => vec![Backend::Lsm],
            Probe::Fentry => vec![Backend::Fentry],
            Probe::Tracepoint if needs_task => {
                return Err(
                    "--probe tracepoint does not know the accepting process: it cannot be used with \
                     --pid, --comm, --uid, --cgroup, nor with --by process, cgroup or user"
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
/// in the given order.
///
/// # Errors
/// The refusal of each hook that was tried, in order. Only the last if no other hook can succeed.
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
    // Passed over if an exact hook that follows them in the list is used.
    let postponed: Vec<_> = inexact
        .iter()
        .map(|(backend, exactness)| (*backend, exactness.reason().to_owned()))
        .collect();
    let position = |wanted: Backend| candidates.iter().position(|&backend| backend == wanted);
    let mut refused = Refused::new();
    for (backend, exactness) in exact.into_iter().chain(inexact) {
        match attach(backend) {
            Ok(attached) => {
                let is_before = |other: Backend| position(other) < position(backend);
                let postponed = postponed
                    .into_iter()
                    .filter(|(other, _)| exactness.is_exact() && is_before(*other));
                let refused = refused.iter().map(|(other, why)| (*other, why.reason()));
                return Ok(Choice {
                    attached,
                    passed_over: postponed.chain(refused).collect(),
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

    use super::*;
    use crate::model::{exactness::judge, preemption::Preemption};

    /// Runs `choose` on a machine where only the `usable` hooks attach. Also returns the attempts.
    fn choose_with(
        probe: Probe,
        usable: &[Backend],
        refusal: &Refusal,
    ) -> (Result<Choice<Backend>, Refused>, Vec<Backend>) {
        choose_on(Preemption::Voluntary, probe, usable, refusal)
    }

    fn choose_on(
        preemption: Preemption,
        probe: Probe,
        usable: &[Backend],
        refusal: &Refusal,
    ) -> (Result<Choice<Backend>, Refused>, Vec<Backend>) {
        let mut tried = Vec::new();
        let candidates = candidates(probe, &[Stage::Accepted].into(), false).unwrap();
        let judge = |backend| judge(backend, preemption, true);
        let result = choose(&candidates, judge, |backend| {
            tried.push(backend);
            if usable.contains(&backend) {
                Ok(backend)
            } else {
                Err(refusal.clone())
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
    fn inexact_hooks_are_tried_after_exact_ones() {
        let choose_on_lazy =
            |usable| choose_on(Preemption::Lazy, Probe::Auto, usable, &Refusal::NoBtf);
        let reason = judge(Backend::Kretprobe, Preemption::Lazy, true);
        let passed_over_pair = (Backend::Kretprobe, reason.reason().to_owned());
        let (result, tried) = choose_on_lazy(&ALL);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Lsm);
        assert!(choice.exactness.is_exact());
        assert_eq!(choice.passed_over, slice::from_ref(&passed_over_pair));
        assert_eq!(tried, [Backend::Lsm]);

        let (result, _) = choose_on_lazy(&ALL[2..]);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Fentry);
        assert_eq!(
            choice.passed_over,
            [passed_over_pair, (Backend::Lsm, Refusal::NoBtf.reason())]
        );

        let (result, tried) = choose_on_lazy(&[Backend::Kretprobe, Backend::Tracepoint]);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Kretprobe);
        assert!(!choice.exactness.is_exact());
        assert_eq!(tried, [Backend::Lsm, Backend::Fentry, Backend::Kretprobe]);
        assert_eq!(choice.passed_over.len(), 2);
    }

    #[test]
    fn only_the_pair_is_tried_if_it_is_exact_and_attaches() {
        let (result, tried) = choose_with(Probe::Auto, &ALL, &Refusal::NoKprobes);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Backend::Kretprobe);
        assert_eq!(choice.passed_over, []);
        assert_eq!(tried, [Backend::Kretprobe]);
    }

    #[test]
    fn auto_falls_back_in_order_and_returns_the_reasons() {
        let (result, _) = choose_with(Probe::Auto, &ALL[1..], &Refusal::NoKprobes);
        assert_eq!(result.unwrap().attached, Backend::Lsm);
        let (result, tried) = choose_with(Probe::Auto, &ALL[3..], &Refusal::NoBtf);
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
    fn every_reason_is_returned_if_no_hook_attaches() {
        let (result, tried) = choose_with(Probe::Auto, &[], &Refusal::NoKprobes);
        assert_eq!(
            result.unwrap_err(),
            ALL.map(|backend| (backend, Refusal::NoKprobes))
        );
        assert_eq!(tried, ALL);
    }

    #[test]
    fn an_explicit_probe_tries_only_that_hook() {
        for (probe, backend) in [
            (Probe::Kretprobe, Backend::Kretprobe),
            (Probe::Lsm, Backend::Lsm),
            (Probe::Fentry, Backend::Fentry),
            (Probe::Tracepoint, Backend::Tracepoint),
        ] {
            let (result, tried) = choose_with(probe, &[], &Refusal::NoBtf);
            assert_eq!(result.unwrap_err(), [(backend, Refusal::NoBtf)]);
            assert_eq!(tried, [backend]);
            let (result, _) = choose_with(probe, &[backend], &Refusal::NoBtf);
            assert_eq!(result.unwrap().attached, backend);
        }
    }

    #[test]
    fn a_final_refusal_ends_the_search() {
        let (result, tried) = choose_with(Probe::Auto, &ALL[1..], &Refusal::NotPermitted);
        assert_eq!(
            result.unwrap_err(),
            [(Backend::Kretprobe, Refusal::NotPermitted)]
        );
        assert_eq!(tried, [Backend::Kretprobe]);
    }

    #[test]
    fn candidates_depend_on_the_last_stage() {
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
