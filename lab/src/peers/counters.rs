//! `nstat`, which shows the kernel's counters.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;
use crate::command::program;

/// Connections and SYNs that found the accept queue full.
pub const LISTEN_OVERFLOWS: &str = "TcpExtListenOverflows";
/// Packets that listeners dropped, for that reason or another.
pub const LISTEN_DROPS: &str = "TcpExtListenDrops";

/// Some of the kernel's counters, since this network namespace was created, or since an earlier
/// reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads the counters with these names, which are nstat's.
    pub fn read(names: &[&str]) -> Result<Self> {
        let mut nstat = Command::new(program("nstat")?);
        // Absolute values, no history file, and counters that are zero, too.
        parse(&command::output(nstat.arg("-asz").args(names))?)
    }

    /// The increase of the same counters since `before`.
    pub fn since(&self, before: &Self) -> Result<Self> {
        let difference = |(name, value): (&String, &u64)| {
            let increase = value.checked_sub(before.get(name)?);
            Ok((name.clone(), increase.context("a counter decreased")?))
        };
        Ok(Self(self.0.iter().map(difference).collect::<Result<_>>()?))
    }

    /// The value of one of the counters.
    pub fn get(&self, name: &str) -> Result<u64> {
        let value = self.0.get(name).copied();
        value.with_context(|| format!("nstat has no {name}"))
    }
}

fn parse(text: &str) -> Result<Counters> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().context("nstat wrote an empty line")?;
            let value = words.next().and_then(|value| value.parse().ok());
            let value = value.with_context(|| format!("nstat wrote {line:?}"))?;
            Ok((name.to_owned(), value))
        })
        .collect::<Result<_>>()
        .map(Counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_nstat_output() {
        let before = parse(
            "#kernel\n\
            TcpExtListenOverflows           32                 0.0\n\
            TcpExtListenDrops               33                 0.0\n",
        )
        .unwrap();
        let after = parse("TcpExtListenOverflows 34 0.0\nTcpExtListenDrops 35 0.0\n").unwrap();
        assert_eq!(before.get(LISTEN_OVERFLOWS).unwrap(), 32);
        let since = after.since(&before).unwrap();
        assert_eq!(since.get(LISTEN_OVERFLOWS).unwrap(), 2);
        assert_eq!(since.get(LISTEN_DROPS).unwrap(), 2);
        assert!(since.get("TcpExtSyncookiesSent").is_err());
        assert!(before.since(&after).is_err());
        assert!(parse("TcpExtListenDrops\n").is_err());
    }
}
