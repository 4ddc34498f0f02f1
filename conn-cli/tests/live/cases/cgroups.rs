//! The program of the root cgroup, beside those of other cgroups and from within a namespace.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::bpf::bpf;
use lab::cgroup::Cgroup;
use lab::client::Load;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::context::Context;

const CGROUP: &str = "conn-cli-child";

const CONNECTIONS: u32 = 20;

/// `BPF_PROG_LOAD` and `BPF_PROG_ATTACH` of `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;

/// `BPF_PROG_TYPE_SOCK_OPS` and `BPF_CGROUP_SOCK_OPS`.
const SOCK_OPS: u32 = 13;
const CGROUP_SOCK_OPS: u32 = 3;

/// How a program may be attached: alone, to be replaced further down, and beside others
/// (`BPF_F_ALLOW_OVERRIDE`, `BPF_F_ALLOW_MULTI`).
const FLAGS: [u32; 3] = [0, 1, 2];

/// A program of the server's own cgroup hides nothing, however it is attached, before or after, and what
/// it decides still holds.
pub(crate) fn child_programs(context: &Context) -> Result<String> {
    let mut figures = Vec::new();
    for flags in FLAGS {
        let cgroup = Cgroup::new(CGROUP)?;
        // A socket stays in the cgroup in which it was created.
        cgroup.add(std::process::id())?;
        let server = Server::plain(context.port)?;
        let other = small_segments()?;
        Cgroup::move_to_root(std::process::id())?;
        let usual_window = first_window(&other)?;
        let _before = attach(&cgroup, flags)?;
        let decided_window = first_window(&other)?;
        ensure!(
            decided_window < usual_window,
            "the test is at fault: the program changes nothing: {usual_window} and {decided_window}"
        );
        let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
        let stdout = tracer.stdout()?;
        let _after = attach(&cgroup, flags).context("conn-cli hinders a child cgroup")?;
        let window = first_window(&other)?;
        ensure!(
            window == decided_window,
            "the program decided {decided_window}, and the first window is {window}"
        );
        Load::v4(context.port, CONNECTIONS).run()?;
        let served = server.finish()?;
        let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
        figures.push(format!("flags {flags}: {}", report.check(&served)?));
    }
    Ok(figures.join("; "))
}

/// From within a cgroup namespace, servers outside of it are seen, too.
pub(crate) fn namespace(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let cgroup = Cgroup::new(CGROUP)?;
    let mut command = context.conn_cli(context.port);
    enter_namespace(command.arg("--json"), &cgroup);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let figures = report.check(&served)?;
    ensure!(report.summary["probe"] == "sockops", "{}", report.summary);
    Ok(figures.to_string())
}

/// Starts the command in a namespace whose root is this cgroup.
fn enter_namespace(command: &mut Command, cgroup: &Cgroup) {
    let processes = cgroup.path().join("cgroup.procs");
    let enter = move || {
        std::fs::write(&processes, "0")?;
        // SAFETY: a separate cgroup namespace changes nothing that memory safety depends on.
        unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }?;
        Ok(())
    };
    // SAFETY: between fork and exec, it opens and writes a file whose path was made before.
    unsafe { command.pre_exec(enter) };
}

/// A listener with small segments, so that a window of one of them is not the usual window.
fn small_segments() -> Result<TcpListener> {
    let segment: libc::c_int = 1000;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // SAFETY: the value is an int, as TCP_MAXSEG takes, and outlives the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MAXSEG,
            (&raw const segment).cast(),
            size_of_val(&segment) as libc::socklen_t,
        )
    };
    ensure!(result == 0, "cannot set the size of segments");
    Ok(listener)
}

/// How much a client may send at first to this listener.
fn first_window(listener: &TcpListener) -> Result<u32> {
    /// `tcpi_snd_wnd` of `struct tcp_info` in `include/uapi/linux/tcp.h`, in words.
    const SEND_WINDOW: usize = 228 / size_of::<u32>();
    let client = TcpStream::connect(listener.local_addr()?)?;
    let mut info = [0_u32; SEND_WINDOW + 1];
    let mut size = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes no more than `size` bytes to `info`.
    let result = unsafe {
        libc::getsockopt(
            client.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    ensure!(
        result == 0 && size as usize == size_of_val(&info),
        "cannot read the window"
    );
    Ok(info[SEND_WINDOW])
}

/// Attaches a program that decides the first window of connections. It stays until the cgroup is removed.
fn attach(cgroup: &Cgroup, flags: u32) -> Result<OwnedFd> {
    let program = load().context("cannot load a program")?;
    let cgroup = File::open(cgroup.path())?;
    let mut attributes = [
        cgroup.as_raw_fd().cast_unsigned(),
        program.as_raw_fd().cast_unsigned(),
        CGROUP_SOCK_OPS,
        flags,
    ];
    // SAFETY: the attributes have no pointers.
    unsafe { bpf(PROG_ATTACH, &mut attributes) }.context("cannot attach a program")?;
    Ok(program)
}

/// `if (op == BPF_SOCK_OPS_RWND_INIT) reply = 1; return 1`: the window is one segment.
fn load() -> io::Result<OwnedFd> {
    const CODE: [u64; 6] = [
        // r2 = *(u32 *)(r1 + 0); if r2 != 2 goto +2
        0x0000_0000_0000_1261,
        0x0000_0002_0002_0255,
        // r3 = 1; *(u32 *)(r1 + 4) = r3
        0x0000_0001_0000_03b7,
        0x0000_0000_0004_3163,
        // r0 = 1; exit
        0x0000_0001_0000_00b7,
        0x95,
    ];
    const LICENSE: &std::ffi::CStr = c"GPL";
    // Linux 5.10 charges programs to this limit.
    setrlimit(
        Resource::Memlock,
        Rlimit {
            current: None,
            maximum: None,
        },
    )?;
    // prog_type and insn_cnt, insns, license.
    let mut attributes = [
        u64::from(SOCK_OPS) | (CODE.len() as u64) << 32,
        CODE.as_ptr().expose_provenance() as u64,
        LICENSE.as_ptr().expose_provenance() as u64,
    ];
    // SAFETY: the pointers are to constants.
    let program = unsafe { bpf(PROG_LOAD, &mut attributes) }?;
    // SAFETY: the kernel returned this new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}
