//! What the kernel says of the listening sockets of one network namespace (`sock_diag(7)`;
//! `net/ipv4/inet_diag.c`).

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_ALIGNTO, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator, Parseable as _,
};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, INET_DIAG_SKMEMINFO, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::io::Errno;

use crate::ports::PortSet;

/// The kernel puts no more into one datagram (`net/netlink/af_netlink.c`, `netlink_recvmsg`).
const LONGEST_DATAGRAM: usize = 32 << 10;

/// How often an answer is asked for that sockets came or went in the middle of.
const TRIES: u32 = 4;

/// The bytes before the attributes of a socket: `struct inet_diag_msg`.
const HEADER: usize = 72;

/// Where `sk_drops` is among the numbers of `INET_DIAG_SKMEMINFO`: `SK_MEMINFO_DROPS`.
const DROPS: usize = 8;

/// Asks about the network namespace in which it was opened, whoever uses it from wherever.
pub(super) struct Diag {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) inode: u32,
    pub(super) cookie: u64,
    pub(super) waiting: u32,
    pub(super) limit: u32,
    pub(super) drops: Option<u32>,
}

/// What has come of an answer.
#[derive(Debug, Default)]
struct Answer {
    found: Vec<Listening>,
    /// Whether sockets came or went meanwhile, so that one may be missing.
    interrupted: bool,
    complete: bool,
}

impl Diag {
    /// For the namespace that this thread is in.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(explained)?;
        socket.bind_auto()?;
        // To the kernel: from now on nobody else can send anything here.
        socket.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(LONGEST_DATAGRAM),
        })
    }

    /// The sockets that listen on these ports, each once.
    pub(super) fn listening(&mut self, ports: &PortSet) -> io::Result<Vec<Listening>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            found.append(&mut self.dump(family)?);
        }
        found.retain(|listening| ports.contains(listening.address.port()));
        // The kernel goes on after a pause by counting, and may come to the same one again.
        found.sort_by_key(|listening| listening.cookie);
        found.dedup_by_key(|listening| listening.cookie);
        Ok(found)
    }

    fn dump(&mut self, family: u8) -> io::Result<Vec<Listening>> {
        let mut answer = self.ask(family)?;
        for _ in 1..TRIES {
            if !answer.interrupted {
                break;
            }
            answer = self.ask(family)?;
        }
        // One that may lack a socket is better than none.
        Ok(answer.found)
    }

    fn ask(&mut self, family: u8) -> io::Result<Answer> {
        // What is left of an answer that was given up would be in the way of the next.
        while self.receive().is_ok() {}
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(family, self.sequence), 0)?;
        let mut answer = Answer::default();
        while !answer.complete {
            self.receive()?;
            answer.take(&self.buffer, self.sequence)?;
        }
        Ok(answer)
    }

    /// Reads a datagram into the buffer. It need not wait for one: the kernel writes the first
    /// while the request is sent, and each other while the one before is read
    /// (`net/netlink/af_netlink.c`, `netlink_dump`).
    fn receive(&mut self) -> io::Result<()> {
        self.buffer.clear();
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let length = self.socket.recv(&mut self.buffer, flags)?;
        if length > self.buffer.len() {
            return Err(malformed("it is too long"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Diag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diag").finish_non_exhaustive()
    }
}

/// The request for all listening sockets of a family.
fn request(family: u8, sequence: u32) -> Vec<u8> {
    let message = SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::SKMEMINFO,
        states: StateFlags::LISTEN,
        socket_id: SocketId::new_v4(),
    });
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

impl Answer {
    /// Takes a datagram of the answer with this number.
    fn take(&mut self, mut bytes: &[u8], sequence: u32) -> io::Result<()> {
        while !bytes.is_empty() && !self.complete {
            let NetlinkMessage {
                header, payload, ..
            } = NetlinkMessage::<Listening>::deserialize(bytes).map_err(malformed)?;
            let length = (header.length as usize).next_multiple_of(NLMSG_ALIGNTO.into());
            bytes = bytes.get(length..).unwrap_or_default();
            if header.sequence_number != sequence {
                continue;
            }
            self.interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
            match payload {
                NetlinkPayload::InnerMessage(listening) => self.found.push(listening),
                NetlinkPayload::Error(error) => return Err(refused(error.raw_code())),
                // What goes wrong in the middle of an answer is told at its end.
                NetlinkPayload::Done(done) if done.code < 0 => return Err(refused(done.code)),
                NetlinkPayload::Done(_) => self.complete = true,
                NetlinkPayload::Overrun(_) => return Err(malformed("a part of it is lost")),
                _ => (),
            }
        }
        Ok(())
    }
}

/// As `struct inet_diag_msg` and the attributes after it tell. Not the crate's own reading
/// of the attributes, for which one that is too short spoils the whole answer.
impl NetlinkDeserializable for Listening {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type != SOCK_DIAG_BY_FAMILY {
            return Err(format!("it has the unknown type {}", header.message_type).into());
        }
        let socket = InetResponseHeader::parse(payload)?;
        let attributes = payload.get(HEADER..).unwrap_or_default();
        let drops = NlasIterator::new(attributes)
            .map_while(Result::ok)
            .find(|attribute| attribute.kind() == INET_DIAG_SKMEMINFO)
            .and_then(|attribute| word(attribute.value(), DROPS));
        let id = socket.socket_id;
        Ok(Self {
            address: address(&id),
            inode: socket.inode,
            // Two words, the lower first (`net/core/sock_diag.c`, `sock_diag_save_cookie`).
            cookie: word(&id.cookie, 0)
                .zip(word(&id.cookie, 1))
                .map_or(0, |(low, high)| u64::from(high) << 32 | u64::from(low)),
            waiting: socket.recv_queue,
            limit: socket.send_queue,
            drops,
        })
    }
}

/// A link-local address is none without its interface.
fn address(id: &SocketId) -> SocketAddr {
    match id.source_address {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, id.source_port, 0, id.interface_id).into()
        }
        ip => SocketAddr::new(ip, id.source_port),
    }
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    let (words, _) = bytes.as_chunks();
    words.get(index).copied().map(u32::from_ne_bytes)
}

fn malformed(reason: impl std::fmt::Display) -> io::Error {
    let error = format!("the kernel's answer cannot be read: {reason}");
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The error that a message has, which is negative.
fn refused(code: i32) -> io::Error {
    explained(io::Error::from_raw_os_error(code.saturating_neg()))
}

/// The kernel loads the modules itself; where it has none, it knows no such protocol or
/// family (`net/core/sock_diag.c`, `__sock_diag_cmd`; `net/ipv4/inet_diag.c`,
/// `inet_diag_lock_handler`).
fn explained(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::PROTONOSUPPORT) => io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has no tcp_diag module: who listens cannot be told",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number that was asked with.
    const SEQUENCE: u32 = 7;

    /// From Linux 6.18: a socket that was given a backlog of 2, and five clients.
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
    /// From the same kernel, asked for a protocol that it does not have.
    const NO_MODULE: &str = "1400000003000200070000002e140000feffffff";
    /// The beginning of its answer for a family that it does not have.
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
        answer.take(bytes, SEQUENCE).map(|()| answer)
    }

    #[test]
    fn sockets_as_the_kernel_tells_them() {
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
    fn an_answer_may_be_in_several_datagrams() {
        let mut answer = answer(&bytes(&[FULL])).unwrap();
        assert!(!answer.complete);
        answer.take(&bytes(&[IPV6]), SEQUENCE).unwrap();
        answer.take(&bytes(&[DONE]), SEQUENCE).unwrap();
        assert!(answer.complete);
        assert_eq!(answer.found.len(), 2);
    }

    #[test]
    fn what_is_left_of_another_answer_is_passed_over() {
        let mut answer = Answer::default();
        let other = bytes(&[FULL, NO_MODULE, DONE]);
        answer.take(&other, SEQUENCE + 1).unwrap();
        assert!(answer.found.is_empty() && !answer.complete);
    }

    #[test]
    fn an_interrupted_answer_says_so() {
        let mut bytes = bytes(&[FULL, DONE]);
        bytes[6] |= NLM_F_DUMP_INTR as u8;
        let answer = answer(&bytes).unwrap();
        assert!(answer.interrupted && answer.complete);
    }

    #[test]
    fn a_kernel_without_the_module_is_told_from_one_that_fails() {
        let error = answer(&bytes(&[NO_MODULE])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("tcp_diag"), "{error}");
        let error = answer(&bytes(&[INVALID])).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_kernel_that_tells_no_drops() {
        // Everything from the attribute of memory on, and the last of its numbers.
        for less in [40, 4] {
            let mut bytes = bytes(&[FULL]);
            let length = bytes.len() - less;
            bytes.truncate(length);
            bytes[0] = length as u8;
            if less == 4 {
                let attribute = length - 36;
                bytes[attribute] = 36;
            }
            let found = answer(&bytes).unwrap().found;
            assert_eq!((found[0].waiting, found[0].drops), (3, None), "{less}");
        }
    }

    #[test]
    fn a_cut_answer_is_refused() {
        let whole = bytes(&[FULL]);
        for end in 1..whole.len() {
            let error = answer(&whole[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{end}");
        }
        // A message that is too short for what it says it is.
        for length in 16..16 + HEADER {
            let mut bytes = whole[..length].to_vec();
            bytes[0] = length as u8;
            assert!(answer(&bytes).is_err(), "{length}");
        }
    }

    #[test]
    fn no_bytes_stop_it() {
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
    fn a_link_local_address_has_its_interface() {
        let mut id = SocketId::new_v6();
        id.source_port = 80;
        id.interface_id = 2;
        assert_eq!(address(&id).to_string(), "[::]:80");
        id.source_address = "fe80::1".parse().unwrap();
        assert_eq!(address(&id).to_string(), "[fe80::1%2]:80");
    }
}
