//! Lines from templates. The lines of connections that the same thread accepts differ in four values.
//! serde writes the first of them, and the next are its text with other values, for a quarter of the
//! instructions. So the schema remains the only description of a line.

#[cfg(test)]
mod tests;

use std::{net::IpAddr, ops::Range};

use memchr::{memchr3, memmem::Finder};

use super::{put_value, seconds};
use crate::{
    model::{
        connection::{Connection, Host, When},
        schema::TimeField,
    },
    output::quick::{put_host, put_number},
};

/// How many templates are kept for each stage. If more threads accept, or at more addresses, serde
/// writes some lines.
const SLOTS: usize = 256;

/// What is before the values that differ, in the order of the line. A quote within a JSON string is
/// escaped, so these are found nowhere else.
const BEFORE_VALUES: [&str; 4] = [
    r#""time":"#,
    r#""remote_address":""#,
    r#""remote_port":"#,
    r#""wait":"#,
];

/// The templates of a run.
#[derive(Debug)]
pub(super) struct Templates {
    /// For [`BEFORE_VALUES`].
    finders: [Finder<'static>; BEFORE_VALUES.len()],
    /// [`SLOTS`] for each stage, as far as they are used.
    slots: Vec<Option<Box<Template>>>,
}

/// A line that serde has written.
#[derive(Debug)]
struct Template {
    connection: Connection,
    /// The name of the client's network.
    name: Option<&'static str>,
    line: Vec<u8>,
    /// Where the values are that differ; empty for a wait that is not known.
    gaps: [Range<usize>; BEFORE_VALUES.len()],
}

impl Templates {
    /// None yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            finders: BEFORE_VALUES.map(Finder::new),
            slots: Vec::new(),
        }
    }

    /// Appends the connection's line. Returns false if there is no template for it. `name`: that of its
    /// client's network; `time`: its timestamp, if that is known.
    #[must_use]
    pub(super) fn put(
        &self,
        out: &mut Vec<u8>,
        connection: &Connection,
        name: Option<&'static str>,
        time: Option<&TimeField<'_>>,
    ) -> bool {
        let (Some(Some(template)), Some(time), Host::Address(_), Some(remote_port)) = (
            self.slots.get(slot(connection, name)),
            time,
            &connection.remote,
            connection.remote_port,
        ) else {
            return false;
        };
        if template.name != name || !template.fits(connection) {
            return false;
        }
        let text = |range: Range<usize>| &template.line[range];
        let [time_gap, address_gap, port_gap, wait_gap] = &template.gaps;
        out.extend_from_slice(text(0..time_gap.start));
        put_time(out, time);
        out.extend_from_slice(text(time_gap.end..address_gap.start));
        put_host(out, &connection.remote);
        out.extend_from_slice(text(address_gap.end..port_gap.start));
        put_number(out, remote_port);
        out.extend_from_slice(text(port_gap.end..wait_gap.start));
        if let Some(wait) = connection.wait {
            put_value(out, &seconds(wait));
        }
        out.extend_from_slice(text(wait_gap.end..template.line.len()));
        true
    }

    /// Keeps the connection's line as a template, if all the values are known.
    pub(super) fn keep(
        &mut self,
        connection: &Connection,
        name: Option<&'static str>,
        line: &[u8],
    ) {
        let Some(template) = Template::new(connection, name, line, &self.finders) else {
            return;
        };
        let slot = slot(connection, name);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(Box::new(template));
    }
}

/// Appends a time. Its text has no character that JSON escapes.
fn put_time(out: &mut Vec<u8>, time: &TimeField<'_>) {
    match time {
        TimeField::Text(text) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        TimeField::Epoch(seconds) => put_value(out, seconds),
    }
}

/// Which slot is for connections like this one. The threads of a server, which usually have successive
/// ids, have different ones, and so have most names. Each name is in one place.
fn slot(connection: &Connection, name: Option<&str>) -> usize {
    let thread = connection.process.and_then(|process| process.tid);
    let address = match connection.local.address() {
        Some(IpAddr::V4(address)) => address.to_bits(),
        Some(IpAddr::V6(address)) => address.to_bits() as u32,
        None => 0,
    };
    let port = connection.local_port.unwrap_or(0);
    let sum = thread
        .unwrap_or(0)
        .wrapping_add(address)
        .wrapping_add(port.into())
        .wrapping_add(name.map_or(0, |name| name.as_ptr().addr() as u32 >> 4));
    connection.stage() as usize * SLOTS + sum as usize % SLOTS
}

impl Template {
    /// `finders`: for [`BEFORE_VALUES`].
    fn new(
        connection: &Connection,
        name: Option<&'static str>,
        line: &[u8],
        [time, address, port, wait]: &[Finder<'_>; BEFORE_VALUES.len()],
    ) -> Option<Self> {
        let When::At(_) = connection.time else {
            return None;
        };
        let mut end = 0;
        let mut gap = |before: &Finder<'_>| {
            let start = end + before.find(&line[end..])? + before.needle().len();
            // None of these values contains such a character. The quotes of a time are in the gap.
            let quote = usize::from(line.get(start) == Some(&b'"'));
            end = start + quote + memchr3(b'"', b',', b'}', &line[start + quote..])? + quote;
            Some(start..end)
        };
        let (time, address, port) = (gap(time)?, gap(address)?, gap(port)?);
        let wait = match connection.wait {
            Some(_) => gap(wait)?,
            None => port.end..port.end,
        };
        Some(Self {
            connection: connection.clone(),
            name,
            line: line.to_vec(),
            gaps: [time, address, port, wait],
        })
    }

    /// Whether this connection's line differs in no more than the values in the gaps.
    fn fits(&self, connection: &Connection) -> bool {
        // A new field does not compile until it is compared here, or has a gap.
        let Connection {
            time: _,
            remote: _,
            remote_port: _,
            local,
            local_port,
            family,
            process,
            netns,
            wait,
            source,
            machine,
        } = &self.connection;
        *process == connection.process
            && *local == connection.local
            && *local_port == connection.local_port
            && *family == connection.family
            && *netns == connection.netns
            && wait.is_some() == connection.wait.is_some()
            && *source == connection.source
            && *machine == connection.machine
    }
}
