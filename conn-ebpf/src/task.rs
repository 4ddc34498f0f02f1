//! Reads the running task; nothing else does.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_current_comm, bpf_get_current_task, bpf_probe_read_kernel_str},
};
use conn_common::UNKNOWN_OFFSET;

use crate::{
    config::{is_on, setting, task_offset},
    memory,
};

/// `PF_IO_WORKER` of `include/linux/sched.h`: a worker of io_uring. Since Linux 5.12 it is a thread of
/// the process that uses it.
const PF_IO_WORKER: u32 = 0x10;
/// `PF_KTHREAD` of the same file: a kernel thread.
const PF_KTHREAD: u32 = 0x20_0000;

/// `MAX_PID_NS_LEVEL` of `include/linux/pid_namespace.h`: the deepest PID namespace.
const MAX_PID_NS_LEVEL: u64 = 32;

/// `struct upid` of `include/linux/pid.h`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Number {
    number: u32,
    padding: u32,
    namespace: *const c_void,
}

/// The running task's process id, in conn-cli's PID namespace; 0 if there is none.
#[inline(always)]
pub(crate) fn tgid() -> u32 {
    match setting(|config| &config.pid_namespace) {
        0 => (bpf_get_current_pid_tgid() >> 32) as u32,
        namespace => current().map_or(0, |task| number_in(namespace, leader(task))),
    }
}

/// The running task's thread id, in conn-cli's PID namespace; 0 if there is none.
#[inline(always)]
pub(crate) fn pid() -> u32 {
    match setting(|config| &config.pid_namespace) {
        0 => bpf_get_current_pid_tgid() as u32,
        namespace => current().map_or(0, |task| number_in(namespace, task)),
    }
}

/// The name of the running thread, padded with NUL; that of the process for a worker of io_uring.
#[inline(always)]
pub(crate) fn name() -> [u64; 2] {
    let mut name = MaybeUninit::uninit();
    // SAFETY: the variable is valid for writes, and `write_name` writes all of it.
    unsafe {
        write_name(name.as_mut_ptr());
        name.assume_init()
    }
}

/// The name of the running thread's process, padded with NUL; that of the thread if it is not known.
#[inline(always)]
pub(crate) fn process_name() -> [u64; 2] {
    let mut name = MaybeUninit::uninit();
    // SAFETY: the variable is valid for writes, and each function writes all of it.
    unsafe {
        match current() {
            Some(task) => write_process_name(task, name.as_mut_ptr()),
            None => write_thread_name(name.as_mut_ptr()),
        }
        name.assume_init()
    }
}

/// Writes what [`name`] returns.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_name(to: *mut [u64; 2]) {
    // SAFETY: the caller guarantees what these functions need.
    unsafe {
        match current() {
            Some(task) if flags(task) & (PF_IO_WORKER | PF_KTHREAD) == PF_IO_WORKER => {
                write_process_name(task, to);
            }
            _ => write_thread_name(to),
        }
    }
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn write_thread_name(to: *mut [u64; 2]) {
    // SAFETY: the caller guarantees that both words can be written; the 16 bytes that are passed as a
    // size are theirs. They are set first, since Linux 6.1's helper does not write behind the name.
    unsafe {
        clear(to);
        bpf_get_current_comm(to.cast(), 16);
    }
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn write_process_name(task: *const c_void, to: *mut [u64; 2]) {
    // SAFETY: the caller guarantees that both words can be written; the 16 bytes that are passed as a
    // size are theirs; the helper checks the address it reads. It stops at the NUL, behind which older
    // kernels have the rest of a longer name.
    unsafe {
        clear(to);
        let comm = leader(task).byte_add(task_offset(|offsets| &offsets.comm).into());
        bpf_probe_read_kernel_str(to.cast(), 16, comm);
    }
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn clear(to: *mut [u64; 2]) {
    let to = to.cast::<u64>();
    // SAFETY: the caller guarantees it. Volatile, or the compiler would call memset.
    unsafe {
        to.write_volatile(0);
        to.add(1).write_volatile(0);
    }
}

/// Whether the running task is a kernel thread; `false` if that is not known.
#[inline(always)]
pub(crate) fn is_kernel_thread() -> bool {
    current().is_some_and(|task| flags(task) & PF_KTHREAD != 0)
}

/// The running task's `struct task_struct`, if its fields can be read.
#[inline(always)]
fn current() -> Option<*const c_void> {
    if task_offset(|offsets| &offsets.flags) == UNKNOWN_OFFSET
        || is_on(|config| &config.locked_down)
    {
        return None;
    }
    // SAFETY: the helper only returns the address of the current task.
    Some(unsafe { bpf_get_current_task() } as *const c_void)
}

/// The first thread of a task's process.
#[inline(always)]
fn leader(task: *const c_void) -> *const c_void {
    memory::read_or_zero(task, task_offset(|offsets| &offsets.group_leader))
}

#[inline(always)]
fn flags(task: *const c_void) -> u32 {
    memory::read_or_zero(task, task_offset(|offsets| &offsets.flags))
}

/// The number of a task in the PID namespace with this inode number; 0 if it has none there.
#[inline(always)]
fn number_in(namespace: u32, task: *const c_void) -> u32 {
    let pid: *const c_void = memory::read_or_zero(task, task_offset(|offsets| &offsets.thread_pid));
    let deepest: u32 = memory::read_or_zero(pid, task_offset(|offsets| &offsets.pid_level));
    let numbers = task_offset(|offsets| &offsets.pid_numbers);
    for level in 0..=MAX_PID_NS_LEVEL {
        let level = not_constant(level);
        if u64::from(deepest) < level {
            break;
        }
        let Number {
            number,
            namespace: of,
            ..
        } = memory::read_or_zero(pid, numbers + level as u16 * size_of::<Number>() as u16);
        let inum: u32 = memory::read_or_zero(of, task_offset(|offsets| &offsets.pid_ns_inum));
        if inum == namespace {
            return number;
        }
    }
    0
}

/// The same value, which the compiler does not know: it would unroll a loop, and make each program that
/// has it a third larger. The verifier knows it.
#[inline(always)]
fn not_constant(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    let value = {
        let mut value = value;
        // SAFETY: there is no instruction.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) value) };
        value
    };
    value
}
