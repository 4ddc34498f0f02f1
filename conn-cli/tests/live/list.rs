//! The list of cases, with the hooks and machines that run each.

use lab::accept::Accept;
use lab::family::Family;
use lab::hook::Hook;

use crate::case::{
    Case, blocked, case, count, everywhere_case, natively, needing, on_one_kernel, single_hook,
    stages,
};
use crate::cases::exact::{Count, First, Protocol};
use crate::cases::{
    beside_reader, cgroups, check, dropped, filters, flood, followed, forged, funnel, grouping,
    hostile, interfaces, intervals, kernel_threads, leftovers, limits, memory, metrics, namespaces,
    newcomers, no_btf, nobody, old_version, over, overflow, peers, pid_namespace, ports,
    preemption, privileges, recipes, remade_cgroup, requests, resets, restarted, same_ends,
    self_connect, service, signals, silent, sizes, so_far, status_line, steered, streams,
    syn_flood, syns, tasks, text, time_namespace, trouble, waits,
};
use crate::machines::{
    ACCEPTS, EACH, STEERED, WITH_AUTO, WITH_TWO_CAPABILITIES, anywhere, beside_readers, everywhere,
    in_each_guest, locked_down, switchable, with_last_stage, with_memory_lock, with_mptcp,
    with_own_workers, with_smc, without_bpf_lsm, without_kprobes,
};

/// The hooks that see all connections also if several conn-cli run.
const ONE_OF_SEVERAL: &[Hook] = &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry, Hook::SockOps];

/// Every case, in the order in which they run.
pub(crate) const CASES: &[Case] = &[
    Case {
        hooks: WITH_AUTO,
        runs: everywhere,
        ..count("ipv4", Count::PLAIN)
    },
    Case {
        runs: everywhere,
        ..count(
            "ipv6",
            Count {
                family: Family::V6,
                ..Count::PLAIN
            },
        )
    },
    Case {
        runs: everywhere,
        ..count(
            "dual-stack",
            Count {
                family: Family::Dual,
                ..blocked(4)
            },
        )
    },
    count("blocked-64", blocked(64)),
    count("blocked-512", blocked(512)),
    count(
        "server-afterwards",
        Count {
            first: First::Tracer,
            ..blocked(64)
        },
    ),
    count(
        "epoll",
        Count {
            accept: Accept::Epoll,
            ..Count::PLAIN
        },
    ),
    count(
        "io-uring",
        Count {
            accept: Accept::IoUring,
            ..Count::PLAIN
        },
    ),
    Case {
        runs: with_own_workers,
        // The other hooks do not know the process.
        hooks: ACCEPTS,
        ..count(
            "io-uring-worker",
            Count {
                accept: Accept::IoUringWorker,
                ..Count::PLAIN
            },
        )
    },
    count(
        "fork",
        Count {
            accept: Accept::Fork,
            ..Count::PLAIN
        },
    ),
    Case {
        runs: with_mptcp,
        ..count(
            "mptcp",
            Count {
                protocol: Protocol::Mptcp,
                ..blocked(4)
            },
        )
    },
    Case {
        runs: with_mptcp,
        ..count(
            "tcp-to-mptcp",
            Count {
                protocol: Protocol::TcpToMptcp,
                ..blocked(4)
            },
        )
    },
    count(
        "other-netns",
        Count {
            netns: true,
            ..blocked(4)
        },
    ),
    count(
        "other-port",
        Count {
            other_port: true,
            ..blocked(4)
        },
    ),
    case("flood-unread", EACH, flood::unread),
    case("flood-terminated", EACH, flood::terminated),
    everywhere_case("reset-early", resets::ipv4),
    everywhere_case("reset-early-dual-stack", resets::dual_stack),
    case(
        "reset-early-no-btf",
        &[Hook::Kretprobe],
        resets::without_btf,
    ),
    everywhere_case("simultaneous-open", self_connect::simultaneous_open),
    // The other hooks do not know who accepts.
    case("same-ends-elsewhere", ACCEPTS, same_ends::elsewhere),
    everywhere_case("users-netns", namespaces::of_users),
    everywhere_case("same-ends-of-user", same_ends::of_user),
    everywhere_case("no-btf", no_btf::no_btf),
    on_one_kernel(everywhere_case("no-namespaces", no_btf::no_namespaces)),
    on_one_kernel(everywhere_case("no-ipv6", no_btf::no_ipv6)),
    everywhere_case("old-version", old_version::counts),
    everywhere_case("port-list", ports::list),
    everywhere_case("not-port", ports::left_out),
    Case {
        runs: with_last_stage,
        ..case("filters", EACH, filters::filters)
    },
    // The other hooks see no accepts, so there are no three stages.
    case("stage-filters", ACCEPTS, filters::stage_filters),
    // The other hooks do not know the process.
    case("task-filters", ACCEPTS, tasks::filters),
    on_one_kernel(case(
        "ended-process",
        &[Hook::Kretprobe],
        tasks::ended_process,
    )),
    on_one_kernel(case("ended-netns", &[Hook::Kretprobe], tasks::ended_netns)),
    case("netns-filter", &[Hook::Tracepoint], tasks::netns),
    case("wrong-filters", &[Hook::Kretprobe], tasks::wrong_filters),
    // The other hooks do not know the process.
    needing(
        &["cat", "nsenter"],
        case("pid-namespace", ACCEPTS, pid_namespace::ids),
    ),
    Case {
        runs: with_smc,
        ..case("kernel-threads", ACCEPTS, kernel_threads::smc)
    },
    case("grouping-tasks", ACCEPTS, grouping::tasks),
    case("grouping-renaming", ACCEPTS, grouping::renaming),
    on_one_kernel(case(
        "grouping-containers",
        &[Hook::Kretprobe],
        grouping::containers,
    )),
    single_hook("grouping", grouping::endpoints),
    // Of two runs at once, the kernel may skip the program of the tracepoint in each.
    Case {
        runs: everywhere,
        ..case("network-names", ONE_OF_SEVERAL, grouping::names)
    },
    everywhere_case("names-so-far", so_far::names),
    single_hook("long", text::long),
    single_hook("interval", intervals::rows),
    single_hook("interval-flood", intervals::flood),
    needing(
        &["unshare"],
        single_hook("time-namespace", time_namespace::wall_clock),
    ),
    // Only a guest's clock may be set.
    case("clock-set", &[Hook::Kretprobe], intervals::clock_set),
    single_hook("new-known", newcomers::new_known),
    single_hook("bad-known", newcomers::bad_known),
    everywhere_case("max-clients", limits::max_clients),
    // Of two runs at once, the kernel may skip the program of the tracepoint in each.
    case("heavy-client", ONE_OF_SEVERAL, limits::heavy_client),
    // The other hooks do not know the process.
    case("called-other", ACCEPTS, limits::called_other),
    case("out-of-memory", &[Hook::Kretprobe], memory::out_of_memory),
    on_one_kernel(single_hook("memory-at-summary", memory::at_summary)),
    on_one_kernel(single_hook("little-memory", sizes::little_memory)),
    on_one_kernel(single_hook("default-sizes", sizes::defaults)),
    everywhere_case("quiet", limits::quiet),
    everywhere_case("over", over::told_at_once),
    single_hook("over-below-again", over::below_again),
    everywhere_case("over-no-room", over::no_room),
    single_hook("over-by", over::by_others),
    // The tracepoint fails this: the kernel skips it where it interrupts itself.
    case("steered", STEERED, steered::steered),
    single_hook("hidden-processors", limits::hidden_processors),
    on_one_kernel(single_hook("many-namespaces", namespaces::many)),
    on_one_kernel(single_hook("followed-namespaces", followed::namespaces)),
    single_hook("count", limits::count),
    single_hook("count-not-reached", limits::count_not_reached),
    single_hook("duration", limits::duration),
    single_hook("hang-up", signals::hang_up),
    single_hook("service-manager", service::notify),
    single_hook("user-defined-signal", signals::user_defined),
    everywhere_case("totals-so-far", so_far::totals),
    everywhere_case("metrics", metrics::scraped),
    single_hook("metrics-stalled", metrics::stalled),
    single_hook("metrics-endpoints", metrics::endpoints),
    needing(
        &["strace"],
        natively(case(
            "metrics-calls",
            &[Hook::SockOps],
            metrics::system_calls,
        )),
    ),
    single_hook("status-line", status_line::status_line),
    single_hook("nohup", signals::nohup),
    needing(
        &["bash", "jq"],
        natively(case(
            "recipe-background",
            &[Hook::SockOps],
            recipes::background,
        )),
    ),
    needing(
        &["bash", "jq"],
        natively(case("recipe-alert", &[Hook::SockOps], recipes::alert)),
    ),
    needing(
        &["bash", "jq"],
        natively(case("recipe-over", &[Hook::SockOps], recipes::over)),
    ),
    needing(
        &["bash"],
        natively(case(
            "recipe-new-addresses",
            &[Hook::SockOps],
            recipes::new_addresses,
        )),
    ),
    single_hook("two-terms", signals::two_terms),
    single_hook("second-interrupt", signals::second_interrupt),
    everywhere_case("reader-closes", streams::reader_closes),
    single_hook("stderr-closed", streams::stderr_closed),
    single_hook("disk-full", streams::disk_full),
    everywhere_case("text", text::text),
    everywhere_case("last-line", text::last_line),
    everywhere_case("read-back", text::read_back),
    // The other hooks do not know the process.
    case("hostile-name", ACCEPTS, hostile::hostile_name),
    needing(&["tcpdump"], stages("funnel", funnel::funnel)),
    // The other hooks see no accepts.
    case("slow-accept", ACCEPTS, waits::slow_accept),
    needing(
        &["nstat", "ss", "tcpdump"],
        stages("trouble", trouble::trouble),
    ),
    needing(
        &["ip", "tcpdump"],
        stages("syn-flood", syn_flood::syn_flood),
    ),
    single_hook("nobody-accepts", nobody::nobody_accepts),
    needing(
        &["nstat", "ss"],
        single_hook("overflow", overflow::warnings),
    ),
    needing(
        &["nstat", "ss"],
        single_hook("deferred-accepts", overflow::deferred),
    ),
    single_hook("restarted-server", restarted::server),
    needing(&["ip"], single_hook("syn-repeats", syns::repeats)),
    // Not every machine has VLANs.
    needing(
        &["ip"],
        case(
            "syn-repeats-vlan",
            &[Hook::Kretprobe],
            syns::repeats_in_vlan,
        ),
    ),
    // Not every machine has trampolines.
    case(
        "refused",
        &[Hook::Kretprobe, Hook::Fentry],
        requests::refused,
    ),
    case("syn-elsewhere", &[Hook::Kretprobe], requests::elsewhere),
    needing(
        &["ip"],
        case(
            "syn-many-headers",
            &[Hook::Kretprobe],
            requests::many_headers,
        ),
    ),
    case("syn-fallback", &[Hook::Kretprobe], requests::fallback),
    // Not every machine has these types of interfaces.
    needing(
        &["ip"],
        on_one_kernel(case("vrf", &[Hook::Kretprobe], interfaces::vrf)),
    ),
    needing(
        &["ip"],
        on_one_kernel(case("bridge", &[Hook::Kretprobe], interfaces::bridge)),
    ),
    needing(
        &["nstat", "ss", "tcpdump"],
        single_hook("peers", peers::peers),
    ),
    needing(&["ip", "tcpdump"], single_hook("forged-syns", forged::syns)),
    // Not every machine has VLANs.
    needing(
        &["ip", "tcpdump"],
        case("forged-syns-vlan", &[Hook::Kretprobe], forged::syns_in_vlan),
    ),
    case("child-programs", &[Hook::SockOps], cgroups::child_programs),
    case("cgroup-namespace", &[Hook::SockOps], cgroups::namespace),
    // The other hooks do not know the process.
    case("remade-cgroup", ACCEPTS, remade_cgroup::counts),
    case("remade-cgroup-late", ACCEPTS, remade_cgroup::missed),
    case("killed", EACH, leftovers::killed),
    case("killed-old-version", EACH, old_version::killed),
    everywhere_case("dropped-privileges", dropped::privileges),
    case(
        "two-capabilities",
        WITH_TWO_CAPABILITIES,
        privileges::two_capabilities,
    ),
    case(
        "file-capabilities",
        WITH_TWO_CAPABILITIES,
        privileges::file_capabilities,
    ),
    case(
        "perf-paranoid",
        &[Hook::Kretprobe],
        privileges::perf_paranoid,
    ),
    case("not-root", &[Hook::Auto], privileges::not_root),
    case("bad-port", &[Hook::Auto], privileges::bad_port),
    Case {
        runs: anywhere,
        ..case("check", &[Hook::Auto], check::is_what_is_used)
    },
    Case {
        runs: in_each_guest,
        ..case("chosen", &[Hook::Auto], preemption::chosen)
    },
    Case {
        runs: switchable,
        ..case("preemption-switched", &[Hook::Auto], preemption::switched)
    },
    Case {
        runs: in_each_guest,
        ..case(
            "two-at-once",
            &[Hook::Auto, Hook::Kretprobe],
            preemption::two_at_once,
        )
    },
    Case {
        runs: beside_readers,
        ..case("map-reader-batches", WITH_AUTO, beside_reader::batches)
    },
    Case {
        runs: beside_readers,
        ..case("map-reader-paused", WITH_AUTO, beside_reader::paused)
    },
    Case {
        runs: beside_readers,
        ..case("map-reader-keys", WITH_AUTO, beside_reader::keys)
    },
    Case {
        runs: without_bpf_lsm,
        ..case("no-bpf-lsm", &[Hook::Lsm], privileges::no_bpf_lsm)
    },
    Case {
        runs: with_memory_lock,
        ..case("memory-lock", &[Hook::Kretprobe], privileges::memory_lock)
    },
    Case {
        runs: locked_down,
        ..case(
            "lockdown",
            &[Hook::Kretprobe, Hook::Tracepoint],
            privileges::lockdown,
        )
    },
    Case {
        runs: locked_down,
        ..case(
            "exact-in-lockdown",
            &[Hook::Auto, Hook::Lsm, Hook::Fentry, Hook::SockOps],
            privileges::exact_in_lockdown,
        )
    },
    Case {
        runs: without_kprobes,
        ..case("no-kprobes", &[Hook::Kretprobe], privileges::no_kprobes)
    },
    case(
        "kprobes-disarmed",
        &[Hook::Kretprobe],
        silent::kprobes_disarmed,
    ),
    // The last ones: a kernel may attach no probes any more once the function tracer was switched off
    // while some were attached.
    case(
        "silent-at-start",
        &[Hook::Auto, Hook::Kretprobe, Hook::Fentry],
        silent::at_start,
    ),
    case(
        "silent-mid-run",
        &[Hook::Kretprobe, Hook::Fentry],
        silent::mid_run,
    ),
];
