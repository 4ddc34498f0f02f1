//! The README shows the output of `--help`, which fits a screen.

use std::process::Command;

const README: &str = include_str!("../../README.md");

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

/// The output of a command in a console block of the README.
fn readme_output(command: &str) -> String {
    let (_, after) = README
        .split_once(&format!("```console\n$ {command}\n"))
        .unwrap_or_else(|| panic!("the README does not show {command}"));
    let (output, _) = after.split_once("\n```").unwrap();
    format!("{output}\n")
}

#[test]
fn the_readme_shows_the_help() {
    assert_eq!(readme_output("conn-cli --help"), help(&["--help"]));
    assert_eq!(
        readme_output("conn-cli read --help"),
        help(&["read", "--help"])
    );
}

#[test]
fn the_help_fits_a_screen() {
    for args in [&["--help"][..], &["read", "--help"]] {
        let help = help(args);
        assert!(help.lines().count() <= SCREEN.0, "{}", help.lines().count());
        for line in help.lines() {
            assert!(line.chars().count() <= SCREEN.1, "{line}");
        }
    }
}

#[test]
fn short_and_long_help_are_the_same() {
    assert_eq!(help(&["-h"]), help(&["--help"]));
}
