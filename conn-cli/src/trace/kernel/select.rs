//! Chooses the hook: the first one that is exact on this machine and that loads and attaches.
//! Version numbers do not decide.

use super::Refusal;
use crate::model::{exactness::Exactness, hook::Hook};

/// The hook that is used, and those that were tried before it.
#[derive(Debug)]
pub struct Choice<T> {
    /// The result of attaching it.
    pub attached: T,
    /// Whether it is exact here.
    pub exactness: Exactness,
    /// Each hook that precedes it in the list or was tried before it, with the reason why it is not
    /// used.
    pub passed_over: Vec<(Hook, String)>,
}

/// The hooks that could not be attached, in the order of the attempts, with the reason of each.
pub type Refused = Vec<(Hook, Refusal)>;

/// Tries these hooks until `attach` succeeds: those that `judge` calls exact, then the others, both
/// in the given order.
///
/// # Errors
/// The refusal of each hook that was tried, in order. Only the last if no other hook can succeed.
pub fn choose<T>(
    candidates: &[Hook],
    judge: impl Fn(Hook) -> Exactness,
    mut attach: impl FnMut(Hook) -> Result<T, Refusal>,
) -> Result<Choice<T>, Refused> {
    let judged = candidates.iter().map(|&hook| (hook, judge(hook)));
    let (exact, inexact): (Vec<_>, Vec<_>) = judged.partition(|(_, judged)| judged.is_exact());
    for (hook, exactness) in exact.iter().chain(&inexact) {
        let exact = if exactness.is_exact() {
            "exact"
        } else {
            "not exact"
        };
        log::debug!("{} is {exact} here: {}", hook.name(), exactness.reason());
    }
    // Passed over if an exact hook that follows them in the list is used.
    let postponed: Vec<_> = inexact
        .iter()
        .map(|(hook, exactness)| (*hook, exactness.reason().to_owned()))
        .collect();
    let position = |wanted: Hook| candidates.iter().position(|&hook| hook == wanted);
    let mut refused = Refused::new();
    for (hook, exactness) in exact.into_iter().chain(inexact) {
        match attach(hook) {
            Ok(attached) => {
                let is_before = |other: Hook| position(other) < position(hook);
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
            Err(refusal) if refusal.is_final() => return Err(vec![(hook, refusal)]),
            Err(refusal) => refused.push((hook, refusal)),
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::model::{
        exactness::judge,
        hook::{Needs, counting_candidates},
        preemption::Preemption,
        stage::{Stage, WatchedStages},
    };

    /// Runs `choose` on a machine where only the `usable` hooks attach. Also returns the attempts.
    fn choose_with(
        probe: Option<Hook>,
        usable: &[Hook],
        refusal: &Refusal,
    ) -> (Result<Choice<Hook>, Refused>, Vec<Hook>) {
        choose_on(Preemption::Voluntary, probe, usable, refusal)
    }

    fn choose_on(
        preemption: Preemption,
        probe: Option<Hook>,
        usable: &[Hook],
        refusal: &Refusal,
    ) -> (Result<Choice<Hook>, Refused>, Vec<Hook>) {
        let mut tried = Vec::new();
        let candidates = counting_candidates(
            probe,
            &WatchedStages::only(Stage::Accepted),
            Needs::default(),
        )
        .unwrap();
        let judge = |hook| judge(hook, preemption, true);
        let result = choose(&candidates, judge, |hook| {
            tried.push(hook);
            if usable.contains(&hook) {
                Ok(hook)
            } else {
                Err(refusal.clone())
            }
        });
        (result, tried)
    }

    const ALL: [Hook; 5] = [
        Hook::Kretprobe,
        Hook::Lsm,
        Hook::Fentry,
        Hook::SockOps,
        Hook::Tracepoint,
    ];

    #[test]
    fn inexact_hooks_are_tried_after_exact_ones() {
        let choose_on_lazy = |usable| choose_on(Preemption::Lazy, None, usable, &Refusal::NoBtf);
        let reason = judge(Hook::Kretprobe, Preemption::Lazy, true);
        let passed_over_pair = (Hook::Kretprobe, reason.reason().to_owned());
        let (result, tried) = choose_on_lazy(&ALL);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Hook::Lsm);
        assert!(choice.exactness.is_exact());
        assert_eq!(choice.passed_over, slice::from_ref(&passed_over_pair));
        assert_eq!(tried, [Hook::Lsm]);

        let (result, _) = choose_on_lazy(&ALL[2..]);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Hook::Fentry);
        assert_eq!(
            choice.passed_over,
            [passed_over_pair, (Hook::Lsm, Refusal::NoBtf.reason())]
        );

        let (result, tried) = choose_on_lazy(&[Hook::Kretprobe, Hook::Tracepoint]);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Hook::Kretprobe);
        assert!(!choice.exactness.is_exact());
        assert_eq!(
            tried,
            [Hook::Lsm, Hook::Fentry, Hook::SockOps, Hook::Kretprobe]
        );
        assert_eq!(choice.passed_over.len(), 3);
    }

    #[test]
    fn only_the_pair_is_tried_if_it_is_exact_and_attaches() {
        let (result, tried) = choose_with(None, &ALL, &Refusal::NoKprobes);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Hook::Kretprobe);
        assert_eq!(choice.passed_over, []);
        assert_eq!(tried, [Hook::Kretprobe]);
    }

    #[test]
    fn auto_falls_back_in_order_and_returns_the_reasons() {
        let (result, _) = choose_with(None, &ALL[1..], &Refusal::NoKprobes);
        assert_eq!(result.unwrap().attached, Hook::Lsm);
        let (result, tried) = choose_with(None, &ALL[4..], &Refusal::NoBtf);
        let choice = result.unwrap();
        assert_eq!(choice.attached, Hook::Tracepoint);
        assert_eq!(
            choice.passed_over,
            [
                (Hook::Kretprobe, Refusal::NoBtf.reason()),
                (Hook::Lsm, Refusal::NoBtf.reason()),
                (Hook::Fentry, Refusal::NoBtf.reason()),
                (Hook::SockOps, Refusal::NoBtf.reason())
            ]
        );
        assert_eq!(tried, ALL);
    }

    #[test]
    fn every_reason_is_returned_if_no_hook_attaches() {
        let (result, tried) = choose_with(None, &[], &Refusal::NoKprobes);
        assert_eq!(
            result.unwrap_err(),
            ALL.map(|hook| (hook, Refusal::NoKprobes))
        );
        assert_eq!(tried, ALL);
    }

    #[test]
    fn an_explicit_probe_tries_only_that_hook() {
        for (probe, hook) in [
            (Some(Hook::Kretprobe), Hook::Kretprobe),
            (Some(Hook::Lsm), Hook::Lsm),
            (Some(Hook::Fentry), Hook::Fentry),
            (Some(Hook::SockOps), Hook::SockOps),
            (Some(Hook::Tracepoint), Hook::Tracepoint),
        ] {
            let (result, tried) = choose_with(probe, &[], &Refusal::NoBtf);
            assert_eq!(result.unwrap_err(), [(hook, Refusal::NoBtf)]);
            assert_eq!(tried, [hook]);
            let (result, _) = choose_with(probe, &[hook], &Refusal::NoBtf);
            assert_eq!(result.unwrap().attached, hook);
        }
    }

    #[test]
    fn a_final_refusal_ends_the_search() {
        let (result, tried) = choose_with(None, &ALL[1..], &Refusal::NotPermitted);
        assert_eq!(
            result.unwrap_err(),
            [(Hook::Kretprobe, Refusal::NotPermitted)]
        );
        assert_eq!(tried, [Hook::Kretprobe]);
    }
}
