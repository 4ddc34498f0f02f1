//! The help, the man pages and the completions.

use std::process::{Command, Stdio};

/// Lines and columns of a small screen.
const SCREEN: (usize, usize) = (24, 80);

fn help(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_conn-cli"))
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The long options of the long help.
fn options(command: &[&str]) -> Vec<String> {
    let help = help(&[command, &["--help"]].concat());
    // Descriptions are further to the right.
    let is_option = |line: &&str| line.starts_with("  -") || line.starts_with("      --");
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let words = help.lines().filter(is_option).flat_map(words);
    words.filter(|word| word.starts_with("--")).collect()
}

#[test]
fn the_short_help_fits_a_small_screen() {
    for args in [
        &["-h"][..],
        &["read", "-h"],
        &["compare", "-h"],
        &["-qh"],
        &["read", "-qh"],
    ] {
        let help = help(args);
        // The prompt has a line, too.
        assert!(help.lines().count() < SCREEN.0, "{help}");
        for line in help.lines() {
            assert!(line.chars().count() <= SCREEN.1, "{line}");
        }
    }
}

/// The examples of a help.
fn examples(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn both_kinds_of_help_begin_with_examples() {
    for command in [&[][..], &["read"]] {
        let short = help(&[command, &["-h"]].concat());
        let long = help(&[command, &["--help"]].concat());
        let man = help(&[&["generate", "man"], command].concat());
        assert_eq!(examples(&short), examples(&long));
        assert_eq!(examples(&short).len(), 5);
        for example in examples(&short) {
            assert!(man.contains(&example.replace('-', "\\-")), "{example}");
            // Two spaces are before what it does.
            let (commands, _) = example.trim().split_once("  ").unwrap();
            for part in commands.split([';', '|', '&', '>']) {
                let words = part
                    .split_whitespace()
                    .skip_while(|word| *word != "conn-cli");
                let words: Vec<_> = words.collect();
                if !words.is_empty() {
                    conn_cli::cli::parse(&words).unwrap_or_else(|error| panic!("{error}"));
                }
            }
        }
        assert!(long.starts_with("Usage: ") && long.contains("\nExit status: "));
    }
}

#[test]
fn the_man_pages_have_every_option() {
    for (command, page) in [(&[][..], &[][..]), (&["read"], &["read"])] {
        let options = options(command);
        assert!(options.len() > 20, "{options:?}");
        let man = help(&[&["generate", "man"], page].concat());
        for option in options {
            let escaped = option.replace('-', "\\-");
            assert!(man.contains(&escaped), "{escaped}");
        }
        assert!(man.contains("Exit status: 0 done"));
        // What read refuses with a reason is hidden.
        assert_eq!(man.contains("\\-\\-netns"), page.is_empty());
    }
    let man = help(&["generate", "man", "read"]);
    assert!(man.contains(".TH conn-cli-read 1  \"conn-cli "), "{man}");
}

#[test]
fn the_completions_have_every_option() {
    let shells = ["bash", "zsh", "fish"];
    let completions = shells.map(|shell| help(&["generate", "completions", shell]));
    for option in options(&[]).into_iter().chain(options(&["read"])) {
        for (shell, completions) in shells.iter().zip(&completions) {
            let written = match *shell {
                "fish" => format!("-l {}", option.trim_start_matches('-')),
                _ => option.clone(),
            };
            assert!(completions.contains(&written), "{shell}: {written}");
        }
    }
}

/// What bash offers for the last of these words.
fn completed(words: &[&str]) -> String {
    let script = r#"
        source <("$1" generate completions bash)
        COMP_WORDS=(conn-cli "${@:2}")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _conn__cli conn-cli "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "-", env!("CARGO_BIN_EXE_conn-cli")])
        .args(words)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn bash_completes_options_commands_and_values() {
    for (words, expected) in [
        (&["--pro"][..], "--probe"),
        (&["--probe", "f"], "fentry"),
        (&["re"], "read"),
        (&["read", "--form"], "--format"),
        (&["read", "--format", "st"], "strace"),
        // What read refuses with a reason is not offered.
        (&["read", "--prob"], ""),
        (&["generate", "comp"], "completions"),
        (&["generate", "completions", ""], "-h --help bash zsh fish"),
        (&["generate", "man", "r"], "read"),
        (&["compare", "--every"], "--every-packet"),
        (&["generate", "man", "com"], "compare"),
    ] {
        assert_eq!(completed(words), expected, "{words:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_conn-cli"))
        .args(["generate", "completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}
