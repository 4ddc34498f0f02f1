use anyhow::Context as _;

use crate::trace::kernel::refusal::*;

fn explain(hook: Hook, errno: i32, facts: &Facts) -> Refusal {
    let error = Err::<(), _>(io::Error::from_raw_os_error(errno)).context("cannot attach");
    Refusal::explain(hook, &error.unwrap_err(), facts)
}

fn supported() -> Facts {
    Facts {
        sysfs: true,
        kprobes: true,
        btf: true,
        ring_buffer: true,
        initial_user_namespace: true,
        ..Facts::default()
    }
}

#[test]
fn missing_features_are_named() {
    let no_kprobes = Facts {
        kprobes: false,
        ..supported()
    };
    let no_btf = Facts {
        btf: false,
        ..supported()
    };
    let no_symbol = Facts {
        missing_symbol: Some("security_sock_graft"),
        ..supported()
    };
    let confidential = Facts {
        confidential: true,
        ..no_kprobes
    };
    let paranoid = Facts {
        perf_paranoid: Some(3),
        ..supported()
    };
    let limited = Facts {
        memory_lock: Some(65536),
        ..supported()
    };
    for (hook, errno, facts, refusal) in [
        (
            Hook::Kretprobe,
            libc::ENOENT,
            &no_kprobes,
            Refusal::NoKprobes,
        ),
        (Hook::Fentry, libc::ENOENT, &no_btf, Refusal::NoBtf),
        (
            Hook::Kretprobe,
            libc::ENOENT,
            &no_symbol,
            Refusal::NoSymbol("security_sock_graft"),
        ),
        (
            Hook::Kretprobe,
            libc::EINVAL,
            &confidential,
            Refusal::Lockdown,
        ),
        (
            Hook::Tracepoint,
            libc::EPERM,
            &confidential,
            Refusal::Lockdown,
        ),
        (
            Hook::Kretprobe,
            libc::EPERM,
            &limited,
            Refusal::MemoryLock(65536),
        ),
        (
            Hook::Fentry,
            libc::EPERM,
            &supported(),
            Refusal::NoTrampolines,
        ),
        (Hook::Fentry, ENOTSUPP, &supported(), Refusal::NoTrampolines),
        (
            Hook::Lsm,
            libc::EINVAL,
            &supported(),
            Refusal::NoTrampolines,
        ),
        (Hook::Lsm, libc::ENOENT, &no_btf, Refusal::NoBtf),
        (
            Hook::Tracepoint,
            libc::ENOENT,
            &supported(),
            Refusal::NoTracepoint,
        ),
        (
            Hook::Tracepoint,
            libc::EACCES,
            &supported(),
            Refusal::NotPermitted,
        ),
        (
            Hook::Kretprobe,
            libc::EACCES,
            &paranoid,
            Refusal::PerfParanoid(3),
        ),
        // The tracepoint does not need the missing symbol.
        (
            Hook::Tracepoint,
            libc::EPERM,
            &no_symbol,
            Refusal::NotPermitted,
        ),
    ] {
        assert_eq!(explain(hook, errno, facts), refusal);
    }
}

#[test]
fn other_errors_keep_the_systems_text() {
    let refusal = explain(Hook::Kretprobe, libc::ENOMEM, &supported());
    let text = refusal.to_string();
    assert!(text.starts_with("cannot attach: Cannot allocate"), "{text}");
    assert!(!refusal.is_final());
}

#[test]
fn map_creation_errors_are_explained() {
    let explain = |errno| {
        let error = MapError::CreateError {
            name: "CLIENTS".to_owned(),
            io_error: io::Error::from_raw_os_error(errno),
        };
        let error = anyhow::Error::new(error).context("cannot create the eBPF maps");
        Refusal::explain(Hook::Fentry, &error, &supported())
    };
    assert_eq!(explain(libc::ENOMEM), Refusal::NoMemory);
    assert_eq!(explain(libc::E2BIG), Refusal::NoMemory);
    // As in a user namespace, or where seccomp forbids bpf(2)
    assert_eq!(explain(libc::EPERM), Refusal::NotPermitted);
}

#[test]
fn an_error_that_is_a_refusal_is_returned() {
    let error = anyhow::Error::new(Refusal::NoRootCgroup);
    let refusal = Refusal::explain(Hook::Tracepoint, &error, &Facts::default());
    assert_eq!(refusal, Refusal::NoRootCgroup);
}

#[test]
fn every_message_is_one_line_with_a_remedy() {
    for (refusal, remedy) in [
        (Refusal::NotPermitted, "CAP_BPF and CAP_PERFMON"),
        (Refusal::FtraceOff, "sysctl kernel.ftrace_enabled=1"),
        (Refusal::UserNamespace, "container"),
        (Refusal::Denied, "kernel's log"),
        (Refusal::NoRingBuffer, "5.8"),
        (Refusal::MemoryLock(65536), "64 KiB"),
        (Refusal::PerfParanoid(3), "--probe fentry"),
        (Refusal::Lockdown, "lockdown=integrity"),
        (Refusal::NoSysfs, "mount -t sysfs"),
        (Refusal::NoKprobes, "--probe"),
        (Refusal::NoSymbol("x"), "--probe"),
        (Refusal::NoBtf, "--probe"),
        (Refusal::NoTrampolines, "--probe"),
        (Refusal::NoBpfLsm, "lsm="),
        (Refusal::NoSecurityfs, "mount -t securityfs"),
        (Refusal::NoNetAdmin, "CAP_NET_ADMIN"),
        (Refusal::NoRootCgroup, "container"),
        (Refusal::RootCgroupTaken, "--probe"),
        (Refusal::NoMemory, "--max-clients"),
        (Refusal::NoTracepoint, "--probe"),
        (Refusal::Rejected, "report"),
    ] {
        let text = refusal.to_string();
        assert!(text.contains(remedy), "{text}");
        assert!(!text.contains('\n') && !text.contains("  "), "{text}");
    }
}

#[test]
fn a_missing_capability_is_told_from_another_refusal() {
    let explain = |facts: &Facts| {
        let error = anyhow::Error::new(io::Error::from_raw_os_error(libc::EPERM));
        Refusal::explain(Hook::SockOps, &error, facts)
    };
    assert_eq!(explain(&supported()), Refusal::NotPermitted);
    let capable = Facts {
        capable: true,
        ..supported()
    };
    assert_eq!(explain(&capable), Refusal::Denied);
    let rootless = Facts {
        initial_user_namespace: false,
        ..capable
    };
    assert_eq!(explain(&rootless), Refusal::UserNamespace);
}
