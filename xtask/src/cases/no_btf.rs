//! A kernel that does not publish its types.

use anyhow::{Context as _, Result, ensure};

use super::exact::Count;
use super::hidden;
use super::plan::{Context, Hook};
use super::privileges::refused;

/// The kretprobe and the tracepoint do without; the others say what they lack.
pub(super) fn no_btf(context: &Context) -> Result<String> {
    let context = Context {
        hidden: Some(hidden::BTF),
        ..context.clone()
    };
    if matches!(context.hook, Hook::Lsm | Hook::Fentry) {
        return refused(&mut context.conn_cli(context.port), 1, &["btf"]);
    }
    let (figures, ended) = Count::PLAIN.trace(&context)?;
    let tracing = ended.stderr.first().context("conn-cli said nothing")?;
    ensure!(
        context.hook != Hook::Kretprobe || tracing.contains("without BTF"),
        "not a word of BTF: {tracing}"
    );
    Ok(figures.to_string())
}
