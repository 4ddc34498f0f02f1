//! The formats of records.

use serde::Serialize;

/// The format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The kernel's log with the lines of iptables or nftables: dmesg, syslog or journalctl
    KernelLog,
    /// What tcpdump prints
    Tcpdump,
    /// Packets in a pcap or pcapng file, such as tcpdump -w writes
    Pcap,
    /// What strace prints
    Strace,
    /// JSON Lines of conn-cli
    Json,
    /// The text that conn-cli prints
    Text,
    /// What ulogd writes to a file of its own (LOGEMU, JSON)
    Ulogd,
    /// The tables of tcpaccept and tcptracer of bcc and bpftrace
    Tcpaccept,
    /// The events that conntrack -E prints
    Conntrack,
    /// The conn.log of Zeek
    Zeek,
    /// The eve.json of Suricata
    Suricata,
    /// The VPC flow logs of AWS and Google Cloud
    VpcFlow,
}

impl Format {
    /// Whether this is a format of conn-cli itself, which has the summaries of runs.
    #[must_use]
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Self::Json | Self::Text)
    }

    /// All formats.
    pub const ALL: [Self; 12] = [
        Self::KernelLog,
        Self::Tcpdump,
        Self::Pcap,
        Self::Strace,
        Self::Json,
        Self::Text,
        Self::Ulogd,
        Self::Tcpaccept,
        Self::Conntrack,
        Self::Zeek,
        Self::Suricata,
        Self::VpcFlow,
    ];

    /// The name that `--format` takes, and JSON has.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KernelLog => "kernel-log",
            Self::Tcpdump => "tcpdump",
            Self::Pcap => "pcap",
            Self::Strace => "strace",
            Self::Json => "json",
            Self::Text => "text",
            Self::Ulogd => "ulogd",
            Self::Tcpaccept => "tcpaccept",
            Self::Conntrack => "conntrack",
            Self::Zeek => "zeek",
            Self::Suricata => "suricata",
            Self::VpcFlow => "vpc-flow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_format_is_left_out() {
        // Serde lists all variants.
        let error = serde_json::from_str::<Format>("\"\"")
            .unwrap_err()
            .to_string();
        assert_eq!(error.matches('`').count(), 2 * (1 + Format::ALL.len()));
    }

    #[test]
    fn every_format_has_its_name_in_json() {
        for format in Format::ALL {
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(json, format!("\"{}\"", format.name()));
        }
    }
}
