//! A kernel without BTF, or without something that its BTF would tell.

use std::rc::Rc;

use anyhow::{Result, ensure};
use lab::family::Family;
use lab::hook::Hook;

use super::exact::Count;
use super::privileges::refused;
use crate::context::Context;
use crate::hidden::{self, EditedBtf};

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
    let said = ended.stderr.join(" | ");
    ensure!(
        said.contains("note: without BTF, network namespaces of users count, too"),
        "no note mentions BTF: {said}"
    );
    Ok(figures.to_string())
}

/// Without `CONFIG_NET_NS` a socket has no namespace; its addresses, of both families, are where they
/// were.
pub(crate) fn no_namespaces(context: &Context) -> Result<String> {
    without(&["skc_net"], &[Family::V4, Family::V6], context)
}

/// Without `CONFIG_IPV6` a socket has no such addresses.
pub(crate) fn no_ipv6(context: &Context) -> Result<String> {
    without(
        &["skc_v6_daddr", "skc_v6_rcv_saddr"],
        &[Family::V4],
        context,
    )
}

fn without(
    members: &'static [&'static str],
    families: &[Family],
    context: &Context,
) -> Result<String> {
    let context = Context {
        btf: Some(Rc::new(EditedBtf::without(members)?)),
        ..context.clone()
    };
    let mut found = Vec::new();
    for family in families {
        let count = Count {
            family: *family,
            ..Count::PLAIN
        };
        let (figures, ended) = count.trace(&context)?;
        let said = ended.stderr.join(" | ");
        ensure!(!said.contains("without BTF"), "{said}");
        found.push(figures.to_string());
    }
    Ok(found.join("; "))
}
