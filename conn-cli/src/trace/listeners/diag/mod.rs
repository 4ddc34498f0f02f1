//! Asks the kernel for the listening sockets of one network namespace (`sock_diag(7)`;
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

use crate::model::ports::PortSet;

/// How often a dump is tried while sockets come or go in the middle of it.
const MAX_TRIES: u32 = 4;

/// The bytes before the attributes of a socket: `struct inet_diag_msg`.
const HEADER_LEN: usize = 72;

/// The index of `sk_drops` in `INET_DIAG_SKMEMINFO`: `SK_MEMINFO_DROPS`.
const DROPS_INDEX: usize = 8;

/// A socket to query the network namespace in which it was opened, from whichever thread.
pub(super) struct Diag {
    socket: Socket,
    sequence: u32,
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

/// What has arrived of an answer.
#[derive(Debug, Default)]
struct Answer {
    found: Vec<Listening>,
    /// Whether sockets came or went during the dump, so that one may be missing.
    interrupted: bool,
    complete: bool,
}

impl Diag {
    /// Opens a socket in the namespace that this thread is in.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(explain)?;
        socket.bind_auto()?;
        // Connected to the kernel, it receives nothing from other processes.
        socket.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// The sockets that listen on these ports, each once.
    pub(super) fn listening(&mut self, ports: &PortSet) -> io::Result<Vec<Listening>> {
        let mut found = Vec::new();
        // Not kept: there may be thousands of these.
        let mut buffer = Vec::with_capacity(min_buffer_len());
        for family in [AF_INET, AF_INET6] {
            found.append(&mut self.dump(family, &mut buffer)?);
        }
        found.retain(|listening| ports.contains(listening.address.port()));
        // The kernel resumes a dump by counting sockets, and may repeat one.
        found.sort_by_key(|listening| listening.cookie);
        found.dedup_by_key(|listening| listening.cookie);
        Ok(found)
    }

    fn dump(&mut self, family: u8, buffer: &mut Vec<u8>) -> io::Result<Vec<Listening>> {
        let mut answer = self.dump_once(family, buffer)?;
        for _ in 1..MAX_TRIES {
            if !answer.interrupted {
                break;
            }
            answer = self.dump_once(family, buffer)?;
        }
        // If a socket is missing from the answer, that is still better than no answer.
        Ok(answer.found)
    }

    fn dump_once(&mut self, family: u8, buffer: &mut Vec<u8>) -> io::Result<Answer> {
        // Discards what is left of an answer that was abandoned.
        while self.receive(buffer).is_ok() {}
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(family, self.sequence), 0)?;
        let mut answer = Answer::default();
        while !answer.complete {
            self.receive(buffer)?;
            answer.add_datagram(buffer, self.sequence)?;
        }
        Ok(answer)
    }

    /// Reads a datagram into the buffer, without waiting: the kernel writes the first one while the
    /// request is sent, and each further one while the previous one is read
    /// (`net/netlink/af_netlink.c`, `netlink_dump`).
    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let length = self.socket.recv(buffer, flags)?;
        if length > buffer.len() {
            return Err(malformed("a datagram is too long"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Diag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diag").finish_non_exhaustive()
    }
}

/// The smallest sufficient buffer for a datagram. The kernel allocates as much as the largest
/// buffer of its reader so far, up to 32 KiB, but at least a page, or 8 KiB if pages are larger. Of
/// that, it uses at least 320 bytes itself (`netlink_dump` of `net/netlink/af_netlink.c`;
/// `NLMSG_GOODSIZE` of `include/linux/netlink.h`). A kernel that clears memory on allocation, as
/// Debian's does, clears all of it, however little it writes.
fn min_buffer_len() -> usize {
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
    /// Adds a datagram, of which only messages with this sequence number count.
    fn add_datagram(&mut self, mut bytes: &[u8], sequence: u32) -> io::Result<()> {
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
                NetlinkPayload::Error(error) => return Err(kernel_error(error.raw_code())),
                // The kernel reports an error in the middle of a dump at its end.
                NetlinkPayload::Done(done) if done.code < 0 => return Err(kernel_error(done.code)),
                NetlinkPayload::Done(_) => self.complete = true,
                NetlinkPayload::Overrun(_) => return Err(malformed("part of it was lost")),
                _ => (),
            }
        }
        Ok(())
    }
}

/// Parses `struct inet_diag_msg` and the attributes after it. The crate's own parser of attributes
/// would reject the whole answer if one is too short.
impl NetlinkDeserializable for Listening {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type != SOCK_DIAG_BY_FAMILY {
            return Err(format!("unknown message type {}", header.message_type).into());
        }
        let socket = InetResponseHeader::parse(payload)?;
        let attributes = payload.get(HEADER_LEN..).unwrap_or_default();
        let drops = NlasIterator::new(attributes)
            .map_while(Result::ok)
            .find(|attribute| attribute.kind() == INET_DIAG_SKMEMINFO)
            .and_then(|attribute| word(attribute.value(), DROPS_INDEX));
        let id = socket.socket_id;
        Ok(Self {
            address: address(&id),
            inode: socket.inode,
            // Two words, the low one first (`net/core/sock_diag.c`, `sock_diag_save_cookie`).
            cookie: word(&id.cookie, 0)
                .zip(word(&id.cookie, 1))
                .map_or(0, |(low, high)| u64::from(high) << 32 | u64::from(low)),
            waiting: socket.recv_queue,
            limit: socket.send_queue,
            drops,
        })
    }
}

/// The address of a socket. A link-local address needs its interface.
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
    let error = format!("cannot parse the kernel's answer: {reason}");
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The error for the code in a message, which is negative.
fn kernel_error(code: i32) -> io::Error {
    explain(io::Error::from_raw_os_error(code.saturating_neg()))
}

/// The kernel loads the modules on demand. Without them, it does not know the protocol or family
/// (`net/core/sock_diag.c`, `__sock_diag_cmd`; `net/ipv4/inet_diag.c`, `inet_diag_lock_handler`).
fn explain(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::PROTONOSUPPORT) => io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has no tcp_diag module, so it cannot list listening sockets",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
