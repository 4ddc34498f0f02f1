//! The two lines with counts that conn-cli prints on standard error when it ends.

use anyhow::{Result, bail, ensure};

use crate::tracer::{AT_LEAST, Ended};

/// The figures of these lines.
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
    /// The figures of the only total and the only line with the other counts on standard error.
    pub fn of(ended: &Ended) -> Result<Self> {
        let stderr = ended.stderr.join(" | ");
        let totals: Vec<u64> = ended.stderr.iter().filter_map(|line| total(line)).collect();
        let counts: Vec<_> = { ended.stderr.iter() }
            .filter_map(|line| counts(line))
            .collect();
        let ([connections], [(addresses, not_shown)]) = (&*totals, &*counts) else {
            bail!("not one total and one line with other counts: {stderr}");
        };
        Ok(Self {
            connections: *connections,
            addresses: *addresses,
            not_shown: *not_shown,
        })
    }

    /// The figures of a run that printed no warning.
    pub fn without_warnings(ended: &Ended) -> Result<Self> {
        let stderr = ended.stderr.join(" | ");
        let Some((tracing, rest)) = ended.stderr.split_first() else {
            bail!("conn-cli printed nothing");
        };
        let is_inexact = tracing.contains("; not exact: ");
        // A missed run of the tracepoint may be no connection; see `Report::check_discrepancies`.
        let may_miss = tracing.contains("raw tracepoint ");
        let is_plain = |line: &String| {
            total(line).is_some()
                || counts(line).is_some()
                || is_informational(line)
                || (is_inexact && says_inexact(line))
                || (may_miss && line.starts_with(AT_LEAST))
        };
        ensure!(
            tracing.starts_with("Tracing ") && rest.iter().all(is_plain),
            "more than the listeners and the counts: {stderr}"
        );
        Self::of(ended)
    }
}

/// Parses `12 connections in 0.5 s`.
fn total(line: &str) -> Option<u64> {
    let (count, rest) = line.split_once(' ')?;
    let is_total = rest.starts_with("connection in ") || rest.starts_with("connections in ");
    count.parse().ok().filter(|_| is_total)
}

/// Parses `from 9 addresses; 10 lines not shown; ...`.
fn counts(line: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = line.strip_prefix("from ")?.split("; ");
    let addresses = parts.next()?.split(' ').next()?.parse().ok()?;
    let not_shown = parts.find_map(|part| part.strip_suffix(" not shown"));
    let not_shown = not_shown.map(|lines| lines.split(' ').next()?.parse().ok());
    Some((
        addresses,
        match not_shown {
            Some(count) => Some(count?),
            None => None,
        },
    ))
}

/// Whether a line only informs about listeners or waits and reports no problem.
pub fn is_informational(line: &str) -> bool {
    let prefixes = [
        "listening: ",
        "no listener on ",
        "time in the accept queue: ",
        "note: ",
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

    const TOTAL: &str = "12 connections in 0.5 s";
    const COUNTS: &str = "from 9 addresses; 1 line not shown; 3 seen only by it";

    #[test]
    fn parses_counts() {
        let of = |lines: &[&str]| CountLine::of(&ended(lines)).ok();
        let figures = CountLine {
            connections: 12,
            addresses: 9,
            not_shown: Some(1),
        };
        assert_eq!(of(&[TOTAL, COUNTS]), Some(figures));
        let quiet = CountLine {
            not_shown: None,
            ..figures
        };
        assert_eq!(of(&[TOTAL, "from 9 addresses"]), Some(quiet));
        for lines in [&[TOTAL][..], &[COUNTS], &[TOTAL, TOTAL, COUNTS]] {
            assert_eq!(of(lines), None);
        }
    }

    fn ended(lines: &[&str]) -> Ended {
        Ended {
            status: std::process::ExitStatus::default(),
            stdout: Vec::new(),
            stderr: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    fn without_warnings(lines: &[&str]) -> bool {
        CountLine::without_warnings(&ended(lines)).is_ok()
    }

    #[test]
    fn only_tracepoint_may_miss_runs() {
        let missed = "warning: the count is at least 12: the kernel skipped the probe 2 times";
        let fentry = "Tracing TCP connections to port 80 with fentry security_sock_graft";
        let tracepoint =
            "Tracing TCP connections to port 80 with raw tracepoint inet_sock_set_state";
        assert!(without_warnings(&[fentry, TOTAL, COUNTS]));
        assert!(!without_warnings(&[fentry, TOTAL, COUNTS, missed]));
        assert!(without_warnings(&[tracepoint, TOTAL, COUNTS, missed]));
        assert!(!without_warnings(&[
            tracepoint,
            TOTAL,
            COUNTS,
            "warning: another"
        ]));
        assert!(!without_warnings(&[fentry]));
    }

    #[test]
    fn only_inexact_hook_may_report_inexactness() {
        let exact = "Tracing TCP connections to port 80 with kretprobe inet_csk_accept";
        let inexact = &*format!("{exact}; not exact: this kernel is preemptible (full)");
        for line in [
            "warning: connections may be missing: this kernel is preemptible (full)",
            "this kernel is preemptible (full); it skipped none in this run",
        ] {
            assert!(without_warnings(&[inexact, TOTAL, COUNTS, line]));
            assert!(!without_warnings(&[exact, TOTAL, COUNTS, line]));
        }
    }

    #[test]
    fn other_lines_have_no_counts() {
        for line in [
            "Tracing TCP connections to port 80",
            "12 more were accepted before",
            "warning: 12 connections in the dark",
        ] {
            assert_eq!((total(line), counts(line)), (None, None));
        }
    }
}
