//! The parser of each format.

use super::{
    conntrack, json, kernel_log,
    lines::{Line, Wanted},
    strace, suricata, tcpaccept, tcpdump, text, ulogd, vpc_flow, zeek,
};
use crate::model::format::Format;

/// The parser for the lines of a format; None for one that has no lines.
#[must_use]
pub(crate) fn parser(format: Format, wanted: &Wanted) -> Option<Box<dyn Line>> {
    Some(match format {
        Format::KernelLog => Box::new(kernel_log::Lines::new(wanted)),
        Format::Tcpdump => Box::new(tcpdump::Lines::new(wanted)),
        Format::Strace => Box::new(strace::Lines::new(wanted)),
        Format::Json => Box::new(json::Lines::new(wanted)),
        Format::Text => Box::new(text::Lines::new(wanted)),
        Format::Ulogd => Box::new(ulogd::Lines::new(wanted)),
        Format::Tcpaccept => Box::new(tcpaccept::Lines::new(wanted)),
        Format::Conntrack => Box::new(conntrack::Lines::new(wanted)),
        Format::Zeek => Box::new(zeek::Lines::new(wanted)),
        Format::Suricata => Box::new(suricata::Lines::new(wanted)),
        Format::VpcFlow => Box::new(vpc_flow::Lines::new(wanted)),
        Format::Pcap => return None,
    })
}
