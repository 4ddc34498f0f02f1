//! What conn-cli counted at each stage of a connection.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::hook::Hook;
use crate::report::Report;
use crate::tracer::Ended;

/// How many connections reached each stage; `None` for one that is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// SYNs, without repetitions.
    pub syn: u64,
    /// Retransmitted SYNs, which are not connections.
    pub repeated: u64,
    /// Completed handshakes.
    pub established: Option<u64>,
    /// Accepted connections.
    pub accepted: Option<u64>,
}

impl Stages {
    /// No SYNs, where nothing else is watched.
    const NONE: Self = Self {
        syn: 0,
        repeated: 0,
        established: None,
        accepted: None,
    };

    /// The stages that `--funnel` must have with this hook.
    pub fn for_funnel(
        hook: Hook,
        [syn, repeated]: [u64; 2],
        established: u64,
        accepted: u64,
    ) -> Self {
        Self {
            syn,
            repeated,
            established: Some(established),
            accepted: hook.sees_accepts().then_some(accepted),
        }
    }

    /// The same without the handshakes that conn-cli missed, at most a tenth, if the kernel reports
    /// that it skipped the tracepoint at least as often. It skips a program while it runs on the
    /// same processor (`trace_call_bpf`), and one interrupt there may complete several handshakes.
    pub fn without_missed(mut self, report: &Report) -> Result<Self> {
        let missed = if report.summary["probe"] == "tracepoint" {
            &report.summary["missed_runs"]
        } else {
            &report.summary["missed_runs_established"]
        };
        let seen = Self::from_report(report)?.established;
        if let (Some(all), Some(seen), Some(missed)) = (self.established, seen, missed.as_u64())
            && (all - missed.min(all / 10)..all).contains(&seen)
        {
            self.established = Some(seen);
        }
        Ok(self)
    }

    /// The stages in the summary.
    pub fn from_report(report: &Report) -> Result<Self> {
        let stages = &report.summary["stages"];
        let alone = stages.is_null().then(|| report.number("connections"));
        Ok(Self {
            syn: match alone {
                Some(connections) => connections?,
                None => stages["syn"].as_u64().context("no SYNs")?,
            },
            repeated: report.number("repeated_syns")?,
            established: stages["established"].as_u64(),
            accepted: stages["accepted"].as_u64(),
        })
    }

    /// The stages in the diagnostics on standard error, which say nothing if there was nothing.
    pub fn from_stderr(ended: &Ended) -> Result<Self> {
        let mut lines = ended.stderr.iter().filter_map(|line| Self::parse(line));
        let stages = lines.next();
        ensure!(
            lines.next().is_none(),
            "more than one line of SYNs: {}",
            ended.stderr.join(" | ")
        );
        Ok(stages.unwrap_or(Self::NONE))
    }

    /// Parses `200 SYNs and 3 retransmitted; 120 established, 80 never completed; 100 accepted, 20 not
    /// accepted`. `None`, too, if the missing number is not the difference. Lower and upper bounds
    /// are taken as exact figures.
    fn parse(line: &str) -> Option<Self> {
        let plain = ["at least ", "at most ", "perhaps "]
            .iter()
            .fold(line.to_owned(), |line, words| line.replace(words, ""));
        let line = &*plain;
        let mut parts = line.split("; ");
        let mut first = parts.next()?;
        if let Some((syns, refused)) = first.split_once(", ") {
            let _: u64 = refused.strip_suffix(" refused")?.parse().ok()?;
            first = syns;
        }
        let (syns, again) = match first.split_once(" and ") {
            None => (first, None),
            Some((syns, again)) => (syns, Some(again)),
        };
        let (syn, noun) = syns.split_once(' ')?;
        if !["SYN", "SYNs"].contains(&noun) {
            return None;
        }
        let mut stages = Self {
            syn: syn.parse().ok()?,
            repeated: match again {
                Some(again) => again.strip_suffix(" retransmitted")?.parse().ok()?,
                None => 0,
            },
            established: None,
            accepted: None,
        };
        let mut before = stages.syn;
        for part in parts {
            let (count, missing) = part.split_once(", ")?;
            let (count, what) = count.split_once(' ')?;
            let count: u64 = count.parse().ok()?;
            let (stage, suffix) = match what {
                "established" => (&mut stages.established, "never completed"),
                "accepted" => (&mut stages.accepted, "not accepted"),
                _ => return None,
            };
            *stage = Some(count);
            let missing: u64 = missing.strip_suffix(suffix)?.trim_end().parse().ok()?;
            if missing != before.saturating_sub(count) {
                return None;
            }
            before = count;
        }
        Some(stages)
    }

    /// The count of the last watched stage.
    pub fn last(&self) -> u64 {
        self.accepted.or(self.established).unwrap_or(self.syn)
    }

    /// The number of lines without loss: one for each connection at each stage.
    fn events(&self) -> u64 {
        self.syn + self.established.unwrap_or(0) + self.accepted.unwrap_or(0)
    }
}

impl std::fmt::Display for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "syn={} repeated={}", self.syn, self.repeated)?;
        if let Some(established) = self.established {
            write!(f, " established={established}")?;
        }
        if let Some(accepted) = self.accepted {
            write!(f, " accepted={accepted}")?;
        }
        Ok(())
    }
}

impl Report {
    /// The stages must equal `expected`, and each connection must have a line at each stage, or be
    /// counted as not shown. Returns how many were not shown.
    pub fn check_stages(&self, expected: &Stages) -> Result<u64> {
        let stages = Stages::from_report(self)?;
        ensure!(stages == *expected, "{stages} instead of {expected}");
        self.check_discrepancies(0)?;
        let shown = (self.live.len() + self.earlier.len()) as u64;
        let not_shown = self.number("lines_not_shown")?;
        ensure!(
            shown == self.number("lines_shown")? && shown + not_shown == stages.events(),
            "{shown} lines and {not_shown} not shown of {stages}"
        );
        Ok(not_shown)
    }

    /// The clients of the lines of a stage, sorted.
    pub fn clients_at(&self, stage: &str) -> Result<Vec<SocketAddr>> {
        let lines = self.earlier.iter().chain(&self.live);
        let mut clients = lines
            .filter(|line| line["stage"] == stage)
            .map(client)
            .collect::<Result<Vec<_>>>()?;
        clients.sort_unstable();
        Ok(clients)
    }
}

/// The client of a line.
pub fn client(line: &Value) -> Result<SocketAddr> {
    let address = line["remote_address"].as_str().context("no address")?;
    let port = line["remote_port"].as_u64().context("no port")?;
    Ok(SocketAddr::new(address.parse()?, port.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_stage_counts() {
        let line = "200 SYNs and 3 retransmitted; 120 established, 80 never completed; 100 accepted, 20 not accepted";
        let stages = Stages {
            syn: 200,
            repeated: 3,
            established: Some(120),
            accepted: Some(100),
        };
        assert_eq!(Stages::parse(line), Some(stages));
        let line = "200 SYNs and 3 retransmitted; at least 120 established, at most 80 never completed; 100 accepted, at least 20 not accepted";
        assert_eq!(Stages::parse(line), Some(stages));
        let line = "200 SYNs and 3 retransmitted, 7 refused; 120 established, 80 never completed; 100 accepted, 20 not accepted";
        assert_eq!(Stages::parse(line), Some(stages));
        let line = "1 SYN; 1 accepted, 0 not accepted";
        let stages = Stages {
            syn: 1,
            repeated: 0,
            established: None,
            accepted: Some(1),
        };
        assert_eq!(Stages::parse(line), Some(stages));
    }

    #[test]
    fn tolerates_only_as_many_missing_as_missed_runs() {
        let report = |probe: &str, missed: Value| Report {
            live: Vec::new(),
            earlier: Vec::new(),
            overs: Vec::new(),
            totals: Vec::new(),
            intervals: Vec::new(),
            summary: serde_json::json!({
                "stages": {"syn": 9, "established": 37, "accepted": 30},
                "repeated_syns": 0,
                "probe": probe,
                "missed_runs": if probe == "tracepoint" { missed.clone() } else { 0.into() },
                "missed_runs_established": missed,
            }),
        };
        let all = Stages {
            syn: 9,
            repeated: 0,
            established: Some(40),
            accepted: Some(30),
        };
        for probe in ["kretprobe", "tracepoint"] {
            for (missed, lacks) in [(3.into(), 3), (2.into(), 0), (Value::Null, 0)] {
                let established = all
                    .without_missed(&report(probe, missed))
                    .unwrap()
                    .established;
                assert_eq!(established, Some(40 - lacks));
            }
        }
        for established in [36, 42] {
            let other = Stages {
                established: Some(established),
                ..all
            };
            let report = report("kretprobe", 1000.into());
            assert_eq!(other.without_missed(&report).unwrap(), other);
        }
    }

    #[test]
    fn rejects_inconsistent_counts() {
        assert_eq!(Stages::parse("5 SYNs; 3 accepted, 1 not accepted"), None);
        assert_eq!(Stages::parse("12 connections in 0.5 s"), None);
    }
}
