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

/// Makes these maps of this object preallocated ones, for which aya has no setting. None if this is not such an
/// object.
pub(super) fn preallocate(object: &mut [u8]) -> Option<()> {
    let file = object::File::parse(&*object).ok()?;
    let (maps, _) = file.section_by_name(MAPS)?.file_range()?;
    let flags = |map| {
        let definition = maps.checked_add(file.symbol_by_name(map)?.address())?;
        usize::try_from(definition).ok()?.checked_add(FLAGS)
    };
    let flags: Option<Vec<usize>> = ON_DEMAND.map(flags).into_iter().collect();
    for flags in flags? {
        let flags = object.get_mut(flags..)?.first_chunk_mut()?;
        *flags = (u32::from_ne_bytes(*flags) & !NO_PREALLOC).to_ne_bytes();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::object::Object;
    use super::*;

    // The --max-clients case, which runs in a guest, shows that it is the right bit.
    #[test]
    fn preallocation_changes_one_bit_of_each_map() {
        for object in [Object::Kprobe, Object::Btf] {
            let before = object.content();
            let mut after = before.clone();
            preallocate(bytemuck::cast_slice_mut(&mut after)).unwrap();
            let bytes = |content| bytemuck::cast_slice::<u64, u8>(content);
            let pairs = bytes(&before).iter().zip(bytes(&after));
            let changed: Vec<_> = pairs.filter(|(b, a)| b != a).collect();
            assert_eq!(changed, [(&1, &0); ON_DEMAND.len()]);
        }
    }

    #[test]
    fn invalid_objects_give_none() {
        let good = Object::Kprobe.content();
        let good: &[u8] = bytemuck::cast_slice(&good);
        for bad in [&b""[..], b"\x7fELF", &good[..good.len() / 2]] {
            assert_eq!(preallocate(&mut bad.to_vec()), None, "{} bytes", bad.len());
        }
    }
}
