//! A socket that connects to itself: both ends of a connection that no listener established.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::report::Report;
use lab::server::Server;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustix::process::Signal;

use crate::context::Context;

/// How many sockets connect to themselves.
const SELF_CONNECTS: u32 = 20;

/// Connections that a listener established count, and these do not.
pub(crate) fn simultaneous_open(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let other_port = context.port + 1;
    let mut command = context.conn_cli(context.port);
    command.args(["--json", "--port", &other_port.to_string()]);
    let mut tracer = lab::tracer::Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    for _ in 0..SELF_CONNECTS {
        connect_to_itself(other_port).context("a socket cannot connect to itself")?;
    }
    Load::v4(context.port, 20).run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let report = Report::new(&ended)?;
    ensure!(
        report
            .live
            .iter()
            .all(|line| line["local_port"] == context.port),
        "a self-connect counts: {}",
        report.summary
    );
    Ok(report.check(&served)?.to_string())
}

fn connect_to_itself(port: u16) -> Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Closed with a reset, which leaves nothing behind on the port.
    sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO))?;
    let address = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 5), port);
    bind(&socket, &address)?;
    connect(&socket, &address)?;
    Ok(())
}
