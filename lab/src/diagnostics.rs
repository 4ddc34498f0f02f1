//! The total, the lines that were not shown, and the last line of a summary.

use anyhow::{Result, bail, ensure};

use crate::tracer::{AT_LEAST, Ended};

/// How the note begins that the hook may miss connections.
pub const MAY_MISS: &str = "note: connections may be missing: ";
/// How it ends for the tracepoint.
const INTERRUPTED: &str = "where a packet interrupts it";

/// The figures of these lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountLine {
    /// Connections that conn-cli counted.
    pub connections: u64,
    /// Lines that were wanted and not shown.
    pub not_shown: u64,
}

impl CountLine {
    /// The figures of the only total on standard error, and of the line with the other counts, if any.
    pub fn of(ended: &Ended) -> Result<Self> {
        let stderr = ended.stderr.join(" | ");
        let totals: Vec<u64> = ended.stderr.iter().filter_map(|line| total(line)).collect();
        let counts: Vec<_> = { ended.stderr.iter() }
            .filter_map(|line| counts(line))
            .collect();
        let ([connections], [] | [_]) = (&*totals, &*counts) else {
            bail!("not one total and at most one line with other counts: {stderr}");
        };
        Ok(Self {
            connections: *connections,
            not_shown: counts.first().copied().unwrap_or(0),
        })
    }

    /// The figures of a run that printed no warning.
    pub fn without_warnings(ended: &Ended) -> Result<Self> {
        let stderr = ended.stderr.join(" | ");
        let Some((tracing, rest)) = ended.stderr.split_first() else {
            bail!("conn-cli printed nothing");
        };
        let is_inexact = rest.iter().any(|line| line.starts_with(MAY_MISS));
        // A missed run of the tracepoint may be no connection; see `Report::check_discrepancies`.
        let may_miss =
            { rest.iter() }.any(|line| line.starts_with(MAY_MISS) && line.ends_with(INTERRUPTED));
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

/// Parses `12 connections in 0.5 s`, `at least 2 handshakes in 0.5 s`, `no connections in 0.5 s`.
fn total(line: &str) -> Option<u64> {
    let (count, rest) = number_of(line)?;
    // What was counted, in singular or plural.
    let nouns = ["connection", "handshake", "connection attempt"];
    let (noun, _) = rest.split_once(" in ")?;
    let noun = noun.trim_end_matches(" (SYN)").trim_end_matches(" (SYNs)");
    nouns.contains(&noun.trim_end_matches('s')).then_some(count)
}

/// The number at the start of a total, and the text after it.
fn number_of(line: &str) -> Option<(u64, &str)> {
    let line = line.strip_prefix("at least ").unwrap_or(line);
    let (count, rest) = line.split_once(' ')?;
    let count = if count == "no" {
        0
    } else {
        count.parse().ok()?
    };
    Some((count, rest))
}

/// Parses the lines not shown in `10 lines not shown; ...`.
fn counts(line: &str) -> Option<u64> {
    let lines = line.split("; ").next()?.strip_suffix(" not shown")?;
    lines.split(' ').next()?.parse().ok()
}

/// The last line of a summary: `12 connections from 9 addresses to port 80, 14:25:35 to ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastLine<'a> {
    /// How many connections.
    pub connections: u64,
    /// How many addresses or other groups; `None` if they are not named.
    pub groups: Option<u64>,
    /// The filters, after the times.
    pub filters: &'a str,
}

impl<'a> LastLine<'a> {
    /// Parses it; `None` if it is something else.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (connections, rest) = number_of(line)?;
        let (what, filters) = rest.split_once(" s)").unwrap_or((rest, ""));
        // What limits the count is after a semicolon.
        let filters = filters.split(';').next()?;
        let mut groups = [" from ", " accepted by ", " accepted in ", " in ", " to "].iter();
        let groups = groups.find_map(|by| what.split_once(by)?.1.split(' ').next()?.parse().ok());
        rest.starts_with(['c', 'h']).then_some(Self {
            connections,
            groups,
            filters: filters.trim_start_matches(", "),
        })
    }
}

/// Whether a line only informs, as about listeners, waits or what is known not to be seen, and reports
/// no problem.
pub fn is_informational(line: &str) -> bool {
    let prefixes = [
        "note: ",
        // With -v.
        "hooks: ",
        "sizes: ",
        "not used: ",
        "listening: ",
        "no listener on ",
        "accept wait: ",
    ];
    { prefixes.iter() }.any(|prefix| line.starts_with(prefix)) && !line.ends_with(SKIPPED_NONE)
        || line.contains(": accept queue ") && !line.starts_with("warning: ")
        || line.ends_with(" has stopped listening")
        || names_new(line)
}

/// Whether a line is `2 new addresses: 192.0.2.8 (2), 192.0.2.12 (1)`.
fn names_new(line: &str) -> bool {
    let Some((count, rest)) = line.split_once(' ') else {
        return false;
    };
    let is_named = rest.starts_with("new address: ") || rest.starts_with("new addresses: ");
    line == "no new addresses" || (count.parse::<u64>().is_ok() && is_named)
}

/// How a note ends that is right only where the start said that connections may be missing.
const SKIPPED_NONE: &str = "; it skipped none in this run";

/// Whether a line at the end repeats that the hook may miss connections.
fn says_inexact(line: &str) -> bool {
    line.starts_with("warning: connections may be missing: ") || line.ends_with(SKIPPED_NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: &str = "12 connections in 0.5 s";
    const COUNTS: &str = "1 line not shown; 3 connections of clients beyond";

    #[test]
    fn parses_counts() {
        let of = |lines: &[&str]| CountLine::of(&ended(lines)).ok();
        let figures = |not_shown| {
            Some(CountLine {
                connections: 12,
                not_shown,
            })
        };
        assert_eq!(of(&[TOTAL, COUNTS]), figures(1));
        assert_eq!(of(&[TOTAL]), figures(0));
        assert_eq!(of(&[&format!("at least {TOTAL}")]), figures(0));
        for lines in [&[COUNTS][..], &[TOTAL, TOTAL], &[TOTAL, COUNTS, COUNTS]] {
            assert_eq!(of(lines), None);
        }
        assert_eq!(total("no connections in 0.5 s"), Some(0));
        assert_eq!(total("1 connection attempt (SYN) in 0.5 s"), Some(1));
        assert_eq!(total("2 connection attempts (SYNs) in 0.5 s"), Some(2));
    }

    #[test]
    fn parses_last_lines() {
        let figures = |connections, groups, filters| LastLine {
            connections,
            groups,
            filters,
        };
        for (line, expected) in [
            (
                "12 connections from 9 addresses to port 80, 14:25:35 to 14:25:40 (4.9 s), not from \
                 10.0.0.0/8",
                Some(figures(12, Some(9), "not from 10.0.0.0/8")),
            ),
            (
                "at least 2 handshakes to port 80 accepted by 1 process, 14:25:35 to 14:25:40 (4.9 s)",
                Some(figures(2, Some(1), "")),
            ),
            (
                "2 handshakes from 1 address, 14:25:35 (0.1 s), only IPv4; accepts are not visible here",
                Some(figures(2, Some(1), "only IPv4")),
            ),
            ("no connections", Some(figures(0, None, ""))),
            ("127.0.0.1: 12", None),
            ("12 more: 13", None),
        ] {
            assert_eq!(LastLine::parse(line), expected, "{line}");
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
        let tracing = "Tracing TCP connections to port 80";
        let interrupted = &*format!("{MAY_MISS}the kernel may skip it {INTERRUPTED}");
        assert!(without_warnings(&[tracing, TOTAL, COUNTS]));
        assert!(!without_warnings(&[tracing, TOTAL, COUNTS, missed]));
        assert!(without_warnings(&[
            tracing,
            interrupted,
            TOTAL,
            COUNTS,
            missed
        ]));
        assert!(!without_warnings(&[
            tracing,
            interrupted,
            TOTAL,
            COUNTS,
            "warning: another"
        ]));
        assert!(!without_warnings(&[tracing, COUNTS]));
    }

    #[test]
    fn a_queue_is_a_warning_only_if_it_overflowed() {
        let fentry = "Tracing TCP connections to port 80 with fentry security_sock_graft";
        for (line, is_plain) in [
            ("0.0.0.0:80 httpd[812]: accept queue 3/511", true),
            (
                "warning: accept queue of 0.0.0.0:80 httpd[812] is full (3 waiting, backlog 2): 7 \
                 packets dropped",
                false,
            ),
            (
                "warning: 0.0.0.0:80 httpd[812] dropped 7 packets, accept queue 0/2",
                false,
            ),
        ] {
            assert_eq!(
                without_warnings(&[fentry, TOTAL, COUNTS, line]),
                is_plain,
                "{line}"
            );
        }
    }

    #[test]
    fn only_inexact_hook_may_report_inexactness() {
        let tracing = "Tracing TCP connections to port 80";
        let inexact = &*format!("{MAY_MISS}this kernel is preemptible (full)");
        for line in [
            "warning: connections may be missing: this kernel is preemptible (full)",
            "note: this kernel is preemptible (full); it skipped none in this run",
        ] {
            assert!(without_warnings(&[tracing, inexact, TOTAL, COUNTS, line]));
            assert!(!without_warnings(&[tracing, TOTAL, COUNTS, line]));
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
