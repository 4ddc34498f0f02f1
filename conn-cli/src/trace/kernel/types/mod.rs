//! Reads what conn-cli needs to know about the running kernel's types.

mod cache;

use std::{collections::BTreeMap, fs, path::Path};

use conn_common::{SocketOffsets, UNKNOWN_OFFSET};
use serde::{Deserialize, Serialize};

use super::btf::Btf;
use crate::model::hook::Hook;

/// Where the kernel publishes its types, if it was built with `CONFIG_DEBUG_INFO_BTF`.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What is known about the running kernel's types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelTypes {
    /// The offsets of the fields of a socket.
    pub offsets: SocketOffsets,
    /// The ids of the functions that the hooks name ([`Hook::btf_functions`]) in the kernel's BTF, by
    /// which programs are attached to them. None: the kernel has no such function.
    pub(super) functions: BTreeMap<String, Option<u32>>,
}

impl KernelTypes {
    /// The id of a function in the kernel's BTF, if it is one of those that programs are attached to.
    pub(super) fn function_id(&self, function: &str) -> Option<u32> {
        self.functions.get(function).copied().flatten()
    }

    /// What is known without BTF.
    fn without_btf() -> Self {
        Self {
            offsets: SocketOffsets::STABLE,
            functions: BTreeMap::new(),
        }
    }
}

/// The functions whose ids are read.
fn functions() -> impl Iterator<Item = &'static str> {
    Hook::ALL.into_iter().flat_map(Hook::btf_functions)
}

/// Reads the types from the cache or the kernel's BTF, or returns what is known without BTF.
#[must_use]
pub fn read_types() -> KernelTypes {
    if !Path::new(VMLINUX).exists() {
        return KernelTypes::without_btf();
    }
    let path = Path::new(cache::PATH);
    if let Some(types) = cache::read(path) {
        return types;
    }
    match fs::read(VMLINUX).ok().and_then(|bytes| from_btf(&bytes)) {
        Some(types) => {
            cache::write(path, &types);
            types
        }
        None => KernelTypes::without_btf(),
    }
}

fn from_btf(bytes: &[u8]) -> Option<KernelTypes> {
    let btf = Btf::parse(bytes)?;
    Some(KernelTypes {
        offsets: offsets(&btf).unwrap_or(SocketOffsets::STABLE),
        functions: functions()
            .map(|function| (function.to_owned(), btf.function(function)))
            .collect(),
    })
}

/// None if a required field is missing, or is not where the programs can read it.
fn offsets(btf: &Btf<'_>) -> Option<SocketOffsets> {
    let common = |member| btf.offset("sock_common", &[member]);
    let protocol = btf.offset("sock", &["sk_protocol"]);
    let offsets = SocketOffsets {
        daddr: common("skc_daddr")?,
        rcv_saddr: common("skc_rcv_saddr")?,
        dport: common("skc_dport")?,
        num: common("skc_num")?,
        family: common("skc_family")?,
        v6_daddr: common("skc_v6_daddr")?,
        v6_rcv_saddr: common("skc_v6_rcv_saddr")?,
        net: btf.offset("sock_common", &["skc_net", "net"])?,
        protocol: protocol.unwrap_or(UNKNOWN_OFFSET),
        netns_inum: btf.offset("net", &["ns", "inum"]).unwrap_or(UNKNOWN_OFFSET),
        sport: btf
            .offset("inet_sock", &["inet_sport"])
            .unwrap_or(UNKNOWN_OFFSET),
        // Without the protocol it is unknown whether a socket is a tcp_sock.
        established: protocol
            .and_then(|_| btf.offset("tcp_sock", &["rcvq_space", "time"]))
            .unwrap_or(UNKNOWN_OFFSET),
        owner: btf.offset("sock", &["sk_socket"]).unwrap_or(UNKNOWN_OFFSET),
        owner_state: btf.offset("socket", &["state"]).unwrap_or(UNKNOWN_OFFSET),
    };
    offsets.fit().then_some(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every counting test in a guest shows that the offsets are right on real kernels.
    #[test]
    fn invalid_btf_gives_none() {
        assert_eq!(from_btf(b""), None);
        assert_eq!(from_btf(&[0; 64]), None);
    }

    #[test]
    fn offsets_beyond_the_copied_bytes_do_not_fit() {
        assert!(SocketOffsets::STABLE.fit());
        for bad in [
            SocketOffsets {
                v6_rcv_saddr: 76,
                ..SocketOffsets::STABLE
            },
            SocketOffsets {
                v6_daddr: 52,
                ..SocketOffsets::STABLE
            },
            SocketOffsets {
                family: 88,
                ..SocketOffsets::STABLE
            },
            SocketOffsets {
                num: 13,
                ..SocketOffsets::STABLE
            },
            SocketOffsets {
                net: 52,
                ..SocketOffsets::STABLE
            },
            SocketOffsets {
                daddr: UNKNOWN_OFFSET,
                ..SocketOffsets::STABLE
            },
        ] {
            assert!(!bad.fit(), "{bad:?}");
        }
    }
}
