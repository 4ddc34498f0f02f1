//! What holds of any input, however it is damaged.

use std::io::{self, Read};

use conn_cli::{
    ports::PortSet,
    read::{Format, merge::Asked, reader::Trouble, summarise},
};

/// Reads `data` at once and in small parts: nothing panics, and the result is the same.
pub fn check(format: Option<Format>, data: &[u8]) {
    let whole = summary(format, data);
    // The first byte chooses how much comes at once, so that every way to cut is tried.
    let most = data.first().map_or(1, |&byte| usize::from(byte) + 1);
    let parts = summary(format, Parts { data, most });
    assert_eq!(whole, parts);
}

/// What was found, and how reading ended, as text that can be compared.
fn summary(format: Option<Format>, input: impl Read) -> String {
    let asked = Asked {
        ports: PortSet::all(),
        strict: false,
        every_packet: false,
    };
    let (summary, end) = summarise(input, format, asked);
    let end = match end {
        Ok(()) => "whole".to_owned(),
        Err(Trouble::Stopped) => unreachable!("nobody stops it"),
        Err(Trouble::UnknownFormat) => "unknown".to_owned(),
        Err(Trouble::Io(error)) => error.to_string(),
    };
    match summary {
        Ok((tally, doubts, ledger)) => {
            let connections = tally.connections();
            format!(
                "{connections} {:?} {doubts:?} {ledger:?} {end}",
                tally.ranked()
            )
        }
        Err(error) => format!("{error:#}"),
    }
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
