//! tcpdump, which shows each packet that an interface sends or receives.

use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::command::program;
use crate::process::{Lines, Process};
use crate::wire::socket::PacketSocket;

/// An Ethernet type for local experiments, which no protocol uses.
const MARKER: u16 = 0x88b5;

/// The size of tcpdump's buffer in KiB, and how many bytes of each packet it keeps: the buffer has
/// a slot of that size for each packet, however small.
const BUFFER: &str = "32768";
const HEADERS: &str = "256";

/// How long to wait for the marker packet before it is sent again, and how often it is sent.
const MARKER_INTERVAL: Duration = Duration::from_secs(2);
const MAX_MARKERS: u32 = 30;

/// A running tcpdump.
pub struct Tcpdump {
    process: Process,
    stdout: Lines,
    stderr: Lines,
    interface: String,
}

impl Tcpdump {
    /// Starts tcpdump and waits until it captures.
    ///
    /// Sequence numbers are absolute: to make them relative, tcpdump searches all connections that
    /// it has seen, for each packet.
    pub fn start(interface: &str, filter: &str) -> Result<Self> {
        let mut command = Command::new(program("tcpdump")?);
        command
            .args(["-n", "-S", "-i", interface, "-B", BUFFER, "-s", HEADERS])
            .args(["--immediate-mode", "-U", "-l"])
            // To drop privileges it would need a user, which a guest does not have.
            .args(["-Z", "root"])
            .arg(format!("({filter}) or ether proto {MARKER:#x}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::spawn("tcpdump", &mut command)?;
        let stdout = process.child.stdout.take().context("no pipe")?;
        let stderr = process.child.stderr.take().context("no pipe")?;
        let tcpdump = Self {
            process,
            stdout: Lines::of("tcpdump", stdout),
            stderr: Lines::of("tcpdump's standard error", stderr),
            interface: interface.to_owned(),
        };
        let mut messages = Vec::new();
        while let Some(line) = tcpdump.stderr.next()? {
            if line.starts_with("listening on ") {
                return Ok(tcpdump);
            }
            messages.push(line);
        }
        bail!("tcpdump did not start to capture: {}", messages.join(" | "));
    }

    /// Ends tcpdump and returns the line of each packet until now.
    ///
    /// A lost packet is an error: tcpdump can show some tens of thousands at once, but no flood. A
    /// signal alone would make tcpdump drop what it has not read yet; so it first has to show a
    /// marker packet, which is sent after all others.
    pub fn finish(mut self) -> Result<Vec<String>> {
        let socket = PacketSocket::through(&self.interface, MARKER, [0; 6])?;
        let marker = format!("({MARKER:#x})");
        let mut packets = Vec::new();
        let mut deadline = Instant::now();
        let mut markers = 0;
        loop {
            match self
                .stdout
                .next_within(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.contains(&marker) => break,
                Ok(line) => packets.push(line),
                Err(RecvTimeoutError::Timeout) if markers < MAX_MARKERS => {
                    // A full buffer drops the marker.
                    socket.send(b"the end")?;
                    markers += 1;
                    deadline = Instant::now() + MARKER_INTERVAL;
                }
                Err(error) => return Err(error).context("tcpdump shows no more packets"),
            }
        }
        self.process.signal(Signal::INT)?;
        self.stdout.rest()?;
        let messages = self.stderr.rest()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "tcpdump failed: {status}");
        let summary = Summary::parse(&messages)?;
        ensure!(
            summary.dropped == 0 && summary.captured > packets.len() as u64,
            "the test is at fault: tcpdump showed {} packets and printed {summary:?}",
            packets.len()
        );
        Ok(packets)
    }
}

/// The statistics that tcpdump prints at its end.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    captured: u64,
    /// By the kernel, because the buffer was full.
    dropped: u64,
}

impl Summary {
    fn parse(lines: &[String]) -> Result<Self> {
        let number = |what: [&str; 2]| {
            lines
                .iter()
                .find_map(|line| {
                    let (number, rest) = line.split_once(' ')?;
                    what.contains(&rest).then(|| number.parse().ok())?
                })
                .with_context(|| format!("tcpdump did not print the number of {}", what[1]))
        };
        Ok(Self {
            captured: number(["packet captured", "packets captured"])?,
            dropped: number(["packet dropped by kernel", "packets dropped by kernel"])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Summary> {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        Summary::parse(&lines)
    }

    #[test]
    fn parses_tcpdump_statistics() {
        let output =
            "1 packet captured\n2 packets received by filter\n0 packets dropped by kernel\n";
        let summary = Summary {
            captured: 1,
            dropped: 0,
        };
        assert_eq!(parse(output).unwrap(), summary);
        let output = "51 packets captured\n102 packets received by filter\n3 packets dropped by kernel\n1 packet dropped by interface\n";
        let summary = Summary {
            captured: 51,
            dropped: 3,
        };
        assert_eq!(parse(output).unwrap(), summary);
        assert!(parse("tcpdump: pcap_loop: The interface disappeared\n").is_err());
    }
}
