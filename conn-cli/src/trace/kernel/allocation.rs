//! When the kernel allocates the entries of the map of clients, and of that of `--over`: all of them when it creates the
//! map, or each one when a client is first counted.
//!
//! Preallocating 524,288 clients takes 64 MiB, which most runs never use. Allocation on demand, as the
//! object requests it, has been safe in programs like these since Linux 6.1, where the kernel keeps
//! free entries ready (`kernel/bpf/memalloc.c`). Earlier kernels log a warning about such a map.
//! The map of SYN-only clients is always preallocated: a SYN flood takes no memory from others.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::names;

/// The section of the object that defines the maps.
const MAPS: &str = "maps";

/// Those that the object would have allocated on demand.
const ON_DEMAND: [&str; 2] = [names::CLIENTS, names::OVER];

/// The offset of the flags in a map definition: after type, key size, value size and max entries.
const FLAGS: usize = 4 * size_of::<u32>();

/// `BPF_F_NO_PREALLOC` of `include/uapi/linux/bpf.h`.
const NO_PREALLOC: u32 = 1;

/// The same object with these maps preallocated, for which aya has no setting. Aligned as aya
/// needs it. None if this is not such an object.
pub(super) fn preallocated(object: &[u8]) -> Option<Vec<u64>> {
    let file = object::File::parse(object).ok()?;
    let (maps, _) = file.section_by_name(MAPS)?.file_range()?;
    let mut aligned = vec![0; object.len().div_ceil(size_of::<u64>())];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
    bytes[..object.len()].copy_from_slice(object);
    for map in ON_DEMAND {
        let definition = maps.checked_add(file.symbol_by_name(map)?.address())?;
        let flags = usize::try_from(definition).ok()?.checked_add(FLAGS)?;
        let flags = bytes.get_mut(flags..)?.first_chunk_mut()?;
        *flags = (u32::from_ne_bytes(*flags) & !NO_PREALLOC).to_ne_bytes();
    }
    Some(aligned)
}

#[cfg(test)]
mod tests {
    use super::super::object::Object;
    use super::*;

    // The --max-clients case, which runs in a guest, shows that it is the right bit.
    #[test]
    fn preallocation_changes_one_bit_of_each_map() {
        for object in [Object::Kprobe, Object::Btf] {
            let before = object.bytes();
            let after = preallocated(before).unwrap();
            let after: &[u8] = bytemuck::cast_slice(&after);
            let changed: Vec<_> = before.iter().zip(after).filter(|(b, a)| b != a).collect();
            assert_eq!(changed, [(&1, &0); ON_DEMAND.len()]);
            assert!(after[before.len()..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn invalid_objects_give_none() {
        let good = Object::Kprobe.bytes();
        for bad in [&b""[..], b"\x7fELF", &good[..good.len() / 2]] {
            assert_eq!(preallocated(bad), None, "{} bytes", bad.len());
        }
    }
}
