//! What each input was read as.

use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};

use super::{ACCEPT, TempDir, read, read_from, said, text};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded");

#[test]
fn each_input_is_named_with_what_it_was_read_as() {
    let dir = TempDir::new("inputs");
    let log = dir.file("a\n.log", ACCEPT.repeat(3));
    let empty = dir.file("empty", "");
    let missing = dir.0.join("missing");
    let capture = fs::read(Path::new(RECORDED).join("packets/syn.pcap")).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&capture).unwrap();
    let packed = dir.file("web.gz", gzip.finish().unwrap());
    let output = read(&["-q"], &[&log, &missing, &empty, &packed, &dir.0]);
    let directory = dir.0.display();
    // Each packet of a pcap file is 16 bytes and its own length, after 24 bytes.
    let (mut packets, mut rest) = (0, &capture[24..]);
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_le_bytes(length.try_into().unwrap());
        rest = &rest[16 + length as usize..];
        packets += 1;
    }
    let (inputs, _) = said(&output);
    assert_eq!(
        inputs,
        [
            format!("{directory}/a\\n.log: strace, 3 lines"),
            format!("{directory}/empty: empty"),
            format!("{directory}/web.gz: pcap, gzip, {packets} packets"),
        ]
    );
    // A damaged one is named, as far as it was read.
    let packed = fs::read(&packed).unwrap();
    let output = read_from(&packed[..packed.len() / 2], &["-q"]);
    let (inputs, other) = said(&output);
    assert!(
        inputs[0].starts_with("standard input: pcap, gzip, "),
        "{inputs:?}"
    );
    assert!(other[0].contains("the gzip data is truncated"), "{other:?}");
    assert_eq!((inputs.len(), output.status.code()), (1, Some(1)));
}

#[test]
fn the_mark_before_a_text_in_utf8_is_not_of_its_first_line() {
    let text = format!("\u{feff}{ACCEPT}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    for (input, shown) in [
        (text.clone().into_bytes(), "strace, 1 line"),
        (gzip.finish().unwrap(), "strace, gzip, 1 line"),
    ] {
        let output = read_from(&input, &["-q", "--strict"]);
        assert!(output.status.success(), "{output:?}");
        let (inputs, _) = said(&output);
        assert_eq!(inputs, [format!("standard input: {shown}")]);
    }
}

#[test]
fn sums_and_records_of_ipchains_are_refused_by_name() {
    let dir = TempDir::new("foreign");
    let sums = "strace: Process 5 attached\nstrace: Process 6 attached\n^Cstrace: Process 5 detached\n\
                % time     seconds  usecs/call     calls    errors syscall\n\
                ------ ----------- ----------- --------- --------- ----------------\n \
                61.85    0.000904          17        52           accept4\n";
    let ipchains = "Nov 22 14:25:37 fw kernel: Packet log: input DENY eth0 PROTO=6 192.0.2.1:1633 \
                    192.0.2.9:23 L=44 S=0x00 I=54054 F=0x4000 T=254 SYN (#5)\n";
    for (content, name) in [(sums, "strace -c"), (ipchains, "ipchains")] {
        let output = read(&["-q"], &[&dir.file("input", content)]);
        let message = text(&output.stderr);
        assert!(message.contains(name), "{message}");
        assert_eq!(output.status.code(), Some(1), "{message}");
    }
    // There may have been no connection.
    let attached = &sums[..sums.find('^').unwrap()];
    let output = read(&["-q"], &[&dir.file("input", attached)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn what_comes_from_a_pipe_is_named_too() {
    let text = fs::read(Path::new(RECORDED).join("packets/syn-n.txt")).unwrap();
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let output = read_from(&text, &["--json", "--quiet"]);
    assert_eq!(
        said(&output).0,
        [format!("standard input: tcpdump, {lines} lines")]
    );
}

#[test]
fn what_expands_too_much_counts_up_to_there() {
    // A zstd frame with a window of 128 KiB: a block of the record as it is, then blocks that are 128 KiB
    // of one byte.
    let header = |kind: u32, length: usize| (length as u32) << 3 | kind << 1;
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    bomb.extend_from_slice(&header(0, ACCEPT.len()).to_le_bytes()[..3]);
    bomb.extend_from_slice(ACCEPT.as_bytes());
    for block in 1..=200 {
        let header = header(1, 128 * 1024) | u32::from(block == 200);
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(b'x');
    }
    let dir = TempDir::new("bomb");
    let bomb = dir.file("bomb.zst", bomb);
    let output = read(&["-q"], &[&bomb]);
    let (_, other) = said(&output);
    let error = "bomb.zst: the zstd data expands to more than 1000 times its length: --max-expansion allows more";
    assert!(other[0].ends_with(error), "{other:?}");
    assert!(text(&output.stdout).contains("192.0.2.1: 1\n"));
    assert_eq!(output.status.code(), Some(1));
    for more in ["0", "50000"] {
        let output = read(&["-q", "--max-expansion", more], &[&bomb]);
        assert!(text(&output.stdout).contains("192.0.2.1: 1\n"));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn hundreds_of_inputs_are_summed_up() {
    let dir = TempDir::new("hundreds");
    let log = dir.file("log", ACCEPT);
    let output = read(&["-q"], &[&*log; 300]);
    let (inputs, _) = said(&output);
    assert_eq!(inputs.len(), 9);
    assert_eq!(inputs[8], "and 292 more inputs");
}
