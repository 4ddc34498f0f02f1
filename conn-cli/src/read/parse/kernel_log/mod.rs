//! The lines that iptables and nftables write to the kernel log, as printed by dmesg, a syslog
//! daemon or journalctl.
//!
//! RouterOS and filterlog of pfSense and OPNsense write the same to syslog in forms of their own.
//!
//! A line of another program can contain any text, such as an invalid user name that a client
//! sent. So a line that another program wrote is not a record, and one that looks like it is an error.

mod fields;
mod filterlog;
mod host;
pub(crate) mod journal;
pub(crate) mod netfilter;
mod pairs;
pub(crate) mod prefix;
mod routeros;
pub(crate) mod stamp;
pub(crate) mod syslog;
pub(crate) mod tag;
mod untagged;
mod usual;

use std::borrow::Cow;

use self::{
    journal::Journal,
    netfilter::{PacketRecord, Syn},
    stamp::Stamp,
    syslog::Entry,
    tag::Writer,
    usual::Usual,
};
use super::{
    lines::{Form, Line, Wanted},
    scan,
    second::Second,
};
use crate::{
    model::connection::When,
    read::event::{Event, ParseError},
};

const NOT_A_LOG: ParseError = "not a kernel log line";
const FOREIGN: ParseError =
    "this looks like a packet record, but another program wrote it (--any-program believes it)";
const OTHER_FIREWALL: ParseError = "records of ipchains, ipfwadm and ipfw are not read";
const OTHER_MESSAGE: ParseError =
    "this packet record is in another message of the kernel (--prefix takes that of a rule)";

/// The lines of a kernel log.
#[derive(Debug)]
pub(crate) struct Lines {
    wanted: Wanted,
    second: Second<17, 59>,
    /// The last one of the kernel's that can be that of a rule: most records have the same.
    prefix: Vec<u8>,
    /// What the last record of the kernel that counts has up to ` OUT=`, likewise.
    start: Vec<u8>,
    /// The line of one of those up to there.
    usual: Usual,
}

impl Lines {
    /// Creates a parser for the `wanted` fields.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
            second: Second::new(),
            prefix: Vec::new(),
            start: Vec::new(),
            usual: Usual::default(),
        }
    }

    fn entry(&mut self, entry: &Entry<'_>, events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if entry.writer == Writer::Foreign && !self.wanted.any_program {
            return foreign(entry);
        }
        let is_kernel = matches!(entry.writer, Writer::Kernel | Writer::Dmesg);
        if is_kernel && let Some(syn) = self.syn(entry.message) {
            if let Some(syn) = syn {
                events.push(syn.event(self.when(entry.stamp)));
            }
            return Ok(Form::Own);
        }
        let Some(found) = record(entry) else {
            return match entry.writer {
                _ if !entry.is_known => Err(NOT_A_LOG),
                _ if is_kernel && is_of_other_firewall(entry.message) => Err(OTHER_FIREWALL),
                _ if is_kernel || entry.writer == Writer::Ulogd => Ok(Form::Own),
                _ => Ok(Form::Shared),
            };
        };
        // ulogd writes a space after the prefix of the rule.
        let prefix = match entry.writer {
            Writer::Ulogd => found.prefix.strip_suffix(b" ").unwrap_or(found.prefix),
            _ => found.prefix,
        };
        match &self.wanted.prefix {
            Some(wanted) if wanted.as_bytes() != prefix => return Ok(Form::Own),
            Some(_) => (),
            None if is_kernel && prefix == self.prefix => (),
            None => {
                check_prefix(entry, prefix, &self.wanted)?;
                if is_kernel {
                    prefix.clone_into(&mut self.prefix);
                }
            }
        }
        let Some(syn) = found.syn? else {
            return Ok(Form::Own);
        };
        if is_kernel {
            self.keep_start(entry.message);
        }
        events.push(syn.event(self.when(entry.stamp)));
        Ok(Form::Own)
    }

    /// The packet of a record that begins like an earlier one, whose prefix is known to be that of a rule: a fast
    /// path.
    #[inline]
    fn syn(&self, message: &[u8]) -> Option<Option<Syn>> {
        if self.start.is_empty() {
            return None;
        }
        netfilter::syn(message.strip_prefix(&self.start[..])?).ok()
    }

    /// Whether a line begins like that of such a record, and has one: a faster path.
    #[inline]
    fn usual(&mut self, line: &[u8], events: &mut Vec<Event>) -> bool {
        let usual = self.usual.split(line);
        let Some((stamp, Ok(syn))) = usual.map(|(stamp, rest)| (stamp, netfilter::syn(rest)))
        else {
            return false;
        };
        events.extend(syn.map(|syn| syn.event(self.when(stamp))));
        true
    }

    fn keep_start(&mut self, message: &[u8]) {
        // With a digit, it may be one of pvefw.
        if !message.first().is_some_and(u8::is_ascii_digit)
            && let Some(length) = netfilter::start(message)
        {
            message[..length].clone_into(&mut self.start);
        }
    }

    #[inline]
    fn when(&mut self, stamp: Stamp<'_>) -> When {
        let is_wanted = self.wanted.times;
        match stamp {
            Stamp::Iso(text) => self.second.when(text, |_| stamp.wanted(is_wanted)),
            _ => stamp.wanted(is_wanted),
        }
    }
}

impl Line for Lines {
    #[inline(always)]
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if self.usual(line, events) {
            return Ok(Form::Own);
        }
        if let Some(journal) = Journal::parse(line) {
            return self.entry(&journal.entry(), events);
        }
        let entry = Entry::parse(line);
        let form = self.entry(&entry, events)?;
        let is_kernel = matches!(entry.writer, Writer::Kernel | Writer::Dmesg);
        if is_kernel && !self.start.is_empty() && entry.message.starts_with(&self.start) {
            let start = self.start.len();
            self.usual.keep(line, entry.stamp, entry.message, start);
        }
        Ok(form)
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

    fn host<'a>(&mut self, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match line.first() {
            Some(b'{') => journal::host(line).map(Cow::Owned),
            _ => host::host(line).map(Cow::Borrowed),
        }
    }
}

/// Whether the text after the header of a line begins with the tag of a program that is believed.
pub(crate) fn has_writer(text: &[u8]) -> bool {
    match tag::named(text) {
        // It has no tag, but the form of a record.
        (Writer::Kernel, message) => message.len() < text.len() && !untagged::is_record(message),
        (writer, _) => writer != Writer::Foreign,
    }
}

/// The packet record in a log entry; None if the entry is about something else.
///
/// Inlined like the functions it calls, because returning their large results is slow.
#[inline]
fn record<'a>(entry: &Entry<'a>) -> Option<PacketRecord<'a>> {
    let message = entry.message;
    match entry.writer {
        Writer::Kernel | Writer::Ulogd | Writer::Dmesg => of_kernel(message),
        Writer::Filterlog => filterlog::find(message),
        Writer::RouterOs => routeros::find(message),
        Writer::Unnamed => of_kernel(message).or_else(|| filterlog::find(message)),
        Writer::Foreign => { of_kernel(message) }
            .or_else(|| routeros::find(message))
            .or_else(|| filterlog::find(message)),
    }
}

#[inline]
fn of_kernel(message: &[u8]) -> Option<PacketRecord<'_>> {
    if message.first().is_some_and(u8::is_ascii_digit)
        && let Some((_, message)) = untagged::pvefw(message)
    {
        return netfilter::find(message, true);
    }
    netfilter::find(message, false)
}

/// An entry of another program. An error rather than silence if it looks like a record, because it may be one.
#[cold]
fn foreign(entry: &Entry<'_>) -> Result<Form, ParseError> {
    let message = entry.message;
    let has = |part: &[u8]| scan::find(message, part).is_some();
    let is_netfilter = has(b"SRC=") && has(b"DST=") && has(b"PROTO=");
    let other = || routeros::find(message).or_else(|| filterlog::find(message));
    if is_netfilter || other().is_some_and(|found| found.syn != Ok(None)) {
        Err(FOREIGN)
    } else if entry.is_known {
        Ok(Form::Shared)
    } else {
        Err(NOT_A_LOG)
    }
}

/// Whether this is a record of ipchains, of ipfwadm, which came before it, or of ipfw of FreeBSD.
fn is_of_other_firewall(message: &[u8]) -> bool {
    [&b"Packet log: "[..], b"IP fw-", b"ipfw: "]
        .iter()
        .any(|start| message.starts_with(start))
}

/// Whether the text before a record can be the prefix of a rule.
#[cold]
fn check_prefix(entry: &Entry<'_>, prefix: &[u8], wanted: &Wanted) -> Result<(), ParseError> {
    if !matches!(
        entry.writer,
        Writer::Kernel | Writer::Dmesg | Writer::Unnamed
    ) {
        return Ok(());
    }
    let is_foreign = prefix::is_of_program(prefix)
        || entry.writer == Writer::Unnamed && prefix::is_of_other_line(prefix);
    if is_foreign && !wanted.any_program {
        return Err(FOREIGN);
    }
    if prefix::is_of_other_message(prefix) {
        return Err(OTHER_MESSAGE);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust;
