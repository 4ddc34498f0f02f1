use super::*;

fn at(address: &str) -> Host {
    Host::at(address.parse::<std::net::IpAddr>().unwrap())
}

#[test]
fn rows_of_lists_are_of_clients_or_of_others() {
    for (line, key) in [
        ("192.0.2.1: 5", Key::Client(at("192.0.2.1"), None)),
        ("2001:db8::1: 5", Key::Client(at("2001:db8::1"), None)),
        ("::: 5", Key::Client(at("::"), None)),
        (
            "192.0.2.1 port 80: 5",
            Key::Client(at("192.0.2.1"), Some(80)),
        ),
        ("fd00::5 unknown port: 5", Key::Client(at("fd00::5"), None)),
        ("unknown: 5", Key::Client(Host::Unknown, None)),
        ("other: 5", Key::Other),
        ("1 other network: 5", Key::LeftOff),
        ("34 other pairs of user and port: 5", Key::LeftOff),
        (
            "34 other addresses: 5 connection attempts (SYNs) (--top 0 for all)",
            Key::LeftOff,
        ),
        ("192.0.2.0/24: 5", Key::Group(None)),
        ("192.0.2.0/24 port 80: 5", Key::Group(Some(80))),
        ("port 80: 5", Key::Group(Some(80))),
        ("unknown port: 5", Key::Group(None)),
        ("httpd[812]: 5", Key::Group(None)),
        (r"other\u{3a} [812] port 80: 5", Key::Group(Some(80))),
        ("nfsd[7] (kernel thread): 5", Key::Group(None)),
        ("kernel thread 7: 5", Key::Group(None)),
        ("pid 7: 5", Key::Group(None)),
        ("www (uid 33): 5", Key::Group(None)),
        ("uid 33: 5", Key::Group(None)),
        ("/system.slice/nginx.service: 5", Key::Group(None)),
        ("/a: 1 b: 5", Key::Group(None)),
        ("cgroup 17: 5", Key::Group(None)),
    ] {
        let connections = 5;
        let mut row = Row {
            key,
            connections,
            at_least: false,
        };
        assert_eq!(listed(line).as_ref(), Some(&row), "{line}");
        let (start, count) = line.rsplit_once(": ").unwrap();
        row.at_least = true;
        assert_eq!(listed(&format!("{start}: ~{count}")), Some(row), "{line}");
    }
    let name = Host::named(b"web-1.example").unwrap();
    let key = Key::Client(name, Some(80));
    let connections = u64::MAX;
    assert_eq!(
        listed("web-1.example port 80: 18446744073709551615"),
        Some(Row {
            key,
            connections,
            at_least: false,
        })
    );
    for line in [
        "192.0.2: 5",
        "192.0.2.: 5",
        "192.0.2.300: 5",
        "192.0.2.1: 5x",
        "192.0.2.1: +5",
        "192.0.2.1: ~~5",
        "192.0.2.1: ~",
        "192.0.2.1:5",
        "192.0.2.1: 18446744073709551616",
        "192.0.2.1 port 99999: 5",
        "the answer: 5",
        "3 other things: 5",
    ] {
        assert_eq!(listed(line), None, "{line}");
    }
}

#[test]
fn rows_of_tables_are_as_their_titles() {
    let row = |titles_line: &str, line: &str| {
        assert!(may_be_in_table(line), "{line}");
        let row = in_table(&titles(titles_line).unwrap(), line).unwrap();
        (row.key, row.connections)
    };
    let client = |port| Key::Client(at("192.0.2.1"), port);
    let long = "count  share  peak/s  mean wait  max wait  first     last      address";
    for (line, expected) in [
        (
            "  289   48 %     104     1.2 ms    2.7 ms  18:33:24  18:33:27  192.0.2.1",
            (client(None), 289),
        ),
        (
            "289 < 1 % - - - 2026-11-22 18:33:24 2026-11-23 18:33:27 192.0.2.1",
            (client(None), 289),
        ),
        (
            "    7    1 %                                                   34 other addresses",
            (Key::LeftOff, 7),
        ),
        (
            "    7    1 %    34 other addresses (--top 0 for all)",
            (Key::LeftOff, 7),
        ),
        (
            "    4    1 %      unknown",
            (Key::Client(Host::Unknown, None), 4),
        ),
        ("    2  < 1 %        other", (Key::Other, 2)),
        ("  603                total", (Key::Total, 603)),
    ] {
        assert_eq!(row(long, line), expected, "{line}");
    }
    let funnel = "syn  refused  established  accepted  port  address";
    assert_eq!(
        row(
            funnel,
            "  9        0            3         2    80  192.0.2.1"
        ),
        (client(Some(80)), 2)
    );
    assert_eq!(
        row(
            funnel,
            "  9        0            3         2     -  192.0.2.1"
        ),
        (client(None), 2)
    );
    let process = "count  share  port  process";
    assert_eq!(
        row(process, "    5   50 %    80  10.0.0.1: 5 [7]"),
        (Key::Group(Some(80)), 5)
    );
    assert_eq!(
        row(process, "    5   50 %        unknown"),
        (Key::Client(Host::Unknown, None), 5)
    );
    assert_eq!(
        row("count  share  port", "    5   50 %  port 80").0,
        Key::Group(Some(80))
    );
    for line in [
        "count share",
        "count address",
        "address count",
        "before  after  difference  address",
        "the count of each address",
    ] {
        assert_eq!(titles(line), None, "{line}");
    }
    for line in ["3 lines not shown", "5 192.0.2.1", "5", ""] {
        assert!(!may_be_in_table(line), "{line}");
    }
}

#[test]
fn totals_tell_what_the_rows_are_of() {
    let plain = || Total {
        connections: 3,
        at_least: false,
        is_by_address: true,
        only_new: false,
        port: None,
    };
    let others = || Total {
        is_by_address: false,
        ..plain()
    };
    let at_80 = || Total {
        port: Some(80),
        ..plain()
    };
    for (line, expected) in [
        ("3 connections from 2 addresses", plain()),
        (
            "3 connections from 2 addresses in 5 lines and 1 packet, 2026-11-22 14:25:37",
            plain(),
        ),
        ("3 connections in 4.9 s", plain()),
        ("3 connection attempts (SYNs) from 1 address", plain()),
        (
            "3 handshakes from 1 network; accepts are not visible here",
            plain(),
        ),
        ("3 connections in 2 pairs of address and port", plain()),
        (
            "3 connections from 2 addresses to ports 80,8000-8099 and 3 more, 14:25:35",
            plain(),
        ),
        (
            "3 connections from 1 address to port 80, not from 192.0.2.1",
            at_80(),
        ),
        (
            "3 connections from 2 addresses to all ports but 9478 and 3 more",
            plain(),
        ),
        (
            "3 connections to 2 of all ports but 80,9478, 14:25:35",
            others(),
        ),
        ("3 connections to 2 ports", others()),
        ("3 connections to 1 of ports 80,443 in 3 lines", others()),
        ("3 connections accepted by 2 processes, 14:25:35", others()),
        (
            "3 connections to ports 80,443 accepted in 2 cgroups",
            others(),
        ),
        (
            "3 connections to ports 80,443 in 2 pairs of user and port",
            others(),
        ),
    ] {
        assert_eq!(total(line), Some(expected), "{line}");
    }
    assert!(
        total("3 connections from 2 new addresses")
            .unwrap()
            .only_new
    );
    let none = total("no connections to port 80, 14:25:35 to 14:25:40 (4.9 s)").unwrap();
    assert_eq!((none.connections, none.port), (0, Some(80)));
    let least = total("at least 1 connection from 1 address").unwrap();
    assert!(least.at_least && least.connections == 1);
    for line in [
        "3 lines not shown",
        "3 connections of clients beyond --max-clients under \"other\"",
        "3 connections in network namespaces of users; --netns all counts them",
        "3 connections that kernel threads accepted, which --pid cannot judge, not counted",
        "3 connections more",
        "connections from 2 addresses",
    ] {
        assert_eq!(total(line), None, "{line}");
    }
}
