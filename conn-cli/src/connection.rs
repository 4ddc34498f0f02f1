//! The domain: a connection, whoever reported it and however it will be shown.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;

/// One new connection to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// When it was accepted; from the tracepoint, when its handshake was completed.
    pub time: Timestamp,
    /// The client. An IPv4 client of an IPv6 server has its IPv4 address here.
    pub remote: SocketAddr,
    /// The server's end.
    pub local: SocketAddr,
    /// The family of the server's socket.
    pub family: Family,
    /// Who accepted it, if that is known.
    pub process: Option<Process>,
    /// The inode number of the network namespace, if it is known.
    pub netns: Option<u32>,
    /// What saw it.
    pub hook: Hook,
}

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`, perhaps with an IPv4 client
    Ipv6,
}

/// The process that accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The thread id.
    pub tid: u32,
    /// The user id.
    pub uid: u32,
    /// The cgroup v2 id.
    pub cgroup: u64,
    /// The thread's name, padded with NUL. Any bytes: whoever runs it chooses them.
    pub comm: [u8; 16],
}

/// What saw a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// The kretprobe on `inet_csk_accept`.
    Kretprobe,
    /// The kprobe on `security_sock_graft`, which stands in for the kretprobe.
    Kprobe,
    /// The fentry program on `security_sock_graft`.
    Fentry,
    /// The tracepoint `sock:inet_sock_set_state`.
    Tracepoint,
}

impl Process {
    /// The thread's name without its padding, safe to show: control characters, and bytes
    /// that are not UTF-8, are escaped, and so is the backslash that marks them.
    #[must_use]
    pub fn name(&self) -> String {
        let end = self.comm.iter().position(|&byte| byte == 0);
        let mut shown = String::new();
        for chunk in self.comm[..end.unwrap_or(self.comm.len())].utf8_chunks() {
            for char in chunk.valid().chars() {
                if char.is_control() || char == '\\' {
                    shown.extend(char.escape_default());
                } else {
                    shown.push(char);
                }
            }
            for byte in chunk.invalid() {
                shown.push_str(&format!("\\x{byte:02x}"));
            }
        }
        shown
    }
}

/// The address as it is shown and counted: IPv4 wherever it is one.
#[must_use]
pub fn canonical(address: [u8; 16]) -> IpAddr {
    IpAddr::from(address).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> String {
        let mut comm = [0; 16];
        comm[..bytes.len()].copy_from_slice(bytes);
        let process = Process {
            pid: 1,
            tid: 1,
            uid: 0,
            cgroup: 0,
            comm,
        };
        process.name()
    }

    #[test]
    fn a_plain_name_is_shown_as_it_is() {
        assert_eq!(name(b"nginx: worker"), "nginx: worker");
        assert_eq!(name("café".as_bytes()), "café");
        assert_eq!(name(b"sixteen bytes..."), "sixteen bytes...");
        assert_eq!(name(b""), "");
    }

    #[test]
    fn a_name_cannot_send_control_characters() {
        assert_eq!(name(b"\x1b[2Jevil"), "\\u{1b}[2Jevil");
        assert_eq!(name(b"a\r\nb\x7f"), "a\\r\\nb\\u{7f}");
        // C1 control characters, which some terminals obey
        assert_eq!(name("\u{9b}31m".as_bytes()), "\\u{9b}31m");
        assert_eq!(name(b"\xff\xfea"), "\\xff\\xfea");
        assert_eq!(name(b"back\\slash"), "back\\\\slash");
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mapped = "::ffff:192.0.2.7".parse::<std::net::Ipv6Addr>().unwrap();
        assert_eq!(canonical(mapped.octets()).to_string(), "192.0.2.7");
        let ipv6 = "2001:db8:0:0:1:0:0:1"
            .parse::<std::net::Ipv6Addr>()
            .unwrap();
        assert_eq!(canonical(ipv6.octets()).to_string(), "2001:db8::1:0:0:1");
    }
}
