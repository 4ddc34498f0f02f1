//! What can be the prefix of a firewall's rule.
//!
//! Other messages of the kernel quote names that users choose, such as that of a cgroup, and such a name can
//! look like a packet record. So what precedes names in these messages is no prefix of a rule. A name that is
//! followed by other text needs no place here: only fields may follow a record.

use crate::read::parse::scan::{address, is_time_of_day};

/// The longest prefix of a rule: `NF_LOG_PREFIXLEN` without its NUL.
const MAX_LEN: usize = 127;

/// The length of `14:25:37`.
const CLOCK_LEN: usize = 8;

/// How messages of the kernel begin that quote names of users, devices or file systems.
const OTHER_MESSAGES: &[&[u8]] = &[
    b"9p",
    b"AppArmor: ",
    b"BTRFS",
    b"Bluetooth: ",
    b"CIFS",
    b"CPU: ",
    b"Comm: ",
    b"Command line: ",
    b"DMI: ",
    b"EXT2-fs",
    b"EXT3-fs",
    b"EXT4-fs",
    b"F2FS-fs",
    b"FAT-fs",
    b"Hardware name: ",
    b"ISO 9660",
    b"ISOFS",
    b"JFS",
    b"Kernel command line: ",
    b"LSM: ",
    b"Lockdown: ",
    b"Memory cgroup ",
    b"NTFS",
    b"Out of memory",
    b"REISERFS",
    b"SELinux: ",
    b"SQUASHFS",
    b"Smack",
    b"Task in ",
    b"Tasks in ",
    b"Tasks state",
    b"UBIFS",
    b"UDF-fs",
    b"Unknown kernel command line",
    b"XFS",
    b"apparmor",
    b"audit(",
    b"audit: ",
    b"autofs",
    b"bcachefs",
    b"binder: ",
    b"cfg80211: ",
    b"cgroup",
    b"comm: ",
    b"coredump: ",
    b"debugfs: ",
    b"device-mapper: ",
    b"ecryptfs",
    b"erofs",
    b"evm: ",
    b"exFAT-fs",
    b"exfat",
    b"fs-verity",
    b"fscrypt",
    b"fuse: ",
    b"gfs2",
    b"hfs",
    b"hid-",
    b"ima: ",
    b"integrity: ",
    b"isofs",
    b"kernfs",
    b"kobject",
    b"landlock",
    b"libceph: ",
    b"lockd: ",
    b"loop: ",
    b"md/",
    b"md: ",
    b"memory: ",
    b"module ",
    b"netlink: ",
    b"nfs: server ",
    b"nfsd: ",
    b"ntfs",
    b"nvme ",
    b"ocfs2",
    b"oom-kill:",
    b"oom_reaper: ",
    b"overlay: ",
    b"overlayfs: ",
    b"proc: ",
    b"process '",
    b"process `",
    b"pstore: ",
    b"ramfs: ",
    b"reiserfs",
    b"request_module: ",
    b"scsi ",
    b"shmem: ",
    b"squashfs",
    b"sysctl ",
    b"sysfs: ",
    b"thunderbolt ",
    b"tmpfs: ",
    b"tracefs: ",
    b"traps: ",
    b"type=",
    b"usb ",
    b"usb-storage",
    b"usbcore: ",
    b"virtiofs",
    b"warning: `",
    b"x_tables: ",
    b"zram",
];

/// Whether a program may have written the text, and not only a rule.
pub(crate) fn is_of_program(prefix: &[u8]) -> bool {
    prefix.len() > MAX_LEN || contains_process_tag(prefix)
}

/// Whether other messages of the kernel begin with the text.
pub(super) fn is_of_other_message(prefix: &[u8]) -> bool {
    // A level as in `<4>` may precede the text.
    let text = match prefix {
        [b'<', b'0'..=b'7', b'>', text @ ..] => text,
        text => text,
    };
    OTHER_MESSAGES.iter().any(|start| text.starts_with(start))
        || is_device(text)
        || contains_path(text)
}

/// Whether a line without header and timestamp is not the kernel's: it has a time after all, as behind the name
/// of a file that grep prints, or it is that of a web server, which begins with an address or has a request, or
/// the record is in a field, as journalctl -o export and many programs print a message.
pub(super) fn is_of_other_line(prefix: &[u8]) -> bool {
    let first = prefix
        .split(|byte| *byte == b' ')
        .next()
        .unwrap_or_default();
    let is_in = |part: &[u8]| memchr::memmem::find(prefix, part).is_some();
    address(first).is_some()
        || prefix.windows(CLOCK_LEN).any(is_time_of_day)
        || [&b" HTTP/"[..], b"://", b" - - ", b"MESSAGE=", b"msg="]
            .iter()
            .any(|part| is_in(part))
}

/// Whether a process name precedes a record, such as `systemd[1]: ` in what systemd writes to
/// `/dev/kmsg`.
fn contains_process_tag(prefix: &[u8]) -> bool {
    memchr::memchr_iter(b']', prefix).any(|end| {
        let number = prefix[..end]
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        number > 0 && prefix[end..].starts_with(b"]:") && prefix[..end - number].ends_with(b"[")
    })
}

/// `usb 1-1: `, `pci 0000:00:1f.6: `: see `dev_printk`.
fn is_device(text: &[u8]) -> bool {
    let mut words = text.splitn(3, |byte| *byte == b' ');
    let (Some(driver), Some(device)) = (words.next(), words.next()) else {
        return false;
    };
    let is_driver =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
    let is_place = |byte: &u8| byte.is_ascii_hexdigit() || b"-.:".contains(byte);
    let Some(place) = device.strip_suffix(b":") else {
        return false;
    };
    driver.iter().all(is_driver)
        && place.first().is_some_and(u8::is_ascii_hexdigit)
        && place.iter().all(is_place)
        && place.iter().any(|byte| b"-.:".contains(byte))
}

/// Whether a word begins like a path, as in `pids controller in /user.slice/x`.
fn contains_path(text: &[u8]) -> bool {
    memchr::memchr_iter(b'/', text).any(|at| at == 0 || b" '\"`=,(".contains(&text[at - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_rules_are_taken() {
        for prefix in [
            "",
            "NEW: ",
            "[UFW BLOCK] ",
            "Shorewall:net2fw:DROP:",
            "\"FINAL_REJECT: \"",
            "[WAN_LOCAL-default-D]",
            "[LAN_IN-A-10000] DESCR=\"Web/mail to DMZ\" ",
            "Internet PPTP access: ",
            "iptables denied: ",
            "TRACE: raw:PREROUTING:policy:2 ",
            "RULE 12 -- ACCEPT ",
            "ACCEPT <4>ACCEPT ",
            "drop 22: ",
            "web-80: ",
            "IPv6 tcp/80 new ",
            "IMAP: ",
            "NFS: ",
            "overlay-net: ",
        ] {
            let prefix = prefix.as_bytes();
            assert!(
                !is_of_program(prefix) && !is_of_other_message(prefix),
                "{prefix:?}"
            );
            assert!(!is_of_other_line(prefix), "{prefix:?}");
        }
    }

    /// Beginnings of messages of Linux 6.12 before a name that somebody else can choose.
    #[test]
    fn prefixes_of_other_messages_are_known() {
        for prefix in [
            "cgroup: fork rejected by pids controller in /user.slice/",
            "cgroup1: Unknown subsys name '",
            "Memory cgroup out of memory: Killed process 12 (",
            "Memory cgroup stats for /",
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=",
            "Tasks in /",
            "usb 1-1: Product: ",
            "usb 2-1.4.1: SerialNumber: ",
            "hid-generic 0003:046D:C52B.0001: input,hidraw0: USB HID v1.11 Keyboard [",
            "thunderbolt 0-1: ",
            "mydriver 0000:00:1f.6: ",
            "process '/home/x/",
            "audit: type=1400 audit(1.2:3): comm=",
            "BTRFS: device label ",
            "overlayfs: unrecognized mount option \"",
            "x: cannot open /tmp/",
            "<6>usb 1-1: Manufacturer: ",
        ] {
            assert!(is_of_other_message(prefix.as_bytes()), "{prefix}");
        }
        assert!(is_of_program(b"systemd[1]: Started "));
        assert!(is_of_program(&[b'x'; MAX_LEN + 1]) && !is_of_program(&[b'x'; MAX_LEN]));
        assert!(is_of_other_line(b"MESSAGE=NEW: "));
        assert!(is_of_other_line(b"MESSAGE=") && is_of_other_line(b"level=info msg=\""));
        assert!(is_of_other_line(
            b"203.0.113.6 - - [22/Nov/2026:14:25:37 +0000] \"GET /"
        ));
    }
}
