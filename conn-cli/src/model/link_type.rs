//! The link-layer header types of captures: <https://www.tcpdump.org/linktypes.html>.

pub(crate) const NULL: u16 = 0;
pub(crate) const ETHERNET: u16 = 1;
pub(crate) const PPP: u16 = 9;
/// The value of `DLT_RAW` on some systems, which programs wrote to files by mistake.
pub(crate) const DLT_RAW: u16 = 12;
pub(crate) const DLT_RAW_OPENBSD: u16 = 14;
pub(crate) const PPP_HDLC: u16 = 50;
pub(crate) const PPP_ETHER: u16 = 51;
pub(crate) const RAW: u16 = 101;
pub(crate) const C_HDLC: u16 = 104;
pub(crate) const LOOP: u16 = 108;
pub(crate) const LINUX_SLL: u16 = 113;
pub(crate) const PFLOG: u16 = 117;
pub(crate) const IPV4: u16 = 228;
pub(crate) const IPV6: u16 = 229;
pub(crate) const NFLOG: u16 = 239;
pub(crate) const LINUX_SLL2: u16 = 276;

/// The name of a type that is not supported, if it has been seen in a capture of a network.
#[must_use]
pub(crate) fn name(link_type: u16) -> Option<&'static str> {
    Some(match link_type {
        6 => "IEEE802_5",
        8 => "SLIP",
        10 => "FDDI",
        100 => "ATM_RFC1483",
        105 => "IEEE802_11",
        107 => "FRELAY",
        119 => "IEEE802_11_PRISM",
        122 => "IP_OVER_FC",
        123 => "SUNATM",
        127 => "IEEE802_11_RADIOTAP",
        138 => "APPLE_IP_OVER_IEEE1394",
        140 => "MTP2",
        141 => "MTP3",
        142 => "SCCP",
        143 => "DOCSIS",
        144 => "LINUX_IRDA",
        147 => "USER0",
        148 => "USER1",
        149 => "USER2",
        150 => "USER3",
        151..=162 => "USER4 to USER15",
        163 => "IEEE802_11_AVS",
        166 => "PPP_PPPD",
        177 => "LINUX_LAPD",
        186 => "USB_FREEBSD",
        187 => "BLUETOOTH_HCI_H4",
        189 => "USB_LINUX",
        192 => "PPI",
        195 => "IEEE802_15_4_WITHFCS",
        197 => "ERF",
        201 => "BLUETOOTH_HCI_H4_WITH_PHDR",
        204 => "PPP_WITH_DIR",
        209 => "IPMB_LINUX",
        220 => "USB_LINUX_MMAPPED",
        227 => "CAN_SOCKETCAN",
        230 => "IEEE802_15_4_NOFCS",
        231 => "DBUS",
        247 => "INFINIBAND",
        249 => "USBPCAP",
        251 => "BLUETOOTH_LE_LL",
        252 => "WIRESHARK_UPPER_PDU",
        253 => "NETLINK",
        254 => "BLUETOOTH_LINUX_MONITOR",
        258 => "PKTAP",
        271 => "VSOCK",
        _ => return None,
    })
}
