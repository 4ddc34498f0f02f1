//! Reads what conn-cli needs to know about the running kernel's types.

mod cache;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, ensure};
use conn_common::{RequestOffsets, SocketOffsets, TaskOffsets, UNKNOWN_OFFSET};
use serde::{Deserialize, Serialize};

use super::{btf::Btf, lockdown::may_be_confidential};
use crate::{model::hook::Hook, system::machine};

/// Where the kernel publishes its types, if it was built with `CONFIG_DEBUG_INFO_BTF`.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What is known about the running kernel's types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelTypes {
    /// The offsets of the fields of a socket.
    pub offsets: SocketOffsets,
    /// The offsets of the fields of a task.
    pub task_offsets: TaskOffsets,
    /// The offsets that the programs which see SYNs in TCP need. None: one of them is not known.
    pub(super) request_offsets: Option<RequestOffsets>,
    /// The ids of the functions that the hooks name ([`Hook::btf_functions`]) in the kernel's BTF, by
    /// which programs are attached to them. None: the kernel has no such function.
    pub(super) functions: BTreeMap<String, Option<u32>>,
    /// Whether the kernel counts how often it skips a kprobe program.
    pub counts_kprobe_misses: bool,
    /// Whether a program can safely add entries to a map that allocates them when they come.
    pub(super) allocates_on_demand: bool,
}

impl KernelTypes {
    /// The id of a function in the kernel's BTF, if it is one of those that programs are attached to.
    pub(super) fn function_id(&self, function: &str) -> Option<u32> {
        self.functions.get(function).copied().flatten()
    }

    /// Whether they are from the kernel's BTF.
    #[must_use]
    pub fn has_btf(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Whether the programs can find out the ids that tasks have in this process's PID namespace.
    #[must_use]
    pub fn knows_ids(&self) -> bool {
        let can_read = self.task_offsets != TaskOffsets::UNKNOWN && !may_be_confidential();
        machine::inner_pid_namespace().is_none() || can_read
    }

    /// What is known without BTF.
    fn without_btf() -> Self {
        Self {
            offsets: SocketOffsets::STABLE,
            task_offsets: TaskOffsets::UNKNOWN,
            request_offsets: None,
            functions: BTreeMap::new(),
            counts_kprobe_misses: false,
            allocates_on_demand: false,
        }
    }
}

/// The functions whose ids are read.
fn functions() -> impl Iterator<Item = &'static str> {
    Hook::ALL.into_iter().flat_map(Hook::btf_functions)
}

/// Reads the types from the cache or the kernel's BTF, or returns what is known without BTF.
///
/// # Errors
/// The BTF has no such fields as the programs read.
pub fn read_types() -> anyhow::Result<KernelTypes> {
    if !Path::new(VMLINUX).exists() {
        return Ok(KernelTypes::without_btf());
    }
    let path = Path::new(cache::PATH);
    if let Some(types) = cache::read(path) {
        return Ok(types);
    }
    let bytes = fs::read(VMLINUX).unwrap_or_default();
    let Some(btf) = Btf::parse(&bytes) else {
        return Ok(KernelTypes::without_btf());
    };
    let types = from_btf(&btf).context("cannot use the kernel's BTF")?;
    cache::write(path, &types);
    Ok(types)
}

fn from_btf(btf: &Btf<'_>) -> anyhow::Result<KernelTypes> {
    Ok(KernelTypes {
        offsets: offsets(btf)?,
        task_offsets: task_offsets(btf).unwrap_or(TaskOffsets::UNKNOWN),
        request_offsets: request_offsets(btf),
        functions: functions()
            .map(|function| (function.to_owned(), btf.function(function)))
            .collect(),
        // Shown by the same series of patches that counts them (`kernel/trace/bpf_trace.c`,
        // `trace_call_bpf`; Linux 6.7).
        counts_kprobe_misses: btf
            .offset("bpf_link_info", &["perf_event", "kprobe", "missed"])
            .is_some(),
        // The free entries of a map (`kernel/bpf/memalloc.c`; Linux 6.1).
        allocates_on_demand: btf.offset("bpf_htab", &["ma"]).is_some(),
    })
}

/// Not every kernel has IPv6, network namespaces, or the fields that tell waits: what it does not
/// have is unknown, and what it has is used.
fn offsets(btf: &Btf<'_>) -> anyhow::Result<SocketOffsets> {
    let unless_unknown = |offset: Option<u16>| offset.unwrap_or(UNKNOWN_OFFSET);
    let optional = |name, path: &[&str]| unless_unknown(btf.offset(name, path));
    let common = |member| {
        let offset = btf.offset("sock_common", &[member]);
        offset.with_context(|| format!("it has no {member} in struct sock_common"))
    };
    let protocol = btf.offset("sock", &["sk_protocol"]);
    let offsets = SocketOffsets {
        daddr: common("skc_daddr")?,
        rcv_saddr: common("skc_rcv_saddr")?,
        dport: common("skc_dport")?,
        num: common("skc_num")?,
        family: common("skc_family")?,
        v6_daddr: optional("sock_common", &["skc_v6_daddr"]),
        v6_rcv_saddr: optional("sock_common", &["skc_v6_rcv_saddr"]),
        net: optional("sock_common", &["skc_net", "net"]),
        protocol: unless_unknown(protocol),
        netns_inum: optional("net", &["ns", "inum"]),
        netns_owner: optional("net", &["user_ns"]),
        user_ns_level: optional("user_namespace", &["level"]),
        sport: optional("inet_sock", &["inet_sport"]),
        // Without the protocol it is unknown whether a socket is a tcp_sock.
        established: unless_unknown(
            protocol.and_then(|_| btf.offset("tcp_sock", &["rcvq_space", "time"])),
        ),
        owner: optional("sock", &["sk_socket"]),
        owner_state: optional("socket", &["state"]),
    };
    ensure!(
        offsets.fit(),
        "its struct sock_common has another layout than the programs can read: {offsets:?}"
    );
    Ok(offsets)
}

/// None if one of them is not known, or `struct upid` is another one than the programs read.
fn task_offsets(btf: &Btf<'_>) -> Option<TaskOffsets> {
    let task = |member| btf.offset("task_struct", &[member]);
    let upid = (btf.offset("upid", &["nr"])?, btf.offset("upid", &["ns"])?);
    (upid == (0, 8)).then_some(TaskOffsets {
        flags: task("flags")?,
        comm: task("comm")?,
        group_leader: task("group_leader")?,
        thread_pid: task("thread_pid")?,
        pid_level: btf.offset("pid", &["level"])?,
        pid_numbers: btf.offset("pid", &["numbers"])?,
        pid_ns_inum: btf.offset("pid_namespace", &["ns", "inum"])?,
    })
}

fn request_offsets(btf: &Btf<'_>) -> Option<RequestOffsets> {
    let skb = |member| btf.offset("sk_buff", &[member]);
    let device = btf.offset("net_device", &["nd_net", "net"]);
    Some(RequestOffsets {
        head: skb("head")?,
        network_header: skb("network_header")?,
        transport_header: skb("transport_header")?,
        tcp_flags: skb("cb")?.checked_add(btf.offset("tcp_skb_cb", &["tcp_flags"])?)?,
        dev: skb("dev")?,
        dev_net: device.unwrap_or(UNKNOWN_OFFSET),
        state: btf.offset("sock_common", &["skc_state"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Without IPv6 or network namespaces
        let without = SocketOffsets {
            v6_daddr: UNKNOWN_OFFSET,
            v6_rcv_saddr: UNKNOWN_OFFSET,
            net: UNKNOWN_OFFSET,
            ..SocketOffsets::STABLE
        };
        assert!(without.fit());
    }
}
