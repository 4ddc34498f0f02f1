//! What is said when tracing begins: which connections are traced, and what limits the count.

use crate::{
    model::{
        exactness::Exactness, hook::Hook, options::TraceOptions, scope::Scope,
        self_test::SelfTestOutcome,
    },
    system::stderr::say,
    trace::kernel::{self, Settings, Tracer},
};

/// Says that tracing has begun, and what limits the count; with `--verbose` also which hooks are used, and
/// why those in `passed_over` are not. Returns the limits that nothing else repeats at the end.
pub(super) fn announce(
    options: &TraceOptions,
    settings: &Settings,
    tracer: &Tracer,
    exactness: &Exactness,
    passed_over: &[(Hook, String)],
    self_test: &SelfTestOutcome,
) -> Vec<String> {
    let (hook, earlier) = (tracer.hook(), tracer.earlier_hooks());
    let mut limits = kernel::limits(hook, earlier, &settings.types.offsets);
    if settings.must_count_users() {
        limits.push("without BTF, network namespaces of users count, too".to_owned());
    }
    let mut notes = Vec::new();
    if hook.stage() < options.stages.counted() {
        let why = if options.hook.is_none() {
            " (why: -v)"
        } else {
            ""
        };
        notes.push(format!(
            "counts handshakes, not accepts, and knows no process{why}"
        ));
    }
    if !exactness.is_exact() {
        notes.push(format!(
            "connections may be missing: {}",
            exactness.reason()
        ));
    }
    if let SelfTestOutcome::NotTested(why) = self_test {
        notes.push(format!("not self-tested: {why}"));
    } else if let Some(why) = tracer.untested_stage() {
        limits.push(format!("one hook is not self-tested: {why}"));
    }
    say(format_args!(
        "Tracing TCP connections {}",
        Scope::live(options)
    ));
    if options.verbose {
        for line in kernel::choice(hook, earlier, passed_over) {
            say(line);
        }
    }
    let sizes = settings.sizes;
    if options.verbose || sizes.is_reduced {
        let why = if sizes.is_reduced {
            "note: for little memory"
        } else {
            "sizes"
        };
        say(format_args!(
            "{why}: --buffer-size {} --max-clients {}",
            sizes.buffer, sizes.max_clients
        ));
    }
    for note in notes.iter().chain(&limits) {
        say(format_args!("note: {note}"));
    }
    limits
}
