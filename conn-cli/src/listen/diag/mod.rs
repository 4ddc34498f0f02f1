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
use rustix::{io::Errno, param::page_size};

use crate::ports::PortSet;

/// How often an answer is asked for that sockets came or went in the middle of.
const MAX_TRIES: u32 = 4;

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
            buffer: Vec::with_capacity(datagram_room()),
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
        for _ in 1..MAX_TRIES {
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

/// The least room for a datagram that there must be. The kernel makes each as long as its reader had
/// room for so far, up to 32 KiB, but at least a page, of which it takes 8 KiB at most, and 320 bytes
/// or more of that are its own (`netlink_dump` of `net/netlink/af_netlink.c`; `NLMSG_GOODSIZE` of
/// `include/linux/netlink.h`). Where it clears the memory that it takes, as Debian's does, it clears
/// all of that, however little it writes there.
fn datagram_room() -> usize {
    page_size().min(8 << 10) - 320
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
mod tests;
