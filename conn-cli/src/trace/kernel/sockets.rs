//! The packet sockets to which the SYN filter is attached.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{Refusal, interface};

/// The protocols that carry SYNs, IPv4 and IPv6 (`include/uapi/linux/if_ether.h`). A socket bound
/// to one of these sees the packets passed to that protocol and no outgoing ones, each of which the
/// kernel would have to copy (`net/core/dev.c`, `dev_queue_xmit_nit`).
const PROTOCOLS: [u16; 2] = [0x0800, 0x86dd];

/// Where to look for SYNs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SynScope {
    /// The interface. All if None.
    pub interface: Option<String>,
    /// The file of the network namespace. conn-cli's own if None.
    pub netns: Option<PathBuf>,
}

/// Opens the sockets, which receive nothing until they are bound.
///
/// # Errors
/// The missing interface or permission, or an error of the system.
pub(super) fn open(scope: &SynScope) -> anyhow::Result<Vec<Socket>> {
    let opened = match &scope.netns {
        None => open_here(scope.interface.as_deref()),
        Some(path) => {
            let namespace = File::open(path).map_err(|error| cannot_enter(path, &error))?;
            // A separate thread, since it cannot return to the original namespace.
            std::thread::scope(|threads| {
                let enter = || {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                        .map_err(|error| cannot_enter(path, &error.into()))?;
                    open_here(scope.interface.as_deref())
                };
                threads.spawn(enter).join().expect("it does not panic")
            })
        }
    };
    Ok(opened?)
}

fn cannot_enter(path: &std::path::Path, error: &io::Error) -> Refusal {
    Refusal::Other(format!("cannot enter {}: {error}", path.display()))
}

/// A packet socket and the protocol and interface to bind it to.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    protocol: u16,
    interface: u32,
}

fn open_here(interface: Option<&str>) -> Result<Vec<Socket>, Refusal> {
    let open = |protocol| {
        let interface_index = |fd: &OwnedFd| match interface {
            None => Ok(0),
            Some(name) => name_to_index(fd, name)
                .map_err(|_| Refusal::NoInterface(crate::system::text::escaped(name.as_bytes()))),
        };
        // Packets of SOCK_DGRAM begin with the IP header on every link type.
        let fd = socket_with(
            AddressFamily::PACKET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| match error {
            Errno::PERM => Refusal::NoPacketSockets,
            error => Refusal::Other(format!("cannot open a packet socket: {error}")),
        })?;
        Ok(Socket {
            interface: interface_index(&fd)?,
            fd,
            protocol,
        })
    };
    let sockets: Vec<Socket> = PROTOCOLS.into_iter().map(open).collect::<Result<_, _>>()?;
    if let (Some(name), [first, ..]) = (interface, &sockets[..]) {
        interface::check(name, first.interface, &first.fd)?;
    }
    Ok(sockets)
}

impl Socket {
    /// Binds the socket, which then receives packets. The filter must already be attached.
    pub(super) fn bind(&self) -> io::Result<()> {
        // SAFETY: an all-zero sockaddr_ll is valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = self.protocol.to_be();
        address.sll_ifindex = self.interface as i32;
        // SAFETY: the address has the given length and outlives the call.
        let result = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
