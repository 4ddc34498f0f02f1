//! Keeps the clients with the most connections, of those for which the maps of totals have no room.
//!
//! This is the algorithm "space-saving" (Metwally, Agrawal, El Abbadi, 2005), in sets, of which a client
//! can be in one. A connection of a client that has an entry adds one to its count. Any other client takes
//! over the entry with the least count in its set, the count included, and adds one; what it took over is
//! its error.
//!
//! So a client had at least `count - error` connections: each of these added one, since it took over the
//! entry. It had at most `count`: if it had an entry earlier, it lost it as the one with the least count,
//! that was its count at most, and the least count of a set never sinks. A client with more than one of
//! [`HEAVY_WAYS`] connections of a set has an entry in it.

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};

use crate::Key;

/// The number of entries of a [`HeavySet`]: a power of two.
pub const HEAVY_WAYS: usize = 1 << WAY_BITS;

const WAY_BITS: u32 = 3;

/// A value of the map `HEAVY`, of which each processor has [`Config::heavy_sets`](crate::Config::heavy_sets).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct HeavySet {
    /// How many programs are about to change this set. One that is not alone does not.
    pub busy: u64,
    /// How many connections were not counted here for that: each client may have had so many more.
    pub skipped: u64,
    /// The clients.
    pub entries: [Heavy; HEAVY_WAYS],
}
const _: () = assert!(size_of::<HeavySet>() == 16 + HEAVY_WAYS * 40);

/// An entry of a [`HeavySet`]; nobody's if the count is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Heavy {
    /// The client and port.
    pub key: Key,
    /// At most how many connections the client had.
    pub count: u64,
    /// How many of these may have been others'.
    pub error: u64,
}

/// Counts a connection of a client in its set.
///
/// There is no branch: the verifier would follow both ways to the end of the program. So a score is
/// computed for each entry, the index in its last bits. The entry with the least score is changed; that of
/// the client itself has the score of its index alone.
#[inline(always)]
pub fn count_heavy(entries: &mut [Heavy; HEAVY_WAYS], key: &Key) {
    let mut least = i64::MAX as u64;
    let mut way = 0;
    while way < HEAVY_WAYS as u64 {
        // SAFETY: `way` is below the length. A checked index would leave a panic.
        let entry = unsafe { entries.get_unchecked(way as usize) };
        let score = ((entry.count + 1) << WAY_BITS) & unless_same(&entry.key, key) | way;
        // All ones if the score is less than the least one: both are far below 2^63.
        let is_less = sign(score.wrapping_sub(least));
        least ^= (least ^ score) & is_less;
        way += 1;
    }
    let way = least as usize & (HEAVY_WAYS - 1);
    // SAFETY: the mask keeps the index below the length.
    let entry = unsafe { entries.get_unchecked_mut(way) };
    let is_taken_over = unless_same(&entry.key, key);
    entry.error = (entry.count & is_taken_over) | (entry.error & !is_taken_over);
    entry.count += 1;
    entry.key = *key;
}

/// Which set a client is in, as a number whose last bits are taken. `seed`: so that nobody can choose
/// addresses that are all in one set.
#[inline(always)]
#[must_use]
pub fn heavy_hash(key: &Key, seed: u32) -> u32 {
    /// The odd number next to 2^64 divided by the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = u64::from(seed) << 32 | u64::from(seed);
    let [first, second] = key.group;
    // Each word is multiplied, and the upper half, which all bits have changed, brought down.
    hash = (hash ^ first).wrapping_mul(SPREAD);
    hash ^= hash >> 32;
    hash = (hash ^ second).wrapping_mul(SPREAD);
    hash ^= hash >> 32;
    hash = (hash ^ key.local_port).wrapping_mul(SPREAD);
    (hash >> 32) as u32
}

/// 0 if the keys are the same, else all ones.
#[inline(always)]
fn unless_same(one: &Key, other: &Key) -> u64 {
    let difference = (one.group[0] ^ other.group[0])
        | (one.group[1] ^ other.group[1])
        | (one.local_port ^ other.local_port);
    // The sign of one of the two is set, unless both are 0.
    sign(difference | difference.wrapping_neg())
}

/// All ones if the sign is set, else 0.
#[inline(always)]
pub(crate) fn sign(value: u64) -> u64 {
    // Written out, or the compiler would make a branch of what is done with it.
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: an arithmetic shift of a register.
        unsafe { core::arch::asm!("{0} s>>= 63", inout(reg) value, options(pure, nomem)) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        (value as i64 >> 63) as u64
    }
}
