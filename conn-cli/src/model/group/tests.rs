use super::*;
use crate::model::{connection::Source, hook::Hook};

#[test]
fn valid_names_parse_and_others_are_refused() {
    for (text, by) in [
        ("address", GroupBy::Address),
        ("network", GroupBy::Network(24, 64)),
        ("network/16", GroupBy::Network(16, 64)),
        ("network/8,/48", GroupBy::Network(8, 48)),
        ("cgroup", GroupBy::Cgroup),
    ] {
        assert_eq!(text.parse(), Ok(by), "{text}");
    }
    for text in [
        "",
        "network/",
        "network/33",
        "network/24,64",
        "network/24,/129",
        "port/1",
        "pid",
    ] {
        assert!(text.parse::<GroupBy>().is_err(), "{text}");
    }
}

#[test]
fn clients_are_grouped_by_network_or_port() {
    let group = |by: &str, client: &str| {
        let host = Host::at(client.parse::<IpAddr>().unwrap());
        let by: GroupBy = by.parse().unwrap();
        by.group(GroupKey::Client(host), Some(80)).to_string()
    };
    assert_eq!(group("network", "192.0.2.77"), "192.0.2.0/24");
    assert_eq!(group("network/0", "192.0.2.77"), "0.0.0.0/0");
    assert_eq!(group("network", "2001:db8::7:7"), "2001:db8::/64");
    assert_eq!(group("port", "192.0.2.77"), "port 80");
    assert_eq!(group("address", "192.0.2.77"), "192.0.2.77");
}

#[test]
fn a_process_is_one_key_whatever_the_names_of_its_threads() {
    let key = |comm: &[u8; 16]| {
        let process = Process {
            pid: Some(7),
            tid: Some(8),
            uid: None,
            cgroup: None,
            comm: Some(*comm),
            is_kernel_thread: false,
        };
        GroupBy::Process.key(&Connection {
            process: Some(process),
            ..Connection::unknown(Source::SecondHook)
        })
    };
    assert_eq!(
        key(b"one\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        key(b"sixteen bytes...")
    );
}

#[test]
fn kernel_threads_are_said_as_such() {
    let key = GroupKey::Process {
        pid: Some(7),
        name: Some("nfsd".into()),
        is_kernel_thread: true,
    };
    assert_eq!(key.to_string(), "nfsd[7] (kernel thread)");
    let connection = Connection {
        process: Some(Process {
            pid: Some(7),
            tid: Some(7),
            uid: Some(0),
            cgroup: Some(1),
            comm: None,
            is_kernel_thread: true,
        }),
        ..Connection::unknown(Source::Hook(Hook::Fentry))
    };
    for by in [GroupBy::Cgroup, GroupBy::User] {
        assert_eq!(by.key(&connection), GroupKey::KernelThreads);
    }
}

#[test]
fn no_name_is_like_a_row_without_a_key() {
    let process = |name: &str| {
        let name = Some(name.into());
        GroupKey::Process {
            pid: Some(7),
            name,
            is_kernel_thread: false,
        }
        .to_string()
    };
    assert_eq!(process("other"), "other[7]");
    assert_eq!(process("other: 5"), r"other\u{3a} 5[7]");
    let user = |name: &str| {
        let name = Some(name.into());
        GroupKey::User { uid: 7, name }.to_string()
    };
    assert_eq!(user("www-data"), "www-data");
    for name in ["other", "unknown", "5 more", "other (uid 8)"] {
        assert_eq!(user(name), format!("{name} (uid 7)"));
    }
}

#[test]
fn pairs_have_the_port() {
    let parse = |text: &str| text.parse::<Grouping>();
    for (text, name, noun) in [
        ("address", "address", "addresses"),
        ("port", "port", "ports"),
        ("address,port", "address,port", "pairs of address and port"),
        ("port,user", "user,port", "pairs of user and port"),
        (
            "network/16,/48,port",
            "network,port",
            "pairs of network and port",
        ),
    ] {
        let by = parse(text).unwrap();
        assert_eq!((by.name().as_str(), by.nouns().1), (name, noun), "{text}");
    }
    assert_eq!(
        parse("network/16,/48,port").unwrap().what(),
        GroupBy::Network(16, 48)
    );
    for text in [
        "port,port",
        "address,process",
        "address,port,user",
        ",port",
        "address,",
        "address, port",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    let connection = Connection {
        remote: Host::at([192, 0, 2, 3]),
        local_port: Some(8081),
        ..Connection::unknown(Source::SecondHook)
    };
    let by = parse("address,port").unwrap();
    let key = by.key(&connection);
    assert_eq!(key.to_string(), "192.0.2.3 port 8081");
    let client = GroupKey::Client(connection.remote.clone());
    assert_eq!(key, by.group(client.clone(), Some(8081)));
    assert_eq!(by.group(client, None).to_string(), "192.0.2.3 unknown port");
    // Who accepted is not known, so there is no row.
    let by = parse("process,port").unwrap();
    assert_eq!(by.key(&connection), GroupKey::Client(Host::Unknown));
}
