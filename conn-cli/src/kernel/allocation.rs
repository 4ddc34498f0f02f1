//! When the kernel makes room for the entries of the maps of totals: all at once, when a map is
//! created, or one by one, when a client is counted for the first time.
//!
//! For 65,536 clients all at once is 7 MB, which most runs never use. One by one has been safe in
//! programs like these since Linux 6.1, where the kernel keeps entries ready for them
//! (`kernel/bpf/memalloc.c`); before that it warns in its log of such a map.

use object::{Object as _, ObjectSection as _};

use super::facts;

/// `BPF_MAP_TYPE_HASH` of `include/uapi/linux/bpf.h`.
const HASH: u32 = 1;
/// `BPF_F_NO_PREALLOC` of the same file.
const NO_PREALLOC: u32 = 1;

/// The words of a map's definition, as the section `maps` has it: type, key size, value size,
/// entries, flags, id and pinning.
const DEFINITION: usize = 7;
const TYPE: usize = 0;
const FLAGS: usize = 4;

/// Whether this kernel can make room one by one.
pub(super) fn is_one_by_one_safe() -> bool {
    let (version, _) = facts::kernel_version();
    version.is_some_and(|version| version >= (6, 1))
}

/// The same object, with hash maps whose entries are made one by one; aya has no setting for
/// it. Aligned as aya needs it. None if this is no such object.
pub(super) fn one_by_one(object: &[u8]) -> Option<Vec<u64>> {
    let file = object::File::parse(object).ok()?;
    let (start, size) = file.section_by_name("maps")?.file_range()?;
    let mut aligned = vec![0; object.len().div_ceil(size_of::<u64>())];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
    bytes[..object.len()].copy_from_slice(object);
    let maps = bytes.get_mut(start as usize..)?.get_mut(..size as usize)?;
    let words: &mut [u32] = bytemuck::try_cast_slice_mut(maps).ok()?;
    for definition in words.chunks_exact_mut(DEFINITION) {
        if definition[TYPE] == HASH {
            definition[FLAGS] |= NO_PREALLOC;
        }
    }
    Some(aligned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::object::Object;

    #[test]
    fn the_two_maps_of_totals_are_changed_and_nothing_else() {
        for object in [Object::Kprobe, Object::Fentry] {
            let before = object.bytes();
            let after = one_by_one(before).unwrap();
            let after: &[u8] = bytemuck::cast_slice(&after);
            let changed: Vec<_> = before.iter().zip(after).filter(|(b, a)| b != a).collect();
            assert_eq!(changed, [(&0, &1), (&0, &1)]);
            assert!(after[before.len()..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn what_is_no_object_is_none() {
        let good = Object::Kprobe.bytes();
        for bad in [&b""[..], b"\x7fELF", &good[..good.len() / 2]] {
            assert_eq!(one_by_one(bad), None, "{} bytes", bad.len());
        }
    }
}
