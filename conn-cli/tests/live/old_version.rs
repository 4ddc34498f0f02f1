//! Has uname(2) tell a program an old version of Linux, as a kernel does to which features were ported
//! back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::mem::{offset_of, size_of};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr;

use anyhow::{Context as _, Result, ensure};
use lab::itself;
use rustix::process::getpid;

/// How uname(2) is made to tell it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OldVersion {
    /// By the kernel, as `setarch --uname-2.6` asks for: the release is 2.6. The field `version`, in
    /// which Debian names its own, stays.
    Personality,
    /// By a program that traces the system calls of conn-cli: nothing names the real version.
    Rewritten,
}

/// The release that [`OldVersion::Rewritten`] tells: that of RHEL 8, which has the features.
const RELEASE: &[u8] = b"4.18.0-553.el8.x86_64\0";

/// Before the version, in the field `version` of Debian's kernels.
const DEBIAN: &[u8] = b"Debian ";

/// `UNAME26` of `include/uapi/linux/personality.h`.
const UNAME26: libc::c_ulong = 0x0002_0000;

impl OldVersion {
    /// The command, told an old version.
    pub(crate) fn tell(self, mut command: Command) -> Command {
        match self {
            Self::Personality => {
                // SAFETY: between fork and exec, it makes one system call.
                unsafe { command.pre_exec(set_personality) };
                command
            }
            Self::Rewritten => {
                let mut rewriting = itself::command("rewrite-uname");
                rewriting.arg("--").arg(command.get_program());
                rewriting.args(command.get_args());
                rewriting
            }
        }
    }
}

fn set_personality() -> io::Result<()> {
    // SAFETY: this system call has no pointer.
    check(unsafe { libc::personality(UNAME26) }.into()).map(drop)
}

/// Runs a program, and rewrites what uname(2) returns to it
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Becomes the command, so that it keeps the process id; a child traces it. Returns only if it fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = getpid().as_raw_pid();
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: this process has one thread.
    if check(unsafe { libc::fork() }.into())? == 0 {
        drop(reader);
        let result = trace(program, writer);
        std::process::exit(result.is_err().into());
    }
    drop(writer);
    let mut told = Vec::new();
    reader.read_to_end(&mut told)?;
    ensure!(!told.is_empty(), "the child cannot trace its parent");
    let error = Command::new(&args.command[0])
        .args(&args.command[1..])
        .exec();
    Err(error).with_context(|| format!("cannot run {}", args.command[0]))
}

/// Traces all threads of a process until the last one has ended; writes once it does.
fn trace(program: libc::pid_t, ready: PipeWriter) -> Result<()> {
    // Who reads the output of the program waits until no process has it open.
    for descriptor in 0..=2 {
        // SAFETY: nothing in this process uses them any more.
        unsafe { libc::close(descriptor) };
    }
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE;
    ptrace(libc::PTRACE_SEIZE, program, 0, options as usize)?;
    ptrace(libc::PTRACE_INTERRUPT, program, 0, 0)?;
    let mut ready = Some(ready);
    let mut buffers = BTreeMap::new();
    loop {
        let mut status = 0;
        // SAFETY: the status is a number that the kernel may write.
        let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if thread < 0 {
            return Ok(());
        }
        if !libc::WIFSTOPPED(status) {
            continue;
        }
        let signal = libc::WSTOPSIG(status);
        let is_event = status >> 16 != 0;
        let is_system_call = signal == libc::SIGTRAP | 0x80;
        if is_system_call {
            at_system_call(thread, &mut buffers)?;
        }
        let deliver = if is_event || is_system_call {
            0
        } else {
            signal
        };
        // It fails if the thread was killed meanwhile.
        let _ = ptrace(
            libc::PTRACE_SYSCALL,
            thread,
            0,
            deliver.cast_unsigned() as usize,
        );
        if let Some(mut ready) = ready.take() {
            ready.write_all(b"1")?;
        }
    }
}

/// Remembers the buffer when a thread calls uname(2), and rewrites it when the call returns.
fn at_system_call(thread: libc::pid_t, buffers: &mut BTreeMap<libc::pid_t, u64>) -> Result<()> {
    // SAFETY: a structure of numbers, and a union of such.
    let mut call: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::ptrace_syscall_info>();
    let address = (&raw mut call).expose_provenance();
    if ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size, address).is_err() {
        // Killed meanwhile.
        return Ok(());
    }
    match call.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: this is what the kernel fills in at the entry.
            let entry = unsafe { call.u.entry };
            if entry.nr == libc::SYS_uname as u64 {
                buffers.insert(thread, entry.args[0]);
            }
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => {
            if let Some(buffer) = buffers.remove(&thread) {
                rewrite(thread, buffer)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Rewrites a `struct utsname` in the memory of a thread.
fn rewrite(thread: libc::pid_t, buffer: u64) -> Result<()> {
    let memory = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{thread}/mem"))?;
    let version = buffer + offset_of!(libc::utsname, version) as u64;
    let mut text = [0; 65];
    memory.read_exact_at(&mut text, version)?;
    if let Some(at) = text.windows(DEBIAN.len()).position(|word| word == DEBIAN) {
        text[at..].fill(0);
        memory.write_all_at(&text, version)?;
    }
    let release = buffer + offset_of!(libc::utsname, release) as u64;
    Ok(memory.write_all_at(RELEASE, release)?)
}

fn ptrace(
    request: libc::c_uint,
    thread: libc::pid_t,
    address: usize,
    data: usize,
) -> io::Result<()> {
    let address = ptr::without_provenance_mut::<libc::c_void>(address);
    let data = ptr::with_exposed_provenance_mut::<libc::c_void>(data);
    // SAFETY: the only request here for which the kernel writes to this process is
    // PTRACE_GET_SYSCALL_INFO: no more than `address` bytes, to the structure at `data`.
    check(unsafe { libc::ptrace(request, thread, address, data) }).map(drop)
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
