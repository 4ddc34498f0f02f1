//! What a file is, told from its content.

use clap::ValueEnum;
use serde::Serialize;

use super::parse;

/// What records look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The kernel's log with the lines of iptables or nftables: dmesg, syslog or journalctl
    KernelLog,
    /// What tcpdump prints
    Tcpdump,
    /// Packets in a pcap or pcapng file, such as tcpdump -w writes
    Pcap,
    /// What strace prints
    Strace,
    /// JSON Lines of conn-cli
    Json,
}

/// How many bytes are looked at before it is given up to tell a format.
pub const HEAD: usize = 64 * 1024;

/// Whether a line is one of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// It is what this format is read for, or only this format has such lines.
    Certain,
    /// It may be, if nothing speaks against it.
    Possible,
    /// It is not, or says nothing.
    None,
}

impl Format {
    /// The format of an input that begins with `head`; None if that does not tell. `is_all`:
    /// nothing follows, or it is not worth waiting for.
    #[must_use]
    pub fn recognise(head: &[u8], is_all: bool) -> Option<Self> {
        if parse::packet::is_capture(head) {
            return Some(Self::Pcap);
        }
        let mut possible = None;
        for line in whole_lines(head, is_all) {
            for (format, confidence) in Self::TEXT.map(|format| (format, format.confidence(line))) {
                match confidence {
                    Confidence::Certain => return Some(format),
                    Confidence::Possible => possible = possible.or(Some(format)),
                    Confidence::None => (),
                }
            }
        }
        possible.filter(|_| is_all)
    }

    /// The formats of lines, in the order in which they are asked.
    const TEXT: [Self; 4] = [Self::Json, Self::KernelLog, Self::Tcpdump, Self::Strace];

    fn confidence(self, line: &[u8]) -> Confidence {
        match self {
            Self::KernelLog => parse::kernel_log::confidence(line),
            Self::Tcpdump => parse::tcpdump::confidence(line),
            Self::Strace => parse::strace::confidence(line),
            Self::Json => parse::json::confidence(line),
            Self::Pcap => Confidence::None,
        }
    }
}

/// The lines; without the last one if more of it may come.
fn whole_lines(head: &[u8], is_all: bool) -> impl Iterator<Item = &[u8]> {
    let end = match is_all {
        true => head.len(),
        false => memchr::memrchr(b'\n', head).map_or(0, |at| at + 1),
    };
    parse::lines(&head[..end])
}
