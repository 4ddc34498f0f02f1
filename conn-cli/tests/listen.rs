//! Listeners, their queues and their processes, beside what is known of them otherwise: by
//! having made them, and from ss(8) where it is installed.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    process::{self, Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use conn_cli::{
    listen::{Listener, Survey},
    ports::PortSet,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, Shutdown, SocketFlags, SocketType, accept, connect, listen, shutdown},
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};

/// How long the kernel, or another thread, may take for something that it does at once.
const PATIENCE: Duration = Duration::from_secs(20);

const BACKLOG: u32 = 2;

/// A listener at a port of its own, in whose queue `BACKLOG` + 1 connections find room.
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
    let mut survey = Survey::begin(ports, None).unwrap();
    survey.find_owners();
    survey
}

fn ports(address: SocketAddr) -> PortSet {
    address.port().to_string().parse().unwrap()
}

/// The listener at this address. Somebody else may have the same port at another.
fn at(listeners: &[Listener], address: SocketAddr) -> Option<&Listener> {
    let mut there = listeners.iter().filter(|one| one.address == address);
    let first = there.next();
    assert_eq!(there.next(), None);
    first
}

fn now(survey: &mut Survey, address: SocketAddr) -> Listener {
    at(&survey.now().unwrap(), address).unwrap().clone()
}

/// Waits until there is one.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(begun.elapsed() < PATIENCE, "{what} did not come to be"),
        }
        thread::yield_now();
    }
}

/// A client that does not wait for the server.
fn begin_to_connect(address: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port());
    assert_eq!(connect(&client, &address), Err(Errno::INPROGRESS));
    client
}

/// The queue, its limit, and the drops, as ss tells them; None if it is not installed.
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
fn a_listeners_queue_is_what_was_made_of_it() {
    let (_server, address) = server();
    let mut survey = survey(address);
    let start = at(survey.at_start(), address).unwrap().clone();
    assert_eq!((start.waiting, start.limit, start.drops), (0, 2, Some(0)));
    assert!(start.is_own_netns);
    let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
    assert_eq!(u64::from(start.netns), own);

    let _clients = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    // The client's handshake is complete a moment before the server's.
    let full = until("a queue of two", || {
        Some(now(&mut survey, address)).filter(|listener| listener.waiting == 2)
    });
    assert_eq!((full.limit, full.drops), (2, Some(0)));
    assert!(full.is_same(&start));
    if let Some(ss) = ss(address) {
        assert_eq!(ss, (2, 2, 0));
    }
}

#[test]
fn what_a_listener_drops_is_counted() {
    let (_server, address) = server();
    let mut survey = survey(address);
    let _clients: Vec<_> = (0..BACKLOG + 3)
        .map(|_| begin_to_connect(address))
        .collect();
    let before = until("a drop", || {
        let listener = now(&mut survey, address);
        let dropped = survey.dropped(&listener)?;
        (dropped >= 2 && listener.waiting == BACKLOG + 1).then_some(listener)
    });
    assert_eq!(survey.dropped(&before), before.drops);
    let ss = ss(address);
    // Clients go on trying.
    let after = now(&mut survey, address);
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
    let listener = now(&mut later, address);
    let since = later.dropped(&listener).unwrap();
    assert_eq!(
        Some(since),
        listener.drops.zip(start.drops).map(|(a, b)| a - b)
    );
}

/// Whoever waits for it in accept does not outlast the test, even if that fails.
struct Awaited<'a>(&'a TcpListener);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let _ = shutdown(self.0, Shutdown::Both);
    }
}

#[test]
fn threads_that_wait_for_a_listener_are_counted() {
    let (server, address) = server();
    let (other, elsewhere) = self::server();
    let copy = server.try_clone().unwrap();
    let both = PortSet::union(&[ports(address), ports(elsewhere)]);
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    let in_accept = |survey: &Survey, address| {
        let owners = &at(survey.at_start(), address)?.owners;
        let ours = owners.iter().find(|owner| owner.pid == process::id())?;
        assert_eq!(ours.name, comm.trim_end());
        ours.in_accept
    };
    thread::scope(|scope| {
        let _end = [Awaited(&server), Awaited(&other)];
        // GroupBy both calls, and by two descriptors.
        scope.spawn(|| accept(&server).unwrap_err());
        scope.spawn(|| server.accept().unwrap_err());
        scope.spawn(|| copy.accept().unwrap_err());
        scope.spawn(|| other.accept().unwrap_err());
        until("three threads in accept, and one", || {
            let survey = with_owners(&both);
            let here = in_accept(&survey, address)?;
            let there = in_accept(&survey, elsewhere)?;
            assert!(here <= 3 && there <= 1, "{here} and {there}");
            ((here, there) == (3, 1)).then_some(())
        });
    });
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_process_that_has_a_listener_is_known() {
    let (server, address) = server();
    let descriptor = server.as_fd().try_clone_to_owned().unwrap();
    let mut sleep = Command::new("sleep");
    let child = sleep.arg("60").stdin(Stdio::from(descriptor)).spawn();
    let child = Running(child.unwrap());
    // The command has a copy, too.
    drop(sleep);
    let survey_now = || {
        let survey = survey(address);
        let listener = at(survey.at_start(), address)?.clone();
        let pid = |pid| listener.owners.iter().find(|owner| owner.pid == pid);
        // While another test starts a process, that has our descriptors for a moment.
        let both = pid(child.0.id())?.name == "sleep" && pid(process::id()).is_some();
        both.then_some((listener, survey))
    };
    let (listener, mut survey) = until("two owners", survey_now);
    assert!(listener.describe().contains(" more), "), "{listener:?}");

    drop(server);
    let still = now(&mut survey, address);
    assert_eq!(still.owners, listener.owners);
    drop(child);
    until("the end of a listener", || {
        at(&survey.now().unwrap(), address).is_none().then_some(())
    });
}

#[test]
fn a_listener_that_comes_later_is_seen_without_privileges() {
    let server = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    rustix::net::bind(&server, &any).unwrap();
    let address = rustix::net::getsockname(&server).unwrap();
    let address = SocketAddr::try_from(address).unwrap();
    // A port that is taken, and nobody listens.
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
            let listener = now(&mut survey, address);
            assert_eq!((listener.limit, listener.owners.len()), (7, 0));
            assert_eq!(survey.dropped(&listener), Some(0));
            assert!(survey.namespace_drops()[0].is_own_netns);
        });
    });
    shutdown(&server, Shutdown::Both).unwrap();
    assert_eq!(at(&survey.now().unwrap(), address), None);
}

#[test]
fn a_listener_is_found_only_in_the_namespace_that_is_asked_for() {
    let (_server, address) = server();
    let own = fs::metadata("/proc/self/ns/net").unwrap().ino() as u32;
    let survey = Survey::begin(&ports(address), Some(own)).unwrap();
    assert!(at(survey.at_start(), address).is_some());
    assert_eq!(survey.unseen().namespaces, 0);
    let error = Survey::begin(&ports(address), Some(1)).unwrap_err();
    let error = format!("{error:#}");
    let expected = "cannot ask the kernel who listens: no process is in the network namespace 1";
    assert!(error.starts_with(expected), "{error}");
}
