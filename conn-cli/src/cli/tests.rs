use std::{path::PathBuf, time::Duration};

use super::show::duration;
use crate::{
    cli::{self, *},
    model::{
        format::Format,
        hook::Hook,
        options::{Lines, ReadOptions, TimeFormat, TraceOptions},
        ports::PortSet,
        stage::{Stage, WatchedStages},
    },
};

fn parse(args: &[&str]) -> Result<Job, String> {
    cli::parse(&[&["conn-cli"], args].concat())
}

fn trace(args: &[&str]) -> TraceOptions {
    match parse(args).unwrap() {
        Job::Trace(options) => options,
        other => panic!("{other:?}"),
    }
}

fn read(args: &[&str]) -> ReadOptions {
    match parse(args).unwrap() {
        Job::Read(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_accepts_the_definition() {
    Args::command().debug_assert();
}

#[test]
fn ports_may_repeat_and_default_to_all() {
    assert_eq!(trace(&[]).show.ports, PortSet::all());
    let both = trace(&["--port", "80", "-p", "443,8000-8099"]).show.ports;
    assert_eq!(both.to_string(), "ports 80,443,8000-8099");
    // These names are built in.
    let named = trace(&["--port", "http, https,8000-8001"]).show.ports;
    assert_eq!(named.to_string(), "ports 80,443,8000-8001");
    assert!(parse(&["--port", "no-such-service"]).is_err());
}

#[test]
fn ports_are_left_out() {
    let all = trace(&["--not-port", "9478", "--not-port", "http"])
        .show
        .ports;
    assert_eq!(all.to_string(), "all ports but 80,9478");
    let some = &["--port", "80-90", "--not-port", "85"];
    assert_eq!(trace(some).show.ports.to_string(), "ports 80-84,86-90");
    let read = read(&["read", "--not-port", "22", "a"]).show.ports;
    assert_eq!(read.to_string(), "all ports but 22");
    let error = parse(&["--port", "80", "--not-port", "80"]).unwrap_err();
    assert!(error.contains("--not-port leaves no port"), "{error}");
}

#[test]
fn what_hands_type_is_accepted() {
    let options = trace(&[
        "-n",
        "-c",
        "3",
        "--exclude",
        "10.0.0.0/8",
        "--interval",
        "5",
    ]);
    assert_eq!(options.show.count, Some(3));
    assert_eq!(
        options.show.ends,
        trace(&["--not-from", "10.0.0.0/8"]).show.ends
    );
    assert_eq!(options.show.interval(), Some(Duration::from_secs(5)));
    assert!(read(&["read", "-n", "-c", "3"]).show.count == Some(3));
}

#[test]
fn the_command_that_was_meant_is_named() {
    for (args, meant) in [
        (&["8080"][..], "conn-cli --port 8080"),
        (&["port", "8080"], "conn-cli --port 8080"),
        (&["Cargo.toml"], "conn-cli read Cargo.toml"),
        (&["-r", "web.pcap"], "conn-cli read web.pcap"),
    ] {
        let error = parse(args).unwrap_err();
        assert!(error.contains(meant), "{args:?}: {error}");
    }
    let error = parse(&["--timeout", "3"]).unwrap_err();
    assert!(
        !error.contains("similar") && !error.contains("--time "),
        "{error}"
    );
    for (args, meant) in [
        (
            "-p 80 read f",
            "put the options after read: conn-cli read -p 80 f",
        ),
        ("--comm read read", "put the options after read\n"),
        (
            "--known read -n read f",
            "after read: conn-cli read --known read -n f",
        ),
        (
            "--json check",
            "put the options after check: conn-cli check --json",
        ),
    ] {
        let error = parse(&Vec::from_iter(args.split(' '))).unwrap_err();
        assert!(error.contains(meant), "{args}: {error}");
    }
    for args in [&["nonsense"][..], &["-q", "nonsense"]] {
        let error = parse(args).unwrap_err();
        assert!(error.contains("unrecognized subcommand"), "{error}");
    }
    let error = parse(&["-q", "Cargo.toml"]).unwrap_err();
    assert!(error.contains("conn-cli read Cargo.toml"), "{error}");
}

#[test]
fn read_takes_options_after_the_subcommand() {
    let options = read(&["read", "-q", "--port", "80", "a", "-"]);
    assert_eq!(options.show.lines, Lines::None);
    assert_eq!(options.show.ports.to_string(), "port 80");
    assert_eq!(options.files, [PathBuf::from("a"), PathBuf::from("-")]);
    assert_eq!(read(&["read"]).files, [PathBuf::from("-")]);
    // Otherwise they would be silently ignored.
    assert!(parse(&["--port", "80", "read", "a"]).is_err());
}

#[test]
fn event_and_funnel_choose_the_stages() {
    let accepted = WatchedStages::only(Stage::Accepted);
    assert_eq!(trace(&[]).stages, accepted);
    assert_eq!(
        trace(&["--event", "accepted,syn"]).stages,
        WatchedStages::new([Stage::Syn, Stage::Accepted])
    );
    assert_eq!(trace(&["--funnel"]).stages, WatchedStages::new(Stage::ALL));
}

#[test]
fn lines_are_for_connections_clients_or_intervals() {
    let lines = |args: &[&str]| trace(args).show.lines;
    assert_eq!(lines(&[]), Lines::Connections);
    assert_eq!(lines(&["--new"]), Lines::NewClients);
    assert_eq!(lines(&["--known", "f"]), Lines::NewClients);
    assert_eq!(lines(&["--known", "f", "--quiet"]), Lines::None);
    let known = |args: &[&str]| trace(args).show.known;
    assert_eq!(
        known(&["--known", "f", "--quiet"]),
        Some(PathBuf::from("f"))
    );
    assert_eq!(known(&["--new"]), None);
    let second = Lines::Intervals(Duration::from_secs(1));
    assert_eq!(lines(&["--interval", "1s"]), second);
    assert_eq!(lines(&["--interval", "1s", "--quiet"]), second);
}

#[test]
fn names_are_accepted_for_all_that_has_one() {
    assert_eq!(trace(&["--probe", "auto"]).hook, None);
    for hook in Hook::ALL {
        let parsed = parse(&["--probe", hook.name()]);
        assert_eq!(parsed.is_ok(), hook.info().is_option, "{hook}");
    }
    for format in Format::ALL {
        let parsed = read(&["read", "--format", format.name()]);
        assert_eq!(parsed.records.format, Some(format));
    }
    for time in TimeFormat::ALL {
        assert_eq!(trace(&["--time", time.name()]).show.time, time);
    }
    let error = parse(&["--probe", "uprobe"]).unwrap_err();
    assert!(
        error.contains("possible values: auto, kretprobe"),
        "{error}"
    );
}

#[test]
fn invalid_options_are_refused_with_a_reason() {
    for (args, reason) in [
        ("--funnel --event syn", "cannot be used with"),
        ("--funnel --pid 7", "who accepts"),
        ("--event syn --by user", "who accepts"),
        ("-i lo", "about SYNs"),
        ("--event syn --probe fentry", "does not include"),
        ("-4 -6", "cannot be used with"),
        ("--json --time ctime", "a number with --time epoch"),
        ("--json --time delta", "a number with --time epoch"),
        ("--interval 10s --new", "cannot be used with"),
        ("--quiet --new", "add --known FILE"),
        ("--quiet --known f --by port", "leave out --by"),
        ("--interval 10s --known f", "cannot be used with"),
        ("--interval 10ms", "100ms or more"),
        ("--from 10.0.0.0/40", "give an address"),
        ("--by pid", "give address"),
        ("--pid 0", "not in 1.."),
        (
            "--probe tracepoint --pid 7",
            "does not know the accepting process",
        ),
        (
            "--probe tracepoint --by user",
            "does not know the accepting process",
        ),
        ("--comm a-name-that-is-too-long", "1 to 15 bytes"),
        ("--netns blue", "a process id"),
        ("--uid no-such-user", "/etc/passwd"),
    ] {
        let error = parse(&Vec::from_iter(args.split(' '))).unwrap_err();
        assert!(error.contains(reason), "{args}: {error}");
    }
}

/// `read` supports each option of live tracing, or refuses it with a reason.
#[test]
fn read_takes_or_refuses_every_option() {
    let live = Args::command();
    let read = live.find_subcommand("read").unwrap();
    let exempt = ["help", "version", "numeric"];
    for option in live.get_arguments() {
        let name = option.get_id().as_str();
        if exempt.contains(&name) {
            continue;
        }
        let counterpart = read.get_arguments().find(|option| option.get_id() == name);
        let counterpart = counterpart.unwrap_or_else(|| panic!("read knows nothing of {name}"));
        if !counterpart.is_hide_set() {
            continue;
        }
        let mut args = vec!["read".to_owned(), format!("--{}", name.replace('_', "-"))];
        if option.get_action().takes_values() {
            args.push("1".to_owned());
        }
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let error = parse(&args).unwrap_err();
        assert!(
            error.contains("record"),
            "{name} is refused without a reason: {error}"
        );
    }
    assert!(parse(&["read", "--by", "process"]).is_err());
    assert!(parse(&["read", "--by", "network/16"]).is_ok());
}

#[test]
fn durations() {
    assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
    for text in [
        "",
        "0",
        "-5",
        "+5",
        "1.5",
        "-5s",
        "0s",
        "s",
        "1x",
        "99999999999999999999h",
    ] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn too_many_are_a_number_and_a_time_of_the_clock() {
    for (text, expected) in [
        ("100/1m", "100 in 1 m"),
        ("0/1s", "0 in 1 s"),
        ("5/90", "5 in 90 s"),
        ("4294967295/24h", "4294967295 in 24 h"),
    ] {
        let over = trace(&["--over", text]).show.over.unwrap();
        assert_eq!(over.to_string(), expected);
    }
    for text in [
        "",
        "100",
        "/1m",
        "100/",
        "1/0s",
        "1/100ms",
        "1/1.5s",
        "1/25h",
        "1/99999999999999999999h",
        "1/-1m",
        "-1/1m",
        "+1/1m",
        "4294967296/1m",
        "99999999999999999999/1m",
        "1/1m/1m",
        "a/1m",
    ] {
        assert!(parse(&["--over", text]).is_err(), "{text}");
    }
    assert_eq!(trace(&[]).show.over, None);
    // Only live.
    assert!(parse(&["read", "--over", "100/1m", "file"]).is_err());
}
