use anyhow::Context as _;

use super::*;

fn explain(backend: Backend, errno: i32, facts: &Facts) -> Refusal {
    let error = Err::<(), _>(io::Error::from_raw_os_error(errno)).context("cannot attach");
    Refusal::explain(backend, &error.unwrap_err(), facts)
}

fn able() -> Facts {
    Facts {
        sysfs: true,
        kprobes: true,
        btf: true,
        ..Facts::default()
    }
}

#[test]
fn what_the_machine_lacks_is_named() {
    let no_kprobes = Facts {
        kprobes: false,
        ..able()
    };
    let no_btf = Facts {
        btf: false,
        ..able()
    };
    let no_symbol = Facts {
        missing_symbol: Some("security_sock_graft"),
        ..able()
    };
    let confidential = Facts {
        confidential: true,
        ..no_kprobes
    };
    let paranoid = Facts {
        perf_paranoid: Some(3),
        ..able()
    };
    let limited = Facts {
        memory_lock: Some(65536),
        ..able()
    };
    for (backend, errno, facts, refusal) in [
        (
            Backend::Kretprobe,
            libc::ENOENT,
            &no_kprobes,
            Refusal::NoKprobes,
        ),
        (Backend::Fentry, libc::ENOENT, &no_btf, Refusal::NoBtf),
        (
            Backend::Kretprobe,
            libc::ENOENT,
            &no_symbol,
            Refusal::NoSymbol("security_sock_graft"),
        ),
        (
            Backend::Kretprobe,
            libc::EINVAL,
            &confidential,
            Refusal::Lockdown,
        ),
        (
            Backend::Tracepoint,
            libc::EPERM,
            &confidential,
            Refusal::Lockdown,
        ),
        (
            Backend::Kretprobe,
            libc::EPERM,
            &limited,
            Refusal::MemoryLock(65536),
        ),
        (
            Backend::Fentry,
            libc::EPERM,
            &able(),
            Refusal::NoTrampolines,
        ),
        (Backend::Fentry, ENOTSUPP, &able(), Refusal::NoTrampolines),
        (Backend::Lsm, libc::EINVAL, &able(), Refusal::NoTrampolines),
        (Backend::Lsm, libc::ENOENT, &no_btf, Refusal::NoBtf),
        (
            Backend::Tracepoint,
            libc::ENOENT,
            &able(),
            Refusal::NoTracepoint,
        ),
        (
            Backend::Tracepoint,
            libc::EACCES,
            &able(),
            Refusal::NotPermitted,
        ),
        (
            Backend::Kretprobe,
            libc::EACCES,
            &paranoid,
            Refusal::PerfParanoid(3),
        ),
        // A missing symbol does not concern the tracepoint.
        (
            Backend::Tracepoint,
            libc::EPERM,
            &no_symbol,
            Refusal::NotPermitted,
        ),
    ] {
        assert_eq!(explain(backend, errno, facts), refusal);
    }
}

#[test]
fn anything_else_keeps_the_systems_words() {
    let refusal = explain(Backend::Kretprobe, libc::ENOMEM, &able());
    let text = refusal.to_string();
    assert!(text.starts_with("cannot attach: Cannot allocate"), "{text}");
    assert!(!refusal.is_final());
}

#[test]
fn creating_the_maps_fails_for_reasons_of_its_own() {
    let explain = |errno| {
        let error = MapError::CreateError {
            name: "CLIENTS".to_owned(),
            io_error: io::Error::from_raw_os_error(errno),
        };
        let error = anyhow::Error::new(error).context("cannot create the eBPF maps");
        Refusal::explain(Backend::Fentry, &error, &able())
    };
    assert_eq!(explain(libc::ENOMEM), Refusal::NoMemory);
    assert_eq!(explain(libc::E2BIG), Refusal::NoMemory);
    // As in a user namespace, or where seccomp forbids bpf(2)
    assert_eq!(explain(libc::EPERM), Refusal::NotPermitted);
}

#[test]
fn a_refusal_on_the_way_is_kept() {
    let error = anyhow::Error::new(Refusal::ChangedTracepoint);
    let refusal = Refusal::explain(Backend::Tracepoint, &error, &Facts::default());
    assert_eq!(refusal, Refusal::ChangedTracepoint);
}

#[test]
fn every_text_is_one_line_with_a_remedy() {
    for (refusal, remedy) in [
        (Refusal::NotPermitted, "CAP_BPF and CAP_PERFMON"),
        (Refusal::OldKernel("5.4.0".to_owned()), "5.8"),
        (Refusal::MemoryLock(65536), "64 KiB"),
        (Refusal::PerfParanoid(3), "--probe fentry"),
        (Refusal::Lockdown, "lockdown=integrity"),
        (Refusal::NoSysfs, "mount -t sysfs"),
        (Refusal::NoKprobes, "--probe tracepoint"),
        (Refusal::NoSymbol("x"), "--probe tracepoint"),
        (Refusal::NoBtf, "--probe"),
        (Refusal::NoTrampolines, "--probe"),
        (Refusal::NoBpfLsm, "lsm="),
        (Refusal::NoSecurityfs, "mount -t securityfs"),
        (Refusal::TracefsDenied, "sudo"),
        (Refusal::NoMemory, "--max-clients"),
        (Refusal::NoTracepoint, "mount -t tracefs"),
        (Refusal::ChangedTracepoint, "--probe"),
        (Refusal::Rejected, "report"),
    ] {
        let text = refusal.to_string();
        assert!(text.contains(remedy), "{text}");
        assert!(!text.contains('\n') && !text.contains("  "), "{text}");
    }
}
