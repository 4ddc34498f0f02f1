//! What bounds the memory of `conn-cli read`.

use serde_json::Value;

use super::{TempDir, read, read_from, said, text};

/// Lines of strace: an accept from each of so many addresses, IPv4 and IPv6 by turns, `times` over.
fn accepts(clients: u32, times: u32) -> String {
    let accept = |client: u32| match client % 2 {
        0 => format!(
            "12 accept4(3<TCP:[0.0.0.0:80]>, {{sa_family=AF_INET, sin_port=htons(37822), \
             sin_addr=inet_addr(\"10.0.0.{client}\")}}, [16], 0) = 4\n"
        ),
        _ => format!(
            "12 accept4(3<TCPv6:[[::]:80]>, {{sa_family=AF_INET6, sin6_port=htons(37822), \
             sin6_flowinfo=htonl(0), inet_pton(AF_INET6, \"2001:db8::{client}\", &sin6_addr), \
             sin6_scope_id=0}}, [28], 0) = 4\n"
        ),
    };
    (0..times).flat_map(|_| 0..clients).map(accept).collect()
}

fn summary(input: &str, arguments: &[&str]) -> Value {
    let arguments = [&["-q", "--json"], arguments].concat();
    let output = read_from(input.as_bytes(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_sum_is_exact_whatever_there_is_room_for() {
    let input = accepts(9, 3);
    for room in ["1", "4", "8", "9", "10"] {
        for by in ["address", "network", "port", "address,port"] {
            let summary = summary(&input, &["--max-clients", room, "--by", by]);
            let clients = summary["clients"].as_array().unwrap();
            let counted = clients
                .iter()
                .map(|row| row["connections"].as_u64().unwrap());
            let counted: u64 = counted.sum();
            let named = room.parse::<u64>().unwrap().min(9);
            assert_eq!(counted, 3 * named, "{room} {by}");
            assert_eq!(summary["other_clients"], 3 * (9 - named), "{room} {by}");
            assert_eq!(summary["connections"], 27, "{room} {by}");
        }
    }
    // By default there is room for all.
    assert_eq!(summary(&input, &[])["other_clients"], 0);
}

#[test]
fn clients_without_room_are_said() {
    let output = read_from(accepts(5, 2).as_bytes(), &["-q", "--max-clients", "2"]);
    let out = text(&output.stdout);
    assert!(
        out.contains("\n10.0.0.0: 2\n2001:db8::1: 2\nother: 6\n10 connections"),
        "{out}"
    );
    let (_, other) = said(&output);
    assert_eq!(
        other[1], "6 connections of clients beyond --max-clients under \"other\"",
        "{other:?}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn details_without_room_are_said() {
    let lines = read_from(accepts(5, 2).as_bytes(), &["--json"]).stdout;
    let input = text(&lines);
    let detailed = |room: &str| {
        let summary = summary(input, &["--long", "--max-clients", room]);
        summary["detailed_clients"].clone()
    };
    assert_eq!(detailed("2"), 2);
    assert_eq!(detailed("5"), Value::Null);
    let output = read_from(input.as_bytes(), &["-q", "--long", "--max-clients", "2"]);
    let (_, other) = said(&output);
    let note = "note: times, peaks and waits are only of the 2 addresses that came first, as --max-clients allows";
    assert!(other.contains(&note), "{other:?}");
}

#[test]
fn the_lines_of_a_run_count_within_the_room() {
    let lines = read_from(accepts(5, 2).as_bytes(), &["--json"]).stdout;
    let lines = text(&lines);
    let (without_summary, _) = lines.trim_end().rsplit_once('\n').unwrap();
    let two = ["--max-clients", "2"];
    // Those of a killed run, those that the summary counts again, and both.
    for (input, connections) in [
        (without_summary.to_owned(), 10),
        (lines.to_owned(), 10),
        (format!("{without_summary}\n{lines}"), 20),
    ] {
        let summary = summary(&input, &two);
        assert_eq!(summary["connections"], connections);
        assert_eq!(summary["clients"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn addresses_that_are_not_compared_are_said() {
    let dir = TempDir::new("compared");
    let [few, many] = [2, 5].map(|clients| dir.file(&clients.to_string(), accepts(clients, 2)));
    let compare = |room: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_conn-cli"));
        let command = command.args(["compare", "--max-clients", room]);
        command.arg(&few).arg(&many).output().unwrap()
    };
    let all = compare("5");
    assert_eq!((text(&all.stderr), all.status.code()), ("", Some(0)));
    assert!(text(&all.stdout).contains("; 3 new addresses, 0 gone\n"));
    let output = compare("2");
    let warning = "/5: 6 connections of clients beyond --max-clients under \"unknown\"\n";
    assert!(text(&output.stderr).ends_with(warning));
    assert!(text(&output.stdout).contains("     0      6          +6  unknown\n"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn rows_of_json_are_those_of_the_text() {
    let input = accepts(200, 1) + &accepts(100, 2) + &accepts(50, 3);
    let text_of = |arguments: &[&str]| {
        let output = read_from(input.as_bytes(), &[&["-q"], arguments].concat());
        text(&output.stdout).to_owned()
    };
    for top in ["0", "1", "7", "150", "1000"] {
        let json = summary(&input, &["--top", top]);
        let rows = json["clients"].as_array().unwrap().iter().map(|row| {
            let address = row["address"].as_str().unwrap();
            assert_eq!(row["ports"], serde_json::json!({"80": row["connections"]}));
            format!("{address}: {}\n", row["connections"])
        });
        let rows: String = rows.collect();
        let left_off = json.get("left_off").map(|left_off| {
            format!(
                "{} other {}: {}\n",
                left_off["clients"], "addresses", left_off["connections"]
            )
        });
        let shown = text_of(&["--top", top]);
        let expected = format!("=== Summary ===\n{rows}{}", left_off.unwrap_or_default());
        assert!(shown.contains(&expected), "{top}: {shown}");
    }
    let file = TempDir::new("rows");
    let file = file.file("input", &input);
    // The total is the same whoever has a row.
    let total = |top| {
        text(&read(&["-q", "--top", top], &[&file]).stdout)
            .lines()
            .last()
            .map(str::to_owned)
    };
    assert_eq!(total("1"), total("0"));
}
