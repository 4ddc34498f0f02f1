//! A kernel that does not publish its types.

use anyhow::{Context as _, Result, ensure};

use super::exact::Count;
use super::hidden;
use super::plan::{Bench, Hook};
use super::privileges::refused;

/// The kretprobe and the tracepoint do without; the others say what they lack.
pub(super) fn no_btf(bench: &Bench) -> Result<String> {
    let bench = Bench {
        hidden: Some(hidden::BTF),
        ..bench.clone()
    };
    if matches!(bench.hook, Hook::Lsm | Hook::Fentry) {
        return refused(&mut bench.conn_cli(bench.port), 1, &["btf"]);
    }
    let (figures, ended) = Count::PLAIN.trace(&bench)?;
    let tracing = ended.stderr.first().context("conn-cli said nothing")?;
    ensure!(
        bench.hook != Hook::Kretprobe || tracing.contains("without BTF"),
        "not a word of BTF: {tracing}"
    );
    Ok(figures.to_string())
}
