//! What holds of any input, however it is damaged.

use std::io::{self, Read};

use conn_cli::{
    ports::PortSet,
    read::{Format, merge::Asked, reader::Trouble, summarise},
};

/// Reads `data` at once and in small parts: nothing panics, and the result is the same.
pub fn check(format: Option<Format>, data: &[u8]) {
    let (whole, end) = summary(format, data);
    // The first byte chooses how much comes at once, so that every way to cut is tried.
    let most = data.first().map_or(1, |&byte| usize::from(byte) + 1);
    let (parts, end_of_parts) = summary(format, Parts { data, most });
    assert_eq!(end, end_of_parts);
    // How much a decoder gives before it notices damage is its own affair.
    if format.is_some() || end != End::Damaged {
        assert_eq!(whole, parts);
    }
}

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    Unknown,
    Damaged,
}

/// What was found, as text that can be compared.
fn summary(format: Option<Format>, input: impl Read) -> (String, End) {
    let asked = Asked {
        ports: PortSet::all(),
        strict: false,
        every_packet: false,
    };
    let (findings, end) = summarise(input, format, asked);
    let end = match end {
        Ok(()) => End::Whole,
        Err(Trouble::Stopped) => unreachable!("nobody stops it"),
        Err(Trouble::UnknownFormat) => End::Unknown,
        Err(Trouble::Io(_)) => End::Damaged,
    };
    let findings = match findings {
        Ok((tally, doubts, ledger)) => {
            let connections = tally.connections();
            format!("{connections} {:?} {doubts:?} {ledger:?}", tally.ranked())
        }
        Err(error) => format!("{error:#}"),
    };
    (findings, end)
}

/// Gives at most so many bytes at a time, as a pipe does.
struct Parts<'a> {
    data: &'a [u8],
    most: usize,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.most.min(buffer.len());
        self.data.read(&mut buffer[..most])
    }
}
