//! A socket that sends prepared packets.

use std::mem::size_of;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use crate::process::poll_until;

/// Sends through one interface of this thread's network namespace, to one Ethernet address.
pub struct PacketSocket {
    socket: OwnedFd,
    to: libc::sockaddr_ll,
}

impl PacketSocket {
    /// A socket that sends packets of a type through `interface` to an Ethernet address.
    pub fn through(interface: &str, ethernet_type: u16, to: [u8; 6]) -> Result<Self> {
        let no_interface = || format!("no interface {interface}");
        let flags = SocketFlags::CLOEXEC;
        // The kernel writes the Ethernet header. Without a protocol it receives nothing.
        let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)
            .context("cannot create a packet socket")?;
        let index = netdevice::name_to_index(&socket, interface).with_context(no_interface)?;
        let mut address = [0; 8];
        address[..to.len()].copy_from_slice(&to);
        let to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET.try_into()?,
            sll_protocol: ethernet_type.to_be(),
            sll_ifindex: index.try_into()?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: to.len().try_into()?,
            sll_addr: address,
        };
        Ok(Self { socket, to })
    }

    /// Sends what comes after the Ethernet header.
    ///
    /// Blocks while too many of the earlier packets have not been received, so that a veth pair
    /// loses nothing.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        loop {
            // SAFETY: the kernel reads `packet.len()` bytes from `packet`, and an address of the
            // given size.
            let sent = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    packet.as_ptr().cast(),
                    packet.len(),
                    0,
                    (&raw const self.to).cast(),
                    size_of::<libc::sockaddr_ll>() as libc::socklen_t,
                )
            };
            if sent >= 0 {
                return Ok(());
            }
            let error = std::io::Error::last_os_error();
            if error.raw_os_error() != Some(Errno::INTR.raw_os_error()) {
                return Err(error).context("cannot send a packet");
            }
        }
    }

    /// Waits until the receiver's IP has taken all sent packets.
    pub fn wait_until_taken(&self) -> Result<()> {
        poll_until("all packets are taken", || Ok(self.unsent()? == 0))
    }

    /// Bytes that were sent and not yet taken, including the kernel's overhead.
    fn unsent(&self) -> Result<libc::c_int> {
        let mut unsent: libc::c_int = 0;
        // SAFETY: this ioctl writes an int, which `unsent` is.
        let result =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unsent) };
        if result < 0 {
            return Err(std::io::Error::last_os_error()).context("SIOCOUTQ failed");
        }
        Ok(unsent)
    }
}
