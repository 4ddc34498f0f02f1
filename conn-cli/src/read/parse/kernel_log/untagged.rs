//! Firewalls that write packet records in a form of their own, also where other lines have a tag:
//!
//! ```text
//! 101 6 tap101i0-IN 02/Mar/2021:19:40:08 +0100 ACCEPT: IN=fwbr101i0 OUT=fwbr101i0 ..
//! [WAN_LOCAL-D-30005] DESCR="Block all" IN=eth8 OUT= ..
//! ```
//!
//! The first is Proxmox VE's pvefw-logger, whose records end with the flags. The second is UniFi OS, where
//! ulogd writes to syslog.

use super::stamp::{Stamp, Stamped};
use crate::read::parse::scan::{digits, is_time_of_day, split_at_byte, word};

/// The tags that a log daemon writes before the lines of pve-firewall.log.
const PVEFW_TAGS: [&[u8]; 2] = [b"pvefw-logger", b"pve-firewall"];

/// Whether the text begins like such a record.
pub(super) fn is_record(text: &[u8]) -> bool {
    pvefw(text).is_some() || is_unifi(text)
}

/// Whether this is a message of Proxmox VE after a tag of its own.
pub(super) fn pvefw_tag(name: &[u8], message: &[u8]) -> bool {
    PVEFW_TAGS.contains(&name) && pvefw(message).is_some()
}

/// The time in a message of pvefw-logger, and the message after it: `VMID LEVEL CHAIN TIME ZONE MESSAGE`.
pub(super) fn pvefw(text: &[u8]) -> Option<Stamped<'_>> {
    let (guest, rest) = digits(text);
    let (level, rest) = digits(rest.strip_prefix(b" ")?);
    if guest.is_empty() || level.len() != 1 {
        return None;
    }
    let (_chain, time) = word(rest.strip_prefix(b" ")?)?;
    let (clock, zone) = word(time)?;
    // 02/Mar/2021:19:40:08 +0100
    let is_time = clock.len() == 20
        && [2, 6].iter().all(|&at| clock[at] == b'/')
        && is_time_of_day(&clock[12..]);
    let zone = split_at_byte(zone, b' ').map_or(zone, |(zone, _)| zone);
    if !is_time || zone.len() != 5 {
        return None;
    }
    let end = clock.len() + 1 + zone.len();
    let rest = time[end..].strip_prefix(b" ").unwrap_or(&time[end..]);
    Some((Stamp::Clf(&time[..end]), rest))
}

/// `[CHAIN-ACTION-NUMBER] DESCR="`
fn is_unifi(text: &[u8]) -> bool {
    let rule = text
        .strip_prefix(b"[")
        .and_then(|rest| split_at_byte(rest, b']'));
    let Some((rule, rest)) = rule else {
        return false;
    };
    let mut parts = rule.rsplitn(3, |byte| *byte == b'-');
    let is_part = |part: Option<&[u8]>, is_right: fn(&u8) -> bool| {
        part.is_some_and(|part| !part.is_empty() && part.iter().all(is_right))
    };
    is_part(parts.next(), u8::is_ascii_digit)
        && is_part(parts.next(), u8::is_ascii_uppercase)
        && is_part(parts.next(), |byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_'
        })
        && rest.starts_with(b" DESCR=\"")
}
