//! A veth pair: the near interface is here, the far one in a separate network namespace.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::socket::PacketSocket;
use super::syns::{Sources, Syns};
use crate::command::program;
use crate::netns::Namespace;
use crate::setting::Setting;

const NEAR: &str = "conn-near";
const FAR: &str = "conn-far";
const NEAR_ETHERNET: [u8; 6] = [2, 0, 0, 0x99, 0, 1];
const FAR_ETHERNET: [u8; 6] = [2, 0, 0, 0x99, 0, 2];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The addresses of the near end and of the far end.
const NEAR_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const FAR_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const NEAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);
/// Further IPv4 addresses of the near end.
const NEAR_V4_MORE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 99, 0, 3), Ipv4Addr::new(10, 99, 0, 4)];
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);

/// How many packets may wait for a processor. The sender waits for its own, so they are few; but
/// the answers to a flood are sent again all at once, and all wait in one queue.
const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";

const MASTER: &str = "conn-over";

/// An interface that another one is under; it exists as long as this value.
pub struct Master;

impl Master {
    /// Its name.
    pub fn name(&self) -> &'static str {
        MASTER
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // If this fails, so does the next attempt to create it.
        let _ = ip(&format!("link delete {MASTER}\n"));
    }
}

/// The pair, which exists as long as this value.
pub struct Link {
    far: Namespace,
    vlan: Option<u16>,
    _backlog: Setting,
}

impl Link {
    /// A pair without a VLAN.
    pub fn new() -> Result<Self> {
        Self::make(None)
    }

    /// The addresses belong to a VLAN: sent packets have its tag.
    pub fn with_vlan(id: u16) -> Result<Self> {
        Self::make(Some(id))
    }

    fn make(vlan: Option<u16>) -> Result<Self> {
        if Path::new("/sys/class/net").join(NEAR).exists() {
            // A killed run has left it.
            ip(&format!("link delete {NEAR}\n"))?;
        }
        let link = Self {
            far: Namespace::new()?,
            vlan,
            _backlog: Setting::set(BACKLOG, "100000")?,
        };
        let (near, far) = (ethernet(NEAR_ETHERNET), ethernet(FAR_ETHERNET));
        ip(&format!(
            "link add {NEAR} address {near} type veth peer name {FAR} address {far}\n\
             link set {FAR} netns {}\n",
            link.far.path()
        ))
        .context("cannot create a veth pair")?;
        link.far
            .run(|| ip(&link.set_up(FAR, FAR_V4, FAR_V6)))
            .context("cannot set up the far end")?;
        let near = link.near();
        // Permanent neighbours need no address resolution: there are no packets but those sent.
        let neighbours = format!(
            "neighbour replace {FAR_V4} lladdr {far} dev {near} nud permanent\n\
             neighbour replace {FAR_V6} lladdr {far} dev {near} nud permanent\n"
        );
        let more = NEAR_V4_MORE.map(|more| format!("address add {more}/24 dev {near}\n"));
        ip(&(link.set_up(NEAR, NEAR_V4, NEAR_V6) + &more.concat() + &neighbours))
            .context("cannot set up the near end")?;
        Ok(link)
    }

    fn set_up(&self, device: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> String {
        let mut batch = format!("link set {device} up\n");
        let name = self.name(device);
        if let Some(id) = self.vlan {
            batch += &format!(
                "link add link {device} name {name} type vlan id {id}\nlink set {name} up\n"
            );
        }
        batch + &format!("address add {v4}/24 dev {name}\naddress add {v6}/64 dev {name} nodad\n")
    }

    fn name(&self, device: &str) -> String {
        match self.vlan {
            Some(id) => format!("{device}.{id}"),
            None => device.to_owned(),
        }
    }

    /// The name of the near interface, which is the VLAN's if there is one.
    pub fn near(&self) -> String {
        self.name(NEAR)
    }

    /// The near interface without the VLAN: each frame passes it first.
    pub fn cable(&self) -> &'static str {
        NEAR
    }

    /// Puts the near interface under a new one of this type, such as `vrf table 10` or `bridge`.
    pub fn put_under(&self, kind: &str) -> Result<Master> {
        ip(&format!(
            "link add {MASTER} type {kind}\nlink set {MASTER} up\nlink set {NEAR} master {MASTER}\n"
        ))
        .with_context(|| format!("cannot put {NEAR} under a {kind}"))?;
        Ok(Master)
    }

    /// The address to listen on for what comes from `sources`.
    pub fn address(sources: Sources) -> IpAddr {
        if sources.is_v4() {
            NEAR_V4.into()
        } else {
            NEAR_V6.into()
        }
    }

    /// Sends SYNs from the far end to the near one, as fast as the near one takes them.
    ///
    /// Returns how many were sent, once IP has taken all of them.
    pub fn send(&self, syns: &Syns) -> Result<u64> {
        let near = self.near();
        let (ethernet_type, gateway) = if syns.sources.is_v4() {
            (IPV4, IpAddr::from(FAR_V4))
        } else {
            (IPV6, IpAddr::from(FAR_V6))
        };
        // The kernel would drop a SYN without a route for its answer; the answers end at the far
        // end, which forwards nothing.
        let network = syns.sources.network();
        ip(&format!(
            "route replace {network} via {gateway} dev {near}\n"
        ))?;
        let before = Statistics::read(&near)?;
        let sent = self.far.run(|| {
            let far = self.name(FAR);
            let before = Statistics::read(&far)?;
            let socket = PacketSocket::through(&far, ethernet_type, NEAR_ETHERNET)?;
            let first = Self::address(syns.sources);
            let more = NEAR_V4_MORE.into_iter().map(IpAddr::from);
            let more = more.filter(|more| more.is_ipv4() == first.is_ipv4());
            let near: Vec<IpAddr> = [first].into_iter().chain(more).collect();
            let sent = syns.send(&near, &socket)?;
            let dropped = Statistics::read(&far)?.transmit_dropped - before.transmit_dropped;
            ensure!(
                dropped == 0,
                "the test is at fault: {far} dropped {dropped}"
            );
            Ok(sent)
        })?;
        let after = Statistics::read(&near)?;
        let received = after.received - before.received;
        let dropped = after.receive_dropped - before.receive_dropped;
        // IPv6 sends a few packets of its own.
        ensure!(
            received >= sent && dropped == 0,
            "the test is at fault: {sent} were sent, {near} received {received} and dropped {dropped}"
        );
        Ok(sent)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The kernel does the same, but later, once nothing uses the namespace.
        let _ = ip(&format!("link delete {NEAR}\n"));
    }
}

fn ethernet(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

/// Runs these lines as commands of `ip`, in this thread's network namespace.
fn ip(batch: &str) -> Result<()> {
    let mut ip = Command::new(program("ip")?)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ip")?;
    let mut stdin = ip.stdin.take().context("no pipe")?;
    stdin.write_all(batch.as_bytes())?;
    drop(stdin);
    let output = ip.wait_with_output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("ip failed: {}", stderr.trim_end().replace('\n', " | "));
    }
    Ok(())
}

/// The counters of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Statistics {
    received: u64,
    receive_dropped: u64,
    transmit_dropped: u64,
}

impl Statistics {
    /// Reads the counters of an interface in this thread's network namespace.
    fn read(interface: &str) -> Result<Self> {
        let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        Self::parse(&text, interface).with_context(|| format!("no statistics of {interface}"))
    }

    fn parse(text: &str, interface: &str) -> Option<Self> {
        let numbers = text.lines().find_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            (name.trim() == interface).then_some(numbers)
        })?;
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        // Eight columns for received packets, and the same for transmitted ones.
        Some(Self {
            received: *numbers.get(1)?,
            receive_dropped: *numbers.get(3)?,
            transmit_dropped: *numbers.get(11)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_interface_counters() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo: 277429449 4944070    0    0    0     0          0         0 277429449 4944070    0    0    0     0       0          0\n  \
            eth0: 2856134375   95183    0    3    0     0          0         0  4898593   57886    0    5    0     0       0          0\n";
        let eth0 = Statistics {
            received: 95183,
            receive_dropped: 3,
            transmit_dropped: 5,
        };
        assert_eq!(Statistics::parse(text, "eth0"), Some(eth0));
        assert_eq!(Statistics::parse(text, "eth"), None);
    }
}
