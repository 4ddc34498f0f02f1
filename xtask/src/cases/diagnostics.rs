//! The account that conn-cli gives on standard error when it ends.

use anyhow::{Context as _, Result, bail, ensure};

use super::tracer::Ended;

/// The figures of the account's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountLine {
    pub(crate) connections: u64,
    pub(crate) addresses: u64,
    /// None if lines were not asked for.
    pub(crate) not_shown: Option<u64>,
}

impl CountLine {
    /// Reads `12 connections from 9 addresses in 0.5 s; 10 lines not shown; ...`.
    pub(super) fn parse(line: &str) -> Option<Self> {
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

    /// The one account among all that conn-cli said.
    pub(crate) fn of(ended: &Ended) -> Result<Self> {
        let said = ended.stderr.join(" | ");
        let mut accounts = ended.stderr.iter().filter_map(|line| Self::parse(line));
        let diagnostics = accounts
            .next()
            .with_context(|| format!("conn-cli gave no account: {said}"))?;
        ensure!(accounts.next().is_none(), "more than one account: {said}");
        Ok(diagnostics)
    }

    /// The account of a run of which there is nothing else to say.
    pub(super) fn alone(ended: &Ended) -> Result<Self> {
        let said = ended.stderr.join(" | ");
        let Some((tracing, rest)) = ended.stderr.split_first() else {
            bail!("conn-cli said nothing");
        };
        let is_inexact = tracing.contains("; not exact: ");
        // The tracepoint misses runs that need not be connections; see `Report::check_doubts`.
        let may_miss = tracing.contains("tracepoint sock:");
        let is_plain = |line: &String| {
            Self::parse(line).is_some()
                || is_information(line)
                || (is_inexact && says_inexact(line))
                || (may_miss && line.starts_with(AT_LEAST))
        };
        ensure!(
            tracing.starts_with("Tracing ") && rest.iter().all(is_plain),
            "more than who listens and the account: {said}"
        );
        Self::of(ended)
    }
}

/// Whether a line tells of those who listen, or of the waits: nothing that went wrong.
fn is_information(line: &str) -> bool {
    let begins = [
        "Listening: ",
        "Nobody listens on ",
        "waited to be accepted: ",
    ];
    begins.iter().any(|begin| line.starts_with(begin))
        || line.contains(" waiting of ") && line.ends_with(", 0 packets dropped")
        || line.ends_with(" no longer listens")
}

/// Whether a line repeats at the end that the hook may miss connections.
fn says_inexact(line: &str) -> bool {
    line.starts_with("warning: connections may be missing: ")
        || line.ends_with("; it skipped none in this run")
}

/// How the warning of missed runs begins.
pub(super) const AT_LEAST: &str = "warning: the count is at least ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_account() {
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

    fn alone(lines: &[&str]) -> bool {
        let ended = Ended {
            status: std::process::ExitStatus::default(),
            stdout: Vec::new(),
            stderr: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        CountLine::alone(&ended).is_ok()
    }

    #[test]
    fn only_the_tracepoint_may_miss_runs() {
        let diagnostics = "12 connections from 9 addresses in 0.5 s";
        let missed = "warning: the count is at least 12: the kernel skipped the probe 2 times";
        let fentry = "Tracing TCP connections to port 80 with fentry security_sock_graft";
        let tracepoint =
            "Tracing TCP connections to port 80 with tracepoint sock:inet_sock_set_state";
        assert!(alone(&[fentry, diagnostics]));
        assert!(!alone(&[fentry, diagnostics, missed]));
        assert!(alone(&[tracepoint, diagnostics, missed]));
        assert!(!alone(&[tracepoint, diagnostics, "warning: another"]));
        assert!(!alone(&[fentry]));
    }

    #[test]
    fn only_an_inexact_hook_may_say_that_it_is() {
        let diagnostics = "12 connections from 9 addresses in 0.5 s";
        let exact = "Tracing TCP connections to port 80 with kretprobe inet_csk_accept";
        let inexact = &*format!("{exact}; not exact: this kernel is preemptible (full)");
        for said in [
            "warning: connections may be missing: this kernel is preemptible (full)",
            "this kernel is preemptible (full); it skipped none in this run",
        ] {
            assert!(alone(&[inexact, diagnostics, said]));
            assert!(!alone(&[exact, diagnostics, said]));
        }
    }

    #[test]
    fn other_lines_are_no_account() {
        assert_eq!(CountLine::parse("Tracing TCP connections to port 80"), None);
        assert_eq!(CountLine::parse("12 more were accepted before"), None);
    }
}
