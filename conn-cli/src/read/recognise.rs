//! Recognises the format of an input from its content.

use super::{confidence::Confidence, parse};
use crate::model::format::Format;

/// The most bytes from which a format is recognised.
pub(crate) const MAX_HEAD_LEN: usize = 64 * 1024;

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
    parse::lines::lines(&head[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_lines_is_tried() {
        for format in Format::ALL {
            assert_eq!(Format::TEXT.contains(&format), format != Format::Pcap);
        }
    }
}
