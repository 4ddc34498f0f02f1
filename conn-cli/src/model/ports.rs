//! The set of local ports that are watched.

use std::{fmt, str::FromStr};

use conn_common::{PORT_WORDS, PortBits};

/// Every port but 0, which no connection has.
const ALL: [(u16, u16); 1] = [(1, u16::MAX)];

/// Ports as `--port` accepts them: `80`, `80,443`, `8000-8099`, or a list of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet {
    /// Ascending, neither overlapping nor adjacent.
    ranges: Vec<(u16, u16)>,
}

/// All ports.
impl Default for PortSet {
    fn default() -> Self {
        Self::all()
    }
}

impl PortSet {
    /// Every port.
    #[must_use]
    pub fn all() -> Self {
        Self {
            ranges: ALL.to_vec(),
        }
    }

    /// All ports of all these sets.
    #[must_use]
    pub fn union(sets: &[Self]) -> Self {
        let mut ranges: Vec<_> = sets.iter().flat_map(|set| &set.ranges).copied().collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    /// The same but for these ports.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let rest = others.rest();
        let common = |&(first, last): &(u16, u16)| {
            let overlap = rest.ranges.iter().map(move |&(other_first, other_last)| {
                (first.max(other_first), last.min(other_last))
            });
            overlap.filter(|(first, last)| first <= last)
        };
        Self {
            ranges: self.ranges.iter().flat_map(common).collect(),
        }
    }

    /// All other ports.
    fn rest(&self) -> Self {
        let mut ranges = Vec::new();
        let mut next = 1;
        for &(first, last) in &self.ranges {
            if next < first {
                ranges.push((next, first - 1));
            }
            // No port follows the last one.
            next = last.checked_add(1).unwrap_or(0);
        }
        if next > 0 {
            ranges.push((next, u16::MAX));
        }
        Self { ranges }
    }

    /// The ports that are left out, if that says it in fewer words.
    #[must_use]
    pub fn left_out(&self) -> Option<Self> {
        let rest = Some(self.rest()).filter(|rest| !rest.is_empty());
        rest.filter(|rest| rest.ranges.len() < self.ranges.len())
    }

    /// Whether there is no port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether this is a single port, so that lines need not name it.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self.ranges[..], [(first, last)] if first == last)
    }

    /// Whether this is every port, so that a connection's port does not matter.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.ranges == ALL
    }

    /// Whether the port is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        let ends_before = |&(_, last): &(u16, u16)| last < port;
        let index = self.ranges.partition_point(ends_before);
        self.ranges
            .get(index)
            .is_some_and(|&(first, _)| first <= port)
    }

    /// Each of them, if they are no more than this.
    #[must_use]
    pub fn few(&self, most: usize) -> Option<Vec<u16>> {
        let ports = self.ranges.iter().flat_map(|&(first, last)| first..=last);
        let ports: Vec<u16> = ports.take(most + 1).collect();
        (ports.len() <= most).then_some(ports)
    }

    /// `80,8000-8099`, in which not too many are named.
    pub(crate) fn numbers(&self) -> impl fmt::Display {
        Numbers(self)
    }

    /// The set as the eBPF programs look it up.
    #[must_use]
    pub fn bits(&self) -> Box<PortBits> {
        let mut bits = Box::new([0; PORT_WORDS]);
        for &(first, last) in &self.ranges {
            for port in first..=last {
                bits[usize::from(port) / 64] |= 1 << (port % 64);
            }
        }
        bits
    }
}

impl FromStr for PortSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sets = text
            .split(',')
            .map(|item| {
                range(item.trim()).map(|range| Self {
                    ranges: vec![range],
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::union(&sets))
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first), port(last)),
        None => (port(text), port(text)),
    };
    let (Some(first), Some(last)) = (first, last) else {
        return Err(format!(
            "'{text}' is not a port: give numbers from 1 to 65535, or names, such as 80, https or 80,443,8000-8099"
        ));
    };
    if first > last {
        return Err(format!("the range {text} ends before it begins"));
    }
    Ok((first, last))
}

fn port(text: &str) -> Option<u16> {
    // `parse` accepts a sign, which ports do not have.
    let port = text.parse().ok().filter(|_| !text.starts_with('+'));
    port.filter(|&port| port > 0)
}

/// How many ports or ranges are named at most.
const MAX_NAMED: usize = 8;

/// `port 80`, `ports 80,8000-8099`, `every port`, `all ports but 9478`
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("every port");
        }
        if let Some(left_out) = self.left_out() {
            return write!(f, "all ports but {}", left_out.numbers());
        }
        f.write_str(if self.is_single() { "port " } else { "ports " })?;
        self.numbers().fmt(f)
    }
}

/// `80,8000-8099`
struct Numbers<'a>(&'a PortSet);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(PortSet { ranges }) = self;
        for (index, (first, last)) in ranges.iter().take(MAX_NAMED).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        match ranges.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Vec<u16> {
        let set = text.parse::<PortSet>().unwrap();
        let bits = set.bits();
        let members = |port: &u16| bits[usize::from(port / 64)] >> (port % 64) & 1 == 1;
        let members: Vec<_> = (0..=u16::MAX).filter(members).collect();
        let contained: Vec<_> = (0..=u16::MAX).filter(|&port| set.contains(port)).collect();
        assert_eq!(members, contained);
        members
    }

    #[test]
    fn ports_lists_and_ranges_are_parsed() {
        assert_eq!(members("80"), [80]);
        assert_eq!(members("443,80"), [80, 443]);
        assert_eq!(members("80, 8000-8003"), [80, 8000, 8001, 8002, 8003]);
        assert_eq!(members("1,65535"), [1, 65535]);
        assert_eq!(members("63-65"), [63, 64, 65]);
        assert_eq!(members("1-65535").len(), 65535);
    }

    #[test]
    fn overlapping_ranges_are_merged() {
        let set: PortSet = "10-20,15-30,31,80".parse().unwrap();
        assert_eq!(set.to_string(), "ports 10-31,80");
        let both = PortSet::union(&["443".parse().unwrap(), "80".parse().unwrap()]);
        assert_eq!(both.to_string(), "ports 80,443");
        assert_eq!("80,80".parse::<PortSet>().unwrap().to_string(), "port 80");
        assert_eq!("1-65535".parse(), Ok(PortSet::all()));
        assert_eq!(PortSet::all().to_string(), "every port");
    }

    #[test]
    fn ports_are_left_out() {
        let without = |set: &str, others: &str| {
            let set: PortSet = set.parse().unwrap();
            set.without(&others.parse().unwrap())
        };
        for (set, others, rest) in [
            ("1-65535", "9478", "all ports but 9478"),
            ("1-65535", "80,8000-8099", "all ports but 80,8000-8099"),
            ("1-65535", "1", "ports 2-65535"),
            ("1-65535", "65535", "ports 1-65534"),
            ("1-65535", "1,65535", "ports 2-65534"),
            (
                "80,443,8000-8099",
                "443,8050,9478",
                "ports 80,8000-8049,8051-8099",
            ),
            ("80,443", "1-442", "port 443"),
            ("80", "81", "port 80"),
            ("10-20,30-40", "15-35", "ports 10-14,36-40"),
            ("1,3,5,7-65535", "9", "all ports but 2,4,6,9"),
        ] {
            let set = without(set, others);
            assert_eq!(set.to_string(), rest);
            assert!(!set.is_empty());
        }
        for (set, others) in [
            ("80", "1-65535"),
            ("1-65535", "1-65535"),
            ("80,81", "80-81"),
        ] {
            assert!(without(set, others).is_empty(), "{set} {others}");
        }
        assert_eq!(without("1-65535", "80").left_out(), "80".parse().ok());
        assert_eq!(
            PortSet::all().without(&PortSet { ranges: vec![] }),
            PortSet::all()
        );
    }

    #[test]
    fn few_ports_are_listed() {
        let few = |set: &str| set.parse::<PortSet>().unwrap().few(3);
        assert_eq!(few("80,443-444"), Some(vec![80, 443, 444]));
        assert_eq!(few("80,443-445"), None);
        assert_eq!(few("1-65535"), None);
    }

    #[test]
    fn invalid_ports_are_refused() {
        for text in [
            "",
            "0",
            "65536",
            "-1",
            "+80",
            "80-",
            "-80",
            "http",
            "80;81",
            "80,,81",
            "80,",
            "1-2-3",
            "0-5",
            "99999999999999999999",
            "8 0",
            "٨٠",
        ] {
            let error = text.parse::<PortSet>().unwrap_err();
            assert!(error.contains("80,443,8000-8099"), "{text}: {error}");
        }
        let error = "443-80".parse::<PortSet>().unwrap_err();
        assert!(error.contains("ends before it begins"), "{error}");
    }
}
