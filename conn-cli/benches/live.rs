//! How fast what the kernel has reported is shown, without the kernel: `cargo bench --bench live`.
//!
//! The records are those that the programs write for accepted connections, a thousand in a
//! batch, of clients of both families.

use std::{hint::black_box, net::Ipv6Addr};

use clap::Parser as _;
use conn_cli::{
    cli::Args,
    connection::{Connection, Stage},
    group::GroupBy,
    kernel::{WallClock, decode},
    tally::Tally,
    view::View,
};
use conn_common::{AF_INET, AF_INET6, Event, HOOK_KRETPROBE};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;

/// As many as are handled before signals are looked at again.
const RECORDS: u32 = 1024;

/// Each client is one of so many.
const CLIENTS: u32 = 200;

/// Nanoseconds from one connection to the next.
const STEP: u64 = 20_000;

fn records() -> Vec<Event> {
    (0..RECORDS).map(record).collect()
}

fn record(number: u32) -> Event {
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
        time_ns: 86_400_000_000_000 + u64::from(number) * STEP,
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
        family,
        hook: HOOK_KRETPROBE,
    }
}

/// From the bytes of records to lines of output.
fn shown(criterion: &mut Criterion) {
    let records = records();
    let mut group = criterion.benchmark_group("show");
    group.throughput(Throughput::Elements(RECORDS.into()));
    for (name, options) in [
        ("text", &[][..]),
        ("text-iso", &["--time", "iso"]),
        ("text-long", &["--long"]),
        ("json", &["--json"]),
    ] {
        let args = ["conn-cli", "--port", "80", "--utc"];
        let args = Args::parse_from([&args, options].concat());
        let mut view = View::new(
            &args.trace.show,
            Some((&[Stage::Accepted].into(), Timestamp::now())),
            None,
        );
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for_each(&records, |connection| view.show(connection));
                black_box(view.stdout.buffer()).clear();
            });
        });
    }
    group.finish();
}

/// From the bytes of records to counts, as with `--count`.
fn tallied(criterion: &mut Criterion) {
    let records = records();
    let mut group = criterion.benchmark_group("tally");
    group.throughput(Throughput::Elements(RECORDS.into()));
    group.bench_function("address", |bencher| {
        bencher.iter(|| {
            let mut tally = Tally::default();
            for_each(&records, |connection| {
                tally.add_key(GroupBy::Address.key(connection), connection.local_port, 1);
            });
            tally
        });
    });
    group.finish();
}

fn for_each(records: &[Event], mut show: impl FnMut(&Connection)) {
    let clock = WallClock::now();
    for record in black_box(records) {
        let connection = decode(bytemuck::bytes_of(record), clock);
        show(&connection.expect("it is whole"));
    }
}

criterion_group!(benches, shown, tallied);
criterion_main!(benches);
