//! The address families of servers and clients.

use std::net::IpAddr;

/// The address family of the server and its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// An IPv6 listener with clients of both families.
    Dual,
}

impl Family {
    /// The address that the server listens on.
    pub fn listen(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([127, 0, 0, 1]),
            Self::V6 => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            Self::Dual => IpAddr::from([0_u16; 8]),
        }
    }

    /// The addresses that the clients connect from.
    pub fn clients(self) -> Vec<IpAddr> {
        let v4 = (1..=9).map(|last| IpAddr::from([127, 0, 0, last]));
        let v6 = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        match self {
            Self::V4 => v4.collect(),
            Self::V6 => vec![v6],
            Self::Dual => v4.chain([v6]).collect(),
        }
    }
}
