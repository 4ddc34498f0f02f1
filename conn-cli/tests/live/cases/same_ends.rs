//! A connection between the addresses and ports of conn-cli's own, in another network namespace.

use std::fs;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use lab::client::Load;
use lab::netns::{self, Namespace};
use lab::process::Lines;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::net::{
    AddressFamily, SocketType, accept, bind, connect, getsockname, listen, socket, sockopt,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};

use crate::context::Context;

/// How many a user makes besides.
const CONNECTIONS: u32 = 5;

/// It counts: conn-cli did not accept it.
pub(crate) fn elsewhere(context: &Context) -> Result<String> {
    let (tracer, stdout, [server, client]) = trace(context)?;
    Namespace::new()?.run(|| connection(server, client))?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    ensure!(
        report.counts()? == [((*client.ip()).into(), 1)].into()
            && report.summary["self_test"]["result"] == "passed",
        "a connection from {client} to {server} in another namespace is missing: {}",
        report.summary
    );
    Ok(format!("{client} -> {server}"))
}

/// Such a connection does not make a user's namespace pass for conn-cli's own.
pub(crate) fn of_user(context: &Context) -> Result<String> {
    let users = Server::start(Serve::of_user(), context.port)?;
    let (tracer, stdout, [server, client]) = trace(context)?;
    let pid = users.pid();
    let connect_there = || {
        netns::join(pid)?;
        connection(server, client)
    };
    thread::scope(|scope| {
        let connected = scope.spawn(connect_there).join();
        connected.map_err(|_| anyhow!("a thread panicked"))?
    })?;
    let load = Load {
        netns_pid: Some(users.pid()),
        ..Load::v4(context.port, CONNECTIONS)
    };
    load.run()?;
    users.finish()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let apart = report.number("user_namespaces")?;
    // Before it is accepted, a connection between such ends is taken for conn-cli's own.
    ensure!(
        report.number("connections")? == 0
            && apart - u64::from(CONNECTIONS) <= u64::from(context.hook.sees_accepts()),
        "a user's connections count: {}",
        report.summary
    );
    Ok(format!("{apart} of the user"))
}

/// A conn-cli that watches every port, and the ends of its connection to itself: the server's, the
/// client's.
fn trace(context: &Context) -> Result<(Tracer, Lines, [SocketAddrV4; 2])> {
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--port", "1-65535"]))?;
    let stdout = tracer.stdout()?;
    let ends = self_test_ends(tracer.pid())?;
    let ends = ends.try_into().map_err(|ends| {
        anyhow!("the test is at fault: conn-cli's own sockets are bound to {ends:?}")
    })?;
    Ok((tracer, stdout, ends))
}

/// Connects these ends in the network namespace of this thread.
fn connection(server: SocketAddrV4, client: SocketAddrV4) -> Result<OwnedFd> {
    let listener = bound(server)?;
    listen(&listener, 1)?;
    let client = bound(client)?;
    connect(&client, &server)?;
    Ok(accept(&listener)?)
}

/// The addresses to which a process has bound TCP sockets, in order.
fn self_test_ends(pid: u32) -> Result<Vec<SocketAddrV4>> {
    let process = Pid::from_raw(pid.cast_signed()).context("no process id")?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    let mut ends = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let number = entry?.file_name().to_string_lossy().parse()?;
        let Ok(descriptor) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
            continue;
        };
        let address = getsockname(&descriptor).ok();
        ends.extend(address.and_then(|address| SocketAddrV4::try_from(address).ok()));
    }
    ends.sort_unstable();
    Ok(ends)
}

fn bound(address: SocketAddrV4) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}
