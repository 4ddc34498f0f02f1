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
///
/// It writes the beginning of a call when that begins, so what the traced program itself writes
/// to the same terminal or pipe, and messages of strace's, may be in the middle of a line:
///
/// ```text
/// [pid    12] accept4(3, strace: Process 13 attached
///  <unfinished ...>
/// ```
#[derive(Debug)]
pub struct Lines {
    wanted: Wanted,
    /// The thread and the time of a call whose beginning was the line before.
    begun: Option<(Option<u32>, When)>,
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
        Self {
            wanted,
            begun: None,
        }
    }

    fn when(&self, time: &[u8]) -> When {
        match self.wanted.times {
            true => when(time),
            false => When::Unknown,
        }
    }
}

/// Whether a line is one of strace's.
#[must_use]
pub fn likeness(line: &[u8]) -> Likeness {
    match call(prefix(line).2) {
        Ok(Call::Accept(_) | Call::Resumed(_)) => Likeness::Certain,
        Ok(Call::Other) => Likeness::Possible,
        Err(_) => Likeness::None,
    }
}

/// From where on `lines`, which are whole, belong together with lines that are still to come.
#[must_use]
pub fn hold_back(lines: &[u8]) -> usize {
    let without_end = lines.strip_suffix(b"\n").unwrap_or(lines);
    let last = memchr::memrchr(b'\n', without_end).map_or(0, |at| at + 1);
    match call(prefix(&lines[last..]).2) {
        Ok(Call::Accept(arguments)) if is_begun(arguments) => last,
        _ => lines.len(),
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), Misfit> {
        if let Some((tid, time)) = self.begun.take() {
            if line.ends_with(UNFINISHED) && line.trim_ascii_start() == UNFINISHED {
                return Ok(());
            }
            if is_address(line) {
                let (arguments, result) = result(line).ok_or(NO_RESULT)?;
                let accepted = accepted(&Descriptor::Plain, arguments, result)?;
                events.extend(accepted.map(|end| Event::Connection(end.connection(tid, time))));
                return Ok(());
            }
            // Its rest, if there is any, is in a line that begins with something else: that one
            // is not understood.
        }
        self.whole_line(line, events)
    }
}

impl Lines {
    fn whole_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), Misfit> {
        let (tid, time, rest) = prefix(line);
        let (listener, arguments, resumed) = match call(rest)? {
            Call::Accept(arguments) => (descriptor(arguments), arguments, false),
            Call::Resumed(arguments) => (Descriptor::Plain, arguments, true),
            Call::Other => return Ok(()),
        };
        if arguments.ends_with(UNFINISHED) {
            if let Descriptor::Tcp((local, local_port), _) = listener {
                events.push(Event::Unfinished(Accept {
                    tid: tid.unwrap_or(0),
                    local,
                    local_port,
                }));
            }
            return Ok(());
        }
        if !resumed && is_begun(arguments) {
            self.begun = Some((tid, self.when(time)));
            return Ok(());
        }
        let (arguments, result) = result(arguments).ok_or(NO_RESULT)?;
        if let Some(ends) = accepted(&listener, arguments, result)? {
            let connection = ends.connection(tid, self.when(time));
            events.push(match resumed {
                true => Event::Resumed(connection),
                false => Event::Connection(connection),
            });
        }
        Ok(())
    }
}

/// Both ends of a connection that was accepted.
struct Ends {
    remote: End,
    local: End,
    family: Option<Family>,
}

impl Ends {
    fn connection(self, tid: Option<u32>, time: When) -> Connection {
        Connection {
            time,
            remote: self.remote.0,
            remote_port: self.remote.1,
            local: self.local.0,
            local_port: self.local.1,
            family: self.family,
            process: tid.map(|tid| Process {
                pid: None,
                tid,
                uid: None,
                cgroup: None,
                comm: None,
            }),
            netns: None,
            source: Source::Record(Record::Strace),
        }
    }
}

/// What a call of accept gave; None if nothing, or a connection of another kind than TCP.
fn accepted(
    listener: &Descriptor,
    arguments: &[u8],
    result: &[u8],
) -> Result<Option<Ends>, Misfit> {
    // Otherwise the call failed: `-1 EAGAIN`, `? ERESTARTSYS`.
    if !result.first().is_some_and(u8::is_ascii_digit) {
        return Ok(None);
    }
    let accepted = descriptor(result);
    if matches!(listener, Descriptor::Other) || matches!(accepted, Descriptor::Other) {
        return Ok(None);
    }
    let Some((mut remote, family)) = peer(arguments)? else {
        return Ok(None);
    };
    let local = match (accepted, listener) {
        (Descriptor::Tcp(local, peer), _) => {
            if let (Host::Unknown, Some(peer)) = (&remote.0, peer) {
                remote = peer;
            }
            local
        }
        // The kernel did not say, perhaps as the connection was reset: then it is the one that
        // was listened to.
        (_, Descriptor::Tcp(local, _)) => local.clone(),
        _ => (Host::Unknown, None),
    };
    Ok(Some(Ends {
        remote,
        local,
        family,
    }))
}

/// What stands for the rest of a call that did not end at once.
const UNFINISHED: &[u8] = b"<unfinished ...>";

/// Whether of a call's arguments there is only the file descriptor, the rest being in another
/// line.
fn is_begun(arguments: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(arguments, b", ") else {
        return false;
    };
    let rest = &arguments[at + 2..];
    !rest.ends_with(UNFINISHED) && !is_address(rest)
}

/// Whether this begins with the second argument, as strace shows it at the end of the call.
fn is_address(text: &[u8]) -> bool {
    [&b"{sa_family="[..], b"NULL", b"0x"]
        .iter()
        .any(|start| text.starts_with(start))
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
        || text == UNFINISHED
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
    let (family, host) = match family {
        // With -X verbose names are in comments.
        b"AF_INET" | b"0x2 /* AF_INET */" => (Family::Ipv4, between(rest, b"inet_addr(\"", b'"')),
        b"AF_INET6" | b"0xa /* AF_INET6 */" => {
            (Family::Ipv6, between(rest, b"inet_pton(AF_INET6, \"", b'"'))
        }
        _ if family.starts_with(b"AF_") => return Ok(None),
        _ => return Err(NO_ADDRESS),
    };
    let host = host.and_then(address).ok_or(NO_ADDRESS)?;
    let port = between(rest, b"htons(", b')');
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

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = r#"{sa_family=AF_INET, sin_port=htons(37822), sin_addr=inet_addr("192.0.2.1")}, [16], SOCK_CLOEXEC"#;
    const V6: &str = r#"{sa_family=AF_INET6, sin6_port=htons(37822), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, [28]"#;

    fn parse(text: &str) -> (Vec<Event>, Vec<Misfit>) {
        let mut lines = Lines::new(Wanted { times: true });
        let mut events = Vec::new();
        let misfits = crate::read::parse::lines(text.as_bytes())
            .filter_map(|line| lines.line(line, &mut events).err())
            .collect();
        (events, misfits)
    }

    fn one(line: &str) -> Connection {
        let (mut events, misfits) = parse(line);
        assert_eq!(misfits, [] as [&str; 0], "{line}");
        assert_eq!(events.len(), 1, "{line}");
        match events.remove(0) {
            Event::Connection(connection) | Event::Resumed(connection) => connection,
            event => panic!("{line}: {event:?}"),
        }
    }

    fn nothing(line: &str) {
        let (events, misfits) = parse(line);
        assert!(
            events.is_empty() && misfits.is_empty(),
            "{line}: {events:?} {misfits:?}"
        );
    }

    #[test]
    fn every_prefix() {
        for (prefix, tid, time) in [
            ("", None, When::Unknown),
            ("[pid    12] ", Some(12), When::Unknown),
            ("12    ", Some(12), When::Unknown),
            ("12<python3> ", Some(12), When::Unknown),
            ("14:25:37 ", None, recorded(b"14:25:37", Lacks::Date)),
            (
                "[pid 12] 14:25:37.1 ",
                Some(12),
                recorded(b"14:25:37.1", Lacks::Date),
            ),
            ("     0.000012 ", None, recorded(b"0.000012", Lacks::Before)),
            (
                "12         0.000012 ",
                Some(12),
                recorded(b"0.000012", Lacks::Before),
            ),
            (
                "[pid 12] 14:25:37.1 (+     0.000001) ",
                Some(12),
                recorded(b"14:25:37.1", Lacks::Date),
            ),
            (
                "12    1395029583.500000 ",
                Some(12),
                When::At("2014-03-17T04:13:03.5Z".parse().unwrap()),
            ),
        ] {
            let connection = one(&format!("{prefix}accept4(3, {V4}) = 4 <0.000012>"));
            assert_eq!(
                connection.process.map(|process| process.tid),
                tid,
                "{prefix}"
            );
            assert_eq!(connection.time, time, "{prefix}");
            assert_eq!(connection.remote, Host::at([192, 0, 2, 1]), "{prefix}");
            assert_eq!(connection.remote_port, Some(37822));
            assert_eq!(connection.family, Some(Family::Ipv4));
            assert_eq!(
                (connection.local, connection.local_port),
                (Host::Unknown, None)
            );
        }
    }

    #[test]
    fn the_file_descriptors_tell_the_local_end() {
        let line = format!(
            "accept(3<TCPv6:[[::]:80]>, {V6}) = 4<TCPv6:[[2001:db8::9]:80->[2001:db8::1]:37822]>"
        );
        let connection = one(&line);
        assert_eq!(connection.local.to_string(), "2001:db8::9");
        assert_eq!(connection.local_port, Some(80));
        assert_eq!(connection.remote.to_string(), "2001:db8::1");
        // The kernel no longer knew the ends of the new one.
        let connection = one(&format!(
            "accept(3<TCP:[0.0.0.0:80]>, {V4}) = 4<TCP:[12345]>"
        ));
        assert_eq!(connection.local_port, Some(80));
        let connection = one(&format!(
            "accept(3<socket:[12344]>, {V4}) = 4<socket:[12345]>"
        ));
        assert_eq!(connection.local_port, None);
        // Where no address was asked for, it is still shown.
        let connection =
            one("accept(3<TCP:[0.0.0.0:80]>, NULL, NULL) = 4<TCP:[192.0.2.9:80->192.0.2.1:5]>");
        assert_eq!(connection.remote, Host::at([192, 0, 2, 1]));
        assert_eq!(connection.remote_port, Some(5));
    }

    #[test]
    fn no_address_is_unknown() {
        assert_eq!(
            one("accept(3, NULL, NULL)             = 4").remote,
            Host::Unknown
        );
    }

    #[test]
    fn a_mapped_address_is_ipv4_of_an_ipv6_socket() {
        let connection = one(&format!(
            "accept(3, {}) = 4",
            V6.replace("2001:db8::1", "::ffff:192.0.2.1")
        ));
        assert_eq!(connection.remote, Host::at([192, 0, 2, 1]));
        assert_eq!(connection.family, Some(Family::Ipv6));
    }

    #[test]
    fn names_in_comments() {
        let connection = one(
            r#"accept4(3, {sa_family=0x2 /* AF_INET */, sin_port="\x93\xbe" /* htons(37822) */, sin_addr="\xc0\x00\x02\x01" /* inet_addr("192.0.2.1") */}, [16], 0) = 4"#,
        );
        assert_eq!(connection.remote, Host::at([192, 0, 2, 1]));
        assert_eq!(connection.remote_port, Some(37822));
    }

    #[test]
    fn what_is_no_connection() {
        for line in [
            "",
            "accept(3, 0x7ffc1, [16])                 = -1 EAGAIN (Resource temporarily unavailable)",
            "accept4(3, 0x7ffc1, [16], 0) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
            "accept(3, {sa_family=AF_UNIX}, [112 => 2]) = 4",
            "accept(3<UNIX-STREAM:[1234]>, NULL, NULL) = 4<UNIX-STREAM:[1235->1234]>",
            "[pid 12] <... accept resumed>0x7ffc1, [16]) = -1 EMFILE (Too many open files)",
            "[pid 12] <... futex resumed>)  = 0",
            r#"getpeername(4, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("192.0.2.1")}, [16]) = 0"#,
            r#"read(4, "accept(3, NULL, NULL) = 4", 100) = 25"#,
            "--- SIGCHLD {si_signo=SIGCHLD} ---",
            "+++ exited with 0 +++",
            "strace: Process 12 attached",
            " > /usr/lib/libc.so.6(accept+0x4d) [0x11e55d]",
            "accept(3, ",
        ] {
            nothing(line);
        }
    }

    #[test]
    fn a_call_in_two_lines() {
        let (events, misfits) = parse(&format!(
            "12 accept4(3<TCP:[0.0.0.0:80]>,  <unfinished ...>\n12 <... accept4 resumed>{V4}) = 4\n"
        ));
        assert_eq!(misfits, [] as [&str; 0]);
        match &events[..] {
            [Event::Unfinished(begin), Event::Resumed(end)] => {
                assert_eq!((begin.tid, begin.local_port), (12, Some(80)));
                assert_eq!(end.remote, Host::at([192, 0, 2, 1]));
                assert_eq!(end.process.unwrap().tid, 12);
            }
            events => panic!("{events:?}"),
        }
    }

    #[test]
    fn another_output_in_the_middle_of_a_line() {
        nothing("[pid 12] accept4(3, strace: Process 13 attached\n <unfinished ...>\n");
        let (events, misfits) = parse(&format!("accept4(3, server ready\n{V4}) = 4\n"));
        assert_eq!((events.len(), misfits.len()), (1, 0));
        let (events, misfits) = parse(&format!("accept4(3, server ready\naccept4(3, {V4}) = 4\n"));
        assert_eq!((events.len(), misfits.len()), (1, 0));
        let (events, misfits) = parse(&format!("accept4(3, server ready\nagain{V4}) = 4\n"));
        assert_eq!((events.len(), misfits), (0, vec![NOT_STRACE]));
        // The two lines stay together.
        let begun = b"accept4(3, NULL, NULL) = 4\naccept4(3, server ready\n";
        assert_eq!(hold_back(begun), 27);
        assert_eq!(hold_back(&begun[..27]), 27);
    }

    #[test]
    fn a_line_that_is_cut_is_nothing_or_a_misfit() {
        let line = format!(
            "12 14:25:37.1 accept4(3<TCP:[0.0.0.0:80]>, {V4}) = 4<TCP:[192.0.2.9:80->192.0.2.1:37822]>"
        );
        let result = line.find(" = 4").unwrap() + 4;
        for end in 0..line.len() {
            let (events, _) = parse(&line[..end]);
            assert_eq!(events.len(), usize::from(end >= result), "{}", &line[..end]);
            for event in events {
                let Event::Connection(connection) = event else {
                    panic!("{event:?}");
                };
                assert_eq!(connection.remote, Host::at([192, 0, 2, 1]));
                assert_eq!(connection.local_port, Some(80));
            }
        }
    }

    #[test]
    fn what_strace_does_not_write_is_a_misfit() {
        for line in [
            "hello",
            "GET / HTTP/1.1",
            "\0\0\0",
            "\u{fffd}",
            "<... accept",
            r#"accept(3, {sa_family=AF_INET, sin_port=htons(70000), sin_addr=inet_addr("192.0.2.1")}, [16]) = 4"#,
            r#"accept(3, {sa_family=AF_INET, sin_port=htons(7), sin_addr=inet_addr("192.0.2.256")}, [16]) = 4"#,
        ] {
            let (events, misfits) = parse(line);
            assert_eq!((events.len(), misfits.len()), (0, 1), "{line}");
        }
    }

    #[test]
    fn is_told_from_other_lines() {
        assert_eq!(
            likeness(format!("12 accept(3, {V4}) = 4").as_bytes()),
            Likeness::Certain
        );
        assert_eq!(likeness(b"+++ exited with 0 +++"), Likeness::Possible);
        for line in [
            "14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 1",
            "Nov 22 14:25:37 host kernel: [1.0] IN=lo OUT= SRC=192.0.2.1",
            "[   12.345678] IN=lo OUT= SRC=192.0.2.1",
        ] {
            assert_eq!(likeness(line.as_bytes()), Likeness::None, "{line}");
        }
    }
}
