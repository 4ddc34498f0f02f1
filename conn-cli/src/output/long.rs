//! The line of a connection with `--long`.

use super::{
    brief::brief,
    put,
    quick::{put_host, put_number},
    style::Escapes,
};
use crate::model::connection::{Connection, Host, Process};

/// `18:33:37.945354 192.0.2.3:39465 -> 192.0.2.1:8081 httpd[99] waited 96 µs`, without what is not
/// known. `stage`: its name, if that must be said; `name`: that of the client's network, in brackets.
pub(super) fn put_line(
    out: &mut Vec<u8>,
    (when, time): (&str, &Escapes),
    stage: Option<&str>,
    connection: &Connection,
    (client, name): (&Escapes, Option<&str>),
) {
    for part in [&time.on, when, &time.off, " "] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(stage) = stage {
        put(out, format_args!("{stage} "));
    }
    out.extend_from_slice(client.on.as_bytes());
    put_end(out, &connection.remote, connection.remote_port);
    out.extend_from_slice(client.off.as_bytes());
    if let Some(name) = name {
        put(out, format_args!(" ({name})"));
    }
    match (&connection.local, connection.local_port) {
        (Host::Unknown, None) => (),
        (Host::Unknown, Some(port)) => put(out, format_args!(" -> port {port}")),
        (local, port) => {
            out.extend_from_slice(b" -> ");
            put_end(out, local, port);
        }
    }
    if let Some(process) = &connection.process {
        put_process(out, process);
    }
    if let Some(wait) = connection.wait {
        put(out, format_args!(" waited {}", brief(wait)));
    }
    out.push(b'\n');
}

/// One end: `192.0.2.3:39465`, `[2001:db8::1]:443`.
fn put_end(out: &mut Vec<u8>, host: &Host, port: Option<u16>) {
    let is_ipv6 = host.address().is_some_and(|address| address.is_ipv6());
    let brackets: [&[u8]; 2] = match port {
        Some(_) if is_ipv6 => [b"[", b"]"],
        _ => [b"", b""],
    };
    out.extend_from_slice(brackets[0]);
    put_host(out, host);
    out.extend_from_slice(brackets[1]);
    if let Some(port) = port {
        out.push(b':');
        put_number(out, port);
    }
}

/// ` httpd[99]`; of strace often only the thread is known.
fn put_process(out: &mut Vec<u8>, process: &Process) {
    match (process.name(), process.pid) {
        (Some(name), Some(pid)) => put(out, format_args!(" {name}[{pid}]")),
        (Some(name), None) => put(out, format_args!(" {name}")),
        (None, Some(pid)) => put(out, format_args!(" pid {pid}")),
        (None, None) => {
            if let Some(tid) = process.tid {
                put(out, format_args!(" thread {tid}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use super::*;
    use crate::model::{
        connection::{Record, Source},
        hook::Hook,
    };

    fn host(address: &str) -> Host {
        Host::at(address.parse::<IpAddr>().unwrap())
    }

    fn line(connection: &Connection, stage: Option<&str>) -> String {
        named_line(connection, stage, None)
    }

    fn named_line(connection: &Connection, stage: Option<&str>, name: Option<&str>) -> String {
        let mut out = Vec::new();
        let plain = Escapes::new(anstyle::Style::new(), false);
        put_line(
            &mut out,
            ("18:33:37.945354", &plain),
            stage,
            connection,
            (&plain, name),
        );
        String::from_utf8(out).unwrap()
    }

    fn accepted() -> Connection {
        Connection {
            remote: host("192.0.2.3"),
            remote_port: Some(39465),
            local: host("192.0.2.1"),
            local_port: Some(8081),
            process: Some(Process {
                pid: Some(99),
                tid: Some(100),
                uid: None,
                cgroup: None,
                comm: Some(*b"httpd\0\0\0\0\0\0\0\0\0\0\0"),
                is_kernel_thread: false,
            }),
            wait: Some(Duration::from_micros(96)),
            ..Connection::unknown(Source::Hook(Hook::Fentry))
        }
    }

    #[test]
    fn everything_known_is_in_the_line() {
        let all = "192.0.2.3:39465 -> 192.0.2.1:8081 httpd[99] waited 96 µs\n";
        assert_eq!(line(&accepted(), None), format!("18:33:37.945354 {all}"));
        let named = "192.0.2.3:39465 (office) -> 192.0.2.1:8081 httpd[99] waited 96 µs\n";
        assert_eq!(
            named_line(&accepted(), None, Some("office")),
            format!("18:33:37.945354 {named}")
        );
        assert_eq!(
            line(&accepted(), Some("Accepted")),
            format!("18:33:37.945354 Accepted {all}")
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let ipv6 = Connection {
            remote: host("2001:db8::1"),
            local: host("::1"),
            local_port: Some(443),
            ..Connection::unknown(Source::Hook(Hook::SockOps))
        };
        assert_eq!(
            line(&ipv6, None),
            "18:33:37.945354 2001:db8::1 -> [::1]:443\n"
        );
        let only_port = Connection {
            local: Host::Unknown,
            ..ipv6
        };
        assert!(line(&only_port, None).ends_with(" 2001:db8::1 -> port 443\n"));
        let unknown = Connection::unknown(Source::Record(Record::Strace));
        assert_eq!(line(&unknown, None), "18:33:37.945354 unknown\n");
        let process = |pid, comm| {
            let mut connection = accepted();
            connection.wait = None;
            connection.process = connection.process.map(|process| Process {
                pid,
                comm,
                ..process
            });
            line(&connection, None)
                .split_off("18:33:37.945354 192.0.2.3:39465 -> 192.0.2.1:8081".len())
        };
        assert_eq!(process(Some(7), None), " pid 7\n");
        assert_eq!(
            process(None, Some(*b"web\0\0\0\0\0\0\0\0\0\0\0\0\0")),
            " web\n"
        );
        assert_eq!(process(None, None), " thread 100\n");
    }

    #[test]
    fn the_name_of_a_process_cannot_write_to_the_terminal() {
        let mut connection = accepted();
        connection.process = connection.process.map(|process| Process {
            comm: Some(*b"a\x1b[2J\nb\0\0\0\0\0\0\0\0\0"),
            ..process
        });
        assert!(line(&connection, None).ends_with(
            r" a\u{1b}[2J\nb[99] waited 96 µs
"
        ));
    }
}
