//! What conn-cli reported, held against what the server counted.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::server::Counts;
use super::tracer::Ended;

/// What `--json` wrote.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) live: Vec<Value>,
    summary: Value,
}

/// The figures of a summary, which add up or do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) server: u64,
    pub(super) connections: u64,
    pub(super) shown: u64,
    pub(super) not_shown: u64,
    pub(super) second_hook_only: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "server={} conn-cli={} shown={} not_shown={} second_hook_only={}",
            self.server, self.connections, self.shown, self.not_shown, self.second_hook_only
        )
    }
}

impl Report {
    /// Reads the output of a conn-cli that ended well.
    pub(super) fn of(ended: &Ended) -> Result<Self> {
        ensure!(
            ended.status.success(),
            "conn-cli ended with {}: {}",
            ended.status,
            ended.stderr.join(" | ")
        );
        let mut live = Vec::new();
        let mut summary = None;
        for line in &ended.stdout {
            ensure!(summary.is_none(), "a line after the summary: {line}");
            let value: Value =
                serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            match value["type"].as_str() {
                Some("connection") => live.push(value),
                Some("summary") => summary = Some(value),
                _ => bail!("of no known type: {line}"),
            }
        }
        let summary = summary.context("conn-cli wrote no summary")?;
        Ok(Self { live, summary })
    }

    /// The figures beside the server's, which must agree among themselves.
    pub(super) fn figures(&self, server: &Counts) -> Result<Figures> {
        let figures = Figures {
            server: server.values().sum(),
            connections: self.number("connections")?,
            shown: self.live.len() as u64,
            not_shown: self.number("lines_not_shown")?,
            second_hook_only: self.number("second_hook_only")?,
        };
        let by_address: u64 = self.counts()?.values().sum();
        ensure!(
            figures.shown + figures.not_shown == figures.connections,
            "shown and not shown are not the total: {figures}"
        );
        ensure!(
            by_address + self.number("other_clients")? == figures.connections,
            "the addresses' sum {by_address} is not the total: {figures}"
        );
        Ok(figures)
    }

    /// Every figure must be the server's own.
    pub(super) fn check(&self, server: &Counts) -> Result<Figures> {
        let figures = self.figures(server)?;
        ensure!(
            figures.connections == figures.server,
            "not the server's count: {figures}"
        );
        let counts = self.counts()?;
        ensure!(
            counts == *server,
            "not the server's addresses: {figures}; server {server:?}, conn-cli {counts:?}"
        );
        if figures.not_shown == 0 {
            let shown = self.live_counts()?;
            ensure!(
                shown == *server,
                "the live lines are not of the server's addresses: {figures}; {shown:?}"
            );
        }
        Ok(figures)
    }

    /// Every live line must have these values.
    pub(super) fn check_live(&self, expected: &[(&str, Value)]) -> Result<()> {
        for line in &self.live {
            for (key, value) in expected {
                ensure!(line[*key] == *value, "{key} is not {value}: {line}");
            }
        }
        Ok(())
    }

    /// The summary's connections for each address.
    fn counts(&self) -> Result<Counts> {
        let clients = self.summary["clients"].as_array().context("no clients")?;
        clients
            .iter()
            .map(|client| {
                let address = client["address"].as_str().context("no address")?;
                let connections = client["connections"].as_u64().context("no connections")?;
                Ok((address.parse()?, connections))
            })
            .collect()
    }

    /// The live lines for each address.
    fn live_counts(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for line in &self.live {
            let address = line["remote_address"].as_str().context("no address")?;
            *counts.entry(address.parse()?).or_default() += 1;
        }
        Ok(counts)
    }

    fn number(&self, key: &str) -> Result<u64> {
        self.summary[key]
            .as_u64()
            .with_context(|| format!("the summary has no number {key}: {}", self.summary))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn report(not_shown: u64) -> Report {
        let connection = r#"{"type":"connection","remote_address":"127.0.0.1"}"#;
        let summary = format!(
            r#"{{"type":"summary","connections":3,"lines_not_shown":{not_shown},"second_hook_only":1,"other_clients":0,"clients":[{{"address":"127.0.0.1","connections":3}}]}}"#
        );
        Report::of(&Ended {
            status: std::process::ExitStatus::from_raw(0),
            stdout: vec![connection.to_owned(), connection.to_owned(), summary],
            stderr: Vec::new(),
        })
        .unwrap()
    }

    fn counts(address: &str, connections: u64) -> Counts {
        Counts::from([(address.parse().unwrap(), connections)])
    }

    #[test]
    fn accepts_figures_that_add_up() {
        assert!(report(1).check(&counts("127.0.0.1", 3)).is_ok());
    }

    #[test]
    fn refuses_a_missing_line() {
        assert!(report(0).check(&counts("127.0.0.1", 3)).is_err());
    }

    #[test]
    fn refuses_another_total_or_address() {
        assert!(report(1).check(&counts("127.0.0.1", 4)).is_err());
        assert!(report(1).check(&counts("127.0.0.2", 3)).is_err());
    }
}
