//! The formats of records.

use clap::ValueEnum;
use serde::Serialize;

/// The format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
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
}
