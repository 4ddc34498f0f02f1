//! On which interface packets are seen: those of some interfaces come to IP on another one.

use std::{
    ffi::CStr,
    fs,
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use super::Refusal;
use crate::system::text::escaped;

/// Where the kernel shows the interfaces, of the network namespace in which sysfs was mounted.
const INTERFACES: &str = "/sys/class/net";

/// Checks that IP gets packets on this interface of the socket's network namespace; what sysfs shows is
/// only heeded if it shows that namespace.
///
/// # Errors
/// On which interface it gets them instead.
pub(super) fn check(name: &str, index: u32, socket: impl AsFd) -> Result<(), Refusal> {
    let interfaces = Path::new(INTERFACES);
    let shown = fs::read_to_string(interfaces.join(name).join("ifindex"));
    let is_shown = shown.is_ok_and(|shown| shown.trim() == index.to_string());
    if driver(name, socket).as_deref() == Some(VRF) {
        let members = is_shown.then(|| members(&interfaces.join(name)));
        let name = escaped(name.as_bytes());
        return Err(Refusal::VrfInterface(name, members.unwrap_or_default()));
    }
    if is_shown {
        check_port(interfaces, name)
    } else {
        Ok(())
    }
}

fn check_port(interfaces: &Path, name: &str) -> Result<(), Refusal> {
    let master = fs::read_link(interfaces.join(name).join("master"));
    let master = master.ok().and_then(|path| file_name(&path));
    match master {
        // The port's packets become those of the bridge or the bond (`rx_handler` of `net/core/dev.c`).
        Some(master) if takes_packets(&interfaces.join(&master)) => {
            Err(Refusal::PortInterface(escaped(name.as_bytes()), master))
        }
        Some(_) | None => Ok(()),
    }
}

/// The driver of a VRF (`DRV_NAME` of `drivers/net/vrf.c`). Sysfs does not tell it from others.
const VRF: &str = "vrf";

/// `ETHTOOL_GDRVINFO` and `SIOCETHTOOL` of `include/uapi/linux/ethtool.h` and `sockios.h`.
const GET_DRIVER_INFO: u32 = 3;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    _rest: [u8; 160],
}

/// The name of an interface's driver, in the socket's network namespace.
fn driver(name: &str, socket: impl AsFd) -> Option<String> {
    let mut info = DriverInfo {
        command: GET_DRIVER_INFO,
        driver: [0; 32],
        _rest: [0; 160],
    };
    // SAFETY: a zeroed `ifreq` is valid: an interface without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0.
    let last = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..last].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the kernel reads the request, and writes a `struct ethtool_drvinfo` to where it points.
    // Both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return None;
    }
    let driver = CStr::from_bytes_until_nul(&info.driver).ok()?;
    Some(driver.to_string_lossy().into_owned())
}

/// Whether it is a bridge or a bond.
fn takes_packets(interface: &Path) -> bool {
    interface.join("bridge").is_dir() || interface.join("bonding").is_dir()
}

/// The interfaces of a VRF.
fn members(vrf: &Path) -> Vec<String> {
    let entries = fs::read_dir(vrf).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| file_name(&PathBuf::from(entry.file_name())));
    let mut members: Vec<String> = names
        .filter_map(|name| name.strip_prefix("lower_").map(str::to_owned))
        .collect();
    members.sort();
    members
}

/// Safe to show: only blanks, colons and slashes are no part of a name (`dev_valid_name`).
fn file_name(path: &Path) -> Option<String> {
    Some(escaped(path.file_name()?.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn packets_of_a_port_are_seen_elsewhere() {
        let root = std::env::temp_dir().join(format!("conn-cli-interfaces-{}", std::process::id()));
        let interface = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        interface("eth0");
        fs::create_dir(interface("br0").join("bridge")).unwrap();
        fs::create_dir(interface("red").join("lower_eth2")).unwrap();
        for (port, master) in [("eth1", "br0"), ("eth2", "red")] {
            symlink(format!("../{master}"), interface(port).join("master")).unwrap();
        }
        let check = |name| check_port(&root, name);
        assert_eq!(check("eth0"), Ok(()));
        assert_eq!(check("br0"), Ok(()));
        assert_eq!(check("eth2"), Ok(()));
        let port = Refusal::PortInterface("eth1".to_owned(), "br0".to_owned());
        assert_eq!(check("eth1"), Err(port));
        assert_eq!(members(&root.join("red")), ["eth2"]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_interface_without_a_driver_has_no_name() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(driver("no such interface", &socket), None);
        assert_ne!(driver("lo", &socket).as_deref(), Some(VRF));
    }
}
