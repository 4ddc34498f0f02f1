//! What conn-cli needs, and what it says when it may not.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::as_user;
use super::exact::Count;
use super::plan::Bench;
use super::tracer::run_to_end;

/// A limit that no map of conn-cli fits in.
const SMALL_MEMORY_LOCK: &str = "65536";

/// An ordinary user needs two capabilities, and then counts as well as root does.
pub(super) fn two_capabilities(bench: &Bench) -> Result<String> {
    let _paranoid = PerfParanoid::set("2")?;
    let as_user = Bench {
        as_user: Some(&["--bpf-and-perfmon"]),
        ..bench.clone()
    };
    Count::PLAIN.run(&as_user)
}

/// Debian's and Ubuntu's kernels can keep perf events, which kprobes hang on, for root.
pub(super) fn perf_paranoid(bench: &Bench) -> Result<String> {
    let _paranoid = PerfParanoid::set("3")?;
    let mut command = as_user::command(&["--bpf-and-perfmon"], &bench.conn_cli(bench.port));
    refused(&mut command, 1, &["perf_event_paranoid"])
}

/// `kernel.perf_event_paranoid` has another value as long as this lives.
struct PerfParanoid {
    before: String,
}

impl PerfParanoid {
    const PATH: &str = "/proc/sys/kernel/perf_event_paranoid";

    fn set(value: &str) -> Result<Self> {
        let before = fs::read_to_string(Self::PATH)?;
        fs::write(Self::PATH, value).with_context(|| format!("cannot write {}", Self::PATH))?;
        Ok(Self { before })
    }
}

impl Drop for PerfParanoid {
    fn drop(&mut self) {
        // What could be written before can be written again.
        let _ = fs::write(Self::PATH, &self.before);
    }
}

pub(super) fn not_root(bench: &Bench) -> Result<String> {
    let mut command = as_user::command(&[], &bench.conn_cli(bench.port));
    refused(&mut command, 1, &["cap_bpf", "cap_perfmon", "sudo"])
}

pub(super) fn memory_lock(bench: &Bench) -> Result<String> {
    let options = ["--bpf-and-perfmon", "--memory-lock", SMALL_MEMORY_LOCK];
    let mut command = as_user::command(&options, &bench.conn_cli(bench.port));
    refused(&mut command, 1, &["memory lock limit"])
}

pub(super) fn lockdown(bench: &Bench) -> Result<String> {
    refused(&mut bench.conn_cli(bench.port), 1, &["lockdown"])
}

pub(super) fn no_kprobes(bench: &Bench) -> Result<String> {
    refused(&mut bench.conn_cli(bench.port), 1, &["kprobes"])
}

pub(super) fn bad_port(bench: &Bench) -> Result<String> {
    refused(
        bench.conn_cli(bench.port).args(["--port", "65536"]),
        2,
        &["65536"],
    )
}

/// conn-cli ends with `code`, shows nothing, and says why with these words; a
/// failure, unlike bad usage, in one line.
pub(super) fn refused(command: &mut Command, code: i32, words: &[&str]) -> Result<String> {
    let ended = run_to_end(command)?;
    let said = ended.stderr.join(" | ");
    ensure!(
        ended.status.code() == Some(code),
        "ended with {}: {said}",
        ended.status
    );
    ensure!(ended.stdout.is_empty(), "it wrote {:?}", ended.stdout);
    ensure!(code != 1 || ended.stderr.len() == 1, "not one line: {said}");
    for word in words {
        ensure!(said.to_lowercase().contains(word), "no {word:?} in: {said}");
    }
    Ok(format!("said: {said}"))
}
