//! What the machine is, as far as tracing depends on it.

use std::{fs, num::NonZeroUsize, os::unix::fs::MetadataExt as _, thread::available_parallelism};

use rustix::thread::{CapabilitySet, capabilities};

use crate::model::machine::Machine;

/// The inode numbers of the initial namespaces (`include/linux/proc_ns.h`). All such numbers have 32 bits
/// (`include/linux/ns_common.h`).
const INITIAL_CGROUP: u64 = 0xeffffffb;
const INITIAL_PID: u64 = 0xeffffffc;
const INITIAL_USER: u64 = 0xeffffffd;

const NOT_KNOWN: &str = "not known";

/// What it is: names and values.
#[must_use]
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let uname = rustix::system::uname();
    let kernel = format!(
        "Linux {} {}",
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy()
    );
    let security = |file| {
        let text = fs::read_to_string(format!("/sys/kernel/security/{file}"));
        text.map_or_else(|_| NOT_KNOWN.to_owned(), |text| text.trim().to_owned())
    };
    vec![
        ("kernel", kernel),
        ("security modules", security("lsm")),
        ("lockdown", in_brackets(&security("lockdown"))),
        ("cgroup namespace", namespace("cgroup", INITIAL_CGROUP)),
        ("PID namespace", namespace("pid", INITIAL_PID)),
        ("user namespace", namespace("user", INITIAL_USER)),
        ("capabilities", held()),
    ]
}

/// Its host name, if it has one.
#[must_use]
pub(crate) fn host_name() -> Option<Machine> {
    let uname = rustix::system::uname();
    // What the kernel says before anybody has named it (`UTS_NODENAME` in `include/linux/uts.h`).
    let name = uname.nodename().to_bytes();
    Machine::named(name).filter(|_| name != b"(none)")
}

/// Whether this process's capabilities are those of the machine; true if that is not known.
#[must_use]
pub(crate) fn is_in_initial_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == INITIAL_USER)
}

/// The inode number of the PID namespace of this process, if that is not the initial one, in which
/// processes have the ids that the kernel knows them by.
#[must_use]
pub(crate) fn inner_pid_namespace() -> Option<u32> {
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
    (namespace != INITIAL_PID).then_some(namespace as u32)
}

/// The inode number of the network namespace of this process.
#[must_use]
pub(crate) fn own_netns() -> Option<u32> {
    let namespace = fs::metadata("/proc/self/ns/net").ok()?;
    Some(namespace.ino() as u32)
}

/// How many processors are online, on each of which connections may be accepted. Where the kernel does not show
/// that, those that this process may use.
#[must_use]
pub(crate) fn processors() -> usize {
    let online = fs::read_to_string("/sys/devices/system/cpu/online");
    let online = online.ok().and_then(|list| in_list(list.trim_end()));
    online.unwrap_or_else(|| available_parallelism().map_or(1, NonZeroUsize::get))
}

/// How many numbers `0-3,8` has.
fn in_list(list: &str) -> Option<usize> {
    let length = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').map(length).sum()
}

/// `none [integrity] confidentiality` is `integrity`.
fn in_brackets(text: &str) -> String {
    let chosen = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    chosen.map_or(text, |(chosen, _)| chosen).to_owned()
}

fn namespace(kind: &str, initial: u64) -> String {
    match fs::metadata(format!("/proc/self/ns/{kind}")) {
        Ok(namespace) if namespace.ino() == initial => "initial".to_owned(),
        Ok(_) => "not the initial one".to_owned(),
        Err(_) => NOT_KNOWN.to_owned(),
    }
}

/// The capabilities that tracing needs and this process has.
fn held() -> String {
    let Ok(sets) = capabilities(None) else {
        return NOT_KNOWN.to_owned();
    };
    let wanted = [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
        (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
        (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
    ];
    let held = wanted
        .iter()
        .filter(|(one, _)| sets.effective.contains(*one));
    let names: Vec<&str> = held.map(|(_, name)| *name).collect();
    match names[..] {
        [] => "none of those that tracing needs".to_owned(),
        _ => names.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_processors_are_counted() {
        for (list, count) in [("0", 1), ("0-1", 2), ("0-3,8", 5), ("0-63,128-191", 128)] {
            assert_eq!(in_list(list), Some(count), "{list}");
        }
        for wrong in ["", "-", "3-0", "0-", "a", "0,"] {
            assert_eq!(in_list(wrong), None, "{wrong}");
        }
        assert!(processors() > 0);
    }

    #[test]
    fn the_chosen_one_is_in_brackets() {
        assert_eq!(in_brackets("none [integrity] confidentiality"), "integrity");
        assert_eq!(in_brackets(NOT_KNOWN), NOT_KNOWN);
    }
}
