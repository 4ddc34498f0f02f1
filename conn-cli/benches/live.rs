//! Measures how fast events of the kernel are decoded and shown, without a kernel:
//! `cargo bench --bench live`.
//!
//! The events are accepted connections as the eBPF programs report them, a thousand in a batch,
//! from IPv4 and IPv6 clients.

use std::{hint::black_box, net::Ipv6Addr};

use conn_cli::{
    cli,
    count::tally::Tally,
    jobs::view::View,
    model::{connection::Connection, group::GroupBy, options::Job, scope::Scope},
    trace::kernel::{WallClock, decode},
};
use conn_common::{AF_INET, AF_INET6, Event, HOOK_KRETPROBE, TASK_PROCESS};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;

/// The number of events that a live run handles before it checks for signals again.
const EVENTS: u32 = 1024;

/// The number of clients.
const CLIENTS: u32 = 200;

/// The time from one connection to the next.
const STEP_NS: u64 = 20_000;

fn events() -> Vec<Event> {
    (0..EVENTS).map(event).collect()
}

fn event(number: u32) -> Event {
    let client = number * 7 % CLIENTS;
    let (family, remote, local) = match client % 4 {
        0 => {
            let network = [0x2001, 0xdb8, 0, 0, 0, 0, 0];
            let [a, b, c, d, e, f, g] = network;
            let at = |host| Ipv6Addr::new(a, b, c, d, e, f, g, host);
            (AF_INET6, at(client as u16 + 0x100), at(1))
        }
        _ => {
            let at = |host| std::net::Ipv4Addr::new(198, 51, 100, host).to_ipv6_mapped();
            (AF_INET, at(client as u8), at(250))
        }
    };
    Event {
        time_ns: 86_400_000_000_000 + u64::from(number) * STEP_NS,
        cgroup: 4242,
        wait_ns: 51_000 + u64::from(number),
        remote_address: bytemuck::cast(remote.octets()),
        local_address: bytemuck::cast(local.octets()),
        comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
        pid: 1234,
        tgid: 1230,
        uid: 33,
        netns: 4_026_531_840,
        remote_port: 32768 + number as u16,
        local_port: 80,
        family: family as u8,
        task: TASK_PROCESS,
        hook: HOOK_KRETPROBE,
    }
}

/// From the bytes of events to lines of output.
fn bench_show(criterion: &mut Criterion) {
    let events = events();
    let mut group = criterion.benchmark_group("show");
    group.throughput(Throughput::Elements(EVENTS.into()));
    for (name, options) in [
        ("text", &[][..]),
        ("text-iso", &["--time", "iso"]),
        ("text-long", &["--long"]),
        ("json", &["--json"]),
    ] {
        let args = ["conn-cli", "--port", "80", "--utc"];
        let Ok(Job::Trace(job)) = cli::parse(&[&args, options].concat()) else {
            panic!("these are options of live tracing");
        };
        let mut view = View::new(
            &job.show,
            Scope::live(&job),
            Some((&job.stages, Timestamp::now())),
            None,
        );
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for_each(&events, |connection| view.show(connection));
                black_box(view.stdout.buffer()).clear();
            });
        });
    }
    group.finish();
}

/// From the bytes of events to counts, as with `--count`.
fn bench_tally(criterion: &mut Criterion) {
    let events = events();
    let mut group = criterion.benchmark_group("tally");
    group.throughput(Throughput::Elements(EVENTS.into()));
    group.bench_function("address", |bencher| {
        bencher.iter(|| {
            let mut tally = Tally::default();
            for_each(&events, |connection| {
                tally.add_key(GroupBy::Address.key(connection), connection.local_port, 1);
            });
            tally
        });
    });
    group.finish();
}

fn for_each(events: &[Event], mut handle: impl FnMut(&Connection)) {
    let clock = WallClock::now(0);
    for event in black_box(events) {
        let connection = decode(bytemuck::bytes_of(event), clock);
        handle(&connection.expect("the event is complete"));
    }
}

criterion_group!(benches, bench_show, bench_tally);
criterion_main!(benches);
