//! The system call bpf(2), where aya has no call, or decides by the version that uname(2) tells.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

// Commands of `include/uapi/linux/bpf.h`.
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_PROG_QUERY: libc::c_long = 16;
/// In Linux since 5.6.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// In Linux since 5.7 for cgroups.
const BPF_LINK_CREATE: libc::c_long = 28;

/// `BPF_F_ALLOW_MULTI` of the same file.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// `BPF_MAP_TYPE_ARRAY` of the same file.
const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_RINGBUF` of the same file.
const RING_BUFFER: u32 = 27;

/// Creates an array of words of this many bytes in all.
///
/// # Errors
/// An error of the kernel, `EPERM` also if the memory lock limit does not allow it.
pub(super) fn create_array(bytes: u64) -> io::Result<OwnedFd> {
    let entries = u32::try_from(bytes / 8).unwrap_or(u32::MAX);
    create_map([ARRAY, 4, 8, entries])
}

/// Creates a small ring buffer.
///
/// # Errors
/// `EINVAL` if the kernel has none.
pub(super) fn create_ring_buffer() -> io::Result<OwnedFd> {
    create_map([RING_BUFFER, 0, 0, rustix::param::page_size() as u32])
}

/// The attributes are map_type, key_size, value_size and max_entries.
fn create_map(mut attributes: [u32; 4]) -> io::Result<OwnedFd> {
    // SAFETY: the attributes have no pointer.
    let map = unsafe { bpf(BPF_MAP_CREATE, &mut attributes) }?;
    // SAFETY: the kernel returned this new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(map) })
}

/// Reads the first entry of an array that [`create_array`] made.
///
/// # Errors
/// `EPERM` if the kernel lets this process read no map.
pub(super) fn read_entry(array: &OwnedFd) -> io::Result<u64> {
    let (key, mut value) = (0_u32, 0_u64);
    // map_fd, padding, key, value, flags.
    let mut attributes = [
        u64::from(raw(array)),
        (&raw const key).expose_provenance() as u64,
        (&raw mut value).expose_provenance() as u64,
        0,
    ];
    // SAFETY: the pointers are to a key and a value of the size that the array has, which outlive
    // the call.
    unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attributes) }?;
    Ok(value)
}

/// Some entries of a hash map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// How many they are.
    pub(super) entries: usize,
    /// The position of the next batch, if there is one.
    pub(super) next: Option<u32>,
}

/// The attributes of a batch in `union bpf_attr`.
#[repr(C)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Reads entries of a hash map from this position on, or from the start.
///
/// # Errors
/// `ENOSPC` if there is no room for the entries of the map's part at this position, or another error of the
/// kernel. One without batches says `EINVAL` or, of this kind of map, `ENOTSUPP`.
///
/// # Safety
/// Keys and values have the sizes that the map was made with, and are valid whatever their bytes are.
pub(super) unsafe fn lookup_batch<K, V>(
    map: impl AsFd,
    position: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Batch> {
    let address = |position: &u32| std::ptr::from_ref(position).expose_provenance() as u64;
    let mut next = 0_u32;
    let mut attributes = BatchAttributes {
        in_batch: position.as_ref().map_or(0, address),
        out_batch: (&raw mut next).expose_provenance() as u64,
        keys: keys.as_mut_ptr().expose_provenance() as u64,
        values: values.as_mut_ptr().expose_provenance() as u64,
        count: keys.len().min(values.len()) as u32,
        map_fd: raw(map),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the positions of a hash map are words (`kernel/bpf/hashtab.c`,
    // `__htab_map_lookup_and_delete_batch`), and the keys and values are as many as `count` says; the caller
    // vouches for their sizes. All of them outlive the call.
    let read = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
    let entries = attributes.count as usize;
    match read.map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) => Ok(Batch {
            entries,
            next: Some(next),
        }),
        // The next part was locked; all before it was read.
        Err((Some(libc::EBUSY), _)) => Ok(Batch {
            entries,
            next: Some(next),
        }),
        // These are the last ones.
        Err((Some(libc::ENOENT), _)) => Ok(Batch {
            entries,
            next: None,
        }),
        Err((_, error)) => Err(error),
    }
}

/// Attaches a program beside those that are there. It is detached when the link is closed, also if
/// the process is killed. `attach_type` is one of `enum bpf_attach_type`.
///
/// # Errors
/// An error of the kernel.
pub(super) fn create_link(
    program: impl AsFd,
    target: &OwnedFd,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    // prog_fd, target_fd, attach_type, flags.
    let mut attributes = [raw(program), raw(target), attach_type, 0];
    // SAFETY: the attributes have no pointer.
    let link = unsafe { bpf(BPF_LINK_CREATE, &mut attributes) }?;
    // SAFETY: the kernel returned this new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

/// Whether a program is attached to this cgroup that allows no other one (`kernel/bpf/cgroup.c`,
/// `__cgroup_bpf_attach`).
pub(super) fn holds_an_exclusive(cgroup: &OwnedFd, attach_type: u32) -> bool {
    // target_fd, attach_type, query_flags, attach_flags, prog_ids (two words), prog_cnt, and room for
    // later fields: Linux 6.17 writes `revision` whatever size is passed.
    let mut attributes = [0; 16];
    attributes[0] = raw(cgroup);
    attributes[1] = attach_type;
    // SAFETY: the pointers, prog_ids and prog_attach_flags, are null.
    let queried = unsafe { bpf(BPF_PROG_QUERY, &mut attributes) };
    let (flags, programs) = (attributes[3], attributes[6]);
    queried.is_ok() && programs > 0 && flags & BPF_F_ALLOW_MULTI == 0
}

fn raw(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

/// # Safety
/// The attributes are integers without padding, those of the command in `union bpf_attr`. Pointers in them are valid for what the command does with them.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes are valid for reads and writes of the size that is passed; those that
    // are not passed are 0 for the kernel. The caller vouches for the rest.
    let result = unsafe {
        let attributes = std::ptr::from_mut(attributes);
        libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>())
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result as i32),
    }
}
