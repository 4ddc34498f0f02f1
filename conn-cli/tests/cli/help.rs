//! The help, the man pages and the completions.

use std::process::{Command, Stdio};

/// Lines and columns of a common screen.
const SCREEN: (usize, usize) = (60, 100);

fn help(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_conn-cli"))
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The long options that the short help names.
fn options(command: &[&str]) -> Vec<String> {
    let help = help(&[command, &["-h"]].concat());
    let options = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches([';', ',', '.']).to_owned());
    options.collect()
}

#[test]
fn the_short_help_fits_a_screen() {
    for args in [&["-h"][..], &["read", "-h"]] {
        let help = help(args);
        assert!(help.lines().count() <= SCREEN.0, "{}", help.lines().count());
        for line in help.lines() {
            assert!(line.chars().count() <= SCREEN.1, "{line}");
        }
    }
}

#[test]
fn the_man_pages_and_the_long_help_have_every_option() {
    for (command, page) in [(&[][..], &[][..]), (&["read"], &["read"])] {
        let options = options(command);
        assert!(options.len() > 20, "{options:?}");
        let man = help(&[&["generate", "man"], page].concat());
        let long = help(&[command, &["--help"]].concat());
        for option in options {
            let escaped = option.replace('-', "\\-");
            assert!(man.contains(&escaped), "{escaped}");
            assert!(long.contains(&option), "{option}");
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
