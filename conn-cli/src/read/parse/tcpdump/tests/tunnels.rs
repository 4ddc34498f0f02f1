use super::*;

/// What a tunnel precedes counts only if it is wanted.
#[track_caller]
fn assert_inner(text: &str) {
    let wanted = Wanted {
        inner: true,
        ..Wanted::with_times()
    };
    let at = |time: &str| format!("{SYN_TEXT} at {time} (Date)");
    assert_eq!(
        describe_wanted(text, &wanted),
        [at("16:59:36.1"), at("16:59:36.2")],
        "{text}"
    );
    let plain = at("16:59:36.2");
    assert_eq!(describe_all(text), ["inner", &plain], "{text}");
    // A cut packet in a tunnel that is not wanted does not matter.
    let cut = text.replacen("Flags [S], seq 4294967290", " [|tcp]", 1);
    assert_eq!(describe_all(&cut), [&*plain], "{cut}");
    assert_eq!(describe_wanted(&cut, &wanted), [CUT, &plain], "{cut}");
}

#[test]
fn packets_in_tunnels_count_only_if_wanted() {
    let mac = "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype IPv4 (0x0800), length 78: ";
    for start in [
        "IP 10.0.0.1 > 10.0.0.2: IP ",
        "IP 10.0.0.1 > 10.0.0.2: IP 10.1.0.1 > 10.1.0.2: IP ",
        "IP6 2001:db8::a > 2001:db8::b: DSTOPT IP ",
        "IP6 2001:db8::a > 2001:db8::b: DSTOPT ",
        "IP 10.0.0.1 > 10.0.0.2: GREv0, length 48: IP ",
        "IP 10.0.0.1 > 10.0.0.2: GREv0, key=0x7, seq 9, length 52: IP ",
        "IP 10.0.0.1 > 10.0.0.2: GREv1, call 7, seq 3, ack 4, length 58: IP ",
        "IP 10.0.0.1.5555 > 10.0.0.2.6081: Geneve, Flags [none], vni 0x1, options [8 bytes]: IP ",
        "IP 10.0.0.1.5555 > 10.0.0.2.4789: VXLAN, flags [I] (0x08), vni 1\nIP ",
        "IP 10.0.0.1.5555 > 10.0.0.2.8472: OTV, flags [I] (0x08), overlay 0, instance 1\nIP ",
    ] {
        assert_inner(&format!("16:59:36.1 {start}{SYN}\n16:59:36.2 IP {SYN}\n"));
    }
    for start in [
        "10.0.0.1 > 10.0.0.2: ",
        "10.0.0.1 > 10.0.0.2: GREv0, proto IPv4 (0x0800), length 44: ",
        "10.0.0.1 > 10.0.0.2: GREv1, call 7, seq 3, proto PPP (0x880b), length 56: IP (0x0021), \
         length 44: ",
    ] {
        assert_inner(&format!(
            "16:59:36.1 {mac}{start}{SYN}\n16:59:36.2 {mac}{SYN}\n"
        ));
    }
    for start in [
        "10.0.0.1 > 10.0.0.2: GREv0, proto TEB (0x6558), length 58: ",
        "10.0.0.1.5555 > 10.0.0.2.4789: VXLAN, flags [I] (0x08), vni 1\n",
        "10.0.0.1.5555 > 10.0.0.2.6081: Geneve, Flags [none], vni 0x1, proto TEB (0x6558): ",
    ] {
        assert_inner(&format!(
            "16:59:36.1 {mac}{start}{mac}{SYN}\n16:59:36.2 {mac}{SYN}\n"
        ));
    }
    let next = format!("16:59:36.2 {HEADER}\n    {SYN}\n");
    for between in [
        format!("10.0.0.1 > 10.0.0.2: {HEADER}\n    "),
        "10.0.0.1 > 10.0.0.2: IP6 (hlim 64, next-header TCP (6) payload length: 20) ".to_owned(),
        "10.0.0.1 > 10.0.0.2: (hlim 64, next-header TCP (6) payload length: 20) ".to_owned(),
        format!("10.0.0.1 > 10.0.0.2: GREv0, Flags [none], length 44\n\t{HEADER}\n    "),
        "10.0.0.1 > 10.0.0.2: GREv0, Flags [none], length 64\n\tIP6 (hlim 64, next-header TCP (6) \
         payload length: 20) "
            .to_owned(),
        format!(
            "10.0.0.1.5555 > 10.0.0.2.4789: [no cksum] VXLAN, flags [I] (0x08), vni 1\n{HEADER}\n    "
        ),
        format!(
            "10.0.0.1.5555 > 10.0.0.2.6081: [udp sum ok] Geneve, Flags [none], vni 0x1, proto TEB \
             (0x6558)\n\t{mac}(tos 0x0, ttl 64, id 1, offset 0, flags [none], proto TCP (6), \
             length 40)\n    "
        ),
    ] {
        let text = format!("16:59:36.1 {HEADER}\n    {between}{SYN}\n{next}");
        assert_inner(&text);
        for end in line_ends(&text) {
            let at = hold_back(&text.as_bytes()[..end]);
            let mut parts = describe_all(&text[..at]);
            parts.extend(describe_all(&text[at..]));
            assert_eq!(parts, describe_all(&text), "{text} cut at {at}");
        }
    }
}
