//! What conn-cli counted at each stage of a connection.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::plan::Hook;
use super::report::Report;
use super::tracer::Ended;

/// How many connections got to each stage; None of one that is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    pub(super) syn: u64,
    /// SYNs that were sent again, which are no connections.
    pub(super) repeated: u64,
    pub(super) established: Option<u64>,
    pub(super) accepted: Option<u64>,
}

impl Stages {
    /// As `--funnel` with this hook should have them.
    pub(super) fn of_funnel(
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

    /// The same without the handshakes that conn-cli did not see, few in any case, if the kernel says
    /// that it skipped the tracepoint at least as often. It skips a program while it runs on the same
    /// processor (`trace_call_bpf`), and one interrupt there may complete several handshakes.
    pub(super) fn less_missed(mut self, report: &Report) -> Result<Self> {
        let missed = match report.summary["probe"] == "tracepoint" {
            true => &report.summary["missed_runs"],
            false => &report.summary["missed_runs_established"],
        };
        let seen = Self::of(report)?.established;
        if let (Some(all), Some(seen), Some(missed)) = (self.established, seen, missed.as_u64())
            && (all - missed.min(all / 10)..all).contains(&seen)
        {
            self.established = Some(seen);
        }
        Ok(self)
    }

    /// Those of the summary.
    pub(super) fn of(report: &Report) -> Result<Self> {
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

    /// Those of the account on standard error.
    pub(super) fn said(ended: &Ended) -> Result<Self> {
        let mut said = ended.stderr.iter().filter_map(|line| Self::parse(line));
        let stages = said.next();
        let all = || format!("not one account of SYNs: {}", ended.stderr.join(" | "));
        ensure!(said.next().is_none(), all());
        stages.with_context(all)
    }

    /// Reads `200 SYNs and 3 sent again; 120 established, 80 never completed; 100 accepted,
    /// 20 not accepted`. None, too, if what is missing is not the difference. Figures that are the
    /// least or the most that they can be are taken as they are.
    fn parse(line: &str) -> Option<Self> {
        let plain = ["at least ", "at most ", "perhaps "]
            .iter()
            .fold(line.to_owned(), |line, words| line.replace(words, ""));
        let line = &*plain;
        let mut parts = line.split("; ");
        let (syns, again) = match parts.next()?.split_once(" and ") {
            None => (line.split("; ").next()?, None),
            Some((syns, again)) => (syns, Some(again)),
        };
        let (syn, noun) = syns.split_once(' ')?;
        if !["SYN", "SYNs"].contains(&noun) {
            return None;
        }
        let mut stages = Self {
            syn: syn.parse().ok()?,
            repeated: match again {
                Some(again) => again.strip_suffix(" sent again")?.parse().ok()?,
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
            let (place, lacks) = match what {
                "established" => (&mut stages.established, "never completed"),
                "accepted" => (&mut stages.accepted, "not accepted"),
                _ => return None,
            };
            *place = Some(count);
            let missing: u64 = missing.strip_suffix(lacks)?.trim_end().parse().ok()?;
            if missing != before.saturating_sub(count) {
                return None;
            }
            before = count;
        }
        Some(stages)
    }

    /// How many got to the last stage that is watched.
    pub(super) fn last(&self) -> u64 {
        self.accepted.or(self.established).unwrap_or(self.syn)
    }

    /// All that could have a line: each connection, at each stage.
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
    /// The stages must be these, and each connection must have a line at each stage, or be
    /// counted as one without. Returns how many have none.
    pub(super) fn check_stages(&self, expected: &Stages) -> Result<u64> {
        let stages = Stages::of(self)?;
        ensure!(stages == *expected, "{stages} instead of {expected}");
        self.check_doubts(0)?;
        let shown = (self.live.len() + self.earlier.len()) as u64;
        let not_shown = self.number("lines_not_shown")?;
        ensure!(
            shown == self.number("lines_shown")? && shown + not_shown == stages.events(),
            "{shown} lines and {not_shown} not shown of {stages}"
        );
        Ok(not_shown)
    }

    /// The clients of the lines of a stage, sorted.
    pub(super) fn clients_at(&self, stage: &str) -> Result<Vec<SocketAddr>> {
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
pub(super) fn client(line: &Value) -> Result<SocketAddr> {
    let address = line["remote_address"].as_str().context("no address")?;
    let port = line["remote_port"].as_u64().context("no port")?;
    Ok(SocketAddr::new(address.parse()?, port.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_account() {
        let line = "200 SYNs and 3 sent again; 120 established, 80 never completed; 100 accepted, 20 not accepted";
        let stages = Stages {
            syn: 200,
            repeated: 3,
            established: Some(120),
            accepted: Some(100),
        };
        assert_eq!(Stages::parse(line), Some(stages));
        let line = "200 SYNs and 3 sent again; at least 120 established, at most 80 never completed; 100 accepted, at least 20 not accepted";
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
    fn no_more_may_lack_than_the_kernel_did_not_run() {
        let report = |probe: &str, missed: Value| Report {
            live: Vec::new(),
            earlier: Vec::new(),
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
                let established = all.less_missed(&report(probe, missed)).unwrap().established;
                assert_eq!(established, Some(40 - lacks));
            }
        }
        for established in [36, 42] {
            let other = Stages {
                established: Some(established),
                ..all
            };
            let report = report("kretprobe", 1000.into());
            assert_eq!(other.less_missed(&report).unwrap(), other);
        }
    }

    #[test]
    fn refuses_what_does_not_add_up() {
        assert_eq!(Stages::parse("5 SYNs; 3 accepted, 1 not accepted"), None);
        assert_eq!(Stages::parse("12 connections from 9 addresses"), None);
    }
}
