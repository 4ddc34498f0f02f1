//! Attaches programs to kprobes with perf_event_open(2). aya would attach in another way if uname(2)
//! told an old version: through tracefs, where the probe stays when conn-cli is killed.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::Context as _;

/// What the kernel says of its kprobes for perf events.
const PMU: &str = "/sys/bus/event_source/devices/kprobe";

/// Where on a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Entry,
    Return,
}

/// The start of `struct perf_event_attr`, as far as Linux has had it since 2.6.33
/// (`PERF_ATTR_SIZE_VER1` of `include/uapi/linux/perf_event.h`).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    /// The address of the function's name.
    kprobe_func: u64,
    /// The offset in the function.
    probe_offset: u64,
}
const _: () = assert!(size_of::<Attributes>() == 72);

/// `PERF_FLAG_FD_CLOEXEC` of the same file.
const CLOEXEC: libc::c_ulong = 8;
/// `PERF_EVENT_IOC_SET_BPF` of the same file.
const SET_BPF: libc::c_ulong = 0x4004_2408;
/// `PERF_EVENT_IOC_ENABLE` of the same file.
const ENABLE: libc::c_ulong = 0x2400;

/// Attaches a loaded program to a function, until the event is closed.
///
/// # Errors
/// Why the kernel does not attach it.
pub(super) fn attach(program: impl AsFd, function: &str, at: At) -> anyhow::Result<OwnedFd> {
    let name = CString::new(function)?;
    let attributes = Attributes {
        kind: setting("type", "")?,
        size: size_of::<Attributes>() as u32,
        config: match at {
            At::Entry => 0,
            At::Return => 1 << setting("format/retprobe", "config:")?,
        },
        kprobe_func: name.as_ptr().expose_provenance() as u64,
        ..Attributes::default()
    };
    let event = open(&attributes).context("cannot open the event of a kprobe")?;
    control(&event, SET_BPF, program.as_fd().as_raw_fd()).context("cannot set its program")?;
    control(&event, ENABLE, 0).context("cannot enable the event of a kprobe")?;
    Ok(event)
}

/// A number that the kernel tells of its kprobes.
fn setting(file: &str, prefix: &str) -> anyhow::Result<u32> {
    let path = format!("{PMU}/{file}");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let number = text.trim().trim_start_matches(prefix);
    number.parse().with_context(|| format!("{path} has {text}"))
}

/// Opens the event in every process, on every processor.
fn open(attributes: &Attributes) -> io::Result<OwnedFd> {
    let (any_process, first_processor, no_group): (libc::c_int, libc::c_int, libc::c_int) =
        (-1, 0, -1);
    // SAFETY: the attributes have the size that they name, and their only pointer is to a string
    // that outlives the call.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(attributes),
            any_process,
            first_processor,
            no_group,
            CLOEXEC,
        )
    };
    match event {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel returned this new descriptor, which nothing else owns.
        event => Ok(unsafe { OwnedFd::from_raw_fd(event as i32) }),
    }
}

fn control(event: &OwnedFd, request: libc::c_ulong, argument: i32) -> io::Result<()> {
    // SAFETY: neither request has a pointer for an argument.
    match unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
