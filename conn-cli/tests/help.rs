//! The README shows the output of `--help`, which fits a screen, and the table of hooks.

use std::process::Command;

use conn_cli::model::hook::Hook;

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

/// The table of hooks is that of the program.
#[test]
fn the_readme_has_the_table_of_hooks() {
    for hook in Hook::ALL {
        let info = hook.info();
        let knows_task = if info.knows_task { "yes" } else { "no" };
        let row = format!(
            "| `{}` | {} | {} | {} | {knows_task} | {} |",
            info.name, info.title, info.counts, info.exact, info.needs
        );
        assert_eq!(README.contains(&row), info.is_option, "{row}");
    }
}
