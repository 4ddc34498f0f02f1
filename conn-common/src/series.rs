//! What is counted of labels: of a port, of the name of a network, of each of the first clients.

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};

use crate::{Address, Stages};

/// The number of words of the map `PORT_LABELS`, in which each port has a byte: that of port `p`, in host
/// byte order, has the bits from `p % 8 * 8` on of word `p / 8`. It is the number of the port's label.
pub const PORT_LABEL_WORDS: u32 = 65536 / 8;

/// A value of the map `FIRST_CLIENTS`, a cache line. The first ones, one for each processor, count the
/// connections of all other clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct FirstClient {
    /// The client's address; 0 if there is none.
    pub address: Address,
    /// Its connections.
    pub stages: Stages,
    /// Nothing.
    pub padding: u64,
}
const _: () = assert!(size_of::<FirstClient>() == 64);
