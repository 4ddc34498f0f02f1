use super::*;

fn parse(line: &str) -> Parsed {
    Lines::default().parse(line)
}

fn at(address: &str) -> Entry {
    Entry::Host(Host::at(address.parse::<IpAddr>().unwrap()))
}

fn named(name: &str) -> Entry {
    Entry::Host(Host::named(name.as_bytes()).unwrap())
}

#[test]
fn lists_of_people_have_comments() {
    for line in [
        "192.0.2.1",
        "  192.0.2.1\t",
        "192.0.2.1 # the office",
        "192.0.2.1# the office",
        "192.0.2.1 the office: 5",
        "192.0.2.1\tseen at 14:25",
        "192.0.2.1: 5",
        "192.0.2.1: 5 # the office",
        "192.0.2.1 # the office: 5",
        "5 192.0.2.1 # the office",
        "192.0.2.1  :  5",
        "     13 192.0.2.1",
        "1\t192.0.2.1",
        "::ffff:192.0.2.1",
    ] {
        assert_eq!(parse(line), Ok(Some(at("192.0.2.1"))), "{line}");
    }
    for line in [
        "2001:db8::1",
        "2001:db8::1: 5",
        "2001:db8::1 x",
        "5 2001:db8::1",
    ] {
        assert_eq!(parse(line), Ok(Some(at("2001:db8::1"))), "{line}");
    }
    let network = || Some(Entry::Network("192.0.2.0/24".parse().unwrap()));
    for line in ["192.0.2.0/24", "192.0.2.0/24 office", "192.0.2.0/24: 7"] {
        assert_eq!(parse(line), Ok(network()), "{line}");
    }
}

#[test]
fn inputs_are_no_clients() {
    for line in [
        "standard input: tcpdump, 1 line",
        "192.0.2.1: pcap, gzip, 39 packets",
        "192.0.2.1 of Monday: kernel-log, 1204 lines",
        "web.log: empty",
        "and 12 more inputs",
    ] {
        assert_eq!(parse(line), Ok(None), "{line}");
    }
    assert_eq!(
        parse("192.0.2.1 the room: empty"),
        Ok(Some(at("192.0.2.1")))
    );
    assert_eq!(parse("web.log: pcap, many packets"), Err(Wrong::NotPrinted));
}

#[test]
fn lines_of_connections_have_one_client() {
    for time in [
        "Sun Nov 22 14:25:37 2026",
        "2026-11-22T14:25:37.482000+00:00",
        "0.000000",
        "14:25:37.5 (no date)",
        "(no time)",
    ] {
        for rest in [
            "New connection from 192.0.2.1",
            "New connection from 192.0.2.1 to port 443",
            "SYN from 192.0.2.1",
            "Established from 192.0.2.1 to port 80",
            "Accepted from 192.0.2.1 after 96 µs",
            "192.0.2.1:39465 -> 192.0.2.9:8081 httpd[99] waited 96 µs",
            "192.0.2.1:39465 -> 192.0.2.9:8081 10.0.0.1 -> [99]",
            "Accepted 192.0.2.1:39465 -> [2001:db8::9]:8081",
            "192.0.2.1 -> port 443",
            "192.0.2.1:39465",
            "192.0.2.1 waited 96 µs",
            "192.0.2.1:39465 thread 99",
            "192.0.2.1:39465 pid 99 waited 96 µs",
        ] {
            let line = format!("{time} {rest}");
            assert_eq!(parse(&line), Ok(Some(at("192.0.2.1"))), "{line}");
            let other = line.replace("192.0.2.1:39465", "192.0.2.1");
            let ipv6 = other.replace("192.0.2.1", "2001:db8::1");
            assert_eq!(parse(&ipv6), Ok(Some(at("2001:db8::1"))), "{ipv6}");
            let name = line.replace("192.0.2.1", "web-1.example");
            let is_bare = name.ends_with(" waited 96 µs") && !name.contains("->");
            if !is_bare || name.contains("from") {
                assert_eq!(parse(&name), Ok(Some(named("web-1.example"))), "{name}");
            }
            let unknown = other.replace("192.0.2.1", "unknown");
            assert_eq!(parse(&unknown), Ok(None), "{unknown}");
        }
        let ipv6 = format!("{time} [2001:db8::1]:443 -> [::1]:80");
        assert_eq!(parse(&ipv6), Ok(Some(at("2001:db8::1"))), "{ipv6}");
    }
}

#[test]
fn what_is_no_client_is_passed_over() {
    for line in [
        "",
        "# 192.0.2.1",
        "=== Summary ===",
        "=== So far ===",
        "3 connections from 2 addresses to port 80, 14:25:35 to 14:25:40 (4.9 s), not from 10.0.0.0/8",
        "at least 1 connection from 1 address, only from 192.0.2.1",
        "no connections to port 80, 14:25:35 to 14:25:40 (4.9 s), not from 192.0.2.1",
        "3 connections from 2 new addresses",
        "2 connection attempts (SYNs) from 1 address",
        "2 handshakes from 1 address",
        "3 connections in 4.9 s",
        "3 connections in 5 lines and 1 packet",
        "from 2 addresses; 0 lines not shown; 1 seen only by security_sock_graft",
        "1 line not shown",
        "2 new addresses: 192.0.2.8 (2), 192.0.2.12 (1)",
        "no new addresses",
        "5 more: 7",
        "34 other addresses: 104",
        "1 other network: 104",
        "unknown: 4",
        "other: 2",
        "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (45)   ██▌",
        "2026-11-22 14:25:30       1 connection       1 address      12.3/s   192.168.122.1 (1)",
        "1795357530.000000       0 connections      0 addresses       0.0/s",
        "14:25:40  (31000 intervals without a connection)",
        "+0:02:37      14 connections      6 addresses      14.0/s   127.0.0.2 (5)",
        "+100:01:01  (12 intervals not measured)",
        "14:25:40  (not measured)",
        "Tracing TCP connections to port 80, not from 10.0.0.0/8",
        "listening: 10.0.0.1:80 httpd[812], 8 threads in accept, accept queue 0/511",
        "10.0.0.1:80 httpd[812]: accept queue 0/511, 0 packets dropped",
        "[::]:8083 python3[22884] has stopped listening",
        "note: 192.0.2.1",
        "warning: the count is at least 3: 192.0.2.1",
        "accept wait: median 41 µs, p90 77 µs, p99 77 µs, max 80 µs",
        "conn-cli: cannot read 192.0.2.1: there is no such file",
        "httpd (pid 7) has ended, so the run ends",
    ] {
        assert_eq!(parse(line), Ok(None), "{line}");
    }
}

#[test]
fn tables_have_clients_in_the_first_or_the_last_column() {
    let table = |text: &str| {
        let mut lines = Lines::default();
        let parsed = text.lines().map(|line| lines.parse(line).unwrap());
        parsed.flatten().collect::<Vec<_>>()
    };
    let clients = [at("192.0.2.1"), at("2001:db8::1"), named("web.example")];
    let first = "=== Summary ===\n\
         address        connections   share                first seen  peak/s\n\
         192.0.2.1              289  48.2 %  Thu Nov 26 18:33:24 2026     104\n\
         2001:db8::1              0       -                         -       -\n\
         web.example             12     2 %                         -       -\n\
         5 more                   7\n\
         unknown                  4\n\
         other                    2\n\
         total                  603\n\
         3 connections from 2 addresses, not from 10.0.0.0/8\n";
    assert_eq!(table(first), clients);
    let last = "=== Summary ===\n\
         count  share  peak/s  mean wait  max wait  first     last      address\n\
         \u{20} 289   48 %     104     1.2 ms    2.7 ms  18:33:24  18:33:27  192.0.2.1\n\
         \u{20}   0      -       -          -         -  -         -         2001:db8::1\n\
         \u{20}  12    2 %       -          -         -  -         -         web.example\n\
         \u{20}   7    1 %                                                   34 other addresses\n\
         \u{20}   4    1 %                                                   unknown\n\
         \u{20}   2  < 1 %                                                   other\n\
         \u{20} 603                                                          total\n\
         3 connections from 2 addresses, not from 10.0.0.0/8\n";
    assert_eq!(table(last), clients);
    let funnel = "syn  refused  established  accepted  address\n\
         \u{20} 9        0            3         2  192.0.2.1\n\
         \u{20} 9        0            3         2  34 other addresses\n\
         \u{20}18        0            6         4  total\n\
         \n\
         5 web.example";
    let mut lines = Lines::default();
    let parsed: Vec<_> = funnel.lines().map(|line| lines.parse(line)).collect();
    assert_eq!(parsed[1], Ok(Some(at("192.0.2.1"))));
    assert_eq!(parsed[2..5], [const { Ok(None) }; 3]);
    // The table is over: this may be anything.
    assert_eq!(parsed[5], Err(Wrong::NotPrinted));
}

#[test]
fn comparisons_have_clients_in_the_fourth_column() {
    let parse = |text: &str| {
        let mut lines = Lines::default();
        let parsed: Vec<_> = text.lines().map(|line| lines.parse(line)).collect();
        (parsed, lines.table)
    };
    let titles = "before  after  difference  address\n";
    for name in [
        "monday.json",
        "192.0.2.9",
        "192.0.2.9: 5",
        "x; y",
        "count address",
        "5 2.2.2.2 #",
    ] {
        let text = format!(
            "{titles}   289     18        -271  192.0.2.1\n\
             \u{20}    0     40         +40  2001:db8::1  new\n\
             \u{20}   12      0         -12  web.example  gone\n\
             \u{20}  107    174         +67  3 other addresses\n\
             \u{20}    3      3           0  unknown\n\
             {name}: 408 connections from 4 addresses; {name}: 1 connection from 1 address; \
             1 new address, 1 gone\n",
        );
        let (parsed, table) = parse(&text);
        assert_eq!(parsed[0], Ok(None));
        assert_eq!(parsed[1], Ok(Some(at("192.0.2.1"))));
        assert_eq!(parsed[2], Ok(Some(at("2001:db8::1"))));
        assert_eq!(parsed[3], Ok(Some(named("web.example"))));
        assert_eq!(parsed[4..], [const { Ok(None) }; 3], "{name}");
        assert_eq!(table, None);
    }
    for row in [
        "289  18  -271  192.0.2.1  newer",
        "289  18  -271  192.0.2.1  new  gone",
        "289  18  -271  3 other ports",
        "289  18  ±271  192.0.2.1",
        "x  18  -271  192.0.2.1",
        "a: 4 connections from 1 address; b: 1 connection from 1 address; 1 new port, 1 gone",
    ] {
        let (parsed, _) = parse(&format!("{titles}{row}"));
        assert_eq!(parsed[1], Err(Wrong::NotPrinted), "{row}");
    }
    // Only below its titles.
    for row in [
        "289  18  -271  192.0.2.1",
        "a: 4 connections from 1 address; b: 1 connection from 1 address; 1 new address, 1 gone",
    ] {
        assert_eq!(parse(row).0, [Err(Wrong::NotPrinted)], "{row}");
    }
}

#[test]
fn counts_by_others_are_no_lists_of_addresses() {
    for line in [
        "port 80: 5",
        "unknown port: 5",
        "httpd[812]: 3",
        "httpd (pid 812): 3",
        "nfsd (kernel thread 7): 3",
        "kernel threads: 3",
        "processes of other PID namespaces: 3",
        "uid 1000: 3",
        "www (uid 33): 3",
        "/system.slice/nginx.service: 5",
        "process    connections   share",
        "count  share  user",
        "syn  accepted  port",
        "3 connections accepted by 2 processes, 14:25:35",
        "3 connections from 2 processes",
        "3 connections to port 80 accepted in 2 cgroups, 14:25:35",
        "from 2 users; 0 lines not shown",
        "34 other processes: 5",
    ] {
        assert_eq!(parse(line), Err(Wrong::NotByAddress), "{line}");
    }
}

/// The names of processes and cgroups are from anybody, and at the beginning of a line or in it.
#[test]
fn names_do_not_make_addresses_known() {
    for name in [
        "10.0.0.1",
        "10.0.0.1 x",
        "10.0.0.1 #x",
        "10.0.0.1: 5",
        "1 10.0.0.1",
        "0.1 10.0.0.1",
        "0.1 10.0.0.1:1",
        "0.1 1.1.1.1 ->",
        "0.1 1.1.1.1 -> ",
        "0.1 1.1.1.1 pid",
        "=== x ===",
        "address count",
        "{\"type\":\"x\"}",
        "x New connection from 10.0.0.1",
        "Sun Nov 22 14:25:37 2026 New connection from 10.0.0.1",
    ] {
        for line in [
            format!("{name}[7]: 5"),
            format!("{name} (pid 7): 5"),
            format!("{name} (uid 7): 5"),
            format!("listening: 0.0.0.0:80 {name}[7], accept queue 0/5"),
            format!("0.0.0.0:80 {name}[7]: accept queue 0/5, 0 packets dropped"),
            format!("0.0.0.0:80 {name}[7] has stopped listening"),
            format!("/x/{name}: 5"),
            format!("{name}[7] has ended, so the run ends"),
        ] {
            let mut lines = Lines::default();
            let parsed = lines.parse(&line);
            assert!(!matches!(parsed, Ok(Some(_))), "{line}: {parsed:?}");
            assert_eq!(lines.table, None, "{line}");
        }
        let line = format!("14:25:37.482 192.0.2.1:39465 -> 192.0.2.9:80 {name}[7] waited 1 s");
        assert_eq!(parse(&line), Ok(Some(at("192.0.2.1"))), "{line}");
    }
}

#[test]
fn anything_else_is_wrong() {
    for line in [
        "192.0.2.300",
        "192.0.2.1:80",
        "192.0.2.1:",
        "192.0.2.0/33",
        "2001:db8::/129",
        "fe80::1%eth0",
        "web.example",
        "13 web.example",
        "13 192.0.2.1 x",
        "root:$6$salt$hash:19000:0:99999:7:::",
        "x New connection from 192.0.2.1",
        "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1 and more",
        "Sun Nov 22 14:25:37 2026 Old connection from 192.0.2.1",
        "14:25:37.482496 IP 192.0.2.3.41455 > 192.0.2.1.80: Flags [S]",
        "14:25:37 something",
        "14:25:37 192.0.2.1:80 thread of somebody",
    ] {
        assert_eq!(parse(line), Err(Wrong::NotPrinted), "{line}");
    }
}
