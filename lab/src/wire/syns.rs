//! Many SYNs, each from a different client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};

use super::packet::{Extension, Syn};
use super::socket::PacketSocket;

/// Unused networks, for forged clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// 198.18.0.0/15, which is reserved for benchmarks: 131072 addresses.
    Benchmark,
    /// 10.128.0.0/9: eight million addresses. A machine's own network may use them, so they are for
    /// guests.
    Private,
    /// 2001:db8::/32, which is reserved for documentation.
    V6,
}

impl Sources {
    fn first(self) -> IpAddr {
        match self {
            Self::Benchmark => Ipv4Addr::new(198, 18, 0, 0).into(),
            Self::Private => Ipv4Addr::new(10, 128, 0, 0).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).into(),
        }
    }

    fn prefix(self) -> u8 {
        match self {
            Self::Benchmark => 15,
            Self::Private => 9,
            Self::V6 => 32,
        }
    }

    /// In the notation of `ip route`.
    pub(super) fn network(self) -> String {
        format!("{}/{}", self.first(), self.prefix())
    }

    pub(super) fn is_v4(self) -> bool {
        self.first().is_ipv4()
    }

    /// The number of addresses, as far as a `u32` can number them.
    fn len(self) -> u64 {
        1 << if self.is_v4() { 32 - self.prefix() } else { 32 }
    }

    fn address(self, index: u32) -> IpAddr {
        match self.first() {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + index).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(index)).into(),
        }
    }
}

/// SYNs to send. The same ones sent again, with the same sequence numbers, are
/// retransmissions.
#[derive(Clone, Copy, Debug)]
pub struct Syns {
    /// The port to send to.
    pub port: u16,
    /// The network of the clients.
    pub sources: Sources,
    /// The number of the first client, which determines its address.
    pub first: u32,
    /// The number of clients.
    pub clients: u32,
    /// To how many of the near end's addresses each client sends the same SYN.
    pub locals: u8,
    /// How often each SYN is sent, back to back.
    pub copies: u32,
    /// The IPv6 extension header of each SYN.
    pub extension: Extension,
}

impl Syns {
    /// One SYN from each of `clients` clients.
    pub fn new(port: u16, sources: Sources, clients: u32) -> Self {
        Self {
            port,
            sources,
            first: 0,
            clients,
            locals: 1,
            copies: 1,
            extension: Extension::None,
        }
    }

    /// The number of packets.
    pub fn packets(&self) -> u64 {
        u64::from(self.clients) * u64::from(self.locals) * u64::from(self.copies)
    }

    /// The addresses that they come from.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let sources = self.sources;
        (self.first..self.first + self.clients).map(move |client| sources.address(client))
    }

    /// Sends them to the first of these addresses, and returns how many were sent.
    pub(super) fn send(&self, to: &[IpAddr], socket: &PacketSocket) -> Result<u64> {
        ensure!(
            u64::from(self.first) + u64::from(self.clients) <= self.sources.len(),
            "{} has fewer addresses than clients",
            self.sources.network()
        );
        let mut sent = 0;
        for client in self.first..self.first + self.clients {
            for to in &to[..usize::from(self.locals)] {
                let packet = self.syn(client, SocketAddr::new(*to, self.port)).bytes();
                for _ in 0..self.copies {
                    socket.send(&packet)?;
                    sent += 1;
                }
            }
        }
        socket.wait_until_taken()?;
        Ok(sent)
    }

    fn syn(&self, client: u32, to: SocketAddr) -> Syn {
        // Not a privileged port.
        let port = 1024 + (client % 60000) as u16;
        Syn {
            from: SocketAddr::new(self.sources.address(client), port),
            to,
            // An odd multiplier gives each client a different number.
            sequence: client.wrapping_mul(0x9e37_79b1),
            extension: self.extension,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn last_client_has_last_address_of_network() {
        for (sources, last) in [
            (Sources::Benchmark, "198.19.255.255"),
            (Sources::Private, "10.255.255.255"),
            (Sources::V6, "2001:db8::ffff:ffff"),
        ] {
            let index = u32::try_from(sources.len() - 1).unwrap();
            assert_eq!(sources.address(index).to_string(), last);
        }
        assert_eq!(Sources::Benchmark.network(), "198.18.0.0/15");
    }

    #[test]
    fn clients_are_distinct_and_repeatable() {
        let to = "10.99.0.1:80".parse().unwrap();
        let syns = Syns::new(80, Sources::Private, 100_000);
        let key = |syn: Syn| (syn.from.ip(), syn.sequence);
        let clients: HashSet<_> = (0..syns.clients).map(|n| key(syns.syn(n, to))).collect();
        assert_eq!(clients.len(), 100_000);
        assert_eq!(syns.syn(7, to), syns.syn(7, to));
        assert_eq!(syns.addresses().nth(7), Some(syns.syn(7, to).from.ip()));
    }
}
