//! Uses recorded lines as templates: fills in client, port, sequence number and time.

use std::collections::HashMap;
use std::io::Write as _;

use anyhow::{Context as _, Result};

use super::scale::{Counter, Peer, RECORDED_NETWORK, Session};

const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;

/// A session of lines.
#[derive(Debug)]
pub(super) struct Lines {
    opening: Vec<Line>,
    body: Vec<Line>,
    closing: Vec<Line>,
    /// The number of connections in the body.
    connections: u64,
    /// The duration of the body, in microseconds.
    period: u64,
}

#[derive(Debug, Default)]
struct Line {
    parts: Vec<Part>,
    /// The connection of the session that it belongs to, if any.
    connection: Option<u64>,
    /// Whether it is the line that counts as that connection.
    counts: bool,
    /// When it was recorded, in microseconds since midnight.
    time: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Client,
    Port,
    /// The client's initial sequence number plus this.
    Sequence(u32),
    /// `14:25:37`: microseconds since midnight, and whether they are printed.
    Clock(u64, bool),
    /// `12983.683645`
    Uptime(u64),
}

impl Lines {
    /// Parses recorded lines; `counts` chooses the lines with a client that count as connections.
    pub(super) fn new(recorded: &str, counts: fn(&str) -> bool) -> Result<Self> {
        let texts: Vec<_> = recorded.lines().collect();
        let mut connections = HashMap::new();
        let mut lines = Vec::new();
        for text in &texts {
            let (mut line, client) = Line::new(text).with_context(|| (*text).to_owned())?;
            let next = connections.len() as u64;
            line.connection = client.map(|client| *connections.entry(client).or_insert(next));
            line.counts = line.connection.is_some() && counts(text);
            lines.push(line);
        }
        let has_client = |line: &Line| line.connection.is_some();
        let begin = lines.iter().position(has_client).context("no client")?;
        let mut end = lines.iter().rposition(has_client).context("no client")? + 1;
        // Threads that wait for the next connection wait until the next round.
        while texts
            .get(end)
            .is_some_and(|text| text.ends_with("<unfinished ...>"))
        {
            end += 1;
        }
        let closing = lines.split_off(end);
        let body = lines.split_off(begin);
        let took = body[body.len() - 1].time - body[0].time;
        Ok(Self {
            opening: lines,
            connections: connections.len() as u64,
            // With less, the connections would come faster than in the recording.
            period: took + took / body.len() as u64,
            body,
            closing,
        })
    }

    fn write(&self, lines: &[Line], round: u64, out: &mut Vec<u8>, counter: &mut Counter) {
        for line in lines {
            let number = round * self.connections + line.connection.unwrap_or(0);
            let peer = Peer::for_connection(number);
            line.write(peer, round * self.period, out);
            counter.record();
            if line.counts {
                counter.connection(peer);
            }
        }
    }
}

impl Session for Lines {
    fn opening(&self, out: &mut Vec<u8>, counter: &mut Counter) {
        self.write(&self.opening, 0, out, counter);
    }

    fn round(&self, round: u64, out: &mut Vec<u8>, counter: &mut Counter) {
        self.write(&self.body, round, out, counter);
    }

    fn closing(&self, out: &mut Vec<u8>, counter: &mut Counter) {
        self.write(&self.closing, 0, out, counter);
    }
}

impl Line {
    /// The template, and the client and port from the recording.
    fn new(text: &str) -> Result<(Self, Option<(String, String)>)> {
        let mut line = Self::default();
        let (mut client, mut port) = (None, None);
        let mut has_clock = false;
        let mut rest = text;
        while !rest.is_empty() {
            let taken = if let Some(tail) = rest.strip_prefix(RECORDED_NETWORK) {
                line.parts.push(Part::Client);
                let length = RECORDED_NETWORK.len() + digits(tail);
                client = Some(rest[..length].to_owned());
                length
            } else if line.wants_port() {
                line.parts.push(Part::Port);
                port = Some(rest[..digits(rest)].to_owned());
                digits(rest)
            } else if let Some(ahead) = line.wants_sequence() {
                line.parts.push(Part::Sequence(ahead));
                digits(rest)
            } else if line.ends_with("kernel: [") {
                let length = rest.find(']').context("no end of the uptime")?;
                line.parts.push(Part::Uptime(micros(&rest[..length])?));
                length
            } else if !has_clock && is_clock(rest) {
                has_clock = true;
                line.clock(rest)?
            } else {
                line.literal(rest)
            };
            rest = &rest[taken..];
        }
        Ok((line, client.zip(port)))
    }

    /// Takes one character literally.
    fn literal(&mut self, rest: &str) -> usize {
        let length = rest.chars().next().map_or(0, char::len_utf8);
        let char = &rest[..length];
        match self.parts.last_mut() {
            Some(Part::Literal(literal)) => literal.push_str(char),
            _ => self.parts.push(Part::Literal(char.to_owned())),
        }
        length
    }

    fn clock(&mut self, rest: &str) -> Result<usize> {
        let fraction = rest[8..].strip_prefix('.').map_or(0, digits);
        let length = if fraction == 6 { 15 } else { 8 };
        let (hour, minute) = (micros(&rest[..2])?, micros(&rest[3..5])?);
        self.time = hour * 3600 + minute * 60 + micros(&rest[6..length])?;
        self.parts.push(Part::Clock(self.time, fraction == 6));
        Ok(length)
    }

    fn ends_with(&self, text: &str) -> bool {
        matches!(self.parts.last(), Some(Part::Literal(literal)) if literal.ends_with(text))
    }

    /// Whether the client's port follows.
    fn wants_port(&self) -> bool {
        let after_client = matches!(self.parts[..], [.., Part::Client, Part::Literal(ref dot)]
            if dot == ".");
        after_client || self.ends_with("htons(") || self.ends_with("SPT=")
    }

    /// If the client's sequence number follows, how much is added to it.
    fn wants_sequence(&self) -> Option<u32> {
        let Some(Part::Literal(literal)) = self.parts.last() else {
            return None;
        };
        if literal.ends_with("Flags [S], seq ") {
            return Some(0);
        }
        (literal.contains("Flags [S.]") && literal.ends_with(" ack ")).then_some(1)
    }

    fn write(&self, peer: Peer, delay: u64, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Client => put(out, format_args!("{}", peer.address())),
                Part::Port => put(out, format_args!("{}", peer.port)),
                Part::Sequence(ahead) => {
                    put(out, format_args!("{}", peer.sequence.wrapping_add(*ahead)));
                }
                Part::Clock(time, has_fraction) => {
                    put_clock(out, (time + delay) % DAY, *has_fraction);
                }
                Part::Uptime(time) => {
                    let time = time + delay;
                    put(out, format_args!("{}.{:06}", time / SECOND, time % SECOND));
                }
            }
        }
        out.push(b'\n');
    }
}

fn put_clock(out: &mut Vec<u8>, time: u64, has_fraction: bool) {
    let seconds = time / SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    put(out, format_args!("{hour:02}:{minute:02}:{second:02}"));
    if has_fraction {
        put(out, format_args!(".{:06}", time % SECOND));
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}

/// The number of digits at the beginning.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn is_clock(text: &str) -> bool {
    text.len() >= 8
        && text
            .bytes()
            .take(8)
            .enumerate()
            .all(|(index, byte)| match index {
                2 | 5 => byte == b':',
                _ => byte.is_ascii_digit(),
            })
}

/// Converts seconds, with six decimals or none, to microseconds.
fn micros(text: &str) -> Result<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    Ok(seconds.trim().parse::<u64>()? * SECOND + fraction.parse::<u64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line for another, later connection.
    fn rewrite(text: &str) -> (String, Peer) {
        let peer = Peer::for_connection(7);
        let mut out = Vec::new();
        Line::new(text)
            .unwrap()
            .0
            .write(peer, 2 * SECOND + 1, &mut out);
        (String::from_utf8(out).unwrap(), peer)
    }

    #[test]
    fn strace_line_is_rewritten() {
        let (line, peer) = rewrite(
            r#"12  23:59:58.000001 accept4(3, {sa_family=AF_INET, sin_port=htons(57337), sin_addr=inet_addr("198.51.100.51")}, [16], 0) = 5"#,
        );
        let (client, port) = (peer.address(), peer.port);
        let expected = format!(
            "12  00:00:00.000002 accept4(3, {{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr(\"{client}\")}}, [16], 0) = 5\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn kernel_log_line_is_rewritten() {
        let (line, peer) = rewrite(
            "Nov 22 17:04:34 web1 kernel: [12983.683645] IN=eth0 MAC=c6:44:29:62:08:00 SRC=198.51.100.26 DST=192.0.2.9 SPT=46641 DPT=80",
        );
        let (client, port) = (peer.address(), peer.port);
        let expected = format!(
            "Nov 22 17:04:36 web1 kernel: [12985.683646] IN=eth0 MAC=c6:44:29:62:08:00 SRC={client} DST=192.0.2.9 SPT={port} DPT=80\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn tcpdump_lines_are_rewritten() {
        let peer = Peer::for_connection(7);
        let (client, port, sequence) = (peer.address(), peer.port, peer.sequence);
        let line = |text: &str| rewrite(text).0;
        assert_eq!(
            line(
                "01:04:34.143701 IP 198.51.100.26.46641 > 192.0.2.9.80: Flags [S], seq 181267376, win 1"
            ),
            format!(
                "01:04:36.143702 IP {client}.{port} > 192.0.2.9.80: Flags [S], seq {sequence}, win 1\n"
            ),
        );
        assert_eq!(
            line(
                "01:04:34.143780 IP 192.0.2.9.80 > 198.51.100.26.46641: Flags [S.], seq 28, ack 181267377, win 1"
            ),
            format!(
                "01:04:36.143781 IP 192.0.2.9.80 > {client}.{port}: Flags [S.], seq 28, ack {}, win 1\n",
                sequence.wrapping_add(1)
            ),
        );
        assert_eq!(
            line("01:04:34.143780 IP 192.0.2.9.80 > 198.51.100.26.46641: Flags [.], ack 5, win 64"),
            format!(
                "01:04:36.143781 IP 192.0.2.9.80 > {client}.{port}: Flags [.], ack 5, win 64\n"
            ),
        );
    }

    #[test]
    fn lines_outside_connections_are_not_repeated() {
        let recorded = "\
12  01:00:00.000000 accept(3,  <unfinished ...>
12  01:00:01.000000 <... accept resumed>{sin_port=htons(5), inet_addr(\"198.51.100.5\")}) = 4
12  01:00:02.000000 accept(3,  <unfinished ...>
12  01:00:03.000000 +++ exited with 0 +++
";
        let lines = Lines::new(recorded, |_| true).unwrap();
        let parts = [&lines.opening, &lines.body, &lines.closing].map(Vec::len);
        assert_eq!(parts, [1, 2, 1]);
        assert_eq!((lines.connections, lines.period), (1, 1_500_000));
    }
}
