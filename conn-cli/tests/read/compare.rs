//! `conn-cli compare` beside what sort, uniq and join make of the same records.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{ACCEPT, TempDir, read, text};

/// strace's output with this many connections of these clients.
fn accepts(clients: impl IntoIterator<Item = (u32, usize)>) -> String {
    let lines = clients.into_iter().map(|(client, connections)| {
        let client = format!("10.0.{}.{}\"", client / 200, client % 200 + 1);
        ACCEPT.replace("192.0.2.1\"", &client).repeat(connections)
    });
    lines.collect()
}

fn compare(arguments: &[&str], before: &Path, after: &Path) -> (Vec<String>, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conn-cli"));
    let command = command.arg("compare").args(arguments).args([before, after]);
    let output = command.output().unwrap();
    let lines = text(&output.stdout).lines().map(str::to_owned).collect();
    (lines, output.status.code().unwrap())
}

/// 400 clients: 100 only before, 100 only after, and 200 of both, of which some have the same count.
fn inputs(dir: &TempDir) -> [std::path::PathBuf; 2] {
    let before = accepts((0..300).map(|client| (client, 1 + client as usize % 7)));
    let after = accepts((100..400).map(|client| (client, 1 + client as usize % 5)));
    [dir.file("before", before), dir.file("after", after)]
}

#[test]
fn rows_are_those_of_join() {
    let dir = TempDir::new("compare");
    let [before, after] = inputs(&dir);
    let script = r#"
        count() { grep -o 'inet_addr("[^"]*' "$1" | cut -d'"' -f2 | sort | uniq -c | awk '{ print $2, $1 }' | sort; }
        count "$1" > "$1.counts"; count "$2" > "$2.counts"
        join -a 1 -a 2 -e 0 -o 0,1.2,2.2 "$1.counts" "$2.counts" |
            awk '{ mark = !$2 ? " new" : !$3 ? " gone" : ""; print $2, $3, $3 - $2, $1 mark }' | sort
    "#;
    let output = Command::new("bash")
        .env("LC_ALL", "C")
        .args(["-c", script, "-"])
        .args([&before, &after])
        .output()
        .unwrap();
    let expected: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(expected.len(), 400);
    let (lines, status) = compare(&[], &before, &after);
    assert_eq!(status, 0);
    let (titles, rest) = lines.split_first().unwrap();
    let (total, rows) = rest.split_last().unwrap();
    assert!(
        titles.ends_with("before  after  difference  address"),
        "{titles}"
    );
    let words = |row: &String| {
        row.replace('+', "")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut sorted: Vec<_> = rows.iter().map(words).collect();
    sorted.sort();
    assert_eq!(sorted, expected);
    let difference = |row: &String| -> i64 {
        let number = row.split_whitespace().nth(2).unwrap();
        number.parse::<i64>().unwrap().abs()
    };
    assert!(rows.is_sorted_by_key(|row| -difference(row)));
    let wc = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    let expected = format!(
        "{}: {} connections from 300 addresses; {}: {} connections from 300 addresses; 100 new addresses, 100 gone",
        before.display(),
        wc(&before),
        after.display(),
        wc(&after)
    );
    assert_eq!(*total, expected);
}

/// A saved run stands for the records that it counted.
#[test]
fn saved_runs_are_compared_like_their_records() {
    let dir = TempDir::new("saved");
    let [before, after] = inputs(&dir);
    let saved = |path: &Path, name: &str| dir.file(name, read(&["-q", "--json"], &[path]).stdout);
    let (one, other) = (saved(&before, "before.json"), saved(&after, "after.json"));
    let arguments = ["--json", "--port", "80", "--top", "10"];
    let values = |lines: Vec<String>| -> Vec<Value> {
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut records = values(compare(&arguments, &before, &after).0);
    let mut runs = values(compare(&arguments, &one, &other).0);
    assert_eq!(records.len(), 11);
    for line in &runs {
        if let Err(error) = schema.validate(line) {
            panic!("{error}: {line}");
        }
    }
    let summaries = [records.pop().unwrap(), runs.pop().unwrap()];
    assert_eq!(records, runs);
    for summary in summaries {
        assert_eq!(
            (&summary["new"], &summary["gone"]),
            (&100.into(), &100.into())
        );
        assert_eq!(summary["left_off"]["addresses"], 390);
    }
    let (lines, status) = compare(&["--port", "81"], &before, &after);
    assert_eq!(status, 0);
    assert!(lines[1].ends_with("0 new addresses, 0 gone"), "{lines:?}");
}

#[test]
fn names_of_files_are_escaped_and_doubts_told() {
    let dir = TempDir::new("doubts");
    let before = dir.file("a\u{1b}[2J", ACCEPT);
    let missed = r#"{"type":"summary","missed_runs":3,"clients":[{"address":"192.0.2.1","connections":5,"ports":{"80":5}}]}"#;
    let after = dir.file("b", format!("{missed}\n"));
    let (lines, status) = compare(&[], &before, &after);
    assert_eq!(status, 1);
    assert!(
        lines[2].contains("a\\u{1b}[2J: 1 connection from 1 address"),
        "{lines:?}"
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_conn-cli"));
    let output = command
        .arg("compare")
        .args([&before, &after])
        .output()
        .unwrap();
    let warning = format!("warning: {}: the count is at least 5", after.display());
    assert!(
        text(&output.stderr).contains(&warning),
        "{}",
        text(&output.stderr)
    );
}

/// A summary that does not name all addresses has nothing to say on who is new.
#[test]
fn summaries_without_all_addresses_are_refused() {
    let dir = TempDir::new("partial");
    let [before, after] = inputs(&dir);
    let known = dir.file("known", "10.0.0.1\n");
    let known = known.to_str().unwrap();
    let saved = |arguments: &[&str]| {
        let arguments = [arguments, &["--json"]].concat();
        let name = arguments.join("").replace('/', "_");
        dir.file(&name, read(&arguments, &[&after]).stdout)
    };
    for (arguments, option) in [
        (&["--top", "1"][..], "--top"),
        (&["--by", "port"], "--by"),
        (&["--by", "network"], "--by"),
        (&["--known", known], "--known"),
    ] {
        let partial = saved(&[&["--quiet"][..], arguments].concat());
        for [one, other] in [[&before, &partial], [&partial, &before]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_conn-cli"));
            let output = command.arg("compare").args([one, other]).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert_eq!(text(&output.stdout), "", "{arguments:?}");
            let message = format!(
                "conn-cli: {}: the summary does not name all addresses ({option})\n",
                partial.display()
            );
            assert_eq!(text(&output.stderr), message);
        }
        // Saved with them, the lines name all.
        let lines = saved(arguments);
        if option != "--known" {
            let (expected, rows) = (
                compare(&["--json"], &before, &after),
                compare(&["--json"], &before, &lines),
            );
            assert_eq!(rows.1, 0, "{arguments:?}");
            assert_eq!(rows.0[..400], expected.0[..400], "{arguments:?}");
        }
    }
    for complete in [
        &["--quiet", "--top", "300"][..],
        &["--quiet", "--by", "address,port"],
    ] {
        let (lines, status) = compare(&[], &before, &saved(complete));
        assert_eq!(status, 0, "{complete:?}");
        assert!(
            lines[401].ends_with("100 new addresses, 100 gone"),
            "{complete:?}"
        );
    }
}

#[test]
fn top_0_is_all() {
    let dir = TempDir::new("top");
    let [before, after] = inputs(&dir);
    let all = compare(&[], &before, &after);
    assert_eq!(all.0.len(), 402);
    assert_eq!(compare(&["--top", "0"], &before, &after), all);
}
