//! A scraper of metrics: the least HTTP that asks for them, and the least of their text format that compares
//! them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::DEADLINE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status line and the header.
    pub head: String,
    /// What follows.
    pub body: Vec<u8>,
}

/// The metrics in the text format: the value of each name with its labels.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

/// Connects to this port of the loopback address.
pub fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot connect")?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Sends this, and reads the answer.
pub fn ask(port: u16, request: &str) -> Result<Answer> {
    let mut stream = connect(port)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("no answer")?;
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.with_context(|| format!("no header: {}", String::from_utf8_lossy(&answer)))?;
    let body = answer.split_off(end + 4);
    Ok(Answer {
        head: String::from_utf8(answer)?,
        body,
    })
}

/// Asks for the metrics in the text format.
pub fn scrape(port: u16) -> Result<Metrics> {
    let answer = ask(port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    ensure!(
        answer.head.starts_with("HTTP/1.1 200 ") && answer.head.contains("version=0.0.4"),
        "not metrics: {}",
        answer.head
    );
    Metrics::parse(str::from_utf8(&answer.body)?)
}

impl Metrics {
    /// Parses the text format.
    pub fn parse(text: &str) -> Result<Self> {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').context("no value")?;
            let value = value
                .parse()
                .with_context(|| format!("no number: {line}"))?;
            let is_new = values.insert(name.to_owned(), value).is_none();
            ensure!(is_new, "{name} is there twice");
        }
        Ok(Self(values))
    }

    /// The sum of the series with this name and these labels, which are a part of what is in the braces.
    pub fn sum(&self, name: &str, labels: &str) -> Result<f64> {
        let mut found = self.0.iter().filter(|(series, _)| {
            let (family, rest) = series.split_once('{').unwrap_or((series, ""));
            family == name && rest.contains(labels)
        });
        let first = found.next();
        let first = first.with_context(|| format!("no {name} with {labels}: {self:?}"))?;
        Ok(found.map(|(_, value)| value).sum::<f64>() + first.1)
    }

    /// Whether there is a series of this name.
    pub fn has(&self, name: &str) -> bool {
        self.sum(name, "").is_ok()
    }

    /// What counts must not be less than in an earlier answer, and no series may be gone but those of a listener.
    pub fn check_since(&self, earlier: &Self) -> Result<()> {
        for (name, before) in &earlier.0 {
            let now = match self.0.get(name) {
                Some(now) => now,
                // A listener may be gone.
                None if name.contains("{listener=") => continue,
                None => bail!("{name} is gone"),
            };
            let family = name.split('{').next().unwrap_or_default();
            let counts = ["_total", "_count", "_sum", "_bucket"];
            let counts = counts.iter().any(|end| family.ends_with(end));
            ensure!(
                !counts || now >= before,
                "{name} went from {before} to {now}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_may_only_grow() {
        let one = Metrics::parse("# HELP a A.\na_total{b=\"1\"} 3\na_total{b=\"2\"} 4\ng 5\n");
        let other = Metrics::parse("a_total{b=\"1\"} 3\na_total{b=\"2\"} 3\ng 1\n").unwrap();
        let one = one.unwrap();
        assert_eq!(one.sum("a_total", "").unwrap(), 7.0);
        assert_eq!(one.sum("a_total", "b=\"2\"").unwrap(), 4.0);
        assert!(one.sum("a", "").is_err() && one.has("g"));
        assert!(one.check_since(&other).is_ok());
        assert!(other.check_since(&one).is_err());
        assert!(Metrics::parse("a 1\na 1\n").is_err());
    }
}
