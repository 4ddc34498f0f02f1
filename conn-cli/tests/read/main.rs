//! The output and exit codes of `conn-cli read` for all kinds of input.

mod compare;
mod forms;
mod hosts;
mod inputs;
mod limits;
mod own_text;
mod periods;
mod pipes;
mod recorded;
mod repeats;
mod runs;
mod sensors;
mod terminal;
mod views;

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use conn_cli::model::format::Format;

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

/// What standard error says of how the inputs were read, and the other lines.
fn said(output: &Output) -> (Vec<&str>, Vec<&str>) {
    let lines = text(&output.stderr).lines();
    lines.partition(|line| {
        let formats = Format::ALL.map(|format| format!(": {}, ", format.name()));
        let is_read = formats.iter().any(|format| line.contains(format));
        is_read || line.ends_with(": empty") || line.ends_with(" more inputs")
    })
}

/// Without what it says of how the inputs were read.
#[track_caller]
fn assert_output(output: &Output, code: i32, stdout: &str, stderr: &[&str]) {
    assert_eq!(text(&output.stdout), stdout);
    let (_, other) = said(output);
    assert_eq!(other, stderr);
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn prints_lines_and_summary() {
    let output = read_from(ACCEPT.as_bytes(), &[]);
    assert_output(
        &output,
        0,
        "14:25:37 New connection from 192.0.2.1 to port 80\n\n=== Summary ===\n192.0.2.1: 1\n1 connection from 1 address in 1 line\n",
        &[
            "1 connection in 1 line",
            "note: standard input: the day is not in the records",
        ],
    );
}

#[test]
fn empty_input_has_an_empty_summary() {
    let output = read_from(b"", &["--quiet"]);
    let diagnostics = ["no connections in 0 lines"];
    assert_output(
        &output,
        0,
        "\n=== Summary ===\nno connections\n",
        &diagnostics,
    );
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
        "\n=== Summary ===\n192.0.2.1: 1\n1 connection from 1 address in 1 line\n",
        &[
            &format!(
                "conn-cli: cannot read {}: there is no such file",
                missing.display()
            ),
            &format!(
                "conn-cli: cannot read {}: it is a directory; name the files in it",
                dir.0.display()
            ),
            "1 connection in 1 line",
        ],
    );
}

#[test]
fn permission_denied_suggests_sudo() {
    let dir = TempDir::new("permission");
    let secret = dir.file("secret", ACCEPT);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // An ordinary user has to run it, who may not have access to the build directory.
    let binary = dir.0.join("conn-cli");
    // Not written by this process: a program that another test starts meanwhile would have it open for
    // writing, and nothing can execute it then.
    let copy = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_conn-cli"))
        .arg(&binary)
        .status();
    assert!(copy.unwrap().success());
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
        "",
        &[
            "conn-cli: standard input: no line of a known format; it begins with 'hello'. If it is one, \
             name it with --format (kernel-log, tcpdump, pcap, strace, json, text, ulogd, tcpaccept, \
             conntrack, zeek, suricata, vpc-flow)",
        ],
    );
    let output = read_from(b"hello\nworld\n", &["-q", "--format", "strace"]);
    assert_output(
        &output,
        1,
        "\n=== Summary ===\nno connections in 2 lines\n",
        &[
            "conn-cli: nothing in standard input was understood as strace: line 1 of standard input: not an \
             strace line: 'hello'",
            "no connections in 2 lines",
            "warning: 2 records could not be parsed, first line 1 of standard input: not an strace line: \
             'hello'",
        ],
    );
}

#[test]
fn strict_makes_parse_errors_fatal() {
    let dir = TempDir::new("strict");
    let log = dir.file("log", format!("{ACCEPT}hello\n{ACCEPT}"));
    let output = read(&["-q", "--strict"], &[&log]);
    let error = format!(
        "conn-cli: line 2 of {}: not an strace line: 'hello'",
        log.display()
    );
    assert_output(&output, 1, "", &[&error]);
    assert_eq!(read(&["-q"], &[&log]).status.code(), Some(0));
}

#[test]
fn damaged_lines_are_counted_and_the_others_read() {
    let nul = "\0".repeat(1000);
    let quoted = r"\u{0}".repeat(60);
    let crlf = ACCEPT.replace('\n', "\r\n");
    let mut input = format!("{ACCEPT}{nul}\n{crlf}\n").into_bytes();
    input.extend(b"\xff\xfe\x80\n");
    input.extend(ACCEPT.as_bytes());
    input.extend(&ACCEPT.as_bytes()[..60]);
    let output = read_from(&input, &["-q"]);
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n192.0.2.1: 3\n3 connections from 1 address in 7 lines\n",
        &[
            "3 connections in 7 lines",
            &format!(
                "warning: 3 of 7 records could not be parsed, first line 2 of standard input: not an \
                 strace line: '{quoted}'"
            ),
        ],
    );
}

#[test]
fn count_limits_lines_and_summary() {
    let dir = TempDir::new("count");
    let log = dir.file("log", ACCEPT.repeat(10));
    let output = read(&["--count", "3"], &[&log]);
    let stdout = text(&output.stdout);
    assert_eq!(stdout.matches("New connection").count(), 3);
    assert!(
        stdout.contains("192.0.2.1: 3\n3 connections from 1 address in "),
        "{stdout}"
    );
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
    let end = "192.0.2.1: 1\n1 connection from 1 address to port 80 in 1 line\n";
    assert!(text(&output.stdout).ends_with(end));
    let output = read_from(ACCEPT.as_bytes(), &["-q", "--port", "81"]);
    let end = "=== Summary ===\nno connections to port 81 in 1 line\n";
    assert!(text(&output.stdout).ends_with(end));
}

#[test]
fn strict_shows_lines_before_the_error() {
    let input = format!("{ACCEPT}{ACCEPT}hello\n{ACCEPT}");
    let output = read_from(input.as_bytes(), &["--strict", "--count", "2"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("192.0.2.1: 2\n2 connections from 1 address in "));
    let output = read_from(input.as_bytes(), &["--strict"]);
    let line = "14:25:37 New connection from 192.0.2.1 to port 80\n";
    let error = "conn-cli: line 3 of standard input: not an strace line: 'hello'";
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
