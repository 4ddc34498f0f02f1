//! The output and exit codes of `conn-cli read` for all kinds of input.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use rustix::{
    io::ioctl_fionread,
    pipe::fcntl_setpipe_size,
    process::{Pid, Signal, kill_process},
};

const ACCEPT: &str = r#"12 14:25:37 accept4(3<TCP:[0.0.0.0:80]>, {sa_family=AF_INET, sin_port=htons(37822), sin_addr=inet_addr("192.0.2.1")}, [16], 0) = 4<TCP:[192.0.2.9:80->192.0.2.1:37822]>
"#;

/// A temporary directory, removed when it is dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("conn-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn conn_cli() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conn-cli"));
    command.arg("read").stdin(Stdio::null());
    command
}

fn read(arguments: &[&str], files: &[&Path]) -> Output {
    conn_cli().args(arguments).args(files).output().unwrap()
}

/// Runs `conn-cli read` with `input` on its standard input.
fn read_from(input: &[u8], arguments: &[&str]) -> Output {
    let mut child = piped(arguments);
    let mut stdin = child.stdin.take().unwrap();
    // It may exit before all is written.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn piped(arguments: &[&str]) -> Child {
    let mut command = conn_cli();
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_output(output: &Output, code: i32, stdout: &str, stderr: &[&str]) {
    assert_eq!(text(&output.stdout), stdout);
    assert_eq!(text(&output.stderr).lines().collect::<Vec<_>>(), stderr);
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn prints_lines_and_summary() {
    let output = read_from(ACCEPT.as_bytes(), &[]);
    assert_output(
        &output,
        0,
        "14:25:37 (no date) New connection from 192.0.2.1 to port 80\n\n=== Summary ===\n192.0.2.1: 1\n",
        &["1 connection from 1 address in 1 line; 0 lines not shown"],
    );
}

#[test]
fn empty_input_has_an_empty_summary() {
    let output = read_from(b"", &["--quiet"]);
    let diagnostics = "0 connections from 0 addresses in 0 lines";
    assert_output(&output, 0, "\n=== Summary ===\n", &[diagnostics]);
}

#[test]
fn unreadable_inputs_are_reported_and_the_others_counted() {
    let dir = TempDir::new("unreadable");
    let good = dir.file("good", ACCEPT);
    let missing = dir.0.join("missing");
    let output = read(&["-q"], &[&missing, &good, &dir.0]);
    assert_output(
        &output,
        1,
        "\n=== Summary ===\n192.0.2.1: 1\n",
        &[
            &format!(
                "conn-cli: cannot read {}: there is no such file",
                missing.display()
            ),
            &format!(
                "conn-cli: cannot read {}: it is a directory; name the files in it",
                dir.0.display()
            ),
            "1 connection from 1 address in 1 line",
            "conn-cli: could not read 2 of 3 inputs to their end",
        ],
    );
}

#[test]
fn permission_denied_suggests_sudo() {
    let dir = TempDir::new("permission");
    let secret = dir.file("secret", ACCEPT);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // An ordinary user has to run it, who may not have access to the build directory.
    let binary = dir.file(
        "conn-cli",
        fs::read(env!("CARGO_BIN_EXE_conn-cli")).unwrap(),
    );
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(binary);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.args(["read", "-q"]).arg(&secret).output().unwrap();
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("permission denied") && stderr.contains("sudo"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_unknown_format_suggests_the_option() {
    let output = read_from(b"hello\nworld\n", &["-q"]);
    assert_output(
        &output,
        1,
        "\n=== Summary ===\n",
        &[
            "conn-cli: cannot recognise the format of standard input: specify it with --format",
            "0 connections from 0 addresses in 0 lines",
            "conn-cli: could not read the input to its end",
        ],
    );
    let output = read_from(b"hello\nworld\n", &["-q", "--format", "strace"]);
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n",
        &[
            "0 connections from 0 addresses in 2 lines",
            "warning: 2 records could not be parsed, first line 1 of standard input: not an strace line",
        ],
    );
}

#[test]
fn strict_makes_parse_errors_fatal() {
    let dir = TempDir::new("strict");
    let log = dir.file("log", format!("{ACCEPT}hello\n{ACCEPT}"));
    let output = read(&["-q", "--strict"], &[&log]);
    let error = format!("conn-cli: line 2 of {}: not an strace line", log.display());
    assert_output(&output, 1, "", &[&error]);
    assert_eq!(read(&["-q"], &[&log]).status.code(), Some(0));
}

#[test]
fn damaged_lines_are_counted_and_the_others_read() {
    let nul = "\0".repeat(1000);
    let crlf = ACCEPT.replace('\n', "\r\n");
    let mut input = format!("{ACCEPT}{nul}\n{crlf}\n").into_bytes();
    input.extend(b"\xff\xfe\x80\n");
    input.extend(ACCEPT.as_bytes());
    input.extend(&ACCEPT.as_bytes()[..60]);
    let output = read_from(&input, &["-q"]);
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n192.0.2.1: 3\n",
        &[
            "3 connections from 1 address in 7 lines",
            "warning: 3 records could not be parsed, first line 2 of standard input: not an strace line",
        ],
    );
}

#[test]
fn a_line_of_100_megabytes_is_not_buffered() {
    let mut child = piped(&["-q"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(ACCEPT.as_bytes()).unwrap();
    let part = vec![b'x'; 1024 * 1024];
    for _ in 0..100 {
        stdin.write_all(&part).unwrap();
    }
    stdin.write_all(b"\n").unwrap();
    stdin.write_all(ACCEPT.as_bytes()).unwrap();
    // It has read nearly all that was written: the capacity of a pipe is 64 KiB.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 40_000, "{peak} kB");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n192.0.2.1: 2\n",
        &[
            "2 connections from 1 address in 3 lines",
            "warning: 1 record could not be parsed, first line 2 of standard input: the line is too long",
        ],
    );
}

#[test]
fn lines_appear_as_they_arrive() {
    let mut child = piped(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let line = b"14:25:37 (no date) New connection from 192.0.2.1 to port 80\n";
    for _ in 0..3 {
        stdin.write_all(ACCEPT.as_bytes()).unwrap();
        let mut shown = vec![0; line.len()];
        // Returns although standard input is still open.
        stdout.read_exact(&mut shown).unwrap();
        assert_eq!(text(&shown), text(line));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn ctrl_c_waits_for_the_rest_of_the_pipe() {
    let mut child = piped(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdin.write_all(ACCEPT.as_bytes()).unwrap();
    let mut first = [0];
    // Once it prints something, it handles signals.
    stdout.read_exact(&mut first).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // Like tcpdump, which also receives the signal and then writes the rest.
    stdin.write_all(ACCEPT.as_bytes()).unwrap();
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("=== Summary ===\n192.0.2.1: 2\n"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_ends_quietly_if_stdout_is_closed() {
    let dir = TempDir::new("pipe");
    let log = dir.file("log", ACCEPT.repeat(100_000));
    let mut command = conn_cli();
    let mut child = command
        .arg(&log)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn count_limits_lines_and_summary() {
    let dir = TempDir::new("count");
    let log = dir.file("log", ACCEPT.repeat(10));
    let output = read(&["--count", "3"], &[&log]);
    let stdout = text(&output.stdout);
    assert_eq!(stdout.matches("New connection").count(), 3);
    assert!(stdout.ends_with("192.0.2.1: 3\n"), "{stdout}");
}

#[test]
fn port_needs_records_with_ports() {
    let hidden = ACCEPT.replace("3<TCP:[0.0.0.0:80]>", "3");
    let hidden = hidden.replace("4<TCP:[192.0.2.9:80->192.0.2.1:37822]>", "4");
    let output = read_from(hidden.as_bytes(), &["--port", "80"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("-yy"),
        "{}",
        text(&output.stderr)
    );
    let output = read_from(ACCEPT.as_bytes(), &["-q", "--port", "80"]);
    assert!(text(&output.stdout).ends_with("192.0.2.1: 1\n"));
    let output = read_from(ACCEPT.as_bytes(), &["-q", "--port", "81"]);
    assert!(text(&output.stdout).ends_with("=== Summary ===\n"));
}

#[test]
fn runs_are_merged() {
    let line = |client: &str| {
        format!(
            r#"{{"type":"connection","time":"2026-11-22T15:12:08.901474+00:00","remote_address":"{client}","remote_port":1,"local_address":"192.0.2.9","local_port":80,"family":"ipv4","pid":9,"tid":9,"comm":"a\\u{{1b}}","uid":0,"cgroup":1,"netns":1,"hook":"fentry"}}"#
        ) + "\n"
    };
    let summary = r#"{"type":"summary","probe":"fentry","connections":5,"addresses":1,"seconds":2.1,"lines_shown":1,"lines_not_shown":4,"second_hook_only":0,"other_clients":1,"unreadable":2,"missed_runs":0,"unaccounted":0,"clients":[{"address":"192.0.2.1","connections":4,"ports":{"80":3,"443":1}}]}"#;
    let dir = TempDir::new("merge");
    // The first run has one line and the summary, the second only lines.
    let first = dir.file("first", format!("{}{summary}\n", line("192.0.2.1")));
    let second = dir.file("second", line("192.0.2.1") + &line("192.0.2.2"));
    let output = read(&["-q"], &[&first, &second]);
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n192.0.2.1: 5\n192.0.2.2: 1\nother: 1\n",
        &[
            "7 connections from 2 addresses in 4 lines; 1 connection of clients that the records only sum up under \"other\"",
            "warning: 2 sockets could not be read: as many connections may be missing from the total",
        ],
    );
    let output = read(&["-q", "-p", "443"], &[&first, &second]);
    assert!(text(&output.stdout).ends_with("=== Summary ===\n192.0.2.1: 1\n"));
    // Reading lines and writing them as JSON again does not change them.
    let again = read(&["--json", "--utc"], &[&second]);
    let stdout = text(&again.stdout);
    let lines = fs::read_to_string(&second).unwrap();
    assert!(stdout.starts_with(&lines), "{stdout}");
}

#[test]
fn a_run_that_missed_connections_fails() {
    let summary = r#"{"type":"summary","probe":"kretprobe","connections":5,"missed_runs":3,"clients":[{"address":"192.0.2.1","connections":5,"ports":{"80":5}}]}"#;
    let output = read_from(format!("{summary}\n").as_bytes(), &["-q"]);
    assert_output(
        &output,
        1,
        "\n=== Summary ===\n192.0.2.1: 5\n",
        &[
            "5 connections from 1 address in 1 line",
            "warning: the count is at least 5: the kernel skipped the probe 3 times",
        ],
    );
    // Also if the number is unknown, and after merging with another run.
    let unknown = summary.replace(
        r#""missed_runs":3"#,
        r#""at_least":true,"missed_runs":null"#,
    );
    let whole = summary.replace(r#""missed_runs":3"#, r#""at_least":false,"missed_runs":0"#);
    let both = format!("{unknown}\n{whole}\n");
    let output = read_from(both.as_bytes(), &["-q", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains(r#""connections":10,"at_least":true,"#));
    let output = read_from(format!("{whole}\n").as_bytes(), &["-q", "--json"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn json_of_an_unknown_type_is_skipped_and_told() {
    let connection = r#"{"type":"connection","time":null,"remote_address":"192.0.2.1","local_port":80,"hook":"fentry"}"#;
    let input = format!("{connection}\n{{\"type\":\"close\",\"bytes\":1}}\n{connection}\n");
    let output = read_from(input.as_bytes(), &["-q"]);
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n192.0.2.1: 2\n",
        &[
            "2 connections from 1 address in 3 lines",
            "1 JSON object of a type that this conn-cli does not know, skipped",
        ],
    );
    let output = read_from(input.as_bytes(), &["-q", "--json"]);
    assert!(
        text(&output.stdout)
            .contains(r#""not_understood":0,"first_not_understood":null,"unknown_type":1,"#)
    );
    let again = read_from(&output.stdout, &["-q"]);
    assert!(text(&again.stderr).contains("1 JSON object of a type"));
    // An object without a type is not of conn-cli.
    let input = format!("{connection}\n{{\"bytes\":1}}\n");
    let output = read_from(input.as_bytes(), &["-q"]);
    assert!(text(&output.stderr).contains("1 record could not be parsed"));
}

/// Fields that reading does not need may have other values in another version.
#[test]
fn fields_that_are_not_needed_may_be_anything() {
    let summary = r#"{"type":"summary","clients":[{"address":"192.0.2.1","connections":3,"ports":{"80":3},"established":"x","peak_per_second":-1,"first_seen":[]}],"#;
    for field in [
        r#""stages":{"syn":1,"half-open":2}"#,
        r#""connections":null"#,
        r#""waits":{"known":1},"listeners":[{"address":"::"}],"exact":"mostly""#,
        r#""probe":7,"addresses":-1,"lines":"many","by":{}"#,
    ] {
        let output = read_from(format!("{summary}{field}}}\n").as_bytes(), &["-q"]);
        assert_eq!(
            text(&output.stdout),
            "\n=== Summary ===\n192.0.2.1: 3\n",
            "{field}"
        );
        assert_eq!(output.status.code(), Some(0));
    }
    let line = r#"{"type":"connection","stage":"data","time":null,"remote_address":"192.0.2.1","local_port":80,"hook":"lsm"}"#;
    let output = read_from(format!("{line}\n").as_bytes(), &["-q"]);
    assert_eq!(text(&output.stdout), "\n=== Summary ===\n192.0.2.1: 1\n");
}

#[test]
fn lines_of_a_killed_run_are_counted() {
    let line = |client: &str| {
        format!(
            r#"{{"type":"connection","time":null,"remote_address":"{client}","local_port":80,"hook":"fentry"}}"#
        ) + "\n"
    };
    let summary = r#"{"type":"summary","lines_shown":1,"clients":[{"address":"192.0.2.2","connections":1,"ports":{"80":1}}]}"#;
    let killed = line("192.0.2.1").repeat(2);
    // Once as `conn-cli --json >> log` writes it, and once with the summary in another file.
    let dir = TempDir::new("killed");
    let whole = dir.file("log", format!("{killed}{}{summary}\n", line("192.0.2.2")));
    let first = dir.file("log.1", format!("{killed}{}", line("192.0.2.2")));
    let second = dir.file("log.2", format!("{summary}\n"));
    for files in [&[&*whole][..], &[&first, &second]] {
        let output = read(&["-q"], files);
        let stdout = text(&output.stdout);
        assert!(stdout.ends_with("192.0.2.1: 2\n192.0.2.2: 1\n"), "{stdout}");
    }
    let output = read(&["--count", "9"], &[&whole]);
    assert_eq!(output.status.code(), Some(0));
    let output = read(&["--count", "9"], &[&second]);
    assert!(
        text(&output.stderr).contains("--count needs"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

/// Nobody reads the output, so that only a second Ctrl-C ends it.
#[test]
fn a_second_interrupt_is_told_from_a_failure() {
    let dir = TempDir::new("interrupt");
    let large = dir.file("large", ACCEPT.repeat(5000));
    let missing = dir.0.join("missing");
    let mut child = piped(&[missing.to_str().unwrap(), large.to_str().unwrap()]);
    let stdout = child.stdout.take().unwrap();
    let capacity = fcntl_setpipe_size(&stdout, 4096).unwrap();
    while ioctl_fionread(&stdout).unwrap() < capacity as u64 {
        thread::yield_now();
    }
    // Two signals at once would be one.
    let status = loop {
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::yield_now();
    };
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_long_summary_is_recognised() {
    let accepts: Vec<_> = (0..3000)
        .map(|client| {
            ACCEPT.replace(
                "192.0.2.1\"",
                &format!("10.0.{}.{}\"", client / 250, client % 250),
            )
        })
        .collect();
    let summary = read_from(accepts.concat().as_bytes(), &["-q", "--json"]).stdout;
    assert!(summary.len() > 100_000);
    let output = read_from(&summary, &["-q"]);
    assert_eq!(
        text(&output.stderr),
        "3000 connections from 3000 addresses in 1 line\n"
    );
}

#[test]
fn strict_shows_lines_before_the_error() {
    let input = format!("{ACCEPT}{ACCEPT}hello\n{ACCEPT}");
    let output = read_from(input.as_bytes(), &["--strict", "--count", "2"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).ends_with("192.0.2.1: 2\n"));
    let output = read_from(input.as_bytes(), &["--strict"]);
    let line = "14:25:37 (no date) New connection from 192.0.2.1 to port 80\n";
    let error = "conn-cli: line 3 of standard input: not an strace line";
    assert_output(&output, 1, &line.repeat(2), &[error]);
}

#[test]
fn the_number_of_jobs_does_not_change_the_output() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let file = |name: &str| recorded.join(name);
    let dir = TempDir::new("jobs");
    let large = dir.file(
        "large",
        fs::read(file("strace/threads-yy.txt"))
            .unwrap()
            .repeat(2000),
    );
    let files = [
        file("packets/lost.pcap"),
        large,
        file("kernel-log/dmesg.txt"),
        file("packets/syn-n.txt"),
    ];
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    for arguments in [
        &["--json", "--utc"][..],
        &["-q", "-p", "8080"],
        &["--count", "12345"],
    ] {
        let with = |jobs: &str| read(&[arguments, &["--jobs", jobs]].concat(), &files);
        let one = with("1");
        assert!(one.status.success(), "{}", text(&one.stderr));
        for jobs in ["2", "7"] {
            assert_eq!(with(jobs), one, "{arguments:?} {jobs}");
        }
    }
}
