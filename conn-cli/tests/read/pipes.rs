//! Input and output through pipes, and interrupts.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    process::{Child, Stdio},
    thread,
};

use rustix::{
    io::ioctl_fionread,
    pipe::fcntl_setpipe_size,
    process::{Pid, Signal, kill_process},
};

use super::{ACCEPT, TempDir, assert_output, conn_cli, piped, said, text};

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
        "\n=== Summary ===\n192.0.2.1: 2\n2 connections from 1 address in 3 lines\n",
        &[
            "2 connections in 3 lines",
            "warning: 1 of 3 records could not be parsed, first line 2 of standard input: the line is too long",
        ],
    );
}

#[test]
fn lines_appear_as_they_arrive() {
    let mut child = piped(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let line = b"14:25:37 New connection from 192.0.2.1 to port 80\n";
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
    assert!(rest.contains("=== Summary ===\n192.0.2.1: 2\n"), "{rest}");
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
    let (_, other) = said(&output);
    assert_eq!(other.len(), 3, "{other:?}");
}

/// Nobody reads the output, so that only a second Ctrl-C ends it.
#[test]
fn a_second_interrupt_is_told_from_a_failure() {
    let dir = TempDir::new("interrupt");
    let large = dir.file("large", ACCEPT.repeat(5000));
    let missing = dir.0.join("missing");
    let (stdout, writer) = io::pipe().unwrap();
    // Before it writes: the kernel does not make a pipe smaller than what is in it.
    let capacity = fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut command = conn_cli();
    command.args([&missing, &large]).stdin(Stdio::piped());
    let mut child = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
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
fn totals_so_far_are_shown_on_stderr() {
    let mut child = piped(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stdin.write_all(ACCEPT.repeat(2).as_bytes()).unwrap();
    // What is shown is counted.
    let mut shown = lines(&mut stdout, 2);
    let so_far = [
        "=== So far ===",
        "192.0.2.1: 2",
        "2 connections from 1 address in 2 lines",
    ];
    for signal in [Signal::USR1, Signal::QUIT] {
        ask(&child, signal);
        assert_eq!(lines(&mut stderr, 3), so_far);
    }
    stdin.write_all(ACCEPT.as_bytes()).unwrap();
    drop(stdin);
    shown.extend(stdout.lines().map(Result::unwrap));
    let line = "14:25:37 New connection from 192.0.2.1 to port 80";
    let summary = [
        "",
        "=== Summary ===",
        "192.0.2.1: 3",
        "3 connections from 1 address in 3 lines",
    ];
    assert_eq!(shown, [&[line; 3][..], &summary].concat());
    let rest: Vec<_> = stderr.lines().map(Result::unwrap).collect();
    let end = [
        "standard input: strace, 3 lines",
        "3 connections in 3 lines",
        "note: standard input: the day is not in the records",
    ];
    assert_eq!(rest, end);
    assert!(child.wait().unwrap().success());
}

#[test]
fn totals_so_far_are_lines_of_json() {
    let records = [ACCEPT, ACCEPT, ACCEPT].map(str::to_owned);
    let with_totals = totals_after_two(&records);
    // The same from the lines of a run: those before its summary, and the rest, with totals that
    // do not count again.
    let of_run = totals_after_two(&with_totals);
    for lines in [with_totals, of_run] {
        let output = super::read_from(lines.concat().as_bytes(), &["-q"]);
        let stdout = text(&output.stdout);
        assert!(
            stdout.starts_with("\n=== Summary ===\n192.0.2.1: 3\n3 connections from 1 address in "),
            "{stdout}"
        );
    }
}

/// The lines of `--json` if the totals are asked for once two records are read.
fn totals_after_two(records: &[String]) -> Vec<String> {
    let mut child = piped(&["--json"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(records[..2].concat().as_bytes()).unwrap();
    let mut shown = lines(&mut stdout, 2);
    ask(&child, Signal::USR1);
    shown.extend(lines(&mut stdout, 1));
    let totals = shown.last().unwrap();
    assert!(
        totals.starts_with(r#"{"type":"totals","#) && totals.contains(r#""connections":2,"#),
        "{totals}"
    );
    stdin.write_all(records[2..].concat().as_bytes()).unwrap();
    drop(stdin);
    shown.extend(stdout.lines().map(Result::unwrap));
    let summary = shown.last().unwrap();
    assert!(
        summary.starts_with(r#"{"type":"summary","#) && summary.contains(r#""connections":3,"#),
        "{summary}"
    );
    assert!(child.wait().unwrap().success());
    shown.into_iter().map(|line| line + "\n").collect()
}

fn ask(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The next lines, which are there although standard input is still open.
fn lines(output: &mut BufReader<impl Read>, number: usize) -> Vec<String> {
    output.lines().take(number).map(Result::unwrap).collect()
}
