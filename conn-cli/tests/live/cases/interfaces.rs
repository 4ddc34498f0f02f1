//! Interfaces on which no packets are seen, because they are those of another one.

use anyhow::{Result, ensure};
use lab::report::Report;
use lab::tracer::Tracer;
use lab::wire::{Link, Sources, Syns};
use rustix::process::Signal;

use super::privileges::refused;
use crate::context::Context;

const CLIENTS: u32 = 20;

/// A VRF has no packets of its own: its interfaces have.
pub(crate) fn vrf(context: &Context) -> Result<String> {
    let link = Link::new()?;
    let vrf = link.put_under("vrf table 10")?;
    let refused = refused_on(vrf.name(), &link.near(), context)?;
    counts_on(&link.near(), &link, context)?;
    Ok(refused)
}

/// The packets of a port are those of its bridge.
pub(crate) fn bridge(context: &Context) -> Result<String> {
    let link = Link::new()?;
    let bridge = link.put_under("bridge")?;
    refused_on(&link.near(), bridge.name(), context)
}

/// conn-cli must name the interface to use instead.
fn refused_on(interface: &str, instead: &str, context: &Context) -> Result<String> {
    let mut command = context.conn_cli_for_syns(context.port);
    refused(command.args(["--interface", interface]), 1, &[instead])
}

fn counts_on(interface: &str, link: &Link, context: &Context) -> Result<()> {
    let mut command = context.conn_cli_for_syns(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--interface", interface]))?;
    let stdout = tracer.stdout()?;
    let sent = link.send(&Syns::new(context.port, Sources::Benchmark, CLIENTS))?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let counted = report.number("connections")?;
    ensure!(counted == sent, "{counted} of {sent} SYNs on {interface}");
    Ok(())
}
