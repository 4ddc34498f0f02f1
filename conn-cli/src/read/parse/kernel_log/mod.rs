//! The lines that iptables and nftables write to the kernel's log, in whatever that was
//! printed with: dmesg, a syslog daemon, journalctl.
//!
//! A line of another program may hold anything, such as the name of a user who is not one. So
//! it is no record if the line says that another program wrote it.

pub mod journal;
pub mod netfilter;
pub mod stamp;
pub mod syslog;

use self::{
    journal::Journal,
    netfilter::Found,
    stamp::Stamp,
    syslog::{Entry, Writer},
};
use super::{Line, Wanted};
use crate::{
    connection::{Connection, Record, Source, When},
    read::{
        batch::{Event, ParseError},
        format::Confidence,
    },
};

const NOT_A_LOG: ParseError = "this is no line of a kernel log";
const FOREIGN: ParseError = "this is like a record of the kernel's, but another program wrote it";

/// How long a prefix of a rule can be: `NF_LOG_PREFIXLEN`, with its NUL.
const LONGEST_PREFIX: usize = 127;

/// The lines of a kernel log.
#[derive(Debug)]
pub struct Lines {
    wanted: Wanted,
}

impl Lines {
    /// Parses what is wanted.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted }
    }

    fn entry(&self, entry: &Entry<'_>, events: &mut Vec<Event>) -> Result<(), ParseError> {
        let Some(found) = record(entry)? else {
            return Ok(());
        };
        let Some(syn) = found.packet? else {
            return Ok(());
        };
        let connection = Connection {
            time: match self.wanted.times {
                true => entry.stamp.when(),
                false => When::Unknown,
            },
            remote: syn.client.0,
            remote_port: Some(syn.client.1),
            local: syn.server.0,
            local_port: Some(syn.server.1),
            family: None,
            process: None,
            netns: None,
            wait: None,
            source: Source::Record(Record::KernelLog),
        };
        events.push(match syn.sequence {
            Some(sequence) => Event::Syn(connection, sequence),
            None => Event::Connection(connection),
        });
        Ok(())
    }
}

/// Whether a line is one of a kernel log.
#[must_use]
pub fn confidence(line: &[u8]) -> Confidence {
    if let Some(journal) = Journal::parse(line) {
        return confidence_of(&journal.entry());
    }
    confidence_of(&Entry::parse(line))
}

fn confidence_of(entry: &Entry<'_>) -> Confidence {
    let is_empty = entry.stamp == Stamp::None && entry.message.trim_ascii().is_empty();
    if let Ok(Some(Found { packet: Ok(_), .. })) = record(entry) {
        Confidence::Certain
    } else if entry.is_known && !is_empty && !entry.message.starts_with(b" ") {
        Confidence::Possible
    } else {
        Confidence::None
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), ParseError> {
        match Journal::parse(line) {
            Some(journal) => self.entry(&journal.entry(), events),
            None => self.entry(&Entry::parse(line), events),
        }
    }
}

/// The kernel's record of a packet in a line; None if the line is about something else.
///
/// Inlined like what it calls, since to hand on what they return takes long.
#[inline]
fn record<'a>(entry: &Entry<'a>) -> Result<Option<Found<'a>>, ParseError> {
    if entry.writer == Writer::Process {
        return Ok(None);
    }
    let other = match entry.is_known {
        true => Ok(None),
        false => Err(NOT_A_LOG),
    };
    let Some(found) = netfilter::find(entry.message) else {
        return other;
    };
    let is_foreign = entry.writer == Writer::Named
        || found.prefix.len() > LONGEST_PREFIX
        || names_process(found.prefix);
    if is_foreign {
        // Not without a word: it may be a strange prefix of a rule.
        return match found.packet {
            Ok(Some(_)) => Err(FOREIGN),
            _ => other,
        };
    }
    Ok(Some(found))
}

/// Whether there is the name of a process before a record, such as systemd's in what it writes
/// to `/dev/kmsg`: `systemd[1]: `.
fn names_process(prefix: &[u8]) -> bool {
    memchr::memchr_iter(b']', prefix).any(|end| {
        let number = prefix[..end]
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        number > 0 && prefix[end..].starts_with(b"]:") && prefix[..end - number].ends_with(b"[")
    })
}

#[cfg(test)]
mod tests;
