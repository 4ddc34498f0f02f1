//! What is known of the records that were read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::{connection::Lacks, format::Format, machine::Machines};

/// Statistics of the records that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// The formats that were read.
    pub formats: BTreeSet<Format>,
    /// Number of lines.
    pub lines: u64,
    /// Number of packets.
    pub packets: u64,
    /// How many of these lines and packets were not understood.
    pub not_understood: u64,
    /// The first of them: `line 17 of FILE: the line is too long`.
    pub first_not_understood: Option<String>,
    /// JSON objects of a type that this conn-cli does not know, which were skipped.
    pub unknown_type: u64,
    /// SYNs that are not counted because they had been sent before.
    pub repeated: u64,
    /// Connections whose clients are not counted one by one because there was no room for them.
    pub turned_away: u64,
    /// Those of them that are known by their addresses and ports, since the records have no sequence numbers.
    pub repeated_by_ports: u64,
    /// Records of SYNs that are not counted because another record is of the same packet.
    pub duplicates: u64,
    /// Whether there were so many SYNs that one that was sent again may have counted again.
    pub forgot_syns: bool,
    /// Whether the connections of some clients are lower bounds: conn-cli had no room for them at first.
    pub lower_bounds: bool,
    /// SYNs inside of tunnels, which are not counted.
    pub inner: u64,
    /// How many packets have a link type that is not supported.
    pub unknown_link_types: BTreeMap<u16, u64>,
    /// The inputs, in their order.
    pub inputs: Vec<InputStats>,
    /// Connections that are not counted because their port is unknown.
    pub unknown_port: u64,
    /// How many of these have no line, and no row that names the port.
    pub without_line: u64,
    /// Connections that are not counted because their client is unknown and a filter selects
    /// clients.
    pub unknown_client: u64,
    /// Connections that are not counted because their time is unknown and only a period is wanted.
    pub unknown_time: u64,
    /// The machines that the connections were recorded on, if that is wanted.
    pub machines: Machines,
    /// What the times of records lack.
    pub incomplete: BTreeMap<Lacks, Incomplete>,
}

/// The inputs whose times lack the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incomplete {
    /// The name of the first.
    pub first_input: String,
    /// How many there are.
    pub inputs: usize,
    /// The first and the last date that was assumed, if the times are on the calendar.
    pub dates: Option<(Date, Date)>,
    /// Whether a date was assumed on which its record cannot have been written.
    pub is_future: bool,
    /// Whether the days that were assumed for an input are more than a year apart.
    pub is_long: bool,
}

/// What was read from an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputStats {
    /// Its name, safe to show.
    pub name: String,
    /// How it is compressed.
    pub compression: Option<&'static str>,
    /// What it was read as; None if nothing was read.
    pub format: Option<Format>,
    /// Number of lines.
    pub lines: u64,
    /// Number of packets.
    pub packets: u64,
    /// How many of these have the form of the format.
    pub understood: u64,
    /// How many records of connections or packets there are.
    pub records: u64,
    /// What is around each line, the outer layer first.
    pub inside: Vec<&'static str>,
    /// Another format that understands as many lines.
    pub tie: Option<Format>,
    /// Whether the format is the only one that the lines can be of if all of them are.
    pub needs_all: bool,
    /// The first record that was not understood.
    pub first_not_understood: Option<String>,
    /// Whether it could not be read to its end.
    pub failed: bool,
}

impl InputStats {
    /// Why its count cannot be trusted: it has records, but none was understood.
    #[must_use]
    pub fn nothing_understood(&self) -> Option<String> {
        let format = self.format.filter(|_| self.understood == 0)?;
        // Only empty lines are as good as nothing.
        let first = self.first_not_understood.as_ref()?;
        let name = format.name();
        Some(format!(
            "nothing in {} was understood as {name}: {first}",
            self.name
        ))
    }
}
