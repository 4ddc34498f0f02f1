//! Converts the captures of the guest to formats that Linux does not write itself, and records what Suricata tells
//! of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use lab::command;

const ETHERNET: u32 = 1;
const ETHERNET_HEADER: usize = 14;
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// The link type of loopback interfaces of BSD and macOS.
const NULL: u32 = 0;
const AF_INET: u32 = 2;
/// The value on macOS.
const AF_INET6: u32 = 30;

/// The programs that convert.
pub(super) const PROGRAMS: [&str; 3] = ["editcap", "mergecap", "suricata"];

/// Adds the converted captures to `packets`, and what Suricata tells of some beside it. Returns their lines of the
/// index.
pub(super) fn all(packets: &Path) -> Result<String> {
    let mut index = String::new();
    let mut add_to_index = |name: &str, format: &str, sessions: &str, how: &str, more: &str| {
        index += &format!("packets/{name}\t{format}\t{sessions}\t{how}{more}\n");
    };
    for (name, sessions, more) in [
        ("lo", "packets-lo", ""),
        ("lo-nano", "packets-lo", "\tonly=ipv4"),
        ("syn-any", "packets-syn", ""),
    ] {
        let to = format!("{name}.pcapng");
        let mut editcap = Command::new("editcap");
        editcap.args(["-F", "pcapng"]);
        editcap.arg(packets.join(format!("{name}.pcap")));
        command::run(editcap.arg(packets.join(&to)))?;
        add_to_index(&to, "pcapng", sessions, "editcap -F pcapng", more);
    }

    // Two interfaces of different link types in one file.
    let mut mergecap = Command::new("mergecap");
    mergecap.args(["-F", "pcapng", "-I", "none", "-w"]);
    mergecap.arg(packets.join("two-interfaces.pcapng"));
    for name in ["veth-eth0.pcap", "tunnel-tun9.pcap"] {
        mergecap.arg(packets.join(name));
    }
    command::run(&mut mergecap)?;
    let sessions = "packets-veth+packets-tunnel";
    add_to_index(
        "two-interfaces.pcapng",
        "pcapng",
        sessions,
        "mergecap -I none",
        "",
    );

    let capture = fs::read(packets.join("lo.pcap"))?;
    for (name, order) in [
        ("null.pcap", u32::to_le_bytes as fn(u32) -> [u8; 4]),
        ("null-big-endian.pcap", u32::to_be_bytes),
    ] {
        let converted = to_null(&capture, order).context("cannot convert lo.pcap")?;
        fs::write(packets.join(name), converted)?;
        add_to_index(
            name,
            "pcap",
            "packets-lo",
            "lo.pcap with the link type NULL",
            "",
        );
    }
    Ok(index + &suricata(packets)?)
}

/// Writes what Suricata tells of some captures.
fn suricata(packets: &Path) -> Result<String> {
    let directory = packets.with_file_name("suricata");
    fs::create_dir_all(&directory)?;
    let mut index = String::new();
    for (name, session) in [
        ("lo", "packets-lo"),
        ("lost", "packets-lost"),
        ("same-port", "packets-same-port"),
    ] {
        // The kernel does not compute the checksums of packets over the loopback interface.
        let options = ["-k", "none", "-S", "/dev/null", "-r"];
        let logs = directory.join("logs");
        fs::create_dir(&logs)?;
        let mut suricata = Command::new("suricata");
        suricata.args(options);
        suricata.arg(packets.join(format!("{name}.pcap")));
        command::run(suricata.arg("-l").arg(&logs))?;
        fs::rename(
            logs.join("eve.json"),
            directory.join(format!("{name}.json")),
        )?;
        fs::remove_dir_all(&logs)?;
        let command = format!("suricata {} CAPTURE -l DIR", options.join(" "));
        index += &format!("suricata/{name}.json\tsuricata\t{session}\t{command}\n");
    }
    Ok(index)
}

/// Rewrites an Ethernet capture of this machine as one of a BSD's loopback interface,
/// written by a machine of this byte order.
fn to_null(capture: &[u8], order: fn(u32) -> [u8; 4]) -> Result<Vec<u8>> {
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let (header, mut rest) = capture.split_at_checked(FILE_HEADER).context("no header")?;
    if word(&header[20..]) != ETHERNET {
        bail!("the capture is not of Ethernet");
    }
    let mut converted = Vec::new();
    let mut put = |value: u32| converted.extend(order(value));
    put(word(header));
    // Major and minor version: two halves of a word, each in its own byte order.
    let version = if order(1)[0] == 1 {
        2 | (4 << 16)
    } else {
        (2 << 16) | 4
    };
    put(version);
    for field in [0, 0, word(&header[16..]), NULL] {
        put(field);
    }
    while let Some((header, after)) = rest.split_at_checked(PACKET_HEADER) {
        let (captured, length) = (word(&header[8..]), word(&header[12..]));
        let (packet, after) = after
            .split_at_checked(captured as usize)
            .context("a packet is cut off")?;
        rest = after;
        let payload = packet
            .get(ETHERNET_HEADER..)
            .context("no Ethernet header")?;
        let family = if payload[0] >> 4 == 4 {
            AF_INET
        } else {
            AF_INET6
        };
        // The header has four bytes instead of Ethernet's fourteen.
        for field in [
            word(header),
            word(&header[4..]),
            captured - 10,
            length - 10,
            family,
        ] {
            converted.extend(order(field));
        }
        converted.extend(payload);
    }
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_is_converted_to_big_endian() {
        let mut capture = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, ETHERNET] {
            capture.extend(word.to_le_bytes());
        }
        for word in [7_u32, 8, 15, 15] {
            capture.extend(word.to_le_bytes());
        }
        capture.extend([0; 14]);
        capture.push(0x45);
        let converted = to_null(&capture, u32::to_be_bytes).unwrap();
        assert_eq!(&converted[..8], &[0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4]);
        assert_eq!(&converted[20..24], &[0; 4]);
        assert_eq!(
            &converted[32..],
            &[0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 2, 0x45]
        );
    }
}
