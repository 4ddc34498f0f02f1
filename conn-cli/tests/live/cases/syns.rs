//! Compares SYNs, and the same ones sent again, with what was sent.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::counts::Counts;
use lab::process::Lines;
use lab::report::Report;
use lab::stages::Stages;
use lab::tracer::{Tracer, run_to_end};
use lab::wire::{Extension, Link, Sources, Syns};
use rustix::process::Signal;

use crate::context::Context;

/// Few enough for all to have their lines.
const CLIENTS: u32 = 300;

/// SYNs of both families, with and without extension headers, some of them sent again.
pub(crate) fn repeats(context: &Context) -> Result<String> {
    let no_interface = no_interface(context)?;
    let v4 = Syns::new(context.port, Sources::Benchmark, CLIENTS);
    let v6 = |first, extension| Syns {
        first,
        copies: 2,
        extension,
        ..Syns::new(context.port, Sources::V6, CLIENTS)
    };
    let all = [
        Syns { copies: 3, ..v4 },
        // Each from one port, with one sequence number, to three of this machine's addresses.
        Syns {
            first: 2 * CLIENTS,
            locals: 3,
            copies: 2,
            ..v4
        },
        v6(0, Extension::None),
        v6(CLIENTS, Extension::HopByHop),
        v6(2 * CLIENTS, Extension::DestinationOptions),
        // The first SYNs again, after all the others, and then as many new ones.
        Syns { copies: 1, ..v4 },
        Syns {
            first: CLIENTS,
            ..v4
        },
    ];
    let counted = send_and_check(context, &Link::new()?, &all)?;
    Ok(format!("{counted}; {no_interface}"))
}

/// The same with a VLAN tag: each packet passes two interfaces.
pub(crate) fn repeats_in_vlan(context: &Context) -> Result<String> {
    let twice_from = |sources| Syns {
        copies: 2,
        ..Syns::new(context.port, sources, CLIENTS)
    };
    let all = [Sources::Benchmark, Sources::V6, Sources::Benchmark].map(twice_from);
    Ok(send_and_check(context, &Link::with_vlan(7)?, &all)?.to_string())
}

/// Sends these and checks that every conn-cli counts what was sent: one that looks at all
/// interfaces, and one each on the receiving interface with the VLAN and without. One on another
/// interface must count nothing.
fn send_and_check(context: &Context, link: &Link, all: &[Syns]) -> Result<Stages> {
    let near = link.near();
    let on_all = SynTracer::start(&mut context.conn_cli_for_syns(context.port))?;
    let on_near = SynTracer::start(&mut on_interface(context, &near))?;
    let on_cable = SynTracer::start(&mut on_interface(context, link.cable()))?;
    let on_other = SynTracer::start(&mut on_interface(context, "lo"))?;
    let mut clients = Counts::new();
    let mut packets = 0;
    for syns in all {
        packets += link.send(syns)?;
        let connections = u64::from(syns.locals);
        clients.extend(syns.addresses().map(|address| (address, connections)));
    }
    let syn = clients.values().sum();
    let expected = Stages {
        syn,
        repeated: packets - syn,
        established: None,
        accepted: None,
    };
    on_all
        .check(&expected, &clients)
        .context("without an interface")?;
    on_near
        .check(&expected, &clients)
        .with_context(|| format!("with {near}"))?;
    on_cable
        .check(&expected, &clients)
        .with_context(|| format!("with {}", link.cable()))?;
    let none = Stages {
        syn: 0,
        repeated: 0,
        ..expected
    };
    on_other.check(&none, &Counts::new()).context("with lo")?;
    Ok(expected)
}

fn on_interface(context: &Context, interface: &str) -> Command {
    let mut command = context.conn_cli_for_syns(context.port);
    command.args(["--interface", interface]);
    command
}

/// A conn-cli that watches SYNs.
struct SynTracer(Tracer, Lines);

impl SynTracer {
    fn start(command: &mut Command) -> Result<Self> {
        let mut tracer = Tracer::start(command.arg("--json"))?;
        let stdout = tracer.stdout()?;
        Ok(Self(tracer, stdout))
    }

    /// Ends it and checks its stages, and its clients in the summary and in the lines.
    fn check(self, expected: &Stages, clients: &Counts) -> Result<()> {
        let ended = self.0.finish(Signal::INT, &self.1)?;
        let report = Report::new(&ended)?;
        let not_shown = report.check_stages(expected)?;
        let printed = Stages::from_stderr(&ended)?;
        ensure!(
            printed == *expected,
            "printed {printed} instead of {expected}"
        );
        ensure!(
            report.counts()? == *clients,
            "the summary does not have the expected clients"
        );
        ensure!(
            not_shown > 0 || report.live_counts()? == *clients,
            "there is not one line for each client"
        );
        Ok(())
    }
}

/// conn-cli must refuse an interface that does not exist, and name it.
fn no_interface(context: &Context) -> Result<String> {
    const NAME: &str = "conn-none";
    let ended = run_to_end(&mut on_interface(context, NAME))?;
    let stderr = ended.stderr.join(" | ");
    ensure!(
        ended.status.code() == Some(1) && stderr.contains(NAME) && ended.stdout.is_empty(),
        "{} and {stderr:?}, although {NAME} does not exist",
        ended.status
    );
    Ok(stderr)
}
