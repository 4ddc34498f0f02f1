//! The options of the summary: grouping, the number of rows, and additional columns.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::json as object;

use super::{
    Counts, RECORDINGS, by_client, by_hand, json, listed, listed_in_text, recorded, run, stdout,
    sums, text, total, truth,
};

#[test]
fn by_groups_the_summary() {
    let network = |client: IpAddr, length: &str| match client {
        IpAddr::V4(_) if length == "8" => "127.0.0.0/8".to_owned(),
        IpAddr::V4(_) => "127.0.0.0/24".to_owned(),
        IpAddr::V6(_) if client.is_loopback() => "::/64".to_owned(),
        IpAddr::V6(_) => "fd00::/64".to_owned(),
    };
    for file in RECORDINGS {
        let (path, truth) = (recorded(file), truth(file));
        for (by, field, expected) in [
            ("address", "address", by_client(&truth)),
            (
                "network",
                "network",
                sums(&truth, |client, _| network(client, "24")),
            ),
            (
                "network/8",
                "network",
                sums(&truth, |client, _| network(client, "8")),
            ),
            ("port", "port", sums(&truth, |_, port| port.to_string())),
        ] {
            let (lines, summary) = json(&format!("--by {by}"), &[&path], "");
            assert_eq!(lines.len() as u64, total(&truth), "{file} {by}");
            assert_eq!(summary["connections"], total(&truth), "{file} {by}");
            assert_eq!(listed(&summary, field), expected, "{file} {by}");
            let in_text = listed_in_text(&text(&format!("-q --by {by}"), &[&path], "").1);
            let name = |(name, count): (String, u64)| match by {
                "port" => (format!("port {name}"), count),
                _ => (name, count),
            };
            assert_eq!(
                in_text,
                expected.into_iter().map(name).collect(),
                "{file} {by}"
            );
        }
    }
}

#[test]
fn each_client_and_port_is_a_row() {
    for file in RECORDINGS {
        let (path, truth) = (recorded(file), truth(file));
        let (_, summary) = json("-q --by address,port", &[&path], "");
        let rows = summary["clients"].as_array().unwrap().iter();
        let in_json: Counts = rows
            .map(|row| {
                let client = row["address"].as_str().unwrap().parse().unwrap();
                let port = row["port"].as_u64().unwrap().try_into().unwrap();
                ((client, port), row["connections"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(in_json, truth, "{file}");
        assert_eq!(summary["by"], "address,port");
        assert_eq!(summary["groups"], truth.len(), "{file}");
        let in_text = listed_in_text(&text("-q --by port,address", &[&path], "").1);
        let name = |client, port| format!("{client} port {port}");
        assert_eq!(in_text, sums(&truth, name), "{file}");
        // The summary read as input has the clients.
        let written = stdout(run("-q --json --by address,port", &[&path], ""));
        let (_, again) = json("-q", &[], &written);
        assert_eq!(listed(&again, "address"), by_client(&truth), "{file}");
    }
}

#[test]
fn top_sums_up_the_other_clients() {
    for file in RECORDINGS {
        let (path, truth) = (recorded(file), truth(file));
        let mut counts: Vec<u64> = by_client(&truth).into_values().collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let others: u64 = counts[2..].iter().sum();
        let (_, summary) = json("-q --top 2", &[&path], "");
        let left_off = object!({ "clients": counts.len() - 2, "connections": others });
        assert_eq!(summary["left_off"], left_off, "{file}");
        assert_eq!(summary["connections"], total(&truth), "{file}");
        let mut listed: Vec<u64> = listed(&summary, "address").into_values().collect();
        listed.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(listed, counts[..2], "{file}");
        let (_, summary) = text("-q --top 2", &[&path], "");
        assert_eq!(summary.len(), 3, "{file}");
        assert_eq!(
            summary[2],
            format!("{} other addresses: {others}", counts.len() - 2),
            "{file}"
        );
        // The summary read as input: the clients that it left off are unknown, but their
        // connections count.
        let written = stdout(run("-q --json --top 2", &[&path], ""));
        let (_, again) = json("-q", &[], &written);
        assert_eq!(again["connections"], total(&truth), "{file}");
        assert_eq!(again["other_clients"], others, "{file}");
    }
}

#[test]
fn long_shows_times_and_shares() {
    let (_, summary) = json("--long", &[], &by_hand());
    let client = &summary["clients"][0];
    assert_eq!(client["address"], "192.0.2.1");
    assert_eq!(client["first_seen"], "2026-11-22T15:12:01.250000+00:00");
    assert_eq!(client["last_seen"], "2026-11-22T15:12:01.750000+00:00");
    assert_eq!(client["peak_per_second"], 2);
    for file in RECORDINGS {
        let (_, table) = text("-q --long", &[&recorded(file)], "");
        let mut counts = BTreeMap::new();
        let truth = truth(file);
        let (sum, rows) = table[1..].split_last().unwrap();
        for row in rows {
            let words: Vec<_> = row.split_whitespace().collect();
            let connections: u64 = words[0].parse().unwrap();
            counts.insert(words[words.len() - 1].to_owned(), connections);
            // Rounded to a whole percent.
            let share = connections as f64 * 100.0 / total(&truth) as f64;
            assert!(
                (words[1].parse::<f64>().unwrap() - share).abs() < 0.51,
                "{file}: {row}"
            );
            assert_eq!(words[2], "%");
        }
        assert_eq!(counts, by_client(&truth), "{file}");
        let words: Vec<_> = sum.split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, [total(&truth).to_string(), "total".to_owned()]);
    }
}
