use super::*;

const ETHER: &str = "MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00";
const IP: &str = "SRC=192.0.2.1 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=4711 DF PROTO=";
const IP6: &str = "SRC=2001:0db8:0000:0000:0000:0000:0000:0001 DST=2001:0db8:0000:0000:0000:0000:0000:0009 LEN=80 TC=0 HOPLIMIT=64 FLOWLBL=123456 ";

/// Parses the record of a packet that came in on eth0.
fn parsed(text: &str) -> Result<Option<Syn>, ParseError> {
    let message = format!("NEW: IN=eth0 OUT= {text}");
    let record = find(message.as_bytes(), false).unwrap();
    assert_eq!(record.prefix, b"NEW: ");
    record.syn
}

fn endpoints(text: &str) -> Option<String> {
    let syn = parsed(text).unwrap()?;
    let ((from, from_port), (to, to_port)) = (syn.client, syn.server);
    Some(format!("{from} {from_port} {to} {to_port}"))
}

fn with_flags(flags: &str) -> Result<Option<Syn>, ParseError> {
    parsed(&format!(
        "{ETHER} {IP}TCP SPT=37822 DPT=80 WINDOW=64240 RES=0x00 {flags}URGP=0 "
    ))
}

#[test]
fn syn_without_ack_rst_and_fin_is_found() {
    for flags in [
        "SYN ",
        " SYN  ",
        "CWR ECE SYN ",
        "AE CWR ECE SYN ",
        "URG PSH SYN ",
    ] {
        let syn = with_flags(flags).unwrap().unwrap();
        assert!(!syn.is_end, "{flags}");
        assert_eq!(syn.ip_id, Some(4711), "{flags}");
    }
    for flags in ["ACK SYN ", "ACK ", "", "SYN FIN ", "RST SYN "] {
        assert_eq!(with_flags(flags), Ok(None), "{flags}");
    }
    for flags in ["RST ", "ACK RST ", "ACK PSH FIN "] {
        let packet = with_flags(flags).unwrap().unwrap();
        assert!(packet.is_end, "{flags}");
    }
    for flags in ["SY ", "SYN", "SYN x "] {
        assert_eq!(with_flags(flags), Err(CUT), "{flags}");
    }
}

#[test]
fn addresses_of_ipv4_and_ipv6_are_parsed() {
    let header = "TCP SPT=37822 DPT=80 WINDOW=64240 RES=0x00 SYN URGP=0 ";
    let ipv4 = Some("192.0.2.1 37822 192.0.2.9 80".to_owned());
    assert_eq!(endpoints(&format!("{ETHER} {IP}{header}")), ipv4);
    assert_eq!(endpoints(&format!("PHYSIN=p0 {ETHER} {IP}{header}")), ipv4);
    assert_eq!(
        endpoints(&format!("{IP}{header}OPT (020405B4) UID=0 GID=0 MARK=0x1 ")),
        ipv4
    );
    let options = IP.replace("PROTO", "OPT (94040000) PROTO");
    assert_eq!(endpoints(&format!("{options}{header}")), ipv4);
    let id = |text: &str| parsed(text).unwrap().unwrap().ip_id;
    assert_eq!(id(&format!("{options}{header}")), Some(4711));
    assert_eq!(id(&format!("{IP6}PROTO={header}")), None);
    let ipv6 = Some("2001:db8::1 37822 2001:db8::9 80".to_owned());
    assert_eq!(endpoints(&format!("{IP6}PROTO={header}")), ipv6);
    assert_eq!(endpoints(&format!("{IP6}OPT ( ) PROTO={header}")), ipv6);
    assert_eq!(
        endpoints(&format!(
            "{IP6}FRAG:0 INCOMPLETE ID:0000002a PROTO={header}"
        )),
        ipv6
    );
    let mapped = IP6.replace(
        "2001:0db8:0000:0000:0000:0000:0000:0001",
        "0000:0000:0000:0000:0000:ffff:c000:0201",
    );
    let mapped = endpoints(&format!("{mapped}PROTO={header}")).unwrap();
    assert!(mapped.starts_with("192.0.2.1 "), "{mapped}");
}

#[test]
fn sequence_number_is_parsed() {
    let numbered = |sequence: &str| {
        parsed(&format!(
            "{IP}TCP SPT=1 DPT=80 SEQ={sequence} ACK=0 WINDOW=1 RES=0x00 SYN URGP=0 "
        ))
    };
    assert_eq!(
        numbered("4294967295").unwrap().unwrap().sequence,
        Some(u32::MAX)
    );
    assert_eq!(numbered("4294967296"), Err(CUT));
    assert_eq!(numbered(""), Err(CUT));
}

#[test]
fn other_packets_are_ignored() {
    for text in [
        "UDP SPT=53 DPT=40000 LEN=40 ",
        "UDP",
        "ICMP TYPE=3 CODE=3 [SRC=192.0.2.9 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=1 DPT=80 WINDOW=1 RES=0x00 SYN URGP=0 ] ",
        "2 ",
        "ESP SPI=0x1 ",
        "TCP INCOMPLETE [8 bytes] ",
    ] {
        assert_eq!(parsed(&format!("{IP}{text}")), Ok(None), "{text}");
    }
    for text in [
        format!("{}TCP ", IP.replace("DF", "FRAG:185")),
        format!("{}TCP", IP.replace("DF", "FRAG:185")),
        format!("{IP6}OPT ( ESP SPI=0x1 )"),
        format!("{IP6}OPT ( FRAG:1480 ID:0000002a ) PROTO=TCP "),
        format!("{IP6}TRUNCATED"),
        "MACSRC=02:00:00:00:00:01 MACDST=02:00:00:00:00:02 MACPROTO=0806 ARP HTYPE=1 PTYPE=0x0800 OPCODE=1".to_owned(),
        ETHER.replace("08:00", "88:cc"),
    ] {
        assert_eq!(parsed(&text), Ok(None), "{text}");
    }
}

/// With any byte in each place.
#[test]
fn fast_path_for_the_kernels_order_matches_the_general_one() {
    let header = "TCP SPT=37822 DPT=80 SEQ=1 ACK=0 WINDOW=64240 RES=0x00 SYN URGP=0 ";
    let mut usual = 0;
    for start in ["NEW: IN=eth0 OUT=", "IN= OUT=eth0", "A OUT=B IN=a OUT="] {
        let record = format!("{start} {ETHER} {IP}{header}");
        for place in 0..record.len() {
            for byte in *b"0= INX" {
                let mut record = record.clone().into_bytes();
                record[place] = byte;
                let Some((prefix, text)) = usual_start(&record) else {
                    continue;
                };
                let syn = syn(text);
                if syn.is_ok() {
                    usual += 1;
                    let found = any_find(&record, false);
                    assert_eq!(found, Some(PacketRecord { prefix, syn }));
                }
            }
        }
    }
    assert!(usual > 1000);
}

#[test]
fn damaged_records_are_parse_errors() {
    let header = "TCP SPT=37822 DPT=80 WINDOW=64240 RES=0x00 SYN URGP=0 ";
    for text in [
        String::new(),
        ETHER.to_owned(),
        IP6.to_owned(),
        format!("{IP}T"),
        format!("{}{header}", IP.replace("PROTO=", "PROT=")),
        format!("R{}{header}", IP.replace(" PROTO=", "PROTO=")),
        format!("{IP}TCP"),
        format!("{IP}TCP "),
        format!("{IP}\0 "),
        format!("{IP}TCP SPT=65536 DPT=80 WINDOW=1 RES=0x00 SYN URGP=0 "),
        format!("{}{header}", IP.replace("192.0.2.1 ", "192.0.2. ")),
        format!("{}{header}", IP.replace("192.0.2.9 ", "192.0.2.999 ")),
        format!("{}NEW: IN=eth0 OUT= {IP}{header}", &IP[..50]),
        format!("{IP}{header}from 192.0.2.1 port 22"),
        format!("{IP}{header}\" 7"),
    ] {
        assert_eq!(parsed(&text), Err(CUT), "{text}");
    }
    assert_eq!(find(b"eth0: link is up", false), None);
    let strange = format!("A OUT=B IN=eth0 OUT= {IP}{header}");
    assert!(matches!(
        find(strange.as_bytes(), false).unwrap().syn,
        Ok(Some(_))
    ));
    let strange = format!("NEW: IN=a=b OUT= {IP}{header}");
    assert_eq!(find(strange.as_bytes(), false).unwrap().syn, Err(CUT));
    assert_eq!(find(b"x OUT=y SRC=1", false), None);
    assert_eq!(find(b" OUT=y", false), None);
    assert_eq!(find(b"IN=a x OUT=y", false).unwrap().syn, Err(CUT));
    assert_eq!(find(b"IN=a=b OUT=y", false).unwrap().syn, Err(CUT));
    assert_eq!(find(b"a=IN=b OUT=y", false).unwrap().prefix, b"a=");
    assert!(find(b"DROP: IN=et", false).is_some());
}

/// With any of these bytes in each place.
#[test]
fn fast_path_for_headers_matches_the_general_one() {
    let mut usual = 0;
    for text in [
        "LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=4711 DF PROTO=TCP SPT=37822 DPT=80 WINDOW=64240 RES=0x00 SYN URGP=0 ",
        "LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=0 PROTO=TCP SPT=37822 DPT=80 SEQ=12 ACK=0 WINDOW=64240 RES=0x00 SYN URGP=0 OPT (0204) UID=0",
        "LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=70000 CE DF FRAG:8 PROTO=TCP SPT=37822 DPT=80 WINDOW=0 RES=0x00 SYN FIN URGP=0",
    ] {
        for place in 0..text.len() {
            for byte in *b"0f= RS(" {
                let mut text = text.as_bytes().to_vec();
                text[place] = byte;
                let shown = |found: Option<(Option<u16>, Tcp)>| {
                    let (id, tcp) = found?;
                    Some((id, tcp.from, tcp.to, tcp.sequence, tcp.is_syn, tcp.is_end))
                };
                let Some(found) = shown(usual_header(&text)) else {
                    continue;
                };
                usual += 1;
                let general = any_header(&text).map(shown);
                assert_eq!(general, Ok(Some(found)), "{}", text.escape_ascii());
            }
        }
    }
    assert!(usual > 100, "{usual}");
}
