//! The lines that iptables and nftables write to the kernel log, as printed by dmesg, a syslog
//! daemon or journalctl.
//!
//! A line of another program can contain any text, such as an invalid user name that a client
//! sent. So a line that another program wrote is not a record.

pub(crate) mod journal;
pub(crate) mod netfilter;
pub(crate) mod stamp;
pub(crate) mod syslog;

use self::{
    journal::Journal,
    netfilter::PacketRecord,
    stamp::Stamp,
    syslog::{Entry, Writer},
};
use super::{
    lines::{Form, Line, Wanted},
    second::Second,
};
use crate::{
    model::connection::{Connection, Record, Source, When},
    read::event::{Event, PacketId, ParseError},
};

const NOT_A_LOG: ParseError = "not a kernel log line";
const FOREIGN: ParseError = "this looks like a kernel record, but another program wrote it";

/// The longest prefix of a rule: `NF_LOG_PREFIXLEN` without its NUL.
const MAX_PREFIX_LEN: usize = 127;

/// The lines of a kernel log.
#[derive(Debug)]
pub(crate) struct Lines {
    wanted: Wanted,
    second: Second<17, 59>,
}

impl Lines {
    /// Creates a parser for the `wanted` fields.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
            second: Second::new(),
        }
    }

    fn entry(&mut self, entry: &Entry<'_>, events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let Some(found) = record(entry)? else {
            return Ok(match entry.writer {
                Writer::Kernel => Form::Own,
                _ => Form::Shared,
            });
        };
        let Some(syn) = found.syn? else {
            return Ok(Form::Own);
        };
        let connection = Connection {
            time: self.when(entry.stamp),
            remote: syn.client.0,
            remote_port: Some(syn.client.1),
            local: syn.server.0,
            local_port: Some(syn.server.1),
            ..Connection::unknown(Source::Record(Record::KernelLog))
        };
        events.push(match syn.sequence {
            Some(sequence) => Event::Syn(connection, PacketId::sequence(sequence)),
            None => Event::Connection(connection),
        });
        Ok(Form::Own)
    }

    #[inline]
    fn when(&mut self, stamp: Stamp<'_>) -> When {
        let is_wanted = self.wanted.times;
        match stamp {
            Stamp::Iso(text) => self.second.when(text, |_| match stamp {
                _ if is_wanted || stamp.may_be_whole() => stamp.when(),
                _ => When::Unknown,
            }),
            _ if is_wanted || stamp.may_be_whole() => stamp.when(),
            _ => When::Unknown,
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        match Journal::parse(line) {
            Some(journal) => self.entry(&journal.entry(), events),
            None => self.entry(&Entry::parse(line), events),
        }
    }

    fn time(&mut self, line: &[u8]) -> When {
        if !self.wanted.times {
            return When::Unknown;
        }
        match Journal::parse(line) {
            Some(journal) => journal.entry().stamp.when(),
            None => Entry::parse(line).stamp.when(),
        }
    }
}

/// The kernel's packet record in a log entry; None if the entry is about something else.
///
/// Inlined like the functions it calls, because returning their large results is slow.
#[inline]
fn record<'a>(entry: &Entry<'a>) -> Result<Option<PacketRecord<'a>>, ParseError> {
    if entry.writer == Writer::Process {
        return Ok(None);
    }
    let other = if entry.is_known {
        Ok(None)
    } else {
        Err(NOT_A_LOG)
    };
    let Some(found) = netfilter::find(entry.message) else {
        return other;
    };
    let is_foreign = entry.writer == Writer::Named
        || found.prefix.len() > MAX_PREFIX_LEN
        || contains_process_tag(found.prefix);
    if is_foreign {
        // An error rather than silence, because it may be an unusual rule prefix.
        return match found.syn {
            Ok(Some(_)) => Err(FOREIGN),
            _ => other,
        };
    }
    Ok(Some(found))
}

/// Whether a process name precedes a record, such as `systemd[1]: ` in what systemd writes to
/// `/dev/kmsg`.
fn contains_process_tag(prefix: &[u8]) -> bool {
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
