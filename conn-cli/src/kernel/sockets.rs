//! The packet sockets that the filter for SYNs is attached to.

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

use super::Refusal;

/// The protocols that a SYN comes in, `include/uapi/linux/if_ether.h`. Bound to these, a socket
/// sees a packet when it is handed to that protocol, and no outgoing ones, for which every
/// packet would have to be copied (`net/core/dev.c`, `dev_queue_xmit_nit`).
const PROTOCOLS: [u16; 2] = [0x0800, 0x86dd];

/// Where to look for SYNs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SynScope {
    /// The interface; all without.
    pub interface: Option<String>,
    /// The file of the network namespace; conn-cli's own without.
    pub netns: Option<PathBuf>,
}

/// Opens the sockets, which receive nothing until they are bound.
///
/// # Errors
/// What is missing, or the system's.
pub(super) fn open(scope: &SynScope) -> anyhow::Result<Vec<Socket>> {
    let opened = match &scope.netns {
        None => open_here(scope.interface.as_deref()),
        Some(path) => {
            let namespace = File::open(path).map_err(|error| no_namespace(path, &error))?;
            // A thread of its own, since it cannot go back.
            std::thread::scope(|threads| {
                let inside = || {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                        .map_err(|error| no_namespace(path, &error.into()))?;
                    open_here(scope.interface.as_deref())
                };
                threads.spawn(inside).join().expect("it does not panic")
            })
        }
    };
    Ok(opened?)
}

fn no_namespace(path: &std::path::Path, error: &io::Error) -> Refusal {
    Refusal::Other(format!("cannot enter {}: {error}", path.display()))
}

/// A packet socket and what it is to be bound to.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    protocol: u16,
    interface: u32,
}

fn open_here(interface: Option<&str>) -> Result<Vec<Socket>, Refusal> {
    let open = |protocol| {
        let interface_of = |fd: &OwnedFd| match interface {
            None => Ok(0),
            Some(name) => name_to_index(fd, name)
                .map_err(|_| Refusal::NoInterface(crate::connection::escaped(name.as_bytes()))),
        };
        // The kind whose packets begin with the header of IP, whatever the link is.
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
            interface: interface_of(&fd)?,
            fd,
            protocol,
        })
    };
    PROTOCOLS.into_iter().map(open).collect()
}

impl Socket {
    /// From now on it receives; its filter must be there.
    pub(super) fn bind(&self) -> io::Result<()> {
        // SAFETY: a zeroed sockaddr_ll is a valid one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = self.protocol.to_be();
        address.sll_ifindex = self.interface as i32;
        // SAFETY: the address is as long as is said, and outlives the call.
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
