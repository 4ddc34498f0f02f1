//! What holds of any input, however it is damaged.

use std::io::{self, Read};

use conn_cli::{
    connection::Family,
    filter::EndsFilter,
    ports::PortSet,
    read::{Format, merge::MergeOptions, reader::ReadError, summarise},
};

/// Reads `data` at once and in small parts: nothing panics, and the result is the same.
pub fn check(format: Option<Format>, data: &[u8]) {
    // The first two bytes choose what is asked, and how much comes at once.
    let [flags, most] = [0, 1].map(|at| data.get(at).copied().unwrap_or(0));
    let (whole, end) = summary(format, flags, data);
    let most = usize::from(most) + 1;
    let (parts, end_of_parts) = summary(format, flags, Parts { data, most });
    // How much a decoder gives before it notices damage is its own affair.
    let is_damaged = [&end, &end_of_parts].contains(&&End::Damaged);
    if format.is_some() || !is_damaged {
        assert_eq!((whole, end), (parts, end_of_parts));
    }
}

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// The findings say why.
    Refused,
    Unknown,
    Damaged,
}

/// What was found, as text that can be compared.
fn summary(format: Option<Format>, flags: u8, input: impl Read) -> (String, End) {
    let is_set = |bit: u8| flags >> bit & 1 == 1;
    let options = MergeOptions {
        ports: match is_set(0) {
            true => "80,8080".parse().expect("these are ports"),
            false => PortSet::all(),
        },
        filter: EndsFilter {
            local: is_set(6).then_some([192, 0, 2, 1].into()),
            family: is_set(7).then_some(Family::Ipv4),
            ..EndsFilter::default()
        },
        strict: is_set(1) && is_set(2),
        every_packet: is_set(3),
        lines_only: is_set(4) && is_set(5),
    };
    let (findings, end) = summarise(input, format, options);
    let end = match end {
        Ok(()) => End::Whole,
        Err(ReadError::Stopped) => End::Refused,
        Err(ReadError::UnknownFormat) => End::Unknown,
        Err(ReadError::Io(_)) => End::Damaged,
    };
    let findings = match findings {
        Ok((tally, discrepancies, stats)) => {
            let connections = tally.connections();
            format!("{connections} {:?} {discrepancies:?} {stats:?}", tally.ranked())
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
