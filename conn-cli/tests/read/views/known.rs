//! `--known` takes what conn-cli prints, and `--quiet` makes a summary of the new clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{
    Counts, RECORDINGS, by_client, by_hand, json, listed, listed_in_text, recorded, run, text,
    truth,
};

/// A file that is removed on drop.
struct List(PathBuf);

impl List {
    fn new(content: impl AsRef<[u8]>) -> Self {
        static LISTS: AtomicUsize = AtomicUsize::new(0);
        let number = LISTS.fetch_add(1, Relaxed);
        let name = format!("conn-cli-list-{}-{number}", std::process::id());
        let list = Self(std::env::temp_dir().join(name));
        fs::write(&list.0, content).unwrap();
        list
    }

    fn option(&self) -> String {
        format!("--known {}", self.0.display())
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The clients that have a line if this text is the list of known ones, and the last lines.
fn new_clients(known: &[u8], recording: &Path) -> (BTreeSet<String>, String) {
    let list = List::new(known);
    let output = run(&format!("--json {}", list.option()), &[recording], "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let addresses = lines
        .filter_map(|line: serde_json::Value| Some(line["remote_address"].as_str()?.to_owned()));
    (addresses.collect(), stderr)
}

fn clients(counts: &Counts) -> BTreeSet<String> {
    by_client(counts).into_keys().collect()
}

/// What an output lists is known, and nobody else is.
#[test]
fn every_output_is_a_list_of_its_clients() {
    for file in RECORDINGS {
        let path = recorded(file);
        let all = truth(file);
        let mut to_8080 = all.clone();
        to_8080.retain(|(_, port), _| *port == 8080);
        let mut ranked: Vec<_> = by_client(&all).into_iter().collect();
        ranked.sort_by_key(|(_, connections)| std::cmp::Reverse(*connections));
        for (options, listed) in [
            ("", &all),
            ("-p 8080", &to_8080),
            ("-p 8080 --time iso", &to_8080),
            ("--time epoch --utc", &all),
            ("--time delta", &all),
            ("--long", &all),
            ("--long -p 8080", &to_8080),
            ("--long --time epoch", &all),
            ("--new", &all),
            ("-q", &all),
            ("-q --long -p 8080", &to_8080),
            ("-q --interval 1h --not-from 10.0.0.0/8", &all),
            ("--interval 1s -p 8080", &to_8080),
            ("--json", &all),
            ("--json -q -p 8080", &to_8080),
            ("--json --interval 1m --long", &all),
        ] {
            let output = run(options, &[&path], "");
            let (stdout, stderr) = (output.stdout, output.stderr);
            let unlisted: BTreeSet<_> = &clients(&all) - &clients(listed);
            for known in [
                stdout.clone(),
                [&stdout[..], &stderr].concat(),
                [&stderr[..], &stdout].concat(),
            ] {
                let (new, stderr) = new_clients(&known, &path);
                assert_eq!(new, unlisted, "{file} {options}");
                let says_none = stderr.lines().any(|line| line == "no new addresses");
                assert_eq!(says_none, unlisted.is_empty(), "{file} {options}: {stderr}");
            }
        }
        for options in ["-q --top 2", "-q --top 2 --long", "-q --top 2 --json"] {
            let known = run(options, &[&path], "").stdout;
            let new = new_clients(&known, &path).0;
            assert_eq!(new.len() + 2, ranked.len(), "{file} {options}");
            // Of equal ones, any may be among the first.
            assert!(
                !new.contains(&ranked[0].0) || ranked[0].1 == ranked[2].1,
                "{new:?}"
            );
        }
    }
}

#[test]
fn counts_of_others_than_addresses_are_refused() {
    let path = recorded(RECORDINGS[0]);
    for options in ["-q --by port", "-q --by port --long", "-q --by port --json"] {
        let list = List::new(run(options, &[&path], "").stdout);
        let output = run(&list.option(), &[&path], "");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{options}: {stderr}");
        assert!(stderr.contains("does not count by address"), "{stderr}");
    }
    let networks = run("-q --by network/8", &[&path], "").stdout;
    assert_eq!(new_clients(&networks, &path).0, BTreeSet::new());
}

#[test]
fn uniq_and_lists_with_comments_are_known() {
    let path = recorded(RECORDINGS[0]);
    let all = clients(&truth(RECORDINGS[0]));
    let known = "\u{feff}# mine\r\n     13 127.0.0.2\r\n\r\n127.0.0.3 a printer\r\n::/0 # all\r\n";
    let (new, stderr) = new_clients(known.as_bytes(), &path);
    let is_new = |client: &&String| {
        !client.contains(':') && !["127.0.0.2", "127.0.0.3"].contains(&client.as_str())
    };
    assert_eq!(new, all.iter().filter(is_new).cloned().collect());
    let line = format!("{} new addresses: ", new.len());
    assert!(
        stderr.lines().any(|other| other.starts_with(&line)),
        "{stderr}"
    );
}

#[test]
fn quiet_summaries_are_of_the_new_clients() {
    for file in RECORDINGS {
        let path = recorded(file);
        let list = List::new("127.0.0.2/31 two of them\n");
        let mut new = by_client(&truth(file));
        new.retain(|client, _| !["127.0.0.2", "127.0.0.3"].contains(&client.as_str()));
        let options = format!("-q {}", list.option());
        let (lines, summary) = text(&options, &[&path], "");
        let is_row = |line: &&String| !line.contains(" connection");
        let rows: Vec<_> = summary.iter().filter(is_row).cloned().collect();
        assert_eq!(
            (lines.len(), listed_in_text(&rows)),
            (0, new.clone()),
            "{file}"
        );
        let (lines, summary) = json(&options, &[&path], "");
        assert_eq!((lines.len(), listed(&summary, "address")), (0, new.clone()));
        assert_eq!(summary["only_new"], true);
        assert_eq!(summary["addresses"], new.len());
        assert_eq!(summary["connections"], new.values().sum::<u64>());
        let (_, summary) = json(&format!("{options} --top 1"), &[&path], "");
        let left_off = summary["left_off"]["connections"].as_u64().unwrap();
        assert_eq!(
            left_off,
            new.values().sum::<u64>() - new.values().max().unwrap()
        );
    }
    assert!(json("-q", &[], &by_hand()).1.get("only_new").is_none());
}

#[test]
fn a_list_grows() {
    let path = recorded(RECORDINGS[0]);
    let list = List::new("127.0.0.2\n");
    let append = || {
        let known = File::options().append(true).open(&list.0).unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_conn-cli"))
            .args(["read", "-q", "--known"])
            .args([&list.0, &path])
            .stdout(known)
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        fs::read_to_string(&list.0).unwrap()
    };
    let first = append();
    let lines: Vec<_> = first.lines().collect();
    let all = by_client(&truth(RECORDINGS[0]));
    let rows: BTreeMap<_, _> = all
        .into_iter()
        .filter(|(client, _)| client != "127.0.0.2")
        .collect();
    for (client, connections) in &rows {
        let row = format!("{client}: {connections}");
        assert!(lines.contains(&row.as_str()), "{row}: {first}");
    }
    // The second time nobody is new.
    let second = append();
    let added = second.strip_prefix(&first).unwrap();
    let is_row = |line: &&str| rows.keys().any(|client| line.starts_with(client));
    assert_eq!(added.lines().filter(is_row).count(), 0, "{added}");
    let (new, _) = new_clients(second.as_bytes(), &path);
    assert_eq!(new, BTreeSet::new());
}

/// Who may run conn-cli as root may not read every file.
#[test]
fn no_file_is_shown() {
    let secret = List::new("root:$6$salt$secret:19000:0:99999:7:::\n");
    for (path, reason) in [
        (&*secret.0, "line 1: not an address"),
        (Path::new("/dev/zero"), "not a regular file"),
        (&std::env::temp_dir(), "it is a directory"),
    ] {
        for quiet in ["", "-q "] {
            let output = run(&format!("{quiet}--known {}", path.display()), &[], "");
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(
                stderr.contains(reason) && !stderr.contains("$6$"),
                "{stderr}"
            );
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(output.stdout.is_empty());
        }
    }
}
