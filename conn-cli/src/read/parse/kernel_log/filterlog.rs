//! The packet records of filterlog in pfSense and OPNsense: values with commas between them.
//!
//! ```text
//! RULE,SUBRULE,ANCHOR,TRACKER,em0,match,block,in,4,TOS,ECN,TTL,ID,OFFSET,FLAGS,6,tcp,LEN,SRC,DST,SPORT,DPORT,DATALEN,S,SEQ,ACK,WINDOW,URG,OPTIONS
//! RULE,SUBRULE,ANCHOR,TRACKER,em0,match,block,in,6,CLASS,FLOW,HOPLIMIT,tcp,6,LEN,SRC,DST,SPORT,DPORT,DATALEN,S,SEQ,ACK,WINDOW,URG,OPTIONS
//! ```
//!
//! See <https://docs.netgate.com/pfsense/en/latest/monitoring/logs/raw-filter-format.html>.

use super::netfilter::{CUT, PacketRecord, Syn};
use crate::read::{
    event::ParseError,
    parse::scan::{address, number},
};

/// Finds the packet record that `message` is, even if it is cut.
pub(super) fn find(message: &[u8]) -> Option<PacketRecord<'_>> {
    if !message.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let mut values = message.split(|byte| *byte == b',');
    values.nth(5)?;
    let action = values.next()?;
    let is_action = !action.is_empty() && action.iter().all(u8::is_ascii_lowercase);
    if !is_action || ![&b"in"[..], b"out"].contains(&values.next()?) {
        return None;
    }
    let is_ipv6 = match values.next()? {
        b"4" => false,
        b"6" => true,
        _ => return None,
    };
    Some(PacketRecord {
        prefix: b"",
        syn: syn(is_ipv6, values).unwrap_or(Err(CUT)),
    })
}

/// The SYN in the values of an IP header and of what follows. None if there are too few.
fn syn<'a>(
    is_ipv6: bool,
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Option<Result<Option<Syn>, ParseError>> {
    let offset = if is_ipv6 { b"0" } else { values.nth(4)? };
    // IPv4 has flags first. The number and the name of the protocol are in either order.
    values.nth(usize::from(is_ipv6) * 2)?;
    let protocol = [values.next()?, values.next()?];
    let _length = values.next()?;
    let is_tcp = |name: &&[u8]| *name == b"6" || name.eq_ignore_ascii_case(b"tcp");
    if !protocol.iter().all(is_tcp) || offset != b"0" {
        return Some(Ok(None));
    }
    let (client, server) = (values.next()?, values.next()?);
    let (from, to) = (values.next()?, values.next()?);
    let flags = values.nth(1)?;
    // What follows shows that the flags are whole.
    let sequence = values.next()?;
    if !flags.iter().all(|flag| b"FSRPAUECWN".contains(flag)) {
        return None;
    }
    if !flags.contains(&b'S') || flags.iter().any(|flag| b"ARF".contains(flag)) {
        return Some(Ok(None));
    }
    // With data it is `FIRST:LAST`.
    let sequence = sequence.split(|byte| *byte == b':').next()?;
    Some(Ok(Some(Syn {
        client: (address(client)?, number(from)?),
        server: (address(server)?, number(to)?),
        sequence: number(sequence),
        ip_id: None,
        is_end: false,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV4: &str = "5,,,1000000103,em0,match,block,in,4,0x0,,64,4711,0,DF,6,tcp,60,192.0.2.1,192.0.2.9,37822,80,0,";
    const IPV6: &str =
        "93,,,0,igb1,match,pass,out,6,0x00,0x00000,64,tcp,6,40,2001:db8::1,2001:db8::9,37822,80,0,";

    fn found(message: &str) -> Result<Option<Syn>, ParseError> {
        find(message.as_bytes()).unwrap().syn
    }

    #[test]
    fn syns_of_both_families_are_found() {
        for (header, client) in [(IPV4, "192.0.2.1"), (IPV6, "2001:db8::1")] {
            for flags in ["S", "SEC", "SPU"] {
                for (after, sequence) in [
                    ("1234,,64240,,mss;nop;wscale", Some(1234)),
                    ("1234:1240,,64240,,", Some(1234)),
                    (",,64240,,mss", None),
                ] {
                    let syn = found(&format!("{header}{flags},{after}")).unwrap().unwrap();
                    assert_eq!(syn.client.0.to_string(), client);
                    assert_eq!((syn.client.1, syn.server.1), (37822, 80));
                    assert_eq!(syn.sequence, sequence, "{after}");
                }
            }
            for flags in ["SA", "A", "PA", "R", "FA", "SF", ""] {
                assert_eq!(
                    found(&format!("{header}{flags},1,2,3,,")),
                    Ok(None),
                    "{flags}"
                );
            }
            // Old versions write the protocol in capitals.
            let old = header.replace("tcp", "TCP");
            assert!(matches!(found(&format!("{old}S,1,,3,,")), Ok(Some(_))));
        }
        let tagged = IPV4.replace("5,,,1000000103", "5,16777216,flow/a,0123456789abcdef");
        assert!(matches!(found(&format!("{tagged}S,1,,3,,")), Ok(Some(_))));
    }

    #[test]
    fn other_packets_are_ignored_and_cut_ones_are_parse_errors() {
        for message in [
            "5,,,0,em0,match,block,in,4,0x0,,64,1,0,none,17,udp,60,192.0.2.1,192.0.2.9,53,53,40"
                .to_owned(),
            "5,,,0,em0,match,block,in,4,0x0,,64,1,0,none,1,icmp,60,192.0.2.1,192.0.2.9,request,1,2"
                .to_owned(),
            "5,,,0,em0,match,block,in,6,0x0,0x0,1,ICMPv6,58,32,::1,::2,".to_owned(),
            format!("{}S,1,,3,,", IPV4.replace("4711,0,DF", "4711,185,none")),
        ] {
            assert_eq!(found(&message), Ok(None), "{message}");
        }
        for message in [
            "",
            "x",
            "5,,,1",
            "5,,,1000000103,em0,match,block,in,5,",
            "5,6,7,8,9,10,11,12,13,14",
        ] {
            assert_eq!(find(message.as_bytes()), None, "{message}");
        }
        let whole = format!("{IPV4}S,");
        for end in "5,,,1000000103,em0,match,block,in,4".len()..whole.len() {
            assert_eq!(found(&whole[..end]), Err(CUT), "{}", &whole[..end]);
        }
        for (value, damaged) in [
            ("192.0.2.1,", "192.0.2.,"),
            ("37822", "378220"),
            (",0,S,", ",0,SY,"),
        ] {
            let message = format!("{IPV4}S,1,,3,,").replace(value, damaged);
            assert_eq!(found(&message), Err(CUT), "{message}");
        }
    }
}
