//! The count line that conn-cli prints on standard error when it ends.

use anyhow::{Context as _, Result, bail, ensure};

use crate::tracer::{AT_LEAST, Ended};

/// The figures of the count line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountLine {
    /// Connections that conn-cli counted.
    pub connections: u64,
    /// Addresses that they came from.
    pub addresses: u64,
    /// `None` if conn-cli was told to show no lines.
    pub not_shown: Option<u64>,
}

impl CountLine {
    /// Parses `12 connections from 9 addresses in 0.5 s; 10 lines not shown; ...`.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split("; ");
        let mut words = parts.next()?.split(' ');
        let (connections, noun) = (words.next()?.parse().ok()?, words.next()?);
        if !noun.starts_with("connection") || words.next()? != "from" {
            return None;
        }
        let addresses = words.next()?.parse().ok()?;
        let not_shown = parts
            .find(|part| part.ends_with(" not shown"))
            .map(|part| part.split(' ').next()?.parse().ok());
        Some(Self {
            connections,
            addresses,
            not_shown: match not_shown {
                Some(count) => Some(count?),
                None => None,
            },
        })
    }

    /// The only count line on standard error.
    pub fn of(ended: &Ended) -> Result<Self> {
        let stderr = ended.stderr.join(" | ");
        let mut count_lines = ended.stderr.iter().filter_map(|line| Self::parse(line));
        let diagnostics = count_lines
            .next()
            .with_context(|| format!("conn-cli printed no count line: {stderr}"))?;
        ensure!(
            count_lines.next().is_none(),
            "more than one count line: {stderr}"
        );
        Ok(diagnostics)
    }

    /// The count line of a run that printed no warning.
    pub fn without_warnings(ended: &Ended) -> Result<Self> {
        let stderr = ended.stderr.join(" | ");
        let Some((tracing, rest)) = ended.stderr.split_first() else {
            bail!("conn-cli printed nothing");
        };
        let is_inexact = tracing.contains("; not exact: ");
        // A missed run of the tracepoint may be no connection; see `Report::check_discrepancies`.
        let may_miss = tracing.contains("raw tracepoint ");
        let is_plain = |line: &String| {
            Self::parse(line).is_some()
                || is_informational(line)
                || (is_inexact && says_inexact(line))
                || (may_miss && line.starts_with(AT_LEAST))
        };
        ensure!(
            tracing.starts_with("Tracing ") && rest.iter().all(is_plain),
            "more than the listeners and the count line: {stderr}"
        );
        Self::of(ended)
    }
}

/// Whether a line only informs about listeners or waits and reports no problem.
pub fn is_informational(line: &str) -> bool {
    let prefixes = [
        "listening: ",
        "no listener on ",
        "time in the accept queue: ",
    ];
    prefixes.iter().any(|prefix| line.starts_with(prefix))
        || line.contains(": accept queue ") && line.ends_with(", 0 packets dropped")
        || line.ends_with(" has stopped listening")
}

/// Whether a line at the end repeats that the hook may miss connections.
fn says_inexact(line: &str) -> bool {
    line.starts_with("warning: connections may be missing: ")
        || line.ends_with("; it skipped none in this run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_count_line() {
        let line = "12 connections from 9 addresses in 0.5 s; 1 line not shown; 3 seen only by it";
        let diagnostics = CountLine {
            connections: 12,
            addresses: 9,
            not_shown: Some(1),
        };
        assert_eq!(CountLine::parse(line), Some(diagnostics));
        let quiet = CountLine {
            not_shown: None,
            ..diagnostics
        };
        let line = "12 connections from 9 addresses in 0.5 s";
        assert_eq!(CountLine::parse(line), Some(quiet));
    }

    fn without_warnings(lines: &[&str]) -> bool {
        let ended = Ended {
            status: std::process::ExitStatus::default(),
            stdout: Vec::new(),
            stderr: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        CountLine::without_warnings(&ended).is_ok()
    }

    #[test]
    fn only_tracepoint_may_miss_runs() {
        let diagnostics = "12 connections from 9 addresses in 0.5 s";
        let missed = "warning: the count is at least 12: the kernel skipped the probe 2 times";
        let fentry = "Tracing TCP connections to port 80 with fentry security_sock_graft";
        let tracepoint =
            "Tracing TCP connections to port 80 with raw tracepoint inet_sock_set_state";
        assert!(without_warnings(&[fentry, diagnostics]));
        assert!(!without_warnings(&[fentry, diagnostics, missed]));
        assert!(without_warnings(&[tracepoint, diagnostics, missed]));
        assert!(!without_warnings(&[
            tracepoint,
            diagnostics,
            "warning: another"
        ]));
        assert!(!without_warnings(&[fentry]));
    }

    #[test]
    fn only_inexact_hook_may_report_inexactness() {
        let diagnostics = "12 connections from 9 addresses in 0.5 s";
        let exact = "Tracing TCP connections to port 80 with kretprobe inet_csk_accept";
        let inexact = &*format!("{exact}; not exact: this kernel is preemptible (full)");
        for line in [
            "warning: connections may be missing: this kernel is preemptible (full)",
            "this kernel is preemptible (full); it skipped none in this run",
        ] {
            assert!(without_warnings(&[inexact, diagnostics, line]));
            assert!(!without_warnings(&[exact, diagnostics, line]));
        }
    }

    #[test]
    fn other_lines_are_not_count_lines() {
        assert_eq!(CountLine::parse("Tracing TCP connections to port 80"), None);
        assert_eq!(CountLine::parse("12 more were accepted before"), None);
    }
}
