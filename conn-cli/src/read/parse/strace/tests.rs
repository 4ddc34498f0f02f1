use super::call::NOT_STRACE;
use crate::{
    model::connection::{Connection, Family, Host},
    read::parse::strace::*,
};

const V4: &str = r#"{sa_family=AF_INET, sin_port=htons(37822), sin_addr=inet_addr("192.0.2.1")}, [16], SOCK_CLOEXEC"#;
const V6: &str = r#"{sa_family=AF_INET6, sin6_port=htons(37822), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, [28]"#;

fn parse(text: &str) -> (Vec<Event>, Vec<ParseError>) {
    let mut lines = Lines::new(&Wanted::with_times());
    let mut events = Vec::new();
    let parse_errors = crate::read::parse::lines::lines(text.as_bytes())
        .filter_map(|line| lines.line(line, &mut events).err())
        .collect();
    (events, parse_errors)
}

fn parse_connection(line: &str) -> Connection {
    let (mut events, parse_errors) = parse(line);
    assert_eq!(parse_errors, [] as [&str; 0], "{line}");
    assert_eq!(events.len(), 1, "{line}");
    match events.remove(0) {
        Event::Connection(connection) | Event::Resumed(connection) => connection,
        event => panic!("{line}: {event:?}"),
    }
}

fn assert_ignored(line: &str) {
    let (mut events, parse_errors) = parse(line);
    events.retain(|event| !matches!(event, Event::Failed(_)));
    assert!(
        events.is_empty() && parse_errors.is_empty(),
        "{line}: {events:?} {parse_errors:?}"
    );
}

#[test]
fn every_prefix_is_parsed() {
    for (prefix, tid, time) in [
        ("", None, When::Unknown),
        ("[pid    12] ", Some(12), When::Unknown),
        ("12    ", Some(12), When::Unknown),
        ("12<python3> ", Some(12), When::Unknown),
        ("14:25:37 ", None, recorded(b"14:25:37", Lacks::Date)),
        ("[ 288] [00007fd9b3b19b9f] ", None, When::Unknown),
        ("[????????????????] ", None, When::Unknown),
        (
            "[pid 12] 1395029583 ",
            Some(12),
            When::At("2014-03-17T04:13:03Z".parse().unwrap()),
        ),
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
        let connection = parse_connection(&format!("{prefix}accept4(3, {V4}) = 4 <0.000012>"));
        assert_eq!(
            connection.process.and_then(|process| process.tid),
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
fn local_address_comes_from_file_descriptors() {
    let line = format!(
        "accept(3<TCPv6:[[::]:80]>, {V6}) = 4<TCPv6:[[2001:db8::9]:80->[2001:db8::1]:37822]>"
    );
    let connection = parse_connection(&line);
    assert_eq!(connection.local.to_string(), "2001:db8::9");
    assert_eq!(connection.local_port, Some(80));
    assert_eq!(connection.remote.to_string(), "2001:db8::1");
    // The kernel no longer reports the addresses of the new socket.
    let connection = parse_connection(&format!(
        "accept(3<TCP:[0.0.0.0:80]>, {V4}) = 4<TCP:[12345]>"
    ));
    assert_eq!(connection.local_port, Some(80));
    let connection = parse_connection(&format!(
        "accept(3<socket:[12344]>, {V4}) = 4<socket:[12345]>"
    ));
    assert_eq!(connection.local_port, None);
    // If the program passes NULL, the descriptor still has the address.
    let connection = parse_connection(
        "accept(3<TCP:[0.0.0.0:80]>, NULL, NULL) = 4<TCP:[192.0.2.9:80->192.0.2.1:5]>",
    );
    assert_eq!(connection.remote, Host::at([192, 0, 2, 1]));
    assert_eq!(connection.remote_port, Some(5));
}

#[test]
fn missing_address_is_unknown() {
    for line in [
        "accept(3, NULL, NULL)             = 4",
        "accept(3, 0x7ffc1, [16]) = 4",
        "accept(3, {...}, [16]) = 4",
        "[pid  5510] 11:14:02 accept4(11, 0, NULL, SOCK_CLOEXEC|SOCK_NONBLOCK) = 14 <0.000011>",
    ] {
        assert_eq!(parse_connection(line).remote, Host::Unknown, "{line}");
    }
}

#[test]
fn calls_of_a_server_without_descriptors_are_counted() {
    let text = "Process 5510 attached with 3 threads - interrupt to quit
[pid  5513] 11:14:02 futex(0x8a1d04, FUTEX_WAIT_PRIVATE, 1337, NULL <unfinished ...>
[pid  5510] 11:14:02 accept4(11, 0, NULL, SOCK_CLOEXEC|SOCK_NONBLOCK) = 14 <0.000011>
[pid  5510] 11:14:02 accept4(11, 0, NULL, SOCK_CLOEXEC|SOCK_NONBLOCK) = -1 EAGAIN (Resource temporarily unavailable) <0.000008>
[pid  5510] 11:14:03 accept4(11, 0, NULL, SOCK_CLOEXEC|SOCK_NONBLOCK) = -1 EMFILE (Too many open files) <0.000006>
[pid  5510] 11:14:03 close(7)           = 0 <0.000007>
[pid  5510] 11:14:03 accept4(11, 0, NULL, SOCK_CLOEXEC|SOCK_NONBLOCK) = 7 <0.000009>
";
    let (events, parse_errors) = parse(text);
    assert_eq!((events.len(), parse_errors.len()), (2, 0));
    assert!(
        text.lines()
            .all(|line| form(line.as_bytes()) == Some(Form::Own))
    );
}

#[test]
fn address_of_an_old_strace_is_parsed() {
    for (old, expected) in [
        (V4.replace("sa_family", "sin_family"), "192.0.2.1"),
        (V4.replace("sa_family", "sin_family").replace("}", "}}"), "192.0.2.1"),
        (V6.replace("sa_family", "sin6_family"), "2001:db8::1"),
        (
            r#"{sa_family=AF_INET6, sin6_port=htons(37822), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_flowinfo=0, sin6_scope_id=0}, [28]"#.to_owned(),
            "2001:db8::1",
        ),
    ] {
        let connection = parse_connection(&format!("accept(3, {old}) = 4"));
        assert_eq!(connection.remote.to_string(), expected);
        assert_eq!(connection.remote_port, Some(37822));
    }
}

#[test]
fn a_call_after_other_text_is_a_parse_error() {
    for before in [
        "192.0.2.77 ",
        "192.0.2.77 [x] ",
        "192.0.2.77 - - [22/Nov/2026:14:25:37 +0000] ",
        "[x] ",
        "(text) ",
        "1.2.3 ",
        "25:37 ",
        "12 200 ",
        "10.5 ",
        "[abc] ",
        "1x ",
        "[] ",
        "x ",
    ] {
        let (events, parse_errors) = parse(&format!("{before}accept4(3, {V4}) = 4"));
        assert_eq!((events.len(), parse_errors.len()), (0, 1), "{before}");
    }
}

#[test]
fn mapped_address_is_ipv4_on_an_ipv6_socket() {
    let connection = parse_connection(&format!(
        "accept(3, {}) = 4",
        V6.replace("2001:db8::1", "::ffff:192.0.2.1")
    ));
    assert_eq!(connection.remote, Host::at([192, 0, 2, 1]));
    assert_eq!(connection.family, Some(Family::Ipv6));
}

#[test]
fn verbose_names_in_comments_are_parsed() {
    let connection = parse_connection(
        r#"accept4(3, {sa_family=0x2 /* AF_INET */, sin_port="\x93\xbe" /* htons(37822) */, sin_addr="\xc0\x00\x02\x01" /* inet_addr("192.0.2.1") */}, [16], 0) = 4"#,
    );
    assert_eq!(connection.remote, Host::at([192, 0, 2, 1]));
    assert_eq!(connection.remote_port, Some(37822));
}

#[test]
fn other_lines_are_ignored() {
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
        "^C",
        "^Cstrace: Process 12 detached",
        "^CProcess 12 detached",
        "accept4(3, ^Cstrace: Process 12 detached",
        " <detached ...>",
        " > /usr/lib/libc.so.6(accept+0x4d) [0x11e55d]",
        "Process 5510 attached with 3 threads - interrupt to quit",
        "Process 5513 attached (waiting for parent)",
        "Process 5513 suspended",
        "[ Process PID=5513 runs in 32 bit mode. ]",
        "[pid  5513] 11:14:02 futex(0x8a1d04, FUTEX_WAIT_PRIVATE, 1337, NULL <unfinished ...>",
        "[pid  5510] 11:14:03 open(\"/\", O_RDONLY|O_CLOEXEC) = 7 <0.000006>",
        "accept4(11, 0, NULL, SOCK_CLOEXEC) = -1 EMFILE (Too many open files) <0.000006>",
        "exit_group(0)                           = ?",
        "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, -1, 0) = 0x7f2e",
        "socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = 3<TCP:[1]>",
        "accept(3, {sun_family=AF_UNIX, path=\"/x\"}, [2]) = 4",
        "accept(3, ",
    ] {
        assert_ignored(line);
    }
}

#[test]
fn call_on_two_lines_is_unfinished_and_resumed() {
    let (events, parse_errors) = parse(&format!(
        "12 accept4(3<TCP:[0.0.0.0:80]>,  <unfinished ...>\n12 <... accept4 resumed>{V4}) = 4\n"
    ));
    assert_eq!(parse_errors, [] as [&str; 0]);
    match &events[..] {
        [Event::Unfinished(start), Event::Resumed(end)] => {
            assert_eq!((start.tid, start.local_port), (12, Some(80)));
            assert_eq!(end.remote, Host::at([192, 0, 2, 1]));
            assert_eq!(end.process.unwrap().tid, Some(12));
        }
        events => panic!("{events:?}"),
    }
}

#[test]
fn other_output_in_the_middle_of_a_line_is_skipped() {
    assert_ignored("[pid 12] accept4(3, strace: Process 13 attached\n <unfinished ...>\n");
    let (events, parse_errors) = parse(&format!("accept4(3, server ready\n{V4}) = 4\n"));
    assert_eq!((events.len(), parse_errors.len()), (1, 0));
    let (events, parse_errors) = parse(&format!("accept4(3, server ready\naccept4(3, {V4}) = 4\n"));
    assert_eq!((events.len(), parse_errors.len()), (1, 0));
    let (events, parse_errors) = parse(&format!("accept4(3, server ready\nagain{V4}) = 4\n"));
    assert_eq!((events.len(), parse_errors), (0, vec![NOT_STRACE]));
    // The two lines stay together.
    let interrupted = b"accept4(3, NULL, NULL) = 4\naccept4(3, server ready\n";
    assert_eq!(hold_back(interrupted), 27);
    assert_eq!(hold_back(&interrupted[..27]), 27);
}

#[test]
fn cut_line_gives_no_wrong_event() {
    let line = format!(
        "12 14:25:37.1 accept4(3<TCP:[0.0.0.0:80]>, {V4}) = 4<TCP:[192.0.2.9:80->192.0.2.1:37822]>"
    );
    let result_end = line.find(" = 4").unwrap() + 4;
    for end in 0..line.len() {
        let (events, _) = parse(&line[..end]);
        assert_eq!(
            events.len(),
            usize::from(end >= result_end),
            "{}",
            &line[..end]
        );
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
fn lines_not_from_strace_are_parse_errors() {
    for line in [
        "hello",
        "printf(\"%d\\n\", accept(fd, NULL, NULL));",
        "accept(fd, (struct sockaddr *)&addr, &len) = 4",
        "main(int argc, char **argv)",
        "f(x) = y",
        "--- a/file.c",
        "+++ b/file.c",
        "> quoted",
        "Process 5510 is idle",
        "% time     seconds  usecs/call     calls    errors syscall",
        "------ ----------- ----------- --------- --------- ----------------",
        " 65.43    0.001234          12       100         5 accept4",
        "100.00    0.001886                   113         5 total",
        "GET / HTTP/1.1",
        "\0\0\0",
        "\u{fffd}",
        "<... accept",
        r#"accept(3, {sa_family=AF_INET, sin_port=htons(70000), sin_addr=inet_addr("192.0.2.1")}, [16]) = 4"#,
        r#"accept(3, {sa_family=AF_INET, sin_port=htons(7), sin_addr=inet_addr("192.0.2.256")}, [16]) = 4"#,
    ] {
        let (events, parse_errors) = parse(line);
        assert_eq!((events.len(), parse_errors.len()), (0, 1), "{line}");
    }
}

#[test]
fn lines_of_strace_are_recognised() {
    assert_eq!(
        form(format!("12 accept(3, {V4}) = 4").as_bytes()),
        Some(Form::Own)
    );
    assert_eq!(form(b"+++ exited with 0 +++"), Some(Form::Own));
    assert_eq!(form(b""), Some(Form::Shared));
    for line in [
        "14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 1",
        "Nov 22 14:25:37 host kernel: [1.0] IN=lo OUT= SRC=192.0.2.1",
        "[   12.345678] IN=lo OUT= SRC=192.0.2.1",
    ] {
        assert_eq!(form(line.as_bytes()), None, "{line}");
    }
}

/// Whether a line is of this format, as the recogniser sees it.
fn form(line: &[u8]) -> Option<Form> {
    Lines::new(&Wanted::default())
        .line(line, &mut Vec::new())
        .ok()
}
