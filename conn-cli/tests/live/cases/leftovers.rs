//! A killed conn-cli must leave nothing in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use anyhow::{Context as _, Result, ensure};
use lab::bpf::bpf;
use lab::hook::Hook;
use lab::process::poll_until;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

/// `BPF_PROG_GET_NEXT_ID` of `enum bpf_cmd`.
const PROG_GET_NEXT_ID: libc::c_int = 11;

const KPROBE_EVENTS: &str = "/sys/kernel/tracing/kprobe_events";
const KPROBES: &str = "/sys/kernel/debug/kprobes/list";

pub(crate) fn killed(context: &Context) -> Result<String> {
    let before = kernel_objects()?;
    let mut tracer = Tracer::start(&mut context.conn_cli(context.port))?;
    let during: BTreeSet<_> = kernel_objects()?.difference(&before).cloned().collect();
    ensure!(
        during.iter().any(|object| object.starts_with("program")),
        "the test is at fault: there is no program while conn-cli runs"
    );
    ensure!(
        context.hook != Hook::Kretprobe || during.iter().any(|object| object.starts_with(KPROBES)),
        "the test is at fault: there is no kprobe while conn-cli runs"
    );
    tracer.process.signal(Signal::KILL)?;
    tracer.process.wait()?;
    // The kernel removes them a little later.
    poll_until(&format!("nothing is left of {during:?}"), || {
        Ok(kernel_objects()?.is_subset(&before))
    })?;
    Ok(format!("gone: {}", during.len()))
}

/// Every probe and every eBPF program in the kernel.
fn kernel_objects() -> Result<BTreeSet<String>> {
    let mut objects = BTreeSet::new();
    for list in [KPROBE_EVENTS, KPROBES] {
        let text = fs::read_to_string(list).with_context(|| format!("cannot read {list}"))?;
        objects.extend(text.lines().map(|line| format!("{list}: {line}")));
    }
    let mut id = 0;
    while let Some(next) = next_program(id).context("cannot list the eBPF programs")? {
        objects.insert(format!("program {next}"));
        id = next;
    }
    Ok(objects)
}

fn next_program(id: u32) -> io::Result<Option<u32>> {
    // The part of `union bpf_attr` that this command uses: `start_id`, `next_id`, `open_flags`.
    let mut attributes = [id, 0, 0];
    // SAFETY: the attributes have no pointers.
    match unsafe { bpf(PROG_GET_NEXT_ID, &mut attributes) } {
        Ok(_) => Ok(Some(attributes[1])),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
