//! Reads kernel memory whose type the verifier does not know.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};

/// The value at this offset, in bytes, from an address. Every `T` used here (integers, arrays of them,
/// a pointer that is only read through this module again) is valid for any bytes.
///
/// # Errors
/// A negative `errno` of the kernel if the memory cannot be read.
#[inline(always)]
pub(crate) fn read<T>(base: *const c_void, offset: u16) -> Result<T, i32> {
    // SAFETY: the helper checks the address and fails on one that is not mapped.
    unsafe { bpf_probe_read_kernel(base.byte_add(usize::from(offset)).cast()) }
}

/// Like [`read`], but zero if the memory cannot be read: the helper writes zeros then
/// (`bpf_probe_read_kernel_common`), without a branch that the verifier would follow both ways.
#[inline(always)]
pub(crate) fn read_or_zero<T>(base: *const c_void, offset: u16) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as in `read`; the helper writes all of `value`, whatever it finds.
    unsafe {
        let source = base.byte_add(usize::from(offset));
        let size = size_of::<T>() as u32;
        generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size, source);
        value.assume_init()
    }
}
