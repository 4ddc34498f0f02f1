//! What conn-cli said of a run, held against what the server counted.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::rows::Told;
use crate::cases::diagnostics::CountLine;
use crate::cases::tracer::Ended;

/// Begins the summary in text.
const SUMMARY: &str = "=== Summary ===";
/// What each line of a connection has, and no other.
const IN_TEXT: &str = " from 127.";
const IN_JSON: &str = r#"{"type":"connection""#;
/// Of the stages before the accept conn-cli may say that it has not seen all.
const OF_A_STAGE: &str = "warning: the kernel did not run the probe of the stage established";

/// Lines that there were to be, and those of them that are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) wanted: u64,
    pub(super) lost: u64,
}

/// What was in conn-cli's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Output {
    lines: u64,
    /// The summary's count at each stage, the accepts last.
    summary: Vec<u64>,
}

/// Tells how many lines were lost. An error if a total is not what the server counted, or
/// if a line is missing without being accounted for.
pub(super) fn lines(told: Told, output: &str, ended: &Ended, served: u64) -> Result<Lines> {
    let said = ended.stderr.join(" | ");
    ensure!(ended.status.success(), "conn-cli failed: {said}");
    let mut warnings = ended
        .stderr
        .iter()
        .filter(|line| line.starts_with("warning:"));
    let doubts_stage = warnings.clone().any(|line| line.starts_with(OF_A_STAGE));
    ensure!(warnings.all(|line| line.starts_with(OF_A_STAGE)), "{said}");
    let diagnostics = CountLine::of(ended)?;
    let output = match told {
        Told::Json => json(output)?,
        Told::Text | Told::Nowhere => text(output)?,
    };
    let is_exact = output.summary.last() == Some(&served)
        && (doubts_stage || output.summary.iter().all(|count| *count == served));
    ensure!(
        diagnostics.connections == served && is_exact,
        "WRONG TOTAL: the server accepted {served}; {output:?}; {said}"
    );
    if told == Told::Nowhere {
        return Ok(Lines::default());
    }
    let wanted = output.summary.iter().sum();
    let lost = diagnostics.not_shown.context("no account of the lines")?;
    ensure!(
        output.lines + lost == wanted,
        "LINES UNACCOUNTED FOR: {wanted} were to be shown; {output:?}; {said}"
    );
    Ok(Lines { wanted, lost })
}

fn text(output: &str) -> Result<Output> {
    let (lines, summary) = output.split_once(SUMMARY).context("no summary")?;
    let of_client = summary.lines().find(|line| line.starts_with("127."));
    let counts = of_client.context("no client")?.split_whitespace().skip(1);
    Ok(Output {
        lines: lines.lines().filter(|line| line.contains(IN_TEXT)).count() as u64,
        summary: counts.map(str::parse).collect::<Result<_, _>>()?,
    })
}

fn json(output: &str) -> Result<Output> {
    let summary: Value = serde_json::from_str(output.lines().last().unwrap_or_default())?;
    let connections = summary["connections"].as_u64();
    let lines = output.lines().filter(|line| line.starts_with(IN_JSON));
    Ok(Output {
        lines: lines.count() as u64,
        summary: vec![connections.context("no summary")?],
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    const TEXT: &str = "now New connection from 127.0.0.1\nnow New connection from 127.0.0.1\n\n\
                        === Summary ===\n127.0.0.1: 3\n";

    fn ended(diagnostics: &str) -> Ended {
        Ended {
            status: ExitStatus::from_raw(0),
            stdout: Vec::new(),
            stderr: diagnostics.split('\n').map(str::to_owned).collect(),
        }
    }

    fn diagnostics(connections: u64, not_shown: u64) -> Ended {
        ended(&format!(
            "{connections} connections from 1 address in 0.5 s; {not_shown} lines not shown"
        ))
    }

    #[test]
    fn tells_how_many_lines_were_lost() {
        let found = lines(Told::Text, TEXT, &diagnostics(3, 1), 3).unwrap();
        assert_eq!(found, Lines { wanted: 3, lost: 1 });
        let json = "{\"type\":\"connection\"}\n{\"type\":\"summary\",\"connections\":1}\n";
        let found = lines(Told::Json, json, &diagnostics(1, 0), 1).unwrap();
        assert_eq!(found, Lines { wanted: 1, lost: 0 });
        let quiet = ended("3 connections from 1 address in 0.5 s");
        let found = lines(Told::Nowhere, &TEXT[TEXT.len() - 30..], &quiet, 3).unwrap();
        assert_eq!(found, Lines::default());
    }

    #[test]
    fn every_stage_has_a_line() {
        let text = "now SYN from 127.0.0.1\nnow Established from 127.0.0.1\n\
                    now Accepted from 127.0.0.1\n\n=== Summary ===\n\
                    address    syn  established  accepted\n127.0.0.1    2            2         2\n";
        let found = lines(Told::Text, text, &diagnostics(2, 3), 2).unwrap();
        assert_eq!(found, Lines { wanted: 6, lost: 3 });

        let fewer = text.replace("2            2         2", "2            1         2");
        assert!(lines(Told::Text, &fewer, &diagnostics(2, 2), 2).is_err());
        let doubted = format!(
            "2 connections from 1 address in 0.5 s; 2 lines not shown\n{OF_A_STAGE} 1 time"
        );
        let found = lines(Told::Text, &fewer, &ended(&doubted), 2).unwrap();
        assert_eq!(found, Lines { wanted: 5, lost: 2 });
    }

    #[test]
    fn refuses_what_does_not_add_up() {
        let refuses = |ended, served| lines(Told::Text, TEXT, &ended, served).is_err();
        assert!(refuses(diagnostics(3, 1), 4));
        assert!(refuses(diagnostics(4, 1), 3));
        assert!(refuses(diagnostics(3, 0), 3));
        assert!(refuses(ended("3 connections from 1 address in 0.5 s"), 3));
        let doubted = "3 connections from 1 address in 0.5 s; 1 line not shown\nwarning: doubt";
        assert!(refuses(ended(doubted), 3));
    }
}
