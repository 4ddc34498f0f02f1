//! Real records, held against what the server itself counted while they were made. Beside each
//! recording, `truth.json` has the connections that the server accepted and, where a packet is
//! a record, how many SYNs were sent to each port.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    sync::mpsc,
};

use conn_cli::{
    ports::PortSet,
    read::{
        ReadStats,
        merge::{Merge, MergeOptions},
        reader::ReadError,
        summarise,
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Truth {
    /// Addresses by name, as the machine's `/etc/hosts` had them.
    names: BTreeMap<String, String>,
    recordings: Vec<Recording>,
}

/// What was made, and the truth of it: counts by port and client.
#[derive(Deserialize)]
struct Recording {
    file: String,
    format: String,
    command: String,
    connections: Counts,
    /// Also of connections that the server refused or never got.
    #[serde(default)]
    syns: Counts,
    /// How often each packet was seen.
    copies: Option<u64>,
    /// What the rest of the packets were cut too short for.
    only: Option<String>,
}

type Counts = BTreeMap<u16, BTreeMap<String, u64>>;

impl Recording {
    fn open(&self) -> File {
        File::open(directory().join(&self.file)).unwrap()
    }

    /// With -q tcpdump prints no flags.
    fn has_no_flags(&self) -> bool {
        self.command.contains(" -q ")
    }

    /// How often a SYN is in the records.
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
        filter: conn_cli::filter::EndsFilter::default(),
        strict: false,
        every_packet,
        lines_only: false,
    }
}

/// What was counted of an input, with addresses in place of names.
fn counted(truth: &Truth, input: impl Read, options: MergeOptions) -> (Counts, ReadStats) {
    let (findings, end) = summarise(input, None, options);
    end.unwrap_or_else(|read_error| panic!("{read_error:?}"));
    let (tally, _, stats) = findings.unwrap();
    let mut counts = Counts::new();
    for client in tally.ranked() {
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

/// The same without the ports, for records that do not have them.
fn by_client(counts: &Counts) -> BTreeMap<&str, u64> {
    let mut sums = BTreeMap::new();
    for (client, count) in counts.values().flatten() {
        *sums.entry(client.as_str()).or_default() += count;
    }
    sums
}

#[test]
fn strace_tells_what_the_server_accepted() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.format == "strace") {
        let file = &recording.file;
        let (counts, stats) = counted(&truth, recording.open(), options("", false));
        assert_eq!(stats.first_not_understood, None, "{file}");
        let shows_ports = recording.command.contains("-yy");
        match shows_ports {
            // There the addresses are shown that the server did not ask for.
            true if by_client(&recording.connections).contains_key("unknown") => {
                let sums = |counts: &Counts| -> BTreeMap<u16, u64> {
                    let sum = |(port, clients): (&u16, &BTreeMap<_, u64>)| {
                        (*port, clients.values().sum())
                    };
                    counts.iter().map(sum).collect()
                };
                assert_eq!(sums(&counts), sums(&recording.connections), "{file}");
            }
            true => assert_eq!(counts, recording.connections, "{file}"),
            false => assert_eq!(
                by_client(&counts),
                by_client(&recording.connections),
                "{file}"
            ),
        }
        let (findings, _) = summarise(recording.open(), None, options("8080", false));
        match findings {
            Ok((tally, ..)) if shows_ports => {
                let expected: u64 = recording.connections[&8080].values().sum();
                assert_eq!(tally.connections(), expected, "{file}");
            }
            Ok(_) => panic!("{file}: there is no port in it"),
            Err(error) => {
                assert!(!shows_ports, "{file}: {error}");
                assert!(error.to_string().contains("-yy"), "{error}");
            }
        }
    }
}

#[test]
fn every_syn_is_counted_as_a_packet() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.format != "strace") {
        if recording.has_no_flags() {
            continue;
        }
        let file = &recording.file;
        let (counts, stats) = counted(&truth, recording.open(), options("", true));
        assert_eq!(counts, recording.packets(), "{file}");
        // Whatever is too short to be understood is no IPv4 packet; and of what was seen more
        // than once, something has a header that tcpdump cannot read either.
        if recording.only.is_none() && recording.copies.is_none() {
            assert_eq!(stats.first_not_understood, None, "{file}");
        }
    }
}

#[test]
fn a_syn_that_was_sent_or_seen_again_is_one_connection() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.format != "strace") {
        let file = &recording.file;
        // The log has no sequence numbers but where a rule asks for them.
        if recording.has_no_flags() || recording.format == "kernel-log" {
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
        // What is left are attempts that came to nothing.
        let attempts = counts.values().flat_map(BTreeMap::values).sum::<u64>();
        let accepted: u64 = by_client(&recording.connections).values().sum();
        let packets: u64 = by_client(&recording.packets()).values().sum();
        assert_eq!(accepted + attempts + stats.repeated, packets, "{file}");
    }
}

#[test]
fn the_port_is_that_of_the_server() {
    let truth = truth();
    for recording in truth.recordings.iter().filter(|one| one.format != "strace") {
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
fn what_has_no_flags_is_not_understood() {
    let truth = truth();
    let mut all = truth
        .recordings
        .iter()
        .filter(|one| one.has_no_flags())
        .peekable();
    assert!(all.peek().is_some());
    for recording in all {
        let (counts, stats) = counted(&truth, recording.open(), options("", false));
        assert_eq!(counts, Counts::new(), "{}", recording.file);
        let first = stats.first_not_understood.unwrap();
        assert!(
            first.contains("-q prints no flags"),
            "{}: {first}",
            recording.file
        );
    }
}

#[test]
fn it_does_not_matter_how_an_input_arrives() {
    let truth = truth();
    for recording in &truth.recordings {
        let bytes = fs::read(directory().join(&recording.file)).unwrap();
        let whole = counted(&truth, &bytes[..], options("", false));
        for most in [3, 1000] {
            let parts = counted(
                &truth,
                Parts {
                    bytes: &bytes,
                    most,
                },
                options("", false),
            );
            assert_eq!(parts, whole, "{} in parts of {most}", recording.file);
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_no_disaster() {
    let truth = truth();
    for recording in &truth.recordings {
        let bytes = fs::read(directory().join(&recording.file)).unwrap();
        let (whole, _) = counted(&truth, &bytes[..], options("", false));
        let whole = by_client(&whole);
        for end in (0..bytes.len()).step_by(bytes.len() / 31 + 1) {
            let (findings, end_of_it) = summarise(&bytes[..end], None, options("", false));
            match end_of_it {
                Ok(()) | Err(ReadError::UnknownFormat | ReadError::Io(_)) => (),
                Err(read_error) => panic!("{}: {read_error:?}", recording.file),
            }
            for client in findings.unwrap().0.ranked() {
                let name = client.key.to_string();
                let name = truth.names.get(&name).unwrap_or(&name);
                let all = whole.get(name.as_str()).copied().unwrap_or(0);
                // A call that did not ask for the address, if its result is cut.
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
fn parts_make_the_whole() {
    let truth = truth();
    let mut compared = 0;
    for recording in &truth.recordings {
        if recording.format.starts_with("pcap") {
            // A part of a capture has no beginning.
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
        // In two files one after the other, as rotated logs are.
        let format = conn_cli::read::Format::recognise(&bytes, true);
        let mut merge = Merge::new(options("", true));
        for part in [&bytes[..=end], &bytes[end + 1..]] {
            merge.begin("part");
            conn_cli::read::reader::read(part, format, &mpsc::channel().1, &mut |piece| {
                let wanted = conn_cli::read::parse::Wanted { times: false };
                let batch = conn_cli::read::parse::parse(&piece, wanted);
                merge.take(batch, &mut |_| true).unwrap();
                Ok(())
            })
            .unwrap();
        }
        let (sum, ..) = merge.finish();
        // Unless it was cut between the two lines that -v makes of a packet, or strace of a call
        // that something else was written into.
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

/// Gives at most so many bytes at a time, as a pipe does.
struct Parts<'a> {
    bytes: &'a [u8],
    most: usize,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.most.min(buffer.len());
        self.bytes.read(&mut buffer[..most])
    }
}
