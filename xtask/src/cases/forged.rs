//! SYNs of clients that there are not, held against what tcpdump and the server's kernel
//! make of them: if one of these fails, the bench is at fault.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::peers::tcpdump::Tcpdump;
use super::plan::Context;
use super::server::{Serve, Server};
use super::wire::{Extension, Link, Sources, Syns};

const CLIENTS: u32 = 300;

/// Of both families, with and without extension headers, each sent twice.
pub(super) fn syns(context: &Context) -> Result<String> {
    let link = Link::new()?;
    let mut told = Vec::new();
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
        told.push(answered);
    }
    Ok(told.join("; "))
}

/// With the tag of a VLAN, and from a network that only a guest is sure not to have.
pub(super) fn syns_in_vlan(context: &Context) -> Result<String> {
    let link = Link::with_vlan(7)?;
    let v4 = all_arrive(&link, &Syns::new(context.port, Sources::Private, CLIENTS))?;
    let v6 = all_arrive(&link, &Syns::new(context.port, Sources::V6, CLIENTS))?;
    Ok(format!("{v4}; {v6}"))
}

/// tcpdump shows each SYN, the kernel answers each client, and the server has none.
fn all_arrive(link: &Link, syns: &Syns) -> Result<String> {
    let address = Link::address(syns.sources);
    let server = Server::start(Serve::threads(1, address), syns.port)?;
    let tcpdump = Tcpdump::start(&link.near(), &format!("host {address}"))?;
    let start = Instant::now();
    let sent = link.send(syns)?;
    let took = start.elapsed();
    let shown = tcpdump.finish()?;
    let served = server.finish()?;
    ensure!(sent == syns.packets(), "only {sent} were sent");
    let with = |flags: &str| -> Vec<&String> {
        shown.iter().filter(|line| line.contains(flags)).collect()
    };
    let arrived = with("Flags [S],").len();
    ensure!(
        arrived as u64 == sent,
        "of {sent} SYNs, tcpdump showed {arrived}, the first {:?}",
        shown.first()
    );
    let answered: HashSet<_> = with("Flags [S.],")
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
    Ok(format!("sent={sent} in {}", milliseconds(took)))
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
