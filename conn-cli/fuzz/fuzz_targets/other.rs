//! Any bytes, read as one of the formats without a target of their own; the first byte chooses it.
#![no_main]

use conn_cli::model::format::Format;
use libfuzzer_sys::fuzz_target;

const FORMATS: [Format; 7] = [
    Format::Text,
    Format::Ulogd,
    Format::Tcpaccept,
    Format::Conntrack,
    Format::Zeek,
    Format::Suricata,
    Format::VpcFlow,
];

fuzz_target!(|data: &[u8]| {
    let index = data.first().map_or(0, |byte| usize::from(*byte));
    let rest = data.get(1..).unwrap_or_default();
    conn_cli_fuzz::check(Some(FORMATS[index % FORMATS.len()]), rest);
});
