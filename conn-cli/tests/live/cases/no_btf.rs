//! A kernel without BTF.

use anyhow::{Context as _, Result, ensure};
use lab::hook::Hook;

use super::exact::Count;
use super::privileges::refused;
use crate::context::Context;
use crate::hidden;

/// LSM and fentry programs need BTF, and say that it is missing; the other hooks work without.
pub(crate) fn no_btf(context: &Context) -> Result<String> {
    let context = Context {
        hidden: Some(hidden::BTF),
        ..context.clone()
    };
    if matches!(context.hook, Hook::Lsm | Hook::Fentry) {
        return refused(&mut context.conn_cli(context.port), 1, &["btf"]);
    }
    let (figures, ended) = Count::PLAIN.trace(&context)?;
    let tracing = ended.stderr.first().context("conn-cli printed nothing")?;
    ensure!(
        context.hook != Hook::Kretprobe || tracing.contains("without BTF"),
        "the announcement does not mention BTF: {tracing}"
    );
    Ok(figures.to_string())
}
