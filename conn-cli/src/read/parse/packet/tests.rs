use crate::read::parse::packet::*;

/// From 192.0.2.1:40000 to 192.0.2.9:80, sequence number 100, acknowledges 7.
fn tcp_segment(flags: u8) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 100, 0, 0, 0, 7, 0x50, flags];
    segment.extend([0; 6]);
    segment
}

fn over_ipv4(protocol: u8, fragment: u16, options: usize, segment: &[u8]) -> Vec<u8> {
    let ihl = u8::try_from(5 + options / 4).unwrap();
    let [high, low] = fragment.to_be_bytes();
    let mut packet = vec![0x40 | ihl, 0, 0, 0, 1, 2, high, low, 64, protocol, 0, 0];
    packet.extend([192, 0, 2, 1, 192, 0, 2, 9]);
    packet.extend(vec![1; options]);
    packet.extend(segment);
    packet
}

/// `extensions` is everything between the IPv6 header and the segment.
fn over_ipv6(next: u8, extensions: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    for last in [1, 9] {
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(extensions);
    packet.extend(segment);
    packet
}

fn with_header(header: &[u8], packet: &[u8]) -> Vec<u8> {
    [header, packet].concat()
}

/// Parses a packet and describes its event in one line.
fn parsed(link_type: u16, packet: &[u8]) -> Result<Option<String>, ParseError> {
    parsed_wanted(link_type, packet, true)
}

/// Likewise; `inner` tells whether packets in tunnels count.
fn parsed_wanted(link_type: u16, packet: &[u8], inner: bool) -> Result<Option<String>, ParseError> {
    let mut packets = Packets::default();
    packets.push(Some((1_700_000_000, 5)), link_type, packet);
    let mut batch = parse(
        &packets,
        &Wanted {
            inner,
            ..Wanted::default()
        },
        Room::default(),
    );
    assert_eq!(batch.packets, 1);
    if let Some(parse_error) = batch.first_not_understood.map(|first| first.parse_error) {
        return Err(parse_error);
    }
    let (kind, connection, id) = match batch.events.pop() {
        Some(Event::Syn(connection, id)) => ("syn", connection, id),
        Some(Event::Answer(connection, id)) => ("answer", connection, id),
        Some(Event::End(connection)) => ("end", connection, PacketId::sequence(0)),
        Some(Event::Inner) => return Ok(Some("inner".to_owned())),
        _ => return Ok(None),
    };
    let at = Timestamp::new(1_700_000_000, 5).unwrap();
    assert_eq!(connection.time, When::At(at));
    let end = |host: Host, port: Option<u16>| format!("{host} {}", port.unwrap());
    Ok(Some(format!(
        "{kind} {}: {} > {}",
        id.sequence.unwrap(),
        end(connection.remote, connection.remote_port),
        end(connection.local, connection.local_port)
    )))
}

const SYN_IPV4: &str = "syn 100: 192.0.2.1 40000 > 192.0.2.9 80";
const SYN_IPV6: &str = "syn 100: 2001:db8::1 40000 > 2001:db8::9 80";

/// The link types, with a header of each that precedes an IPv4 or IPv6 packet.
fn headers(is_ipv6: bool) -> Vec<(u16, Vec<u8>)> {
    let protocol: [u8; 2] = if is_ipv6 { [0x86, 0xdd] } else { [8, 0] };
    let ethernet = |tags: &[u8]| [&[2; 12], tags, &protocol].concat();
    let sll2 = [&protocol[..], &[0, 0, 0, 0, 0, 1, 0, 1, 0, 6], &[2; 8]].concat();
    let mut headers = vec![
        (1, ethernet(&[])),
        (1, ethernet(&[0x81, 0, 0, 5])),
        (1, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6])),
        (1, ethernet(&[0x91, 0, 0, 5, 0x92, 0, 0, 6, 0x81, 0, 0, 7])),
        // An interface without Ethernet: ARPHRD_NONE.
        (113, [&[0, 0, 0xff, 0xfe], &[0; 10][..], &protocol].concat()),
        (276, sll2),
        (101, vec![]),
        (12, vec![]),
        (14, vec![]),
        (if is_ipv6 { 229 } else { 228 }, vec![]),
    ];
    headers.push((104, [&[0x0f, 0], &protocol[..]].concat()));
    let ppp = if is_ipv6 { 0x57 } else { 0x21 };
    let session = [0x11, 0, 0, 1, 0, 9, 0, ppp];
    headers.push((9, vec![0xff, 3, 0, ppp]));
    headers.push((9, vec![0, ppp]));
    headers.push((9, vec![ppp]));
    headers.push((50, vec![0xff, 3, 0, ppp]));
    headers.push((51, session.to_vec()));
    headers.push((1, [&[2; 12], &[0x88, 0x64][..], &session].concat()));
    let labels = [0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64];
    headers.push((1, [&[2; 12], &labels[..]].concat()));
    let family = if is_ipv6 { 24 } else { 2 };
    headers.push((117, [&[61, family][..], &[0; 62]].concat()));
    let family = if is_ipv6 { 10 } else { 2 };
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let attribute = |kind: u16, value: &[u8]| {
            let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
            let length = order(4 + u16::try_from(value.len()).unwrap());
            [&length[..], &order(kind), value, &padding].concat()
        };
        let mut header = vec![family, 0, 0, 5];
        header.extend(attribute(10, b"web: \0"));
        header.extend(attribute(4, &[0; 4]));
        header.extend([order(44), order(9)].concat());
        headers.push((239, header));
    }
    let families: &[u8] = if is_ipv6 { &[10, 24, 28, 30] } else { &[2] };
    for &family in families {
        headers.push((0, vec![family, 0, 0, 0]));
        headers.push((0, vec![0, 0, 0, family]));
        headers.push((108, vec![0, 0, 0, family]));
    }
    headers
}

#[test]
fn syn_is_found_after_each_header_unless_it_is_cut() {
    for (is_ipv6, packet, expected) in [
        (false, over_ipv4(6, 0x4000, 0, &tcp_segment(2)), SYN_IPV4),
        (false, over_ipv4(6, 0x2000, 40, &tcp_segment(2)), SYN_IPV4),
        (true, over_ipv6(6, &[], &tcp_segment(2)), SYN_IPV6),
    ] {
        for (link_type, header) in headers(is_ipv6) {
            let mut packet = with_header(&header, &packet);
            packet.extend([0; 9]);
            assert_eq!(parsed(link_type, &packet), Ok(Some(expected.to_owned())));
            let end = packet.len() - 9 - (20 - TCP_PREFIX_LEN);
            assert_eq!(
                parsed(link_type, &packet[..end]),
                Ok(Some(expected.to_owned()))
            );
            for end in 0..end {
                assert_eq!(
                    parsed(link_type, &packet[..end]),
                    Err(CUT),
                    "{link_type} {end}"
                );
            }
        }
    }
}

#[test]
fn answer_has_its_addresses_swapped() {
    let answer = over_ipv4(6, 0, 0, &tcp_segment(0x12));
    let expected = "answer 6: 192.0.2.9 80 > 192.0.2.1 40000";
    assert_eq!(parsed(101, &answer), Ok(Some(expected.to_owned())));
}

#[test]
fn other_packets_are_ignored() {
    for flags in [0x01, 0x04, 0x11, 0x14, 0x19] {
        let end = "end 0: 192.0.2.1 40000 > 192.0.2.9 80".to_owned();
        assert_eq!(
            parsed(101, &over_ipv4(6, 0, 0, &tcp_segment(flags))),
            Ok(Some(end)),
            "{flags}"
        );
    }
    for flags in [0x03, 0x06, 0x10, 0x16, 0x18] {
        assert_eq!(
            parsed(101, &over_ipv4(6, 0, 0, &tcp_segment(flags))),
            Ok(None)
        );
    }
    let syn = tcp_segment(2);
    assert_eq!(parsed(101, &over_ipv4(17, 0, 0, &syn)), Ok(None));
    assert_eq!(parsed(101, &over_ipv4(6, 1, 0, &syn)), Ok(None));
    assert_eq!(parsed(101, &over_ipv6(58, &[], &syn)), Ok(None));
    assert_eq!(parsed(1, &[&[2; 12][..], &[8, 6], &syn].concat()), Ok(None));
    assert_eq!(parsed(0, &[7, 0, 0, 0, 1]), Ok(None));
}

#[test]
fn ipv6_extension_headers_are_skipped() {
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let route = |next: u8| [&[next, 2, 4, 0, 0, 0, 0, 0], &[0; 16][..]].concat();
    let fragment = |next: u8, offset: u8| [next, 0, 0, offset, 0, 0, 0, 9];
    let all = [&options(43)[..], &route(60), &options(44), &fragment(6, 1)].concat();
    let packet = over_ipv6(0, &all, &tcp_segment(2));
    assert_eq!(parsed(101, &packet), Ok(Some(SYN_IPV6.to_owned())));
    assert_eq!(parsed(101, &packet[..100]), Err(CUT));
    let later = over_ipv6(44, &fragment(6, 8), &tcp_segment(2));
    assert_eq!(parsed(101, &later), Ok(None));
    // A later fragment does not begin with a header.
    let later = over_ipv6(44, &fragment(60, 8), &[1, 0xff]);
    assert_eq!(parsed(101, &later), Ok(None));
}

#[test]
fn unknown_packets_are_parse_errors() {
    let syn = over_ipv4(6, 0, 0, &tcp_segment(2));
    assert_eq!(parsed(147, &syn), Err(UNKNOWN_LINK_TYPE));
    assert_eq!(parsed(101, &[0; 60]), Err(NOT_IP));
    let ethernet = [&[2; 12][..], &[0x86, 0xdd], &syn].concat();
    assert_eq!(parsed(1, &ethernet), Err(NOT_IP));
}

#[test]
fn damaged_packets_do_not_panic() {
    for (is_ipv6, packet) in [
        (false, over_ipv4(6, 0, 4, &tcp_segment(2))),
        (
            true,
            over_ipv6(60, &[6, 0, 1, 4, 0, 0, 0, 0], &tcp_segment(2)),
        ),
    ] {
        for (link_type, header) in headers(is_ipv6) {
            let packet = with_header(&header, &packet);
            for at in 0..packet.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut packet = packet.clone();
                    packet[at] = byte;
                    let _ = parsed(link_type, &packet);
                    let _ = parsed(link_type, &packet[..at]);
                }
            }
        }
    }
}

#[test]
fn captures_are_recognised_by_four_bytes() {
    for magic in MAGICS {
        assert!(is_capture(&magic));
        assert!(!is_capture(&magic[..3]));
    }
    assert!(!is_capture(b""));
    assert!(!is_capture(b"IP 192.0.2.1"));
}

#[test]
fn invalid_timestamps_are_none() {
    assert!(timestamp((1_700_000_000, 999_999_999)).is_some());
    assert_eq!(timestamp((1_700_000_000, 1_000_000_000)), None);
    assert_eq!(timestamp((i64::MAX, 0)), None);
    assert_eq!(timestamp((0, u32::MAX)), None);
}

#[test]
fn the_id_of_a_syn_is_that_of_its_innermost_ipv4_header() {
    let syn = over_ipv4(6, 0, 0, &tcp_segment(2));
    let mut outer = over_ipv4(4, 0, 0, &syn);
    outer[5] = 9;
    for (packet, expected) in [
        (syn, Some(0x102)),
        (outer, Some(0x102)),
        (over_ipv6(6, &[], &tcp_segment(2)), None),
    ] {
        let mut packets = Packets::default();
        packets.push(None, 101, &packet);
        let wanted = Wanted {
            inner: true,
            ..Wanted::default()
        };
        let events = parse(&packets, &wanted, Room::default()).events;
        assert!(
            matches!(&events[..], [Event::Syn(_, id)] if id.ip_id == expected),
            "{events:?}"
        );
    }
}

/// The headers of tunnels, with the number of the outer protocol.
fn tunnels(is_ipv6: bool) -> Vec<(u8, Vec<u8>)> {
    let [a, b]: [u8; 2] = if is_ipv6 { [0x86, 0xdd] } else { [8, 0] };
    let frame = [&[2; 12], &[a, b][..]].concat();
    let tagged = [&[2; 12], &[0x81, 0, 0, 5, a, b][..]].concat();
    let udp = |port: u16, rest: &[&[u8]]| {
        let [high, low] = port.to_be_bytes();
        (
            17,
            [&[0x80, 0, high, low, 0, 0, 0, 0], &rest.concat()[..]].concat(),
        )
    };
    let ppp = if is_ipv6 { 0x57 } else { 0x21 };
    vec![
        (if is_ipv6 { 41 } else { 4 }, vec![]),
        (47, vec![0, 0, a, b]),
        (47, [&[0xb0, 0, a, b][..], &[0; 12]].concat()),
        (47, [&[0, 0, 0x65, 0x58][..], &frame].concat()),
        (47, [&[0, 0, 0x65, 0x58][..], &tagged].concat()),
        (
            47,
            vec![
                0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 7, 0, 0, 0, 3, 0, 0, 0, 4, 0, ppp,
            ],
        ),
        udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0], &frame]),
        udp(8472, &[&[8, 0, 0, 0, 0, 0, 1, 0], &tagged]),
        udp(6081, &[&[0, 0, 0x65, 0x58, 0, 0, 1, 0], &frame]),
        udp(6081, &[&[63, 0, a, b, 0, 0, 1, 0], &[0; 252]]),
        udp(
            6081,
            &[&[63, 0, 0x65, 0x58, 0, 0, 1, 0], &[0; 252], &tagged],
        ),
    ]
}

#[test]
fn packets_in_tunnels_count_only_if_wanted() {
    let ethernet = |packet: &[u8]| {
        let protocol: &[u8] = if packet[0] >> 4 == 6 {
            &[0x86, 0xdd]
        } else {
            &[8, 0]
        };
        [&[2; 12][..], &[0x81, 0, 0, 5], protocol, packet].concat()
    };
    for (is_ipv6, expected) in [(false, SYN_IPV4), (true, SYN_IPV6)] {
        for (protocol, header) in tunnels(is_ipv6) {
            let inner = |flags: u8| {
                let segment = tcp_segment(flags);
                let packet = if is_ipv6 {
                    over_ipv6(6, &[], &segment)
                } else {
                    over_ipv4(6, 0, 0, &segment)
                };
                with_header(&header, &packet)
            };
            for outer in [
                over_ipv4(protocol, 0, 0, &inner(SYN)),
                over_ipv6(protocol, &[], &inner(SYN)),
                over_ipv4(4, 0, 0, &over_ipv4(protocol, 0, 0, &inner(SYN))),
            ] {
                let packet = ethernet(&outer);
                assert_eq!(
                    parsed(1, &packet),
                    Ok(Some(expected.to_owned())),
                    "{packet:x?}"
                );
                let inner = Ok(Some("inner".to_owned()));
                assert_eq!(parsed_wanted(1, &packet, false), inner, "{packet:x?}");
                let end = packet.len() - 7;
                assert_eq!(
                    parsed(1, &packet[..end]),
                    Err(tunnel::INNER_CUT),
                    "{packet:x?}"
                );
                for end in 0..packet.len() - 6 {
                    let cut = parsed_wanted(1, &packet[..end], false);
                    assert!(
                        matches!(cut, Ok(None) | Err(CUT)),
                        "{packet:x?} {end}: {cut:?}"
                    );
                }
            }
            let other = ethernet(&over_ipv4(protocol, 0, 0, &inner(ACK)));
            assert_eq!(parsed(1, &other), Ok(None));
        }
    }
    for udp in [
        // Another port, another version, no valid network, no IP packet.
        &[0x80, 0, 0, 80, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0][..],
        &[0x80, 0, 0x17, 0xc1, 0, 0, 0, 0, 0x40, 0, 8, 0, 0, 0, 1, 0],
        &[0x80, 0, 0x12, 0xb5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        &[
            0x80, 0, 0x17, 0xc1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0xff,
        ],
    ] {
        assert_eq!(
            parsed(1, &ethernet(&over_ipv4(17, 0, 0, udp))),
            Ok(None),
            "{udp:x?}"
        );
    }
}

#[test]
fn packets_of_unsupported_link_types_are_counted() {
    let mut packets = Packets::default();
    for link_type in [147, 1, 147, 105] {
        packets.push(None, link_type, &[0; 64]);
    }
    let batch = parse(&packets, &Wanted::default(), Room::default());
    assert_eq!(batch.unknown_link_types, [(105, 1), (147, 2)].into());
    assert_eq!(batch.not_understood, 3);
}
