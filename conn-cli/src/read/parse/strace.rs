//! The calls of accept that strace shows, with any of its options:
//!
//! ```text
//! [pid    12] 14:25:37.1 accept4(3<TCP:[0.0.0.0:80]>, {sa_family=AF_INET, sin_port=htons(37822), sin_addr=inet_addr("192.0.2.1")}, [16], 0) = 4<TCP:[192.0.2.9:80->192.0.2.1:37822]> <0.000012>
//! 12    accept(3, NULL, NULL)             = 4
//! 12    accept(3,  <unfinished ...>
//! 12    <... accept resumed>{sa_family=AF_INET6, sin6_port=htons(37822), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, [28]) = 4
//! ```

use super::{
    Line, Wanted,
    scan::{address, between, digits, is_time_of_day, number, recorded, seconds, split_at_byte},
};
use crate::{
    connection::{Connection, Family, Host, Lacks, Process, Record, Source, When},
    read::{
        batch::{Accept, Event, Misfit},
        format::Likeness,
    },
};

const NOT_STRACE: Misfit = "this is no line of strace's";
const NO_RESULT: Misfit = "the call has no result";
const NO_ADDRESS: Misfit = "the address is cut or written in another way";

/// The lines of strace.
#[derive(Debug)]
pub struct Lines {
    wanted: Wanted,
}

/// An end of a connection, as far as it is known.
type End = (Host, Option<u16>);

/// What a line is about.
enum Call<'a> {
    /// A call of accept or accept4; what follows the opening parenthesis.
    Accept(&'a [u8]),
    /// The rest of such a call that had begun in another line.
    Resumed(&'a [u8]),
    /// Something else that strace says.
    Other,
}

impl Lines {
    /// Parses what is wanted.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted }
    }
}

/// Whether a line is one of strace's.
#[must_use]
pub fn likeness(line: &[u8]) -> Likeness {
    let (_, time, rest) = prefix(line);
    match call(rest) {
        Ok(Call::Accept(_) | Call::Resumed(_)) => Likeness::Certain,
        Ok(Call::Other) if time.is_empty() || rest.ends_with(b")") => Likeness::Possible,
        Ok(Call::Other) => Likeness::Possible,
        Err(_) => Likeness::None,
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), Misfit> {
        let (tid, time, rest) = prefix(line);
        let (resumed, arguments) = match call(rest)? {
            Call::Accept(arguments) => (false, arguments),
            Call::Resumed(arguments) => (true, arguments),
            Call::Other => return Ok(()),
        };
        let listener = match resumed {
            true => Descriptor::Plain,
            false => descriptor(arguments),
        };
        if arguments.ends_with(b"<unfinished ...>") {
            if let Descriptor::Tcp((local, local_port), _) = listener {
                events.push(Event::Unfinished(Accept {
                    tid: tid.unwrap_or(0),
                    local,
                    local_port,
                }));
            }
            return Ok(());
        }
        let (arguments, result) = result(arguments).ok_or(NO_RESULT)?;
        if !result.first().is_some_and(u8::is_ascii_digit) {
            // The call failed.
            return Ok(());
        }
        let accepted = descriptor(result);
        if matches!(listener, Descriptor::Other) || matches!(accepted, Descriptor::Other) {
            return Ok(());
        }
        let Some((mut remote, family)) = peer(arguments)? else {
            // Of another family.
            return Ok(());
        };
        let mut local = (Host::Unknown, None);
        if let Descriptor::Tcp(end, _) = listener {
            local = end;
        }
        if let Descriptor::Tcp(end, Some(other_end)) = accepted {
            local = end;
            if remote.0 == Host::Unknown {
                remote = other_end;
            }
        }
        let connection = Connection {
            time: match self.wanted.times {
                true => when(time),
                false => When::Unknown,
            },
            remote: remote.0,
            remote_port: remote.1,
            local: local.0,
            local_port: local.1,
            family,
            process: tid.map(|tid| Process {
                pid: None,
                tid,
                uid: None,
                cgroup: None,
                comm: None,
            }),
            netns: None,
            source: Source::Record(Record::Strace),
        };
        events.push(match resumed {
            true => Event::Resumed(connection),
            false => Event::Connection(connection),
        });
        Ok(())
    }
}

/// The thread, the time, and what follows them.
fn prefix(line: &[u8]) -> (Option<u32>, &[u8], &[u8]) {
    let (tid, rest) = thread(line);
    let rest = rest.trim_ascii_start();
    if !rest.first().is_some_and(u8::is_ascii_digit) {
        return (tid, b"", rest);
    }
    match split_at_byte(rest, b' ') {
        // With -r and -t both: `14:25:37.123456 (+     0.000044) `
        Some((time, after)) if after.starts_with(b"(+") => {
            let after = split_at_byte(after, b')').map_or(after, |(_, after)| after);
            (tid, time, after.trim_ascii_start())
        }
        Some((time, after)) => (tid, time, after.trim_ascii_start()),
        None => (tid, b"", rest),
    }
}

/// `[pid  1234] `, `[pid  1234<comm>] ` or `1234  ` at the beginning; not the seconds of -ttt,
/// which have a point.
fn thread(line: &[u8]) -> (Option<u32>, &[u8]) {
    if let Some(rest) = line.strip_prefix(b"[pid ") {
        let (tid, after) = digits(rest.trim_ascii_start());
        let after = match after {
            [b']', after @ ..] => after,
            // The name may hold anything.
            [b'<', ..] => match memchr::memmem::find(after, b">] ") {
                Some(at) => &after[at + 2..],
                None => after,
            },
            _ => after,
        };
        return (number(tid), after);
    }
    let (tid, after) = digits(line);
    match after.first() {
        Some(b' ') => (number(tid), after),
        Some(b'<') if !tid.is_empty() => match memchr::memmem::find(after, b"> ") {
            Some(at) => (number(tid), &after[at + 1..]),
            None => (None, line),
        },
        _ => (None, line),
    }
}

/// What the line is about, without its prefix.
fn call(text: &[u8]) -> Result<Call<'_>, Misfit> {
    if let Some(rest) = text.strip_prefix(b"accept") {
        let rest = rest.strip_prefix(b"4").unwrap_or(rest);
        if let Some(arguments) = rest.strip_prefix(b"(") {
            return Ok(Call::Accept(arguments));
        }
    }
    if let Some(rest) = text.strip_prefix(b"<... ") {
        let (name, rest) = split_at_byte(rest, b' ').ok_or(NOT_STRACE)?;
        let rest = rest.strip_prefix(b"resumed>").ok_or(NOT_STRACE)?;
        return Ok(match name {
            b"accept" | b"accept4" => Call::Resumed(rest),
            _ => Call::Other,
        });
    }
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let name = text.iter().take_while(|byte| is_name(byte)).count();
    let is_other = (name > 0 && text.get(name) == Some(&b'('))
        || text.is_empty()
        || ["--- ", "+++ ", "> ", "strace: ", "???("]
            .iter()
            .any(|start| text.starts_with(start.as_bytes()));
    match is_other {
        true => Ok(Call::Other),
        false => Err(NOT_STRACE),
    }
}

/// The arguments and the result of a call: `..)   = RESULT`.
fn result(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memmem::rfind(text, b" = ")?;
    let arguments = text[..at].trim_ascii_end().strip_suffix(b")")?;
    Some((arguments, &text[at + 3..]))
}

/// What a file descriptor is shown with.
enum Descriptor {
    /// Nothing, or nothing of use.
    Plain,
    /// With -yy: the local end, and the remote one of a connection.
    Tcp(End, Option<End>),
    /// With -yy: a socket that is not of TCP.
    Other,
}

/// `3`, `3<socket:[1234]>`, `3<TCP:[192.0.2.9:80->192.0.2.1:37822]>`,
/// `3<TCPv6:[[2001:db8::9]:80]>`, `3<UNIX-STREAM:[1234]>`
fn descriptor(text: &[u8]) -> Descriptor {
    let (_, after) = digits(text);
    let Some(shown) = after.strip_prefix(b"<") else {
        return Descriptor::Plain;
    };
    let tcp = ["TCP:[", "TCPv6:["]
        .iter()
        .find_map(|label| shown.strip_prefix(label.as_bytes()));
    let Some(ends) = tcp else {
        return match [&b"UNIX"[..], b"SCTP", b"NETLINK"]
            .iter()
            .any(|label| shown.starts_with(label))
        {
            true => Descriptor::Other,
            false => Descriptor::Plain,
        };
    };
    let Some(close) = memchr::memmem::find(ends, b"]>") else {
        return Descriptor::Plain;
    };
    let ends = &ends[..close];
    let (local, remote) = match memchr::memmem::find(ends, b"->") {
        Some(at) => (&ends[..at], Some(&ends[at + 2..])),
        None => (ends, None),
    };
    match end(local) {
        // Else it is the number of an inode.
        Some(local) => Descriptor::Tcp(local, remote.and_then(end)),
        None => Descriptor::Plain,
    }
}

/// `192.0.2.9:80` or `[2001:db8::9]:80`
fn end(text: &[u8]) -> Option<End> {
    let colon = memchr::memrchr(b':', text)?;
    let host = &text[..colon];
    let host = match host.strip_prefix(b"[") {
        Some(host) => host.strip_suffix(b"]")?,
        None => host,
    };
    Some((address(host)?, Some(number(&text[colon + 1..])?)))
}

/// The client that the kernel wrote into the second argument, and the family of the socket;
/// None if it is of another family.
fn peer(arguments: &[u8]) -> Result<Option<(End, Option<Family>)>, Misfit> {
    let Some(at) = memchr::memmem::find(arguments, b"{sa_family=") else {
        // NULL, or there was no room.
        return Ok(Some(((Host::Unknown, None), None)));
    };
    let sockaddr = &arguments[at + b"{sa_family=".len()..];
    let (family, rest) = split_at_byte(sockaddr, b',').unwrap_or((sockaddr, b""));
    let (family, port, host) = match family {
        b"AF_INET" => (
            Family::Ipv4,
            between(rest, b"sin_port=htons(", b')'),
            between(rest, b"inet_addr(\"", b'"'),
        ),
        b"AF_INET6" => (
            Family::Ipv6,
            between(rest, b"sin6_port=htons(", b')'),
            between(rest, b"inet_pton(AF_INET6, \"", b'"'),
        ),
        _ if family.starts_with(b"AF_") => return Ok(None),
        _ => return Err(NO_ADDRESS),
    };
    let host = host.and_then(address).ok_or(NO_ADDRESS)?;
    let port = port.and_then(number).ok_or(NO_ADDRESS)?;
    Ok(Some(((host, Some(port)), Some(family))))
}

/// `14:25:37`, `14:25:37.123456`, `1732285537.123456` or, since the line before, `0.000123`
fn when(text: &[u8]) -> When {
    match is_time_of_day(text) {
        true => recorded(text, Lacks::Date),
        false => seconds(text, Lacks::Before).unwrap_or(When::Unknown),
    }
}
