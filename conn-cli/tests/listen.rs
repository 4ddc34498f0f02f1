//! Compares listeners, their queues and their processes with what the tests created, and with
//! ss(8) where it is installed.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    process::{self, Child, Command, Stdio},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use conn_cli::{
    model::{listener::Listener, ports::PortSet},
    trace::listeners::Survey,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, Shutdown, SocketFlags, SocketType, accept, connect, listen, shutdown},
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};

/// How long to wait for the kernel or another thread, which normally need no time.
const TIMEOUT: Duration = Duration::from_secs(20);

const BACKLOG: u32 = 2;

/// A listener on a port of its own, whose queue has room for `BACKLOG` + 1 connections.
fn server() -> (TcpListener, SocketAddr) {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&server, BACKLOG as i32).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

fn survey(address: SocketAddr) -> Survey {
    with_owners(&ports(address))
}

fn with_owners(ports: &PortSet) -> Survey {
    complete(Survey::begin(ports, None).unwrap()).unwrap()
}

/// As conn-cli does: in a thread of its own.
fn complete(mut survey: Survey) -> anyhow::Result<Survey> {
    let complete = || survey.complete(&AtomicBool::new(false));
    thread::scope(|scope| scope.spawn(complete).join().unwrap())?;
    Ok(survey)
}

fn ports(address: SocketAddr) -> PortSet {
    address.port().to_string().parse().unwrap()
}

/// The listener on this address. Another process may have the same port on another address.
fn at(listeners: &[Listener], address: SocketAddr) -> Option<&Listener> {
    let mut found = listeners.iter().filter(|one| one.address == address);
    let first = found.next();
    assert_eq!(found.next(), None);
    first
}

fn current(survey: &mut Survey, address: SocketAddr) -> Listener {
    at(&survey.now().unwrap(), address).unwrap().clone()
}

/// Waits until `check` returns a value.
fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        match check() {
            Some(found) => return found,
            None => assert!(start.elapsed() < TIMEOUT, "timed out waiting for {what}"),
        }
        thread::yield_now();
    }
}

/// A client that starts to connect without waiting for the server.
fn start_to_connect(address: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port());
    assert_eq!(connect(&client, &address), Err(Errno::INPROGRESS));
    client
}

/// The queue, its limit, and the drops according to ss; None if it is not installed.
fn ss(address: SocketAddr) -> Option<(u32, u32, u32)> {
    let filter = format!("src = {address}");
    let output = Command::new("ss").args(["-Hltnm", &filter]).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace();
    assert_eq!(words.next(), Some("LISTEN"), "{text}");
    let mut number = || words.next().unwrap().parse().unwrap();
    let (waiting, limit) = (number(), number());
    let (_, drops) = text.trim_end().trim_end_matches(')').rsplit_once(",d")?;
    Some((waiting, limit, drops.parse().unwrap()))
}

#[test]
fn the_queue_contains_the_unaccepted_connections() {
    let (_server, address) = server();
    let mut survey = survey(address);
    let start = at(survey.at_start(), address).unwrap().clone();
    assert_eq!((start.waiting, start.limit, start.drops), (0, 2, Some(0)));
    assert!(start.is_own_netns);
    let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
    assert_eq!(u64::from(start.netns), own);

    let _clients = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    // The client's handshake is complete slightly before the server's.
    let full = wait_for("a queue of two", || {
        Some(current(&mut survey, address)).filter(|listener| listener.waiting == 2)
    });
    assert_eq!((full.limit, full.drops), (2, Some(0)));
    assert!(full.is_same(&start));
    if let Some(ss) = ss(address) {
        assert_eq!(ss, (2, 2, 0));
    }
}

#[test]
fn drops_of_a_listener_are_counted() {
    let (_server, address) = server();
    let mut survey = survey(address);
    let _clients: Vec<_> = (0..BACKLOG + 3)
        .map(|_| start_to_connect(address))
        .collect();
    let before = wait_for("a drop", || {
        let listener = current(&mut survey, address);
        let dropped = survey.dropped(&listener)?;
        (dropped >= 2 && listener.waiting == BACKLOG + 1).then_some(listener)
    });
    assert_eq!(survey.dropped(&before), before.drops);
    let ss = ss(address);
    // Clients keep retrying.
    let after = current(&mut survey, address);
    if let Some((waiting, limit, drops)) = ss {
        assert_eq!((waiting, limit), (before.waiting, before.limit));
        assert!((before.drops..=after.drops).contains(&Some(drops)));
    }

    let namespaces = survey.namespace_drops();
    let own = namespaces.iter().find(|drops| drops.is_own_netns).unwrap();
    let least = u64::from(before.drops.unwrap());
    assert!(own.overflows >= least && own.drops >= least, "{own:?}");

    let mut later = self::survey(address);
    let start = at(later.at_start(), address).unwrap().clone();
    assert!(start.drops >= before.drops);
    let listener = current(&mut later, address);
    let since = later.dropped(&listener).unwrap();
    assert_eq!(
        Some(since),
        listener.drops.zip(start.drops).map(|(a, b)| a - b)
    );
}

/// Ends the accept calls on a listener when it is dropped, even if the test fails.
struct ShutdownOnDrop<'a>(&'a TcpListener);

impl Drop for ShutdownOnDrop<'_> {
    fn drop(&mut self) {
        let _ = shutdown(self.0, Shutdown::Both);
    }
}

#[test]
fn threads_in_accept_are_counted_for_each_listener() {
    let (server, address) = server();
    let (other, other_address) = self::server();
    let copy = server.try_clone().unwrap();
    let both = PortSet::union(&[ports(address), ports(other_address)]);
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    let in_accept = |survey: &Survey, address| {
        let owners = &at(survey.at_start(), address)?.owners;
        let ours = owners.iter().find(|owner| owner.pid == process::id())?;
        assert_eq!(&*ours.name, comm.trim_end());
        ours.in_accept
    };
    thread::scope(|scope| {
        let _shutdown = [ShutdownOnDrop(&server), ShutdownOnDrop(&other)];
        // In both system calls, and on two descriptors of one socket.
        scope.spawn(|| accept(&server).unwrap_err());
        scope.spawn(|| server.accept().unwrap_err());
        scope.spawn(|| copy.accept().unwrap_err());
        scope.spawn(|| other.accept().unwrap_err());
        wait_for("three threads in accept, and one", || {
            let survey = with_owners(&both);
            let here = in_accept(&survey, address)?;
            let there = in_accept(&survey, other_address)?;
            assert!(here <= 3 && there <= 1, "{here} and {there}");
            ((here, there) == (3, 1)).then_some(())
        });
    });
}

/// A child process that is killed when it is dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn all_processes_with_a_descriptor_are_owners() {
    let (server, address) = server();
    let descriptor = server.as_fd().try_clone_to_owned().unwrap();
    let mut sleep = Command::new("sleep");
    let child = sleep.arg("60").stdin(Stdio::from(descriptor)).spawn();
    let child = KillOnDrop(child.unwrap());
    // The command has a copy of the descriptor, too.
    drop(sleep);
    let two_owners = || {
        let survey = survey(address);
        let listener = at(survey.at_start(), address)?.clone();
        let pid = |pid| listener.owners.iter().find(|owner| owner.pid == pid);
        // A process that another test starts has our descriptors between fork and exec.
        let both = &*pid(child.0.id())?.name == "sleep" && pid(process::id()).is_some();
        both.then_some((listener, survey))
    };
    let (listener, mut survey) = wait_for("two owners", two_owners);
    assert!(listener.describe().contains(" more, "), "{listener:?}");

    drop(server);
    let still = current(&mut survey, address);
    assert_eq!(still.owners, listener.owners);
    drop(child);
    wait_for("the end of a listener", || {
        at(&survey.now().unwrap(), address).is_none().then_some(())
    });
}

#[test]
fn a_later_listener_is_found_without_privileges() {
    let server = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    rustix::net::bind(&server, &any).unwrap();
    let address = rustix::net::getsockname(&server).unwrap();
    let address = SocketAddr::try_from(address).unwrap();
    // The port is bound, but not listening.
    let mut survey = survey(address);
    assert_eq!(at(survey.at_start(), address), None);
    assert_eq!(at(&survey.now().unwrap(), address), None);

    thread::scope(|scope| {
        scope.spawn(|| {
            let none = CapabilitySets {
                effective: CapabilitySet::empty(),
                permitted: CapabilitySet::empty(),
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, none).unwrap();
            listen(&server, 7).unwrap();
            let listener = current(&mut survey, address);
            assert_eq!((listener.limit, listener.owners.len()), (7, 0));
            assert_eq!(survey.dropped(&listener), Some(0));
            assert!(survey.namespace_drops()[0].is_own_netns);
        });
    });
    shutdown(&server, Shutdown::Both).unwrap();
    assert_eq!(at(&survey.now().unwrap(), address), None);
}

#[test]
fn a_stopped_search_has_what_it_found() {
    let (_server, address) = server();
    let mut survey = Survey::begin(&ports(address), None).unwrap();
    survey.complete(&AtomicBool::new(true)).unwrap();
    let listener = at(survey.at_start(), address).unwrap();
    // This process is one.
    assert_eq!(listener.owners.len(), 0);
    assert_eq!(current(&mut survey, address).owners.len(), 0);
}

#[test]
fn listeners_are_found_only_in_the_given_namespace() {
    let (_server, address) = server();
    let own = fs::metadata("/proc/self/ns/net").unwrap().ino() as u32;
    let survey = Survey::begin(&ports(address), Some(own)).unwrap();
    let survey = complete(survey).unwrap();
    assert!(at(survey.at_start(), address).is_some());
    assert_eq!(survey.unseen().namespaces, 0);
    let elsewhere = Survey::begin(&ports(address), Some(1)).unwrap();
    assert_eq!(elsewhere.at_start(), []);
    let error = complete(elsewhere).unwrap_err();
    let error = format!("{error:#}");
    let expected = "cannot list listening sockets: no process is in the network namespace 1";
    assert!(error.starts_with(expected), "{error}");
}
