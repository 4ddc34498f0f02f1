//! The text that conn-cli prints is read back, and so are the lines of the SystemTap script.

use std::{collections::BTreeMap, fs, io::Read, path::Path, process::Command};

use conn_cli::{
    model::{filter::EndsFilter, format::Format, period::Period, ports::PortSet},
    read::{merge::MergeOptions, summarise},
};
use serde_json::Value;

use super::{TempDir, assert_output, read, read_from, said, text};

/// A capture and strace logs, with both families and two ports.
const RECORDINGS: [&str; 3] = [
    "packets/syn.pcap",
    "strace/threads-yy.txt",
    "strace/threads-Y.txt",
];

/// The lines of the SystemTap script.
const LINES: &str = "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1\n\
                     Sun Nov 22 14:25:38 2026 New connection from 192.0.2.23\n\
                     Sun Nov 22 14:25:39 2026 New connection from 192.0.2.1\n";

/// A run of which some connections have no line.
const RUN: &str = "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1 to port 443\n\
                   Sun Nov 22 14:25:38 2026 New connection from 2001:db8::23 to port 22\n\
                   \n\
                   === Summary ===\n\
                   192.0.2.1: 5\n\
                   2001:db8::23: 1\n";

fn recorded(file: &str) -> std::path::PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    directory.join(file)
}

/// How many connections each client made to each port, if that is known, as the JSON of these options says; and
/// all of them.
type Counts = (BTreeMap<(String, String), u64>, u64);

#[track_caller]
fn counts(output: &std::process::Output) -> Counts {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let stdout = text(&output.stdout);
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["not_understood"], 0, "{stderr}");
    let mut counts = BTreeMap::new();
    let mut add = |client: &str, port: &str, connections: u64| {
        if connections > 0 {
            counts.insert((client.to_owned(), port.to_owned()), connections);
        }
    };
    for client in summary["clients"].as_array().unwrap() {
        let name = client.get("address").or(client.get("name")).unwrap();
        let mut rest = client["connections"].as_u64().unwrap();
        for (port, connections) in client["ports"].as_object().unwrap() {
            let connections = connections.as_u64().unwrap();
            add(name.as_str().unwrap(), port, connections);
            rest -= connections;
        }
        add(name.as_str().unwrap(), "", rest);
    }
    add("unknown", "", summary["unknown_clients"].as_u64().unwrap());
    (counts, summary["connections"].as_u64().unwrap())
}

fn without_ports((counts, all): Counts) -> Counts {
    let mut clients = BTreeMap::new();
    for ((client, _), connections) in counts {
        *clients.entry((client, String::new())).or_default() += connections;
    }
    (clients, all)
}

/// Options, and whether their output names the port of each connection.
const FORMS: [(&str, bool); 19] = [
    ("", true),
    ("-p 8080", true),
    ("-p 80,8080", true),
    ("--time iso", true),
    ("--time epoch", true),
    ("--time delta", true),
    ("--time short --utc", true),
    ("--long", true),
    ("--long --time ctime", true),
    ("--long --time iso --utc", true),
    ("--long -p 8080", true),
    ("-q", false),
    ("-q -p 8080", true),
    ("-q --long", false),
    ("-q --by address,port", true),
    ("-q --by port,address --long", true),
    ("--by address,port --time iso", true),
    ("--new", false),
    ("--interval 1h", false),
];

#[test]
fn every_output_is_read_back() {
    for file in RECORDINGS {
        let path = recorded(file);
        for (options, names_ports) in FORMS {
            // Without -yy there are no ports.
            if file.ends_with("-Y.txt") && options.contains("-p ") {
                continue;
            }
            let words: Vec<_> = options.split_whitespace().collect();
            let ports = words.iter().position(|word| *word == "-p");
            let ports = ports.map_or(&[][..], |at| &words[at..at + 2]);
            let all = counts(&read(&[&["-q", "--json"][..], ports].concat(), &[&path]));
            let printed = read(&words, &[&path]);
            let (stdout, stderr) = (&printed.stdout[..], &printed.stderr[..]);
            for input in [stdout.to_vec(), [stderr, stdout, stderr].concat()] {
                let again = read_from(&input, &["-q", "--json", "--strict"]);
                let what = format!("{file} {options}\n{}", text(&input));
                let read = counts(&again);
                let is_known = names_ports && !file.ends_with("-Y.txt");
                if is_known {
                    assert_eq!(read, all, "{what}");
                } else {
                    assert_eq!(without_ports(read), without_ports(all.clone()), "{what}");
                }
                assert!(
                    text(&again.stderr).contains("standard input: text, "),
                    "{what}"
                );
            }
            // The lines alone, as of a killed run.
            let (lines, _) = text(stdout).split_once("\n=== Summary ===\n").unwrap();
            if !lines.is_empty() && options != "--new" && !options.contains("--interval") {
                let read = counts(&read_from(lines.as_bytes(), &["-q", "--json", "--strict"]));
                assert_eq!(without_ports(read), without_ports(all), "{file} {options}");
            }
        }
        for (options, others) in [
            ("-q --by port", ""),
            ("-q --by network/8 --long", ""),
            ("-q --top 2", "other"),
            ("-q --top 2 --long", "other"),
        ] {
            let words: Vec<_> = options.split_whitespace().collect();
            let all = counts(&read(&["-q", "--json"], &[&path]));
            let printed = read(&words, &[&path]);
            let again = read_from(&printed.stdout, &["-q", "--json", "--strict"]);
            assert_eq!(counts(&again).1, all.1, "{file} {options}");
            let lines = read_from(&printed.stdout, &["-q"]);
            let (_, summary) = text(&lines.stdout).split_once("===\n").unwrap();
            assert!(summary.contains(others), "{file} {options}: {summary}");
        }
    }
}

/// What is not shown has its times, too, if they are whole.
#[test]
fn times_are_those_that_were_printed() {
    let path = recorded(RECORDINGS[0]);
    let lines = |options: &[&str], input: &[u8]| {
        let shown = read_from(input, &[&["--utc", "--time", "iso"], options].concat());
        text(&shown.stdout).to_owned()
    };
    let capture = fs::read(&path).unwrap();
    let direct = lines(&[], &capture);
    for time in ["iso", "epoch"] {
        let printed = read(&["--time", time], &[&path]).stdout;
        let (direct, again) = (&direct, lines(&[], &printed));
        let connections = |text: &str| {
            let lines = text
                .lines()
                .filter(|line| line.contains(" New connection "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(connections(&again), connections(direct), "{time}");
        let interval = ["--interval", "1s"];
        let rows = |text: &str| text.split("\n\n").next().unwrap().to_owned();
        assert_eq!(
            rows(&lines(&interval, &printed)),
            rows(&lines(&interval, &capture))
        );
        // Times without a zone are local ones.
        let printed = read(&["--utc"], &[&path]).stdout;
        let first = text(&printed).get(..24).unwrap();
        let since = Command::new(env!("CARGO_BIN_EXE_conn-cli"))
            .args(["read", "-q", "--since", "2000-01-01"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(since.status.code(), Some(0), "{first}");
    }
}

#[test]
fn lines_count_without_a_summary() {
    let output = read_from(LINES.as_bytes(), &["-q"]);
    let stdout = "\n=== Summary ===\n192.0.2.1: 2\n192.0.2.23: 1\n\
                  3 connections from 2 addresses in 3 lines\n";
    let stderr = ["3 connections in 3 lines"];
    assert_output(&output, 0, stdout, &stderr);
    let with_ports = LINES.replace("192.0.2.1\n", "192.0.2.1 to port 443\n");
    let output = read_from(with_ports.as_bytes(), &["-q", "-p", "443"]);
    let stdout = "\n=== Summary ===\n192.0.2.1: 2\n\
                  2 connections from 1 address to port 443 in 3 lines\n";
    let stderr = [
        "2 connections in 3 lines",
        "warning: 1 connection not counted: the record has no local port",
    ];
    assert_output(&output, 0, stdout, &stderr);
    let since = read_from(LINES.as_bytes(), &["-q", "--since", "2026-11-22T14:25:38"]);
    assert!(text(&since.stdout).contains("\n2 connections from 2 addresses "));
}

#[test]
fn the_summary_of_a_run_counts() {
    let rows = "\n=== Summary ===\n192.0.2.1: 5\n2001:db8::23: 1\n";
    let stdout = format!("{rows}6 connections from 2 addresses in 6 lines\n");
    let output = read_from(RUN.as_bytes(), &["-q"]);
    assert_output(&output, 0, &stdout, &["6 connections in 6 lines"]);
    // Several runs in one file, and what the others have printed on standard error.
    let killed = &LINES[..LINES.rfind("Sun").unwrap()];
    let start = "Tracing TCP connections to every port\nnote: 192.0.2.9\n";
    let file = format!("{RUN}{killed}{start}{RUN}");
    let output = read_from(file.as_bytes(), &["-q"]);
    assert!(
        text(&output.stdout).contains("192.0.2.1: 11\n2001:db8::23: 2\n192.0.2.23: 1\n14 conn"),
        "{}",
        text(&output.stdout)
    );
    let total = format!("{RUN}at least 6 connections from 2 addresses, 14:25:35 to 14:25:40\n");
    assert_eq!(read_from(total.as_bytes(), &["-q"]).status.code(), Some(1));
}

#[test]
fn ports_are_known_from_lines_and_totals() {
    let output = read_from(RUN.as_bytes(), &["-q", "-p", "22"]);
    let stdout = "\n=== Summary ===\n2001:db8::23: 1\n\
                  1 connection from 1 address to port 22 in 6 lines\n";
    let stderr = [
        "1 connection in 6 lines",
        "warning: 4 connections have no line, which alone names the port: they are not counted",
    ];
    assert_output(&output, 0, stdout, &stderr);
    let summary = &RUN[RUN.find("=== ").unwrap()..];
    for input in [summary, LINES, &format!("{LINES}{summary}")] {
        let output = read_from(input.as_bytes(), &["-q", "-p", "22"]);
        let (_, other) = said(&output);
        assert!(
            other[0].contains("--port and --not-port need the port of each connection"),
            "{other:?}"
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
    }
    // Lines and rows of a run of one port do not name it, but the total does.
    let lines = LINES.replace("2001:db8::23", "192.0.2.23");
    let of_one = format!(
        "{lines}\n=== Summary ===\n192.0.2.1: 2\n192.0.2.23: 1\n\
         3 connections from 2 addresses to port 22, 14:25:35 to 14:25:40 (4.9 s)\n"
    );
    let output = read_from(of_one.as_bytes(), &["-q", "-p", "22"]);
    assert!(text(&output.stdout).contains("192.0.2.1: 2\n192.0.2.23: 1\n3 connections from"));
    assert_eq!(output.status.code(), Some(0));
}

/// As journald and docker keep it.
#[test]
fn text_may_be_in_a_log() {
    let lines = { RUN.lines() }.filter(|line| !line.is_empty());
    let journal: String = lines
        .map(|line| format!("Nov 22 14:25:39 host conn-cli[812]: {line}\n"))
        .collect();
    let other =
        "Nov 22 14:25:39 host sshd[7]: Sun Nov 22 14:25:37 2026 New connection from 192.0.2.9\n";
    let output = read_from(format!("{journal}{other}").as_bytes(), &["-q"]);
    let rows = "=== Summary ===\n192.0.2.1: 5\n2001:db8::23: 1\n6 connections";
    assert!(
        text(&output.stdout).contains(rows),
        "{}",
        text(&output.stdout)
    );
    let wrong = format!(
        "{other}{journal}Nov 22 14:25:40 host conn-cli[812]: 1 connection from 1 address\n"
    );
    let output = read_from(wrong.as_bytes(), &["-q"]);
    let said = text(&output.stderr);
    assert!(said.contains("first line 1 of standard input"), "{said}");
    let output = read_from(&wrong.as_bytes()[other.len()..], &["-q"]);
    let said = text(&output.stderr);
    assert!(
        said.contains("first line 6 of standard input: the rows"),
        "{said}"
    );
}

#[test]
fn what_text_cannot_answer_is_refused() {
    for (input, options, why) in [
        (
            RUN,
            ["--since", "2026-11-22"],
            "--since needs a line for each connection",
        ),
        (RUN, ["--to", "192.0.2.9"], "--to needs the local address"),
        (LINES, ["--to", "192.0.2.9"], "--to needs the local address"),
        (
            "before  after  difference  address\n     5      7          +2  192.0.2.1\n",
            ["--top", "3"],
            "a comparison of two inputs",
        ),
    ] {
        let output = read_from(input.as_bytes(), &[&["-q"][..], &options].concat());
        assert!(
            text(&output.stderr).contains(why),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
    }
}

/// SYNs are connections only in a run that watched nothing later.
#[test]
fn the_last_stage_of_a_run_counts() {
    let line = |stage: &str, client: u8| {
        format!("Sun Nov 22 14:25:37 2026 {stage} from 192.0.2.{client} to port 80\n")
    };
    let syns = line("SYN", 1).repeat(3);
    let funnel = format!(
        "{syns}{}{}{}",
        line("Established", 1).repeat(2),
        line("Accepted", 1),
        line("SYN", 2)
    );
    let summary = "\n=== Summary ===\nsyn  established  accepted  address\n\
                   \u{20} 3            2         1  192.0.2.1\n\
                   \u{20} 1            0         0  192.0.2.2\n\
                   \u{20} 4            2         1  total\n\
                   1 connection from 1 address, 14:25:35 to 14:25:40 (4.9 s)\n";
    for (input, connections) in [
        (syns.clone(), 3),
        (funnel.clone(), 1),
        (format!("{funnel}{summary}"), 1),
        (format!("{funnel}{summary}{syns}"), 4),
        (format!("{syns}{LINES}"), 6),
    ] {
        let output = read_from(input.as_bytes(), &["--json"]);
        let stdout = text(&output.stdout);
        let lines = stdout
            .lines()
            .filter(|line| line.contains(r#""type":"connection""#));
        assert_eq!(lines.count(), connections, "{input}");
        let total = format!(r#""connections":{connections},"at_least""#);
        assert!(stdout.contains(&total), "{input}{stdout}");
        assert!(stdout.contains(r#""not_understood":0"#), "{input}{stdout}");
    }
}

#[test]
fn a_cut_line_is_not_believed() {
    for (last, connections) in [
        ("Sun Nov 22 14:25:39 2026 New conn", 3),
        ("Sun Nov 22 14:25:39 2026 New connection from 192.0.2.1", 3),
        ("Sun Nov 22 14:25:39 2026 New connection from 192.0.2", 3),
        ("Sun Nov 22 14:25:39 2026 New connection from 2001:db8::", 3),
        ("Sun Nov 22 14:25:39 2026 New connection from 192.0.2.23", 3),
        (
            "Sun Nov 22 14:25:39 2026 New connection from 192.0.2.100",
            4,
        ),
        (
            "Sun Nov 22 14:25:39 2026 New connection from 192.0.2.1 to port 44",
            4,
        ),
        ("=== Summary ===\n192.0.2.1: 3\n192.0.2.23: 1", 4),
    ] {
        let output = read_from(format!("{LINES}{last}").as_bytes(), &["-q", "--json"]);
        let stdout = text(&output.stdout);
        let total = format!(r#""connections":{connections},"at_least""#);
        assert!(stdout.contains(&total), "{last}: {stdout}");
        let is_believed = stdout.contains(r#""not_understood":0"#);
        let should_be = last.ends_with(".100") || last.ends_with(" 44");
        assert_eq!(is_believed, should_be, "{last}: {stdout}");
        assert!(!stdout.contains(r#""44""#), "{last}: {stdout}");
    }
}

#[test]
fn rows_without_their_summary_are_not_counted() {
    let output = read_from(b"192.0.2.1: 5\n192.0.2.2: 1\n", &["-q", "--format", "text"]);
    let (_, other) = said(&output);
    assert_eq!(other[0], "no connections in 2 lines");
    let why = "warning: 2 records could not be parsed, first line 1 of standard input: the row of a summary, but its \
               heading is missing";
    assert!(other[1].starts_with(why), "{}", other[1]);
    let wrong = "=== Summary ===\n192.0.2.1: 5\n3 connections from 1 address\n";
    let output = read_from(wrong.as_bytes(), &["-q"]);
    let (_, other) = said(&output);
    assert!(other[1].contains("line 3 of standard input: the rows of the summary do not"));
    let huge = format!(
        "=== Summary ===\n192.0.2.1: {0}\n192.0.2.2: {0}\n",
        u64::MAX
    );
    let output = read_from(huge.as_bytes(), &["-q"]);
    assert!(text(&output.stdout).contains(&format!("{} connections from 2 addresses", u64::MAX)));
}

#[test]
fn text_is_compared() {
    let path = recorded(RECORDINGS[0]);
    let dir = TempDir::new("own-text");
    let saved = dir.file("saved", read(&[], &[&path]).stdout);
    let quiet = dir.file("quiet", read(&["-q"], &[&path]).stdout);
    let compare = |files: [&Path; 2]| {
        let output = Command::new(env!("CARGO_BIN_EXE_conn-cli"))
            .arg("compare")
            .args(files)
            .output()
            .unwrap();
        let stdout = text(&output.stdout).to_owned();
        (
            stdout,
            text(&output.stderr).to_owned(),
            output.status.code(),
        )
    };
    for files in [[&*saved, &*path], [&path, &quiet], [&saved, &quiet]] {
        let (stdout, stderr, code) = compare(files);
        assert_eq!((&*stderr, code), ("", Some(0)));
        assert!(stdout.ends_with("0 new addresses, 0 gone\n"), "{stdout}");
        let rows = stdout
            .lines()
            .skip(1)
            .filter(|line| !line.contains("connections"));
        for row in rows {
            let words: Vec<_> = row.split_whitespace().collect();
            assert_eq!((words[0], words[2]), (words[1], "0"), "{row}");
        }
    }
    let top = dir.file("top", read(&["-q", "--top", "1"], &[&path]).stdout);
    let (_, stderr, code) = compare([&top, &path]);
    assert!(
        stderr.contains("does not name all addresses (--top)"),
        "{stderr}"
    );
    assert_eq!(code, Some(1));
}

/// A reader that returns at most so many bytes at a time, as a pipe does.
struct Parts<'a>(&'a [u8], usize);

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

/// The parts in which damaged text arrives do not matter, whatever is lost of it and in whatever order it is.
#[test]
fn parts_of_damaged_text_count_as_the_whole() {
    const MORE: &str = "Tracing TCP connections to every port\n\
         Sun Nov 22 14:25:37 2026 SYN from 192.0.2.1 to port 80\n\
         Sun Nov 22 14:25:37 2026 Established from 192.0.2.1 to port 80\n\
         Sun Nov 22 14:25:37 2026 Accepted from 192.0.2.1 to port 80\n\
         14:25:37.482000 192.0.2.1:37822 -> 192.0.2.9:80 httpd[99] waited 96 \u{b5}s\n\
         14:25:30     123 connections     17 addresses      12.3/s   192.0.2.1 (45)\n\
         === So far ===\n\
         syn  established  accepted  port  address\n  4            2         1    80  192.0.2.1\n\
         count  share  process\n    4   80 %  a[7]\n    4         total\n\
         4 connections accepted by 1 process\n\
         6 connections from 2 addresses to port 22\n\
         at least 3 connections from 2 addresses\n\
         34 other addresses: 104\nother: 5\nunknown: 18446744073709551615\nport 80: 3\n\
         before  after  difference  address\nhello\n3 lines not shown\n";
    let lines: Vec<&str> = { RUN.lines() }
        .chain(LINES.lines())
        .chain(MORE.lines())
        .collect();
    let mut state = 1_u64;
    let mut random = |bound: usize| {
        // Any generator does; this one is Knuth's.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % bound
    };
    for _ in 0..300 {
        let mut text = String::new();
        for _ in 0..random(30) {
            text += lines[random(lines.len())];
            text.push('\n');
        }
        let mut bytes = text.into_bytes();
        bytes.truncate(bytes.len() - random(8).min(bytes.len()));
        if random(3) == 0 && !bytes.is_empty() {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        let is_set = [(); 5].map(|()| random(3) == 0);
        let options = MergeOptions {
            ports: if is_set[0] {
                "22,80".parse().unwrap()
            } else {
                PortSet::all()
            },
            filter: EndsFilter {
                local: is_set[4].then_some([192, 0, 2, 9].into()),
                ..EndsFilter::default()
            },
            period: Period::default(),
            strict: is_set[1],
            every_packet: false,
            lines_only: is_set[2],
            all_addresses: is_set[3],
            names: None,
        };
        let counts = |length| {
            let input = Parts(&bytes, length);
            let (findings, _) = summarise(input, Some(Format::Text), options.clone());
            match findings {
                Ok((tally, discrepancies, stats)) => {
                    format!("{:?} {discrepancies:?} {stats:?}", tally.ranked())
                }
                Err(error) => error.to_string(),
            }
        };
        let whole = counts(usize::MAX);
        for length in [1, 1 + random(100)] {
            assert_eq!(counts(length), whole, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
