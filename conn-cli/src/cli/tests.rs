use std::{path::PathBuf, time::Duration};

use super::show::duration;
use crate::{
    cli::*,
    model::{connection::Stage, ports::PortSet},
};

fn parse(args: &[&str]) -> Result<Args, String> {
    let args = Args::try_parse_from([&["conn-cli"], args].concat());
    let args = args.map_err(|error| error.to_string())?;
    args.check()?;
    Ok(args)
}

#[test]
fn clap_accepts_the_definition() {
    Args::command().debug_assert();
}

#[test]
fn ports_may_repeat_and_default_to_all() {
    let ports = |args: &[&str]| parse(args).unwrap().trace.show.port_set();
    assert_eq!(ports(&[]), PortSet::all());
    let both = ports(&["--port", "80", "-p", "443,8000-8099"]);
    assert_eq!(both.to_string(), "ports 80,443,8000-8099");
}

#[test]
fn read_takes_options_after_the_subcommand() {
    let args = parse(&["read", "-q", "--port", "80", "a", "-"]).unwrap();
    let Some(Command::Read(read)) = args.command else {
        panic!("no command");
    };
    assert!(read.show.quiet);
    assert_eq!(read.show.port_set().to_string(), "port 80");
    assert_eq!(read.files, [PathBuf::from("a"), PathBuf::from("-")]);
    // Otherwise they would be silently ignored.
    assert!(parse(&["--port", "80", "read", "a"]).is_err());
}

#[test]
fn event_and_funnel_choose_the_stages() {
    let stages = |args: &[&str]| Vec::from_iter(parse(args).unwrap().trace.stages());
    assert_eq!(stages(&[]), [Stage::Accepted]);
    assert_eq!(
        stages(&["--event", "accepted,syn"]),
        [Stage::Syn, Stage::Accepted]
    );
    assert_eq!(stages(&["--funnel"]).len(), 3);
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
        ("--json --time iso", "cannot be used with"),
        ("--interval 10s --new", "cannot be used with"),
        ("--quiet --known f", "cannot be used with"),
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
    let exempt = ["help", "version"];
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
    for text in ["", "60", "-5s", "0s", "s", "1x", "99999999999999999999h"] {
        assert!(duration(text).is_err(), "{text}");
    }
}
