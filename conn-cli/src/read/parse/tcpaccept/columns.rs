//! The columns of a row.

use crate::{
    model::connection::{Family, Host},
    read::parse::scan::{address, is_seconds, is_time_of_day, number},
};

/// A column after the name of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// `4` or `6`
    Version,
    Remote,
    RemotePort,
    Local,
    LocalPort,
    /// The accept queue, as in `0/128`.
    Backlog,
    Netns,
}

use Column::{Backlog, Local, LocalPort, Netns, Remote, RemotePort, Version};

/// The columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Whether a column before the number of the process says what happened.
    has_kind: bool,
    has_uid: bool,
    /// Whether it is the table of [`SYSTEMTAP`].
    is_systemtap: bool,
    /// Those after the name of the process.
    after: Vec<Column>,
}

/// The columns of tcp_connections.stp in the examples of SystemTap.
const SYSTEMTAP: [&[u8]; 5] = [b"UID", b"CMD", b"PID", b"PORT", b"IP_SOURCE"];

/// What the heading of a table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// The columns of tcpaccept or tcptracer.
    Known(Columns),
    /// Those of another program.
    Other,
}

/// Longer than any heading.
const MAX_HEADING_LEN: usize = 512;

/// The columns of tables whose heading is missing, and whether one of them says what happened.
const USUAL: [(bool, &[Column]); 4] = [
    (false, &[Version, Remote, RemotePort, Local, LocalPort]),
    (false, &[Remote, RemotePort, Local, LocalPort, Backlog]),
    (true, &[Version, Local, Remote, LocalPort, RemotePort]),
    (
        true,
        &[Version, Local, Remote, LocalPort, RemotePort, Netns],
    ),
];

/// The columns of tcpaccept before it showed the client's port, and those of tcpconnect.
const UNCLEAR: &[Column] = &[Version, Remote, Local, LocalPort];

/// A row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) left: Left<'a>,
    pub(super) remote: Host,
    pub(super) remote_port: Option<u16>,
    pub(super) local: Host,
    pub(super) local_port: Option<u16>,
    pub(super) family: Option<Family>,
    pub(super) netns: Option<u32>,
}

/// The columns up to the name of the process.
#[derive(Debug, Default)]
pub(super) struct Left<'a> {
    /// `14:25:37`
    pub(super) clock: Option<&'a [u8]>,
    /// Seconds since the first row.
    pub(super) seconds: Option<&'a [u8]>,
    /// Whether the row shows an accepted connection.
    pub(super) is_accept: bool,
    pub(super) pid: u32,
    pub(super) uid: Option<u32>,
    pub(super) comm: &'a [u8],
}

/// The row, if its form is that of one of the usual tables.
pub(super) fn guess(line: &[u8]) -> Option<Row<'_>> {
    USUAL
        .iter()
        .find_map(|&(has_kind, after)| row(line, has_kind, false, after))
}

/// Whether only the heading can tell what the row shows.
pub(super) fn is_unclear(line: &[u8]) -> bool {
    row(line, false, false, UNCLEAR).is_some()
}

impl Heading {
    /// Parses a line that names columns, all in capitals; None if it is another line.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let is_name = |word: &[u8]| word[0].is_ascii_uppercase() && !word.contains(&b'.');
        if line.len() > MAX_HEADING_LEN
            || !words(line).all(is_name)
            || !words(line).any(|word| word == b"PID")
        {
            return None;
        }
        if words(line).eq(SYSTEMTAP) {
            return Some(Self::Known(Columns {
                has_kind: false,
                has_uid: true,
                is_systemtap: true,
                after: Vec::new(),
            }));
        }
        let at = words(line).position(|word| word == b"COMM")?;
        let before = || words(line).take(at);
        let has = |names: &[&[u8]]| before().any(|word| names.contains(&word));
        let has_kind = has(&[b"T", b"TYPE"]);
        let column = |name: &[u8]| {
            Some(match name {
                b"IP" => Version,
                b"RADDR" => Remote,
                b"RPORT" => RemotePort,
                b"LADDR" => Local,
                b"LPORT" => LocalPort,
                b"BL" => Backlog,
                b"NETNS" => Netns,
                b"SADDR" if has_kind => Local,
                b"SPORT" if has_kind => LocalPort,
                b"DADDR" if has_kind => Remote,
                b"DPORT" if has_kind => RemotePort,
                _ => return None,
            })
        };
        let after: Option<Vec<_>> = words(line).skip(at + 1).map(column).collect();
        Some(match after {
            Some(after) if after.contains(&Remote) => Self::Known(Columns {
                has_kind,
                has_uid: has(&[b"UID"]),
                is_systemtap: false,
                after,
            }),
            _ => Self::Other,
        })
    }
}

impl Columns {
    /// The row with these columns.
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> Option<Row<'a>> {
        if self.is_systemtap {
            return systemtap_row(line);
        }
        row(line, self.has_kind, self.has_uid, &self.after)
    }
}

fn systemtap_row(line: &[u8]) -> Option<Row<'_>> {
    let mut found = row(line, false, false, &[LocalPort, Remote])?;
    let (rest, pid) = last_word(last_word(last_word(line)?.0)?.0)?;
    let (uid, comm) = first_word(rest)?;
    found.left = Left {
        is_accept: true,
        pid: number(pid)?,
        uid: Some(number(uid)?),
        comm: comm.trim_ascii(),
        ..Left::default()
    };
    Some(found)
}

fn row<'a>(line: &'a [u8], has_kind: bool, has_uid: bool, after: &[Column]) -> Option<Row<'a>> {
    let mut found = Row {
        left: Left::default(),
        remote: Host::Unknown,
        remote_port: None,
        local: Host::Unknown,
        local_port: None,
        family: None,
        netns: None,
    };
    let mut families = [None; 2];
    let mut rest = line;
    for column in after.iter().rev() {
        let word;
        (rest, word) = last_word(rest)?;
        match column {
            Version => found.family = Some(version(word)?),
            Remote => (found.remote, families[0]) = host(word)?,
            RemotePort => found.remote_port = Some(number(word)?),
            Local => (found.local, families[1]) = host(word)?,
            LocalPort => found.local_port = Some(number(word)?),
            Backlog => is_backlog(word).then_some(())?,
            Netns => found.netns = Some(number(word)?),
        }
    }
    // Otherwise what looks like the version is something else.
    let is_other = |family: &Option<Family>| family.is_some() && *family != found.family;
    if found.family.is_some() && families.iter().any(is_other) {
        return None;
    }
    found.left = Left::parse(rest, has_kind, has_uid)?;
    Some(found)
}

impl<'a> Left<'a> {
    fn parse(text: &'a [u8], has_kind: bool, has_uid: bool) -> Option<Self> {
        let mut left = Self {
            is_accept: !has_kind,
            ..Self::default()
        };
        let mut rest = text;
        loop {
            let word;
            (word, rest) = first_word(rest)?;
            if is_time_of_day(word) {
                left.clock = Some(word);
            } else if is_seconds(word) {
                left.seconds = Some(word);
            } else if has_kind && let Some(is_accept) = kind(word) {
                left.is_accept = is_accept;
                break;
            } else if has_uid && left.uid.is_none() {
                left.uid = Some(number(word)?);
            } else if has_kind {
                // Nanoseconds, or the user that an unknown heading names.
                number::<u64>(word)?;
            } else {
                left.pid = number(word)?;
                left.comm = rest.trim_ascii();
                return Some(left);
            }
        }
        let (word, rest) = first_word(rest)?;
        left.pid = number(word)?;
        left.comm = rest.trim_ascii();
        Some(left)
    }

    /// The columns at the beginning of a line, whatever follows.
    pub(super) fn of_line(line: &'a [u8]) -> Option<Self> {
        Self::parse(line, false, false).or_else(|| Self::parse(line, true, false))
    }
}

/// Whether a row of tcptracer shows an accepted connection, or one that this machine opened or closed.
fn kind(word: &[u8]) -> Option<bool> {
    match word {
        b"A" | b"accept" => Some(true),
        b"C" | b"X" | b"U" | b"-" | b"connect" | b"close" | b"unknown" => Some(false),
        _ => None,
    }
}

fn version(word: &[u8]) -> Option<Family> {
    match word {
        b"4" => Some(Family::Ipv4),
        b"6" => Some(Family::Ipv6),
        _ => None,
    }
}

/// The address, which tcptracer writes in brackets, and its family. The first tcpaccept wrote only the end
/// of an IPv6 address: `...fec0ae21`.
fn host(word: &[u8]) -> Option<(Host, Option<Family>)> {
    if let Some(end) = word.strip_prefix(b"...") {
        let is_end = end.len() <= 8 && end.iter().all(u8::is_ascii_hexdigit);
        return is_end.then_some((Host::Unknown, Some(Family::Ipv6)));
    }
    let inner = word
        .strip_prefix(b"[")
        .and_then(|word| word.strip_suffix(b"]"));
    let family = if word.contains(&b':') {
        Family::Ipv6
    } else {
        Family::Ipv4
    };
    Some((address(inner.unwrap_or(word))?, Some(family)))
}

fn is_backlog(word: &[u8]) -> bool {
    let slash = word.iter().position(|byte| *byte == b'/');
    slash.is_some_and(|at| {
        number::<u32>(&word[..at]).is_some() && number::<u32>(&word[at + 1..]).is_some()
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| is_blank(*byte))
        .filter(|word| !word.is_empty())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The first word, and the text after it.
fn first_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = text.iter().position(|byte| !is_blank(*byte))?;
    let text = &text[start..];
    let end = text.iter().position(|byte| is_blank(*byte));
    Some(text.split_at(end.unwrap_or(text.len())))
}

/// The text before the last word, and the word. A blank is between them.
fn last_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().rposition(|byte| !is_blank(*byte))? + 1;
    let start = text[..end].iter().rposition(|byte| is_blank(*byte))? + 1;
    Some((&text[..start], &text[start..end]))
}
