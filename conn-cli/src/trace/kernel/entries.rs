//! Reads all entries of a map of totals.

use std::{io, os::fd::AsFd as _};

use anyhow::bail;
use aya::maps::{HashMap, Map, MapData};
use bytemuck::Zeroable as _;
use conn_common::{Key, Stages};
use rustix::io::Errno;

use super::bpf::{self, Batch};

/// How to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// One by one.
    OneByOne,
    /// Many by each system call, where the kernel can do that (Linux 5.6), which takes a fifth of the time.
    /// Only while no program runs: meanwhile the kernel holds locks of the map, and before Linux 6.2 a
    /// program in an interrupt then cannot add an entry (`htab_lock_bucket`, `kernel/bpf/hashtab.c`).
    InBatches,
}

/// The entries of a batch, which are to stay in the CPU's cache.
const BATCH: usize = 1024;

/// Passes all entries to `each`.
///
/// # Errors
/// An error of the kernel.
pub(super) fn read(map: &Map, pace: Pace, mut each: impl FnMut(Key, Stages)) -> anyhow::Result<()> {
    if pace == Pace::InBatches {
        let Map::HashMap(map) = map else {
            bail!("it is no hash map");
        };
        let lookup = |position, keys: &mut [Key], counts: &mut [Stages]| {
            // SAFETY: the sizes are those that the programs' object has for both maps of totals.
            unsafe { bpf::lookup_batch(map.fd().as_fd(), position, keys, counts) }
        };
        if read_in_batches(BATCH, lookup, &mut each)? {
            return Ok(());
        }
    }
    let map =
        HashMap::<&MapData, [u8; size_of::<Key>()], [u8; size_of::<Stages>()]>::try_from(map)?;
    for entry in map.iter() {
        let (key, counts) = entry?;
        each(bytemuck::cast(key), bytemuck::pod_read_unaligned(&counts));
    }
    Ok(())
}

/// Passes all entries to `each`, at most `size` in a batch at first. Returns whether the kernel can do that;
/// if not, there was none.
fn read_in_batches(
    size: usize,
    mut lookup: impl FnMut(Option<u32>, &mut [Key], &mut [Stages]) -> io::Result<Batch>,
    mut each: impl FnMut(Key, Stages),
) -> io::Result<bool> {
    let mut keys = vec![Key::zeroed(); size];
    let mut counts = vec![Stages::zeroed(); size];
    let mut position = None;
    loop {
        match lookup(position, &mut keys, &mut counts) {
            Ok(batch) => {
                for (key, counts) in keys.iter().zip(&counts).take(batch.entries) {
                    each(*key, *counts);
                }
                match batch.next {
                    None => return Ok(true),
                    next => position = next,
                }
            }
            // What has the same hash is read at once, and is more than that.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSPC) => {
                let size = 2 * keys.len();
                keys.resize(size, Key::zeroed());
                counts.resize(size, Stages::zeroed());
            }
            Err(_) if position.is_none() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key {
            group: [0, number as u64],
            local_port: 80,
        }
    }

    /// A map whose parts have so many entries, which it reads like `__htab_map_lookup_and_delete_batch`.
    fn lookup(
        parts: &[usize],
        position: Option<u32>,
        keys: &mut [Key],
        counts: &mut [Stages],
    ) -> io::Result<Batch> {
        let first = position.unwrap_or(0) as usize;
        let (mut entries, mut part) = (0, first);
        while part < parts.len() && parts[part] <= keys.len() - entries {
            for _ in 0..parts[part] {
                let number = parts[..first].iter().sum::<usize>() + entries;
                keys[entries] = key(number);
                counts[entries].accepted = number as u64 + 1;
                entries += 1;
            }
            part += 1;
        }
        if part < parts.len() && entries == 0 {
            return Err(Errno::NOSPC.into());
        }
        Ok(Batch {
            entries,
            next: (part < parts.len()).then_some(part as u32),
        })
    }

    #[test]
    fn every_entry_is_read_once() {
        for parts in [
            &[] as &[usize],
            &[0, 0, 0],
            &[1, 0, 2, 3, 0, 1],
            &[4, 4, 4],
            // More than fits into the first batch, at each place.
            &[33, 1, 0, 9, 2, 17],
        ] {
            let mut read = Vec::new();
            let is_read = read_in_batches(
                4,
                |position, keys, counts| lookup(parts, position, keys, counts),
                |key, counts| read.push((key, counts.accepted)),
            );
            assert!(is_read.unwrap());
            let entries = 0..parts.iter().sum();
            let expected: Vec<_> = entries
                .map(|number| (key(number), number as u64 + 1))
                .collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_kernel_without_batches_is_no_error_but_a_later_error_is_one() {
        for errno in [Errno::INVAL, Errno::from_raw_os_error(524)] {
            let none = |_: Option<u32>, _: &mut [Key], _: &mut [Stages]| Err(errno.into());
            assert!(!read_in_batches(4, none, |_, _| panic!("no entry")).unwrap());
        }
        let mut entries = 0;
        let fails_later = |position: Option<u32>, keys: &mut [Key], counts: &mut [Stages]| {
            if position.is_some() {
                return Err(Errno::NOMEM.into());
            }
            lookup(&[3, 3], position, keys, counts)
        };
        assert!(read_in_batches(4, fails_later, |_, _| entries += 1).is_err());
        assert_eq!(entries, 3);
    }
}
