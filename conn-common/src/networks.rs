//! How the programs look up the network of a client.

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};

use crate::{Address, heavy::sign};

/// A value of the map `NETWORKS`: a range of addresses, which ends where the next one begins. They are in the
/// order of the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct NetworkRange {
    /// The first address, as a number in the machine's byte order, the upper half first.
    pub first: [u64; 2],
    /// Not 0: clients in the range pass.
    pub passes: u32,
    /// The number of the name of these clients.
    pub name: u32,
}
const _: () = assert!(size_of::<NetworkRange>() == 24);

impl NetworkRange {
    /// The index of the range that an address is in, of a power of two of them: the last one whose first address
    /// is not greater. `first`: the first address of the range of an index.
    ///
    /// There is no branch on what was found: the verifier would follow each way to the end of the program.
    #[inline(always)]
    pub fn search(
        address: Address,
        ranges: u32,
        mut first: impl FnMut(u32) -> Option<[u64; 2]>,
    ) -> Option<u32> {
        let address = [u64::from_be(address[0]), u64::from_be(address[1])];
        let mut index = 0;
        let mut half = ranges >> 1;
        while half > 0 {
            index += half & !below(address, first(index + half)?) as u32;
            half >>= 1;
        }
        Some(index)
    }
}

/// All ones if the first number is less than the second, else 0. The upper halves come first.
#[inline(always)]
fn below(one: [u64; 2], other: [u64; 2]) -> u64 {
    borrow(one[0], other[0], borrow(one[1], other[1], 0))
}

/// All ones if a subtraction borrows, else 0; `before` is that of the lower half.
#[inline(always)]
fn borrow(one: u64, other: u64, before: u64) -> u64 {
    let difference = one.wrapping_sub(other).wrapping_add(before);
    sign((!one & other) | (!(one ^ other) & difference))
}
