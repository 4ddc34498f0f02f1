//! `conn-cli check`: tries each hook, and says what this machine allows.

use std::collections::HashMap;

use super::{settings::settings, target::Target};
use crate::{
    model::{
        check::{Check, HookCheck, Property, Use},
        exactness::{Exactness, judge},
        hook::{Hook, candidates},
        options::{CheckOptions, TraceOptions},
        self_test::SelfTestResult,
        stage::{Stage, WatchedStages},
    },
    output,
    report::Verdict,
    system::{files, machine},
    trace::kernel::{self, KernelTypes, PreemptionMode, Refusal, Tracer},
};

/// What came of attaching a hook.
type Tried = Result<SelfTestResult, Refusal>;

/// Checks what this machine allows. Returns the text to print, and whether accepts can be counted
/// exactly.
///
/// # Errors
/// Why that cannot be found out.
pub fn check(options: &CheckOptions) -> anyhow::Result<(Vec<u8>, Verdict)> {
    files::raise_limit();
    let types = kernel::read_types()?;
    let preemption = PreemptionMode::read();
    let judged = |hook| {
        judge(
            hook,
            preemption.at_start(),
            kernel::counts_misses(hook, &types),
        )
    };
    let tried = Hook::ALL
        .into_iter()
        .map(|hook| Ok((hook, attempt(hook, &options.trace)?)))
        .collect::<anyhow::Result<HashMap<Hook, Tried>>>()?;
    let counting = counting(&tried, &judged);
    let check = Check {
        machine: properties(&preemption, &types),
        hooks: Hook::ALL
            .into_iter()
            .map(|hook| hook_check(hook, &tried[&hook], &judged(hook)))
            .collect(),
        uses: vec![
            Use {
                options: "--port 80",
                hooks: counting.into_iter().collect(),
            },
            Use {
                options: "--port 80 --funnel",
                hooks: funnel(counting, &tried),
            },
        ],
        counts_accepts_exactly: counting
            .is_some_and(|hook| hook.stage() == Stage::Accepted && judged(hook).is_exact()),
    };
    let verdict = if check.counts_accepts_exactly {
        Verdict::Trusted
    } else {
        Verdict::AtLeast
    };
    Ok((output::check(&check, options.json), verdict))
}

fn properties(preemption: &PreemptionMode, types: &KernelTypes) -> Vec<Property> {
    let yes = |has| if has { "yes" } else { "no" }.to_owned();
    let preempted = [("preemption", preemption.at_start().to_string())];
    let features = [
        ("BTF", yes(types.has_btf())),
        ("counts kprobe misses", yes(types.counts_kprobe_misses)),
    ];
    let all = machine::describe()
        .into_iter()
        .chain(preempted)
        .chain(features);
    all.map(|(name, value)| Property { name, value }).collect()
}

/// Attaches the hook, and detaches it again.
fn attempt(hook: Hook, options: &TraceOptions) -> anyhow::Result<Tried> {
    let options = TraceOptions {
        stages: WatchedStages::only(hook.stage()),
        ..options.clone()
    };
    let settings = settings(&options, &Target::default())?;
    Ok(kernel::require()
        .and_then(|()| Tracer::attach(hook, &settings))
        .map(|tracer| tracer.first_self_test()))
}

fn hook_check(hook: Hook, tried: &Tried, exactness: &Exactness) -> HookCheck {
    match tried {
        Ok(self_test) => HookCheck {
            hook,
            works: true,
            exact: Some(exactness.is_exact()),
            reason: exactness.reason().to_owned(),
            remedy: None,
            not_tested: match self_test {
                SelfTestResult::NotTested(why) => Some(why.clone()),
                SelfTestResult::Passed | SelfTestResult::Silent(..) => None,
            },
        },
        Err(refusal) => HookCheck {
            hook,
            works: false,
            exact: None,
            reason: refusal.reason(),
            remedy: refusal.remedy().map(|remedy| remedy.to_string()),
            not_tested: None,
        },
    }
}

/// The hook that tracing would count with.
fn counting(tried: &HashMap<Hook, Tried>, judged: &impl Fn(Hook) -> Exactness) -> Option<Hook> {
    let attach = |hook: Hook| tried[&hook].clone().map(|_| hook);
    let choice = kernel::choose(candidates(Stage::Accepted), judged, attach);
    choice.ok().map(|choice| choice.attached)
}

/// The hooks of all stages, the last one first. Empty if one stage has none.
fn funnel(counting: Option<Hook>, tried: &HashMap<Hook, Tried>) -> Vec<Hook> {
    let Some(counting) = counting else {
        return Vec::new();
    };
    let earlier = Stage::ALL.into_iter().rev();
    let earlier = earlier.filter(|stage| *stage < counting.stage());
    let works = |hook: &&Hook| tried[*hook].is_ok();
    let hooks = earlier.map(|stage| candidates(stage).iter().find(works).copied());
    [Some(counting)]
        .into_iter()
        .chain(hooks)
        .collect::<Option<_>>()
        .unwrap_or_default()
}
