//! The correct result of reading an input, which its generator knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result};
use lab::diagnostics::LastLine;

/// Connections by client.
pub(super) type Clients = BTreeMap<Ipv4Addr, u64>;

/// What a program that reads an input must count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Truth {
    /// Lines or packets.
    pub(super) records: u64,
    pub(super) clients: Clients,
}

impl Truth {
    pub(super) fn connections(&self) -> u64 {
        self.clients.values().sum()
    }

    /// Text that can be parsed again, so that a cached input need not be generated again.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.records);
        for (client, connections) in &self.clients {
            writeln!(text, "{connections} {client}").expect("writing to memory does not fail");
        }
        text
    }
}

impl FromStr for Truth {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (records, clients) = text.split_once('\n').context("the truth is empty")?;
        Ok(Self {
            records: records.parse()?,
            clients: count_and_client(clients).context("the truth is damaged")?,
        })
    }
}

/// Lines like `17 192.0.2.1`; None if one is something else, or a client comes twice.
pub(super) fn count_and_client(text: &str) -> Option<Clients> {
    collect(text.lines().map(|line| line.split_once(' ')))
}

/// Lines like `192.0.2.1: 17` below the title of conn-cli's summary, without the total after them.
pub(super) fn summary(text: &str) -> Option<Clients> {
    let (_, lines) = text.split_once("=== Summary ===\n")?;
    let (clients, total) = lines.trim_end().rsplit_once('\n').unwrap_or(("", lines));
    let clients = collect(clients.lines().map(|line| {
        let (client, count) = line.split_once(": ")?;
        Some((count, client))
    }))?;
    let sum: u64 = clients.values().sum();
    (LastLine::parse(total)?.connections == sum).then_some(clients)
}

fn collect<'a>(pairs: impl Iterator<Item = Option<(&'a str, &'a str)>>) -> Option<Clients> {
    let mut clients = Clients::new();
    for pair in pairs {
        let (count, client) = pair?;
        let client = client.parse().ok()?;
        if clients.insert(client, count.parse().ok()?).is_some() {
            return None;
        }
    }
    Some(clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_is_parsed_as_written() {
        let truth = Truth {
            records: 7,
            clients: [([192, 0, 2, 1].into(), 2), ([192, 0, 2, 2].into(), 3)].into(),
        };
        assert_eq!(truth.to_text().parse::<Truth>().unwrap(), truth);
        assert_eq!(truth.connections(), 5);
    }

    #[test]
    fn answers_are_parsed() {
        let clients: Clients = [([192, 0, 2, 1].into(), 2)].into();
        assert_eq!(count_and_client("2 192.0.2.1\n").as_ref(), Some(&clients));
        assert_eq!(
            summary("\n=== Summary ===\n192.0.2.1: 2\n2 connections from 1 address\n").as_ref(),
            Some(&clients)
        );
        for text in ["192.0.2.1 2", "2 192.0.2.1\n2 192.0.2.1", "x"] {
            assert_eq!(count_and_client(text), None, "{text}");
        }
        assert_eq!(summary("192.0.2.1: 2\n"), None);
        assert_eq!(
            summary("\n=== Summary ===\n192.0.2.1: 2\n3 connections\n"),
            None
        );
    }
}
