//! Compares conn-cli's output of a run with the server's own count.

use anyhow::{Context as _, Result, ensure};
use lab::diagnostics::CountLine;
use lab::tracer::Ended;
use serde_json::Value;

use super::rows::Reports;

/// The first line of the summary in text.
const SUMMARY: &str = "=== Summary ===";
/// Found in each line of a connection, and in no other.
const TEXT_LINE: &str = " from 127.";
const JSON_LINE: &str = r#"{"type":"connection""#;
/// The only warning allowed: conn-cli may have missed stages before the accept.
const STAGE_WARNING: &str = "warning: the kernel skipped the probe of the established stage";

/// The number of expected lines, and of those that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) total: u64,
    pub(super) lost: u64,
}

/// What conn-cli's output contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Output {
    lines: u64,
    /// The summary's count for each stage, the accepts last.
    summary: Vec<u64>,
}

/// Returns how many lines were lost. Fails if a total differs from the server's count, or if a line
/// is missing that conn-cli did not report as not shown.
pub(super) fn lines(reports: Reports, output: &str, ended: &Ended, served: u64) -> Result<Lines> {
    let stderr = ended.stderr.join(" | ");
    ensure!(ended.status.success(), "conn-cli failed: {stderr}");
    let mut warnings = ended
        .stderr
        .iter()
        .filter(|line| line.starts_with("warning:"));
    let has_stage_warning = warnings.clone().any(|line| line.starts_with(STAGE_WARNING));
    ensure!(
        warnings.all(|line| line.starts_with(STAGE_WARNING)),
        "{stderr}"
    );
    let diagnostics = CountLine::of(ended)?;
    let output = match reports {
        Reports::Json => json(output)?,
        Reports::Text | Reports::Nowhere => text(output)?,
    };
    let is_exact = output.summary.last() == Some(&served)
        && (has_stage_warning || output.summary.iter().all(|count| *count == served));
    ensure!(
        diagnostics.connections == served && is_exact,
        "WRONG TOTAL: the server accepted {served}; {output:?}; {stderr}"
    );
    if reports == Reports::Nowhere {
        return Ok(Lines::default());
    }
    let total = output.summary.iter().sum();
    let lost = diagnostics.not_shown;
    ensure!(
        output.lines + lost == total,
        "WRONG NUMBER OF LINES: expected {total}; {output:?}; {stderr}"
    );
    Ok(Lines { total, lost })
}

fn text(output: &str) -> Result<Output> {
    let (lines, summary) = output.split_once(SUMMARY).context("no summary")?;
    let client_line = summary.lines().find(|line| line.starts_with("127."));
    let counts = client_line.context("no client")?.split_whitespace().skip(1);
    Ok(Output {
        lines: lines
            .lines()
            .filter(|line| line.contains(TEXT_LINE))
            .count() as u64,
        summary: counts.map(str::parse).collect::<Result<_, _>>()?,
    })
}

fn json(output: &str) -> Result<Output> {
    let summary: Value = serde_json::from_str(output.lines().last().unwrap_or_default())?;
    let connections = summary["connections"].as_u64();
    let lines = output.lines().filter(|line| line.starts_with(JSON_LINE));
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
            "{connections} connections in 0.5 s\n{not_shown} lines not shown"
        ))
    }

    #[test]
    fn lost_lines_are_counted() {
        let found = lines(Reports::Text, TEXT, &diagnostics(3, 1), 3).unwrap();
        assert_eq!(found, Lines { total: 3, lost: 1 });
        let json = "{\"type\":\"connection\"}\n{\"type\":\"summary\",\"connections\":1}\n";
        let found = lines(Reports::Json, json, &diagnostics(1, 0), 1).unwrap();
        assert_eq!(found, Lines { total: 1, lost: 0 });
        let quiet = ended("3 connections in 0.5 s");
        let found = lines(Reports::Nowhere, &TEXT[TEXT.len() - 30..], &quiet, 3).unwrap();
        assert_eq!(found, Lines::default());
    }

    #[test]
    fn each_stage_has_a_line() {
        let text = "now SYN from 127.0.0.1\nnow Established from 127.0.0.1\n\
                    now Accepted from 127.0.0.1\n\n=== Summary ===\n\
                    address    syn  established  accepted\n127.0.0.1    2            2         2\n";
        let found = lines(Reports::Text, text, &diagnostics(2, 3), 2).unwrap();
        assert_eq!(found, Lines { total: 6, lost: 3 });

        let fewer = text.replace("2            2         2", "2            1         2");
        assert!(lines(Reports::Text, &fewer, &diagnostics(2, 2), 2).is_err());
        let with_warning =
            format!("2 connections in 0.5 s\n2 lines not shown\n{STAGE_WARNING} 1 time");
        let found = lines(Reports::Text, &fewer, &ended(&with_warning), 2).unwrap();
        assert_eq!(found, Lines { total: 5, lost: 2 });
    }

    #[test]
    fn counts_that_do_not_match_are_errors() {
        let refuses = |ended, served| lines(Reports::Text, TEXT, &ended, served).is_err();
        assert!(refuses(diagnostics(3, 1), 4));
        assert!(refuses(diagnostics(4, 1), 3));
        assert!(refuses(diagnostics(3, 0), 3));
        assert!(refuses(ended("3 connections in 0.5 s"), 3));
        let with_warning = "3 connections in 0.5 s\n1 line not shown\nwarning: other";
        assert!(refuses(ended(with_warning), 3));
    }
}
