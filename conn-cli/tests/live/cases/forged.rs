//! Compares SYNs of forged clients with what tcpdump and the server's kernel see: if one of these
//! cases fails, the test is at fault.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::peers::tcpdump::Tcpdump;
use lab::server::{Serve, Server};
use lab::wire::{Extension, Link, Sources, Syns};

use crate::context::Context;

const CLIENTS: u32 = 300;

/// SYNs of both families, with and without extension headers, each sent twice.
pub(crate) fn syns(context: &Context) -> Result<String> {
    let link = Link::new()?;
    let mut results = Vec::new();
    for (sources, extension) in [
        (Sources::Benchmark, Extension::None),
        (Sources::V6, Extension::None),
        (Sources::V6, Extension::HopByHop),
        (Sources::V6, Extension::DestinationOptions),
    ] {
        let syns = Syns {
            copies: 2,
            extension,
            ..Syns::new(context.port, sources, CLIENTS)
        };
        let answered = all_arrive(&link, &syns)
            .with_context(|| format!("SYNs of {sources:?} with {extension:?}"))?;
        results.push(answered);
    }
    Ok(results.join("; "))
}

/// SYNs with a VLAN tag, from a network that is certain to be unused only in a guest.
pub(crate) fn syns_in_vlan(context: &Context) -> Result<String> {
    let link = Link::with_vlan(7)?;
    let v4 = all_arrive(&link, &Syns::new(context.port, Sources::Private, CLIENTS))?;
    let v6 = all_arrive(&link, &Syns::new(context.port, Sources::V6, CLIENTS))?;
    Ok(format!("{v4}; {v6}"))
}

/// tcpdump must show each SYN, the kernel answer each client, and the server accept none.
fn all_arrive(link: &Link, syns: &Syns) -> Result<String> {
    let address = Link::address(syns.sources);
    let server = Server::start(Serve::threads(1, address), syns.port)?;
    let tcpdump = Tcpdump::start(&link.near(), &format!("host {address}"))?;
    let start = Instant::now();
    let sent = link.send(syns)?;
    let elapsed = start.elapsed();
    let shown = tcpdump.finish()?;
    let served = server.finish()?;
    ensure!(sent == syns.packets(), "only {sent} SYNs were sent");
    let with_flags = |flags: &str| -> Vec<&String> {
        shown.iter().filter(|line| line.contains(flags)).collect()
    };
    let arrived = with_flags("Flags [S],").len();
    ensure!(
        arrived as u64 == sent,
        "of {sent} SYNs, tcpdump showed {arrived}, the first {:?}",
        shown.first()
    );
    let answered: HashSet<_> = with_flags("Flags [S.],")
        .into_iter()
        .filter_map(|line| {
            line.split_once(" > ")?
                .1
                .split_once(": ")?
                .0
                .rsplit_once('.')
        })
        .map(|(client, _port)| client.parse())
        .collect::<Result<_, _>>()?;
    let clients: HashSet<_> = syns.addresses().collect();
    ensure!(
        answered == clients,
        "of {} clients, {} were answered",
        clients.len(),
        answered.len()
    );
    ensure!(served.is_empty(), "the server accepted {served:?}");
    Ok(format!("sent={sent} in {}", milliseconds(elapsed)))
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
