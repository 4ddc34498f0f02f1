//! Invariants that hold for any input, however damaged.

use std::io::{self, Read};

use conn_cli::{
    model::{
        connection::Family, filter::EndsFilter, format::Format, period::Period, ports::PortSet,
    },
    read::{error::ReadError, merge::MergeOptions, summarise},
};

/// Reads `data` at once and in small parts: neither panics, and both give the same result.
pub fn check(format: Option<Format>, data: &[u8]) {
    // The first two bytes choose the options and the length of the parts.
    let [flags, part] = [0, 1].map(|index| data.get(index).copied().unwrap_or(0));
    let (whole, end) = summary(format, flags, data);
    let max_len = usize::from(part) + 1;
    let (parts, end_of_parts) = summary(format, flags, Parts { data, max_len });
    // How much a decoder returns before it notices damage may depend on the size of the reads.
    let is_damaged = [&end, &end_of_parts].contains(&&End::Damaged);
    if format.is_some() || !is_damaged {
        assert_eq!((whole, end), (parts, end_of_parts));
    }
}

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// The findings are the error.
    Refused,
    Unknown,
    Damaged,
}

/// What was counted, or why not, as text that can be compared; and how reading ended.
fn summary(format: Option<Format>, flags: u8, input: impl Read) -> (String, End) {
    let is_set = |bit: u8| flags >> bit & 1 == 1;
    let options = MergeOptions {
        ports: if is_set(0) {
            "80,8080".parse().expect("the ports are valid")
        } else {
            PortSet::all()
        },
        period: Period {
            since: (is_set(5) && !is_set(4))
                .then(|| "2026-11-22T17:34:00Z".parse().expect("the time is valid")),
            until: None,
        },
        filter: EndsFilter {
            local: is_set(6).then_some([192, 0, 2, 1].into()),
            family: is_set(7).then_some(Family::Ipv4),
            ..EndsFilter::default()
        },
        strict: is_set(1) && is_set(2),
        every_packet: is_set(3),
        lines_only: is_set(4) && is_set(5),
        all_addresses: is_set(2) && is_set(3),
        names: None,
    };
    let (findings, end) = summarise(input, format, options);
    let end = match end {
        Ok(()) => End::Whole,
        Err(ReadError::Stopped) => End::Refused,
        Err(ReadError::UnknownFormat(_)) => End::Unknown,
        Err(ReadError::Io(_)) => End::Damaged,
    };
    let findings = match findings {
        Ok((tally, discrepancies, stats)) => {
            let connections = tally.connections();
            format!(
                "{connections} {:?} {discrepancies:?} {stats:?}",
                tally.ranked()
            )
        }
        Err(error) => format!("{error:#}"),
    };
    (findings, end)
}

/// A reader that returns at most `max_len` bytes at a time, as a pipe does.
struct Parts<'a> {
    data: &'a [u8],
    max_len: usize,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.max_len.min(buffer.len());
        self.data.read(&mut buffer[..length])
    }
}
