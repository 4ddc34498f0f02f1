//! SYNs, and the same ones again, held against what was sent.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::plan::Context;
use super::process::Lines;
use super::report::Report;
use super::server::Counts;
use super::stages::Stages;
use super::tracer::{Tracer, run_to_end};
use super::wire::{Extension, Link, Sources, Syns};

/// So many that all have their lines.
const CLIENTS: u32 = 300;

/// SYNs of both families, with and without extension headers, some of them sent again.
pub(super) fn repeats(context: &Context) -> Result<String> {
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
        v6(0, Extension::None),
        v6(CLIENTS, Extension::HopByHop),
        v6(2 * CLIENTS, Extension::DestinationOptions),
        // After all the others, and as many others again.
        Syns { copies: 1, ..v4 },
        Syns {
            first: CLIENTS,
            ..v4
        },
    ];
    let counted = counted(context, &Link::new()?, &all)?;
    Ok(format!("{counted}; {no_interface}"))
}

/// The same with the tag of a VLAN: a packet goes through two interfaces.
pub(super) fn repeats_in_vlan(context: &Context) -> Result<String> {
    let of = |sources| Syns {
        copies: 2,
        ..Syns::new(context.port, sources, CLIENTS)
    };
    let all = [Sources::Benchmark, Sources::V6, Sources::Benchmark].map(of);
    Ok(counted(context, &Link::with_vlan(7)?, &all)?.to_string())
}

/// Sends these and sees that everyone counts what was sent: a conn-cli that looks at all
/// interfaces, one that looks at the one that they come by, with the VLAN and without, and not
/// one that looks at another.
fn counted(context: &Context, link: &Link, all: &[Syns]) -> Result<Stages> {
    let near = link.near();
    let everywhere = Looking::start(&mut context.conn_cli_of_syns(context.port))?;
    let there = Looking::start(&mut of_interface(context, &near))?;
    let cable = Looking::start(&mut of_interface(context, link.cable()))?;
    let elsewhere = Looking::start(&mut of_interface(context, "lo"))?;
    let mut clients = Counts::new();
    let mut packets = 0;
    for syns in all {
        packets += link.send(syns)?;
        clients.extend(syns.addresses().map(|address| (address, 1)));
    }
    let syn = clients.len() as u64;
    let expected = Stages {
        syn,
        repeated: packets - syn,
        established: None,
        accepted: None,
    };
    everywhere
        .check(&expected, &clients)
        .context("without an interface")?;
    there
        .check(&expected, &clients)
        .with_context(|| format!("with {near}"))?;
    cable
        .check(&expected, &clients)
        .with_context(|| format!("with {}", link.cable()))?;
    let none = Stages {
        syn: 0,
        repeated: 0,
        ..expected
    };
    elsewhere.check(&none, &Counts::new()).context("with lo")?;
    Ok(expected)
}

fn of_interface(context: &Context, interface: &str) -> Command {
    let mut command = context.conn_cli_of_syns(context.port);
    command.args(["--interface", interface]);
    command
}

/// A conn-cli that looks for SYNs.
struct Looking(Tracer, Lines);

impl Looking {
    fn start(command: &mut Command) -> Result<Self> {
        let mut tracer = Tracer::start(command.arg("--json"))?;
        let stdout = tracer.stdout()?;
        Ok(Self(tracer, stdout))
    }

    /// Ends it. Its stages must be these and its clients, in the summary and in the lines, too.
    fn check(self, expected: &Stages, clients: &Counts) -> Result<()> {
        let ended = self.0.finish(Signal::INT, &self.1)?;
        let report = Report::of(&ended)?;
        let not_shown = report.check_stages(expected)?;
        let said = Stages::said(&ended)?;
        ensure!(said == *expected, "said {said} instead of {expected}");
        ensure!(
            report.counts()? == *clients,
            "not the clients that there are"
        );
        ensure!(
            not_shown > 0 || report.live_counts()? == *clients,
            "not a line for each client"
        );
        Ok(())
    }
}

/// An interface that is not there is refused, by its name.
fn no_interface(context: &Context) -> Result<String> {
    const NAME: &str = "conn-none";
    let ended = run_to_end(&mut of_interface(context, NAME))?;
    let said = ended.stderr.join(" | ");
    ensure!(
        ended.status.code() == Some(1) && said.contains(NAME) && ended.stdout.is_empty(),
        "{} and {said:?}, where {NAME} is not there",
        ended.status
    );
    Ok(said)
}
