//! Compares real records with what the server counted while they were recorded. `truth.json` has,
//! for each recording, the connections that the server accepted and, for records of packets, the
//! number of SYNs sent to each port.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    sync::mpsc,
};

use conn_cli::{
    model::{
        filter::EndsFilter,
        format::Format,
        period::Period,
        ports::PortSet,
        read_stats::{InputStats, ReadStats},
    },
    read::{
        error::ReadError,
        how::How,
        merge::{Merge, MergeOptions},
        parse::lines::Wanted,
        summarise,
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Truth {
    /// Addresses by name, from the `/etc/hosts` of the recording machine.
    names: BTreeMap<String, String>,
    recordings: Vec<Recording>,
}

/// A recording and its true counts by port and client.
#[derive(Deserialize)]
struct Recording {
    file: String,
    format: String,
    command: String,
    connections: Counts,
    /// Includes connections that the server refused or never received.
    #[serde(default)]
    syns: Counts,
    /// How often each packet was captured.
    copies: Option<u64>,
    #[serde(default)]
    note: String,
    /// The only family whose packets the capture filter or the snap length left usable.
    only: Option<String>,
}

type Counts = BTreeMap<u16, BTreeMap<String, u64>>;

impl Recording {
    fn open(&self) -> File {
        File::open(directory().join(&self.file)).unwrap()
    }

    /// Whether it has packets, rather than what another program made of them.
    fn is_of_packets(&self) -> bool {
        !["strace", "suricata", "tcpaccept", "conntrack"].contains(&&*self.format)
    }

    /// With -q, tcpdump prints no flags.
    fn has_no_flags(&self) -> bool {
        self.command.contains(" -q ")
    }

    /// The number of SYNs in the records.
    fn packets(&self) -> Counts {
        let mut counts = self.syns.clone();
        let copies = self.copies.unwrap_or(1);
        for count in counts.values_mut().flat_map(BTreeMap::values_mut) {
            *count *= copies;
        }
        counts
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

fn truth() -> Truth {
    let text = fs::read_to_string(directory().join("truth.json")).unwrap();
    let truth: Truth = serde_json::from_str(&text).unwrap();
    assert!(truth.recordings.len() > 100);
    truth
}

fn options(ports: &str, every_packet: bool) -> MergeOptions {
    MergeOptions {
        ports: match ports {
            "" => PortSet::all(),
            ports => ports.parse().unwrap(),
        },
        filter: EndsFilter::default(),
        period: Period::default(),
        strict: false,
        every_packet,
        lines_only: false,
        all_addresses: false,
        names: None,
    }
}

/// The counts of an input, with addresses in place of names.
fn counted(truth: &Truth, input: impl Read, options: MergeOptions) -> (Counts, ReadStats) {
    let (findings, end) = summarise(input, None, options);
    match end {
        // tcpdump -q
        Ok(()) | Err(ReadError::UnknownFormat(_)) => (),
        Err(read_error) => panic!("{read_error:?}"),
    }
    let (tally, _, stats) = findings.unwrap();
    let mut counts = Counts::new();
    for client in tally.ranked().clients() {
        let name = client.key.to_string();
        let name = truth.names.get(&name).unwrap_or(&name);
        let known: u64 = client.ports.values().sum();
        let unknown = (0, client.connections - known);
        for (port, count) in client.ports.into_iter().chain([unknown]) {
            if count > 0 {
                *counts
                    .entry(port)
                    .or_default()
                    .entry(name.clone())
                    .or_default() += count;
            }
        }
    }
    (counts, stats)
}

/// Counts without ports, for records that do not have them.
fn by_client(counts: &Counts) -> BTreeMap<&str, u64> {
    let mut sums = BTreeMap::new();
    for (client, count) in counts.values().flatten() {
        *sums.entry(client.as_str()).or_default() += count;
    }
    sums
}

#[test]
fn strace_counts_are_those_of_the_server() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.format == "strace") {
        let file = &recording.file;
        let (counts, stats) = counted(&truth, recording.open(), options("", false));
        assert_eq!(stats.first_not_understood, None, "{file}");
        let shows_ports = recording.command.contains("-yy");
        if !shows_ports {
            assert_eq!(
                by_client(&counts),
                by_client(&recording.connections),
                "{file}"
            );
        } else if by_client(&recording.connections).contains_key("unknown") {
            // -yy shows addresses that the server did not ask for.
            let sums = |counts: &Counts| -> BTreeMap<u16, u64> {
                let sum =
                    |(port, clients): (&u16, &BTreeMap<_, u64>)| (*port, clients.values().sum());
                counts.iter().map(sum).collect()
            };
            assert_eq!(sums(&counts), sums(&recording.connections), "{file}");
        } else {
            assert_eq!(counts, recording.connections, "{file}");
        }
        let (findings, _) = summarise(recording.open(), None, options("8080", false));
        match findings {
            Ok((tally, ..)) if shows_ports => {
                let expected: u64 = recording.connections[&8080].values().sum();
                assert_eq!(tally.connections(), expected, "{file}");
            }
            Ok(_) => panic!("{file}: it has no ports"),
            Err(error) => {
                assert!(!shows_ports, "{file}: {error}");
                assert!(error.to_string().contains("-yy"), "{error}");
            }
        }
    }
}

#[test]
fn every_packet_counts_every_syn() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.is_of_packets()) {
        if recording.has_no_flags() {
            continue;
        }
        let file = &recording.file;
        let (counts, stats) = counted(&truth, recording.open(), options("", true));
        assert_eq!(counts, recording.packets(), "{file}");
        // Each packet in the tunnel is also out of it.
        let inner = if recording.note.contains("in a tunnel") {
            by_client(&recording.packets()).values().sum()
        } else {
            0
        };
        assert_eq!(stats.inner, inner, "{file}");
        // With `only`, the other packets are too short; with `copies`, some have a header that
        // tcpdump cannot read either.
        if recording.only.is_none() && recording.copies.is_none() {
            assert_eq!(stats.first_not_understood, None, "{file}");
        }
    }
}

#[test]
fn repeated_syns_are_one_connection() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.is_of_packets()) {
        let file = &recording.file;
        if recording.has_no_flags() {
            continue;
        }
        let (mut counts, stats) = counted(&truth, recording.open(), options("", false));
        for (port, clients) in &recording.connections {
            for (client, expected) in clients {
                let got = counts
                    .get_mut(port)
                    .and_then(|clients| clients.remove(client));
                assert_eq!(got, Some(*expected), "{file}: {client} to {port}");
            }
        }
        // The rest are attempts that failed.
        let attempts = counts.values().flat_map(BTreeMap::values).sum::<u64>();
        let accepted: u64 = by_client(&recording.connections).values().sum();
        let packets: u64 = by_client(&recording.packets()).values().sum();
        let again = stats.repeated + stats.duplicates;
        assert_eq!(accepted + attempts + again, packets, "{file}");
    }
}

/// Each connection has one flow, also where SYNs were lost and sent again, and where the next connection had the same
/// port.
#[test]
fn flows_of_suricata_are_the_connections_and_what_failed() {
    let truth = truth();
    let mut flows = truth
        .recordings
        .iter()
        .filter(|one| one.format == "suricata")
        .peekable();
    assert!(flows.peek().is_some());
    for recording in flows {
        let file = &recording.file;
        let (mut counts, stats) = counted(&truth, recording.open(), options("", false));
        assert_eq!(stats.first_not_understood, None, "{file}");
        let mut attempts = recording.syns.clone();
        for (port, clients) in &recording.connections {
            for (client, expected) in clients {
                let got = counts
                    .get_mut(port)
                    .and_then(|clients| clients.remove(client));
                assert_eq!(got, Some(*expected), "{file}: {client} to {port}");
                attempts
                    .get_mut(port)
                    .and_then(|clients| clients.remove(client));
            }
        }
        // However often they sent their SYN.
        for count in attempts.values_mut().flat_map(BTreeMap::values_mut) {
            *count = 1;
        }
        assert_eq!(counts, attempts, "{file}");
    }
}

/// The recordings of a format, of which there are some.
fn recordings<'a>(truth: &'a Truth, format: &str) -> impl Iterator<Item = &'a Recording> {
    let all = truth.recordings.iter();
    let mut some = all.filter(move |one| one.format == format).peekable();
    assert!(some.peek().is_some());
    some
}

/// No SYN was lost, so each is new.
#[test]
fn events_of_conntrack_are_the_connections_and_what_failed() {
    let truth = truth();
    for recording in recordings(&truth, "conntrack") {
        let file = &recording.file;
        let (counts, stats) = counted(&truth, recording.open(), options("", false));
        assert_eq!(stats.first_not_understood, None, "{file}");
        let has_new = !recording.command.contains("-e UPDATES");
        let expected = if has_new {
            &recording.syns
        } else {
            &recording.connections
        };
        assert_eq!(&counts, expected, "{file}");
        assert_eq!(stats.repeated, 0, "{file}");
    }
}

/// What tcptracer tells of clients on this machine and of the ends of connections does not count.
#[test]
fn tables_of_tracers_are_the_connections() {
    let truth = truth();
    for recording in recordings(&truth, "tcpaccept") {
        let file = &recording.file;
        let (counts, stats) = counted(&truth, recording.open(), options("", false));
        assert_eq!(stats.first_not_understood, None, "{file}");
        assert_eq!(counts, recording.connections, "{file}");
    }
}

#[test]
fn port_selects_the_port_of_the_server() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.is_of_packets()) {
        if recording.has_no_flags() {
            continue;
        }
        let (counts, _) = counted(&truth, recording.open(), options("8080", true));
        let mut packets = recording.packets();
        packets.retain(|&port, _| port == 8080);
        assert_eq!(counts, packets, "{}", recording.file);
    }
}

#[test]
fn packets_without_flags_are_not_understood() {
    let truth = truth();
    let mut all = truth
        .recordings
        .iter()
        .filter(|one| one.has_no_flags())
        .peekable();
    assert!(all.peek().is_some());
    for recording in all {
        let file = &recording.file;
        let (counts, _) = counted(&truth, recording.open(), options("", false));
        assert_eq!(counts, Counts::new(), "{file}");
        let (_, end) = summarise(recording.open(), None, options("", false));
        match end {
            Err(ReadError::UnknownFormat(why)) => {
                assert!(why.to_string().contains("tcpdump -q"), "{file}: {why}");
            }
            end => panic!("{file}: {end:?}"),
        }
        let format = Some(Format::Tcpdump);
        let (findings, _) = summarise(recording.open(), format, options("", false));
        let first = findings.unwrap().2.first_not_understood.unwrap();
        assert!(first.contains("-q prints no flags"), "{file}: {first}");
    }
}

#[test]
fn small_reads_do_not_change_the_counts() {
    let truth = truth();
    for recording in &truth.recordings {
        let bytes = fs::read(directory().join(&recording.file)).unwrap();
        let whole = counted(&truth, &bytes[..], options("", false));
        for max_len in [3, 1000] {
            let parts = counted(
                &truth,
                Parts {
                    bytes: &bytes,
                    max_len,
                },
                options("", false),
            );
            assert_eq!(parts, whole, "{} in parts of {max_len}", recording.file);
        }
    }
}

/// Which day is assumed must not depend on how the input arrives.
#[test]
fn small_reads_do_not_change_a_period() {
    let truth = truth();
    let mut divided = 0;
    for recording in truth
        .recordings
        .iter()
        .filter(|one| one.format == "tcpdump")
    {
        let bytes = fs::read(directory().join(&recording.file)).unwrap();
        let options = || MergeOptions {
            period: Period {
                // `summarise` takes inputs to be from before 1970.
                since: Some("1969-12-31T17:33:43.9Z".parse().unwrap()),
                until: None,
            },
            ..options("", false)
        };
        let whole = counted(&truth, &bytes[..], options());
        let parts = Parts {
            bytes: &bytes,
            max_len: 100,
        };
        assert_eq!(
            counted(&truth, parts, options()),
            whole,
            "{}",
            recording.file
        );
        let sum = |counts: &Counts| counts.values().flat_map(BTreeMap::values).sum::<u64>();
        let (found, all) = (sum(&whole.0), sum(&recording.connections));
        divided += u64::from(found > 0 && found < all);
    }
    assert!(divided > 2, "{divided}");
}

#[test]
fn a_truncated_file_has_no_additional_connections() {
    let truth = truth();
    for recording in &truth.recordings {
        let bytes = fs::read(directory().join(&recording.file)).unwrap();
        let (whole, _) = counted(&truth, &bytes[..], options("", false));
        let whole = by_client(&whole);
        for end in (0..bytes.len()).step_by(bytes.len() / 31 + 1) {
            let (findings, result) = summarise(&bytes[..end], None, options("", false));
            match result {
                Ok(()) | Err(ReadError::UnknownFormat(_) | ReadError::Io(_)) => (),
                Err(read_error) => panic!("{}: {read_error:?}", recording.file),
            }
            for client in findings.unwrap().0.ranked().clients() {
                let name = client.key.to_string();
                let name = truth.names.get(&name).unwrap_or(&name);
                let all = whole.get(name.as_str()).copied().unwrap_or(0);
                // A truncated call can look like one that did not ask for the address.
                if name == "unknown" {
                    continue;
                }
                assert!(
                    client.connections <= all,
                    "{} at {end}: {name}",
                    recording.file
                );
            }
        }
    }
}

#[test]
fn two_parts_count_as_much_as_the_whole() {
    let truth = truth();
    let mut compared = 0;
    for recording in &truth.recordings {
        if recording.format.starts_with("pcap") || recording.has_no_flags() {
            // The second part of a capture has no file header.
            continue;
        }
        let bytes = fs::read(directory().join(&recording.file)).unwrap();
        let (findings, _) = summarise(&bytes[..], None, options("", true));
        let (whole, ..) = findings.unwrap();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let third = bytes.len() / 3;
        let Some((end, _)) = { ends }.find(|(end, _)| *end > third) else {
            continue;
        };
        // As two consecutive files, like rotated logs.
        let mut merge = Merge::new(options("", true));
        for part in [&bytes[..=end], &bytes[end + 1..]] {
            merge.begin(InputStats::default());
            conn_cli::read::reader::read(part, &How::default(), &mpsc::channel().1, &mut |piece| {
                let mut batch = conn_cli::read::parse::parse(&piece, &Wanted::default());
                merge.take(&mut batch, &mut |_| true).unwrap();
                Ok(())
            })
            .unwrap();
        }
        let (sum, ..) = merge.finish();
        // Not if the cut is between the two lines of a packet with -v, or of an strace call that
        // was interrupted by other output.
        let is_continued = bytes[end + 1..].starts_with(b"    ")
            || bytes[end + 1..].starts_with(b"{sa_family")
            || bytes[end + 1..].starts_with(b" <unfinished");
        if !is_continued {
            assert_eq!(sum.ranked(), whole.ranked(), "{}", recording.file);
            compared += 1;
        }
    }
    assert!(compared > 50);
}

/// A reader that returns at most `max_len` bytes at a time, as a pipe does.
struct Parts<'a> {
    bytes: &'a [u8],
    max_len: usize,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.max_len.min(buffer.len());
        self.bytes.read(&mut buffer[..length])
    }
}

#[test]
fn every_format_has_a_fuzz_target() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let other = include_str!("../../fuzz/fuzz_targets/other.rs");
    for format in Format::ALL {
        let target = format!("name = \"{}\"\n", format.name());
        let is_other = other.contains(&format!("Format::{format:?},"));
        assert!(manifest.contains(&target) || is_other, "{target}");
    }
}
