//! On which interface packets are seen: those of some interfaces come to IP on another one.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::Refusal;
use crate::system::text::escaped;

/// Where the kernel shows the interfaces, of the network namespace in which sysfs was mounted.
const INTERFACES: &str = "/sys/class/net";

/// Checks that IP gets packets on this interface of this thread's network namespace, as far as sysfs
/// shows it.
///
/// # Errors
/// On which interface it gets them instead.
pub(super) fn check(name: &str, index: u32) -> Result<(), Refusal> {
    let interfaces = Path::new(INTERFACES);
    let shown = fs::read_to_string(interfaces.join(name).join("ifindex"));
    let is_this_one = shown.is_ok_and(|shown| shown.trim() == index.to_string());
    if is_this_one {
        check_in(interfaces, name)
    } else {
        Ok(())
    }
}

fn check_in(interfaces: &Path, name: &str) -> Result<(), Refusal> {
    let interface = interfaces.join(name);
    if is_vrf(&interface) {
        let name = escaped(name.as_bytes());
        return Err(Refusal::VrfInterface(name, members(&interface)));
    }
    let master = fs::read_link(interface.join("master"));
    let master = master.ok().and_then(|path| file_name(&path));
    match master {
        // The port's packets become those of the bridge or the bond (`rx_handler` of `net/core/dev.c`).
        Some(master) if takes_packets(&interfaces.join(&master)) => {
            Err(Refusal::PortInterface(escaped(name.as_bytes()), master))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether it is a bridge or a bond.
fn takes_packets(interface: &Path) -> bool {
    interface.join("bridge").is_dir() || interface.join("bonding").is_dir()
}

fn is_vrf(interface: &Path) -> bool {
    let properties = fs::read_to_string(interface.join("uevent")).unwrap_or_default();
    properties.lines().any(|line| line == "DEVTYPE=vrf")
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
    fn packets_of_a_port_or_a_vrf_are_seen_elsewhere() {
        let root = std::env::temp_dir().join(format!("conn-cli-interfaces-{}", std::process::id()));
        let interface = |name: &str, kind: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("uevent"), format!("{kind}INTERFACE={name}\n")).unwrap();
            path
        };
        interface("eth0", "");
        let bridge = interface("br0", "DEVTYPE=bridge\n");
        fs::create_dir(bridge.join("bridge")).unwrap();
        let vrf = interface("red", "DEVTYPE=vrf\n");
        for (port, master) in [("eth1", "br0"), ("eth2", "red")] {
            let path = interface(port, "");
            symlink(format!("../{master}"), path.join("master")).unwrap();
        }
        fs::create_dir(vrf.join("lower_eth2")).unwrap();
        let check = |name| check_in(&root, name);
        assert_eq!(check("eth0"), Ok(()));
        assert_eq!(check("br0"), Ok(()));
        assert_eq!(check("eth2"), Ok(()));
        let port = Refusal::PortInterface("eth1".to_owned(), "br0".to_owned());
        assert_eq!(check("eth1"), Err(port));
        let vrf = Refusal::VrfInterface("red".to_owned(), vec!["eth2".to_owned()]);
        assert_eq!(check("red"), Err(vrf));
        fs::remove_dir_all(root).unwrap();
    }
}
