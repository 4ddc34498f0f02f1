//! Measures how fast each format is parsed, without reading and counting: `cargo bench`.
//!
//! `cargo xtask bench read` scales the same records: a server and a client in network
//! namespaces, recorded by strace -f -tt, tcpdump and iptables -j LOG.

use std::{hint::black_box, sync::mpsc};

use conn_cli::{
    model::format::Format,
    read::{
        batch::Batch,
        encoding::Encoding,
        how::How,
        parse::{lines::Wanted, parse},
        piece::Piece,
        reader,
    },
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// The bytes that are parsed at once.
const PIECE_LEN: usize = 256 * 1024;

const LINES: [(&str, Format, &[u8]); 4] = [
    (
        "strace-threads",
        Format::Strace,
        include_bytes!("recorded/strace-threads.txt"),
    ),
    (
        "strace-one",
        Format::Strace,
        include_bytes!("recorded/strace-one.txt"),
    ),
    (
        "kernel-log",
        Format::KernelLog,
        include_bytes!("recorded/kernel-log.txt"),
    ),
    (
        "tcpdump",
        Format::Tcpdump,
        include_bytes!("recorded/tcpdump.txt"),
    ),
];

const PACKETS: &[u8] = include_bytes!("recorded/packets.pcap");

/// The length of the header of a pcap file.
const FILE_HEADER_LEN: usize = 24;

fn bench_lines(criterion: &mut Criterion) {
    for (name, format, recorded) in LINES {
        let lines = repeated(recorded);
        let pieces = || vec![Piece::Lines(Encoding::plain(format), lines.clone())];
        measure(criterion, name, lines.len(), pieces);
    }
}

fn bench_packets(criterion: &mut Criterion) {
    let mut capture = PACKETS.to_vec();
    capture.extend(repeated(&PACKETS[FILE_HEADER_LEN..]));
    let split = || {
        let mut pieces = Vec::new();
        let mut emit = |piece| {
            pieces.push(piece);
            Ok(())
        };
        reader::read(
            &capture[..],
            &How {
                format: Some(Format::Pcap),
                ..How::default()
            },
            &mpsc::channel().1,
            &mut emit,
        )
        .expect("the capture is complete");
        pieces
    };
    measure(criterion, "pcap", capture.len(), split);
}

/// Repeats the records up to the length of a piece.
fn repeated(recorded: &[u8]) -> Vec<u8> {
    recorded.repeat(PIECE_LEN / recorded.len())
}

fn measure(criterion: &mut Criterion, name: &str, bytes: usize, pieces: impl Fn() -> Vec<Piece>) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(bytes as u64));
    for (suffix, times) in [("", true), ("-quiet", false)] {
        let wanted = Wanted {
            times,
            ..Wanted::default()
        };
        group.bench_function(format!("{name}{suffix}"), |bencher| {
            let parse_all = |pieces: Vec<Piece>| -> Vec<Batch> {
                let pieces = black_box(&pieces).iter();
                pieces.map(|piece| parse(piece, &wanted)).collect()
            };
            bencher.iter_batched(&pieces, parse_all, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, bench_lines, bench_packets);
criterion_main!(benches);
