//! The options that choose clients: by address, or only new ones.

use std::{collections::BTreeMap, fs, net::IpAddr};

use serde_json::Value;

use super::{
    RECORDINGS, by_client, by_hand, json, listed, listed_in_text, recorded, run, stdout, text,
    total, truth,
};

#[test]
fn address_filters_choose_lines_and_summary() {
    type Wants = fn(IpAddr) -> bool;
    let cases: [(&str, Wants); 7] = [
        ("--from 127.0.0.2/31", |client| {
            ["127.0.0.2", "127.0.0.3"].contains(&&*client.to_string())
        }),
        (
            "--from 127.0.0.0/8 --not-from 127.0.0.2/31 --from 127.0.0.3",
            |client| client.is_ipv4() && client.to_string() != "127.0.0.2",
        ),
        ("--not-from 127.0.0.2", |client| {
            client.to_string() != "127.0.0.2"
        }),
        ("--not-from ::/0 --from ::1", |client| {
            client.to_string() == "::1"
        }),
        ("--from fd00::/8", |client| client.to_string() == "fd00::2"),
        ("-4", |client| client.is_ipv4()),
        ("-6", |client| client.is_ipv6()),
    ];
    for file in RECORDINGS {
        let path = recorded(file);
        for (options, wants) in cases {
            for (ports, port_set) in [("", [80, 8080, 81]), ("-p 8080", [8080; 3])] {
                let mut expected = truth(file);
                expected.retain(|(client, port), _| wants(*client) && port_set.contains(port));
                let (total, clients) = (total(&expected), by_client(&expected));
                let what = format!("{options} {ports}");
                let (lines, summary) = json(&what, &[&path], "");
                assert_eq!(lines.len() as u64, total, "{file} {what}");
                assert_eq!(summary["connections"], total, "{file} {what}");
                assert_eq!(listed(&summary, "address"), clients, "{file} {what}");
                let (lines, summary) = text(&what, &[&path], "");
                assert_eq!(lines.len() as u64, total, "{file} {what}");
                assert_eq!(listed_in_text(&summary), clients, "{file} {what}");
            }
        }
    }
}

#[test]
fn to_chooses_the_local_address() {
    let lines = by_hand();
    let counts = |options: &str| listed(&json(options, &[], &lines).1, "address");
    let one = |client: &str, count| BTreeMap::from([(client.to_owned(), count)]);
    assert_eq!(counts("--to 198.51.100.1"), one("192.0.2.1", 2));
    assert_eq!(counts("--to 198.51.100.2"), one("192.0.2.2", 1));
    assert_eq!(counts("--to 2001:db8::80"), one("2001:db8::1", 1));
    assert_eq!(counts("--to 198.51.100.1 -p 443"), one("192.0.2.1", 1));
    assert_eq!(counts("--to 198.51.100.3"), BTreeMap::new());
    let (shown, summary) = text("--to ::ffff:198.51.100.1", &[], &lines);
    assert_eq!(
        (shown.len(), &summary[..]),
        (2, &["192.0.2.1: 2".to_owned()][..])
    );
    // A capture has local addresses, too: all IPv4 packets went to one.
    let mut expected = truth(RECORDINGS[0]);
    expected.retain(|(client, _), _| client.is_ipv4());
    let (_, summary) = json("--to 127.0.0.1", &[&recorded(RECORDINGS[0])], "");
    assert_eq!(listed(&summary, "address"), by_client(&expected));
}

#[test]
fn new_shows_one_line_for_each_new_client() {
    let directory = std::env::temp_dir().join(format!("conn-cli-views-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    for file in RECORDINGS {
        let (path, truth) = (recorded(file), truth(file));
        let clients = by_client(&truth);
        let (lines, summary) = json("--new", &[&path], "");
        assert_eq!(lines.len(), clients.len(), "{file}");
        assert_eq!(summary["lines_shown"], clients.len(), "{file}");
        assert_eq!(summary["lines_not_shown"], 0, "{file}");
        let shown = lines
            .iter()
            .map(|line| line["remote_address"].as_str().unwrap());
        assert!(shown.eq(unique(&lines)), "{file}: {lines:?}");
        assert_eq!(listed(&summary, "address"), clients, "{file}");
        // A summary with the IPv6 clients, and a network, as the list of known clients.
        let mut known = stdout(run("-q -6", &[&path], ""));
        known += "127.0.0.2/31\n";
        let list = directory.join("known");
        fs::write(&list, known).unwrap();
        let new = clients.keys().filter(|client| {
            !client.contains(':') && !["127.0.0.2", "127.0.0.3"].contains(&client.as_str())
        });
        let options = format!("--known {}", list.display());
        let (lines, summary) = text(&options, &[&path], "");
        assert_eq!(lines.len(), new.count(), "{file}: {lines:?}");
        assert_eq!(listed_in_text(&summary), clients, "{file}");
    }
    fs::write(directory.join("bad"), "192.0.2.1\nnobody\n").unwrap();
    let bad = directory.join("bad").display().to_string();
    let output = run(&format!("--known {bad}"), &[], "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains(&bad) && stderr.contains("line 2"),
        "{stderr}"
    );
    assert!(output.stdout.is_empty());
    fs::remove_dir_all(&directory).unwrap();
}

/// The clients of lines without duplicates, in order of first appearance.
fn unique(lines: &[Value]) -> impl Iterator<Item = &str> {
    let clients = lines
        .iter()
        .map(|line| line["remote_address"].as_str().unwrap());
    let mut seen = std::collections::BTreeSet::new();
    clients.filter(move |client| seen.insert(*client))
}
