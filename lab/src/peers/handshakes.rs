//! Handshakes, as tcpdump shows them.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use crate::counts::Counts;

/// A segment with the flag SYN.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    is_answer: bool,
    sequence: u32,
}

/// The SYNs and answers that clients and a server have sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// The client of each SYN, without repetitions.
    syns: Vec<SocketAddr>,
    /// SYNs that were sent again, by the same client with the same sequence number.
    pub repeated: u64,
    /// The client of each SYN that was answered, however often.
    answered: Vec<SocketAddr>,
}

impl Handshakes {
    /// The filter for tcpdump.
    pub fn filter(port: u16) -> String {
        // `tcp[tcpflags]` matches IPv4 only.
        let v4 = "tcp[tcpflags] & tcp-syn != 0";
        let v6 = "(ip6[6] == 6 and ip6[40 + 13] & tcp-syn != 0)";
        format!("port {port} and ({v4} or {v6})")
    }

    /// Parses tcpdump's lines of the packets that the filter passes.
    pub fn from_lines(lines: &[String], port: u16) -> Result<Self> {
        let mut handshakes = Self::default();
        let (mut syns, mut answers) = (HashSet::new(), BTreeSet::new());
        for line in lines {
            let segment =
                parse(line).with_context(|| format!("not a SYN in tcpdump's output: {line:?}"))?;
            if segment.is_answer && segment.from.port() == port {
                answers.insert((segment.to, segment.sequence));
            } else if !segment.is_answer && segment.to.port() == port {
                if syns.insert((segment.from, segment.sequence)) {
                    handshakes.syns.push(segment.from);
                } else {
                    handshakes.repeated += 1;
                }
            }
        }
        handshakes.syns.sort_unstable();
        handshakes.answered = answers.into_iter().map(|(client, _)| client).collect();
        Ok(handshakes)
    }

    /// The client of each SYN, without repetitions, sorted.
    pub fn syns(&self) -> &[SocketAddr] {
        &self.syns
    }

    /// The number of SYNs from each address, without repetitions.
    pub fn syns_by_address(&self) -> Counts {
        by_address(&self.syns)
    }

    /// The number of these that were answered.
    pub fn answered_by_address(&self) -> Counts {
        by_address(&self.answered)
    }
}

/// The number of clients with each address.
pub fn by_address(clients: &[SocketAddr]) -> Counts {
    let mut counts = Counts::new();
    for client in clients {
        *counts.entry(client.ip()).or_default() += 1;
    }
    counts
}

/// Parses `21:03:04.123456 IP 127.0.0.1.4000 > 127.0.0.1.80: Flags [S], seq 123, win ...`.
fn parse(line: &str) -> Option<Segment> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [
        _time,
        "IP" | "IP6",
        from,
        ">",
        to,
        "Flags",
        flags,
        "seq",
        sequence,
        ..,
    ] = words.as_slice()
    else {
        return None;
    };
    let flags = flags.strip_prefix('[')?.strip_suffix("],")?;
    Some(Segment {
        from: parse_endpoint(from)?,
        to: parse_endpoint(to.strip_suffix(':')?)?,
        is_answer: flags.starts_with('S').then(|| flags.contains('.'))?,
        sequence: sequence.strip_suffix(',')?.parse().ok()?,
    })
}

/// Parses an address and a port, separated by a dot.
fn parse_endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once('.')?;
    Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_syns_repetitions_and_answers() {
        let lines = [
            "20:00:00.000001 IP 127.0.0.2.4000 > 127.0.0.1.80: Flags [S], seq 7, win 65495, options [mss 65495], length 0",
            "20:00:00.000002 IP 127.0.0.1.80 > 127.0.0.2.4000: Flags [S.], seq 9, ack 8, win 65483, options [mss 65495], length 0",
            "20:00:00.000003 IP6 ::1.4001 > ::1.80: Flags [SEW], seq 8, win 65476, options [mss 65476], length 0",
            "20:00:01.000003 IP6 ::1.4001 > ::1.80: Flags [SEW], seq 8, win 65476, options [mss 65476], length 0",
            "20:00:02.000003 IP 127.0.0.2.80 > 127.0.0.1.4000: Flags [S], seq 7, win 65495, length 0",
        ]
        .map(str::to_owned);
        let handshakes = Handshakes::from_lines(&lines, 80).unwrap();
        let clients = ["127.0.0.2:4000", "[::1]:4001"].map(|client| client.parse().unwrap());
        assert_eq!(handshakes.syns(), clients);
        assert_eq!(handshakes.repeated, 1);
        assert_eq!(handshakes.answered, clients[..1]);
        let counts = handshakes.syns_by_address();
        assert_eq!(counts.values().sum::<u64>(), 2);
        assert_eq!(handshakes.answered_by_address().len(), 1);
    }

    #[test]
    fn rejects_packet_without_syn() {
        let line =
            "20:00:00.000001 IP 127.0.0.2.4000 > 127.0.0.1.80: Flags [.], ack 7, win 512, length 0";
        assert!(Handshakes::from_lines(&[line.to_owned()], 80).is_err());
    }
}
