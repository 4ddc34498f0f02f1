//! Recognises the format of an input from its content.

use clap::ValueEnum;
use serde::Serialize;

use super::parse;

/// The format of an input.
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

/// The most bytes from which a format is recognised.
pub const MAX_HEAD_LEN: usize = 64 * 1024;

/// Whether a line is one of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The line has what this format is read for, or only this format has such lines.
    Certain,
    /// The line is of this format unless another line is certainly of another.
    Possible,
    /// The line is not of this format, or proves nothing.
    None,
}

impl Format {
    /// The format of an input that begins with `head`; None if `head` is not sufficient.
    /// `is_all`: nothing follows, or nothing that is worth waiting for.
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

    /// The formats of lines, in the order in which they are tried.
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

/// The lines, without the last one if it may be incomplete.
fn whole_lines(head: &[u8], is_all: bool) -> impl Iterator<Item = &[u8]> {
    let end = if is_all {
        head.len()
    } else {
        memchr::memrchr(b'\n', head).map_or(0, |newline| newline + 1)
    };
    parse::lines(&head[..end])
}
