//! When the kernel makes room for clients in the map of totals: for all at once, when the map is
//! created, or for each when it is counted for the first time.
//!
//! For 65,536 clients all at once is 7 MB, which most runs never use. One by one, as the object has
//! it, has been safe in programs like these since Linux 6.1, where the kernel keeps entries ready
//! for them (`kernel/bpf/memalloc.c`); before that it warns in its log of such a map. Those who
//! only ask have all their room from the beginning, so that a flood of them takes none from others.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::facts;

/// The section of the object that the maps are defined in, and the map of clients there.
const MAPS: &str = "maps";
const CLIENTS: &str = "CLIENTS";

/// Where the flags are in a definition: behind type, size of a key, of a value, and entries.
const FLAGS: usize = 4 * size_of::<u32>();

/// `BPF_F_NO_PREALLOC` of `include/uapi/linux/bpf.h`.
const NO_PREALLOC: u32 = 1;

/// Whether this kernel can make room one by one.
pub(super) fn is_one_by_one_safe() -> bool {
    let (version, _) = facts::kernel_version();
    version.is_some_and(|version| version >= (6, 1))
}

/// The same object, with room for all clients at once; aya has no setting for it. Aligned as aya
/// needs it. None if this is no such object.
pub(super) fn all_at_once(object: &[u8]) -> Option<Vec<u64>> {
    let file = object::File::parse(object).ok()?;
    let (maps, _) = file.section_by_name(MAPS)?.file_range()?;
    let definition = maps.checked_add(file.symbol_by_name(CLIENTS)?.address())?;
    let flags = usize::try_from(definition).ok()?.checked_add(FLAGS)?;

    let mut aligned = vec![0; object.len().div_ceil(size_of::<u64>())];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
    bytes[..object.len()].copy_from_slice(object);
    let flags = bytes.get_mut(flags..)?.first_chunk_mut()?;
    *flags = (u32::from_ne_bytes(*flags) & !NO_PREALLOC).to_ne_bytes();
    Some(aligned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::object::Object;

    // That it is the right bit, the kernel says in a guest, in the case of --max-clients.
    #[test]
    fn one_bit_is_changed() {
        for object in [Object::Kprobe, Object::Btf] {
            let before = object.bytes();
            let after = all_at_once(before).unwrap();
            let after: &[u8] = bytemuck::cast_slice(&after);
            let changed: Vec<_> = before.iter().zip(after).filter(|(b, a)| b != a).collect();
            assert_eq!(changed, [(&1, &0)]);
            assert!(after[before.len()..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn what_is_no_object_is_none() {
        let good = Object::Kprobe.bytes();
        for bad in [&b""[..], b"\x7fELF", &good[..good.len() / 2]] {
            assert_eq!(all_at_once(bad), None, "{} bytes", bad.len());
        }
    }
}
