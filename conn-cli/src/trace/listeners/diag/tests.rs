//! Tests with recorded answers, whole and damaged, and with the running kernel.

use crate::trace::listeners::diag::*;

/// The sequence number of the request.
const SEQUENCE: u32 = 7;

/// From Linux 6.18: a socket with a backlog of 2 and five clients.
const FULL: &str = "a400000014000200070000002e140000020a00001f9000007f000001000000000000000000\
    000000000000000000000000000000000000000000000022000000000000000000000003000000020000000000\
    000010c83100050008000000000008000f00000000000c00150001000000000000000600160052000000280007\
    00000000000000020000000000004000000000000000000000000000000000000002000000";
const IPV6: &str = "ac00000014000200070000002e1400000a0a000001bb000000000000000000000000000000\
    000000000000000000000000000000000000000000000023000000000000000000000000000000ff0100000000\
    000016c83100050008000000000005000b000000000008000f00000000000c0015000100000000000000060016\
    00120000002800070000000000000002000000000000400000000000000000000000000000000000000000\
    0000";
const DONE: &str = "1400000003000200070000002e14000000000000";
/// From the same kernel, for a protocol that it does not have.
const NO_MODULE: &str = "1400000003000200070000002e140000feffffff";
/// The start of its answer for a family that it does not have.
const INVALID: &str = "2400000002000000070000002e140000eaffffff480000001400010307000000\
    00000000";

fn bytes(hex: &[&str]) -> Vec<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap() as u8;
    let hex = hex.concat();
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]))
        .collect()
}

fn answer(bytes: &[u8]) -> io::Result<Answer> {
    let mut answer = Answer::default();
    answer.add_datagram(bytes, SEQUENCE).map(|()| answer)
}

#[test]
fn sockets_are_parsed() {
    let answer = answer(&bytes(&[FULL, IPV6, DONE])).unwrap();
    assert!(answer.complete && !answer.interrupted);
    let full = Listening {
        address: "127.0.0.1:8080".parse().unwrap(),
        inode: 3_262_480,
        cookie: 0x22,
        waiting: 3,
        limit: 2,
        drops: Some(2),
    };
    let ipv6 = Listening {
        address: "[::]:443".parse().unwrap(),
        inode: 3_262_486,
        cookie: 0x23,
        waiting: 0,
        limit: 511,
        drops: Some(0),
    };
    assert_eq!(answer.found, [full, ipv6]);
}

#[test]
fn answer_can_span_several_datagrams() {
    let mut answer = answer(&bytes(&[FULL])).unwrap();
    assert!(!answer.complete);
    answer.add_datagram(&bytes(&[IPV6]), SEQUENCE).unwrap();
    answer.add_datagram(&bytes(&[DONE]), SEQUENCE).unwrap();
    assert!(answer.complete);
    assert_eq!(answer.found.len(), 2);
}

#[test]
fn messages_of_another_answer_are_ignored() {
    let mut answer = Answer::default();
    let other = bytes(&[FULL, NO_MODULE, DONE]);
    answer.add_datagram(&other, SEQUENCE + 1).unwrap();
    assert!(answer.found.is_empty() && !answer.complete);
}

#[test]
fn interrupted_dump_is_detected() {
    let mut bytes = bytes(&[FULL, DONE]);
    bytes[6] |= NLM_F_DUMP_INTR as u8;
    let answer = answer(&bytes).unwrap();
    assert!(answer.interrupted && answer.complete);
}

#[test]
fn missing_module_differs_from_other_errors() {
    let error = answer(&bytes(&[NO_MODULE])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("tcp_diag"), "{error}");
    let error = answer(&bytes(&[INVALID])).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn drops_are_optional() {
    // Without the `SKMEMINFO` attribute, and without its last number.
    for removed in [40, 4] {
        let mut bytes = bytes(&[FULL]);
        let length = bytes.len() - removed;
        bytes.truncate(length);
        bytes[0] = length as u8;
        if removed == 4 {
            let attribute = length - 36;
            bytes[attribute] = 36;
        }
        let found = answer(&bytes).unwrap().found;
        assert_eq!((found[0].waiting, found[0].drops), (3, None), "{removed}");
    }
}

#[test]
fn truncated_answer_is_refused() {
    let whole = bytes(&[FULL]);
    for end in 1..whole.len() {
        let error = answer(&whole[..end]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{end}");
    }
    // A message that is too short for its type.
    for length in 16..16 + HEADER_LEN {
        let mut bytes = whole[..length].to_vec();
        bytes[0] = length as u8;
        assert!(answer(&bytes).is_err(), "{length}");
    }
}

#[test]
fn corrupt_bytes_do_not_panic() {
    let whole = bytes(&[FULL, IPV6, DONE]);
    for index in 0..whole.len() {
        for value in [0, 1, 3, 15, 17, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[index] = value;
            if let Ok(answer) = answer(&bytes) {
                assert!(answer.found.len() <= 2);
            }
        }
    }
}

#[test]
fn link_local_address_has_its_interface() {
    let mut id = SocketId::new_v6();
    id.source_port = 80;
    id.interface_id = 2;
    assert_eq!(address(&id).to_string(), "[::]:80");
    id.source_address = "fe80::1".parse().unwrap();
    assert_eq!(address(&id).to_string(), "[fe80::1%2]:80");
}

#[test]
fn unread_answer_is_discarded() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let ports = address.port().to_string().parse().unwrap();
    let mut diag = Diag::open().unwrap();
    diag.socket.send(&request(AF_INET, SEQUENCE), 0).unwrap();
    let found = diag.listening(&ports).unwrap();
    assert!(found.iter().any(|listening| listening.address == address));
    // The new answer was read completely.
    assert!(
        diag.receive(&mut Vec::with_capacity(min_buffer_len()))
            .is_err()
    );
}

#[test]
fn listeners_in_several_datagrams_are_all_found() {
    let servers: Vec<_> = (0..2 * min_buffer_len() / bytes(&[FULL]).len())
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let found = Diag::open().unwrap().listening(&PortSet::all()).unwrap();
    for server in servers {
        let address = server.local_addr().unwrap();
        assert!(found.iter().any(|listening| listening.address == address));
    }
}
