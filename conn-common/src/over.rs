//! The types of `--over`: who made more than a number of connections in an interval of the clock.

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};

use crate::{Address, Key};

/// The configuration of `--over`, the global `OVER_CONFIG`, frozen as [`Config`](crate::Config) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct OverConfig {
    /// What each word of an IPv4 client's [`Key::group`] is masked with, so that a network has one key. All
    /// ones to count by what [`Key::group`] is, 0 to count by [`Key::local_port`] alone.
    pub mask_v4: Address,
    /// The same of any other client.
    pub mask_v6: Address,
    /// What [`Key::local_port`] is masked with.
    pub port_mask: u64,
    /// How many nanoseconds to add to `CLOCK_BOOTTIME`, without regard to an overflow: interval 0 then begins
    /// at 0.
    pub offset_ns: u64,
    /// The length of an interval in nanoseconds, not 0.
    pub length_ns: u64,
    /// How many connections in an interval are not too many.
    pub limit: u32,
    /// One of the `STAGE_` constants: the stage at which connections are counted; [`OVER_OFF`] for none.
    pub stage: u32,
    /// Not 0: the value of a client in the map `OVER_NAMES`, 0 if it is in none of its networks, takes the place
    /// of its address; the second word is 0.
    pub by_name: u32,
    /// Nothing.
    pub padding: u32,
}
const _: () = assert!(size_of::<OverConfig>() == 72);

impl OverConfig {
    /// Nothing is counted.
    pub const OFF: Self = Self {
        mask_v4: [0; 2],
        mask_v6: [0; 2],
        port_mask: 0,
        offset_ns: 0,
        length_ns: 1,
        limit: 0,
        stage: OVER_OFF,
        by_name: 0,
        padding: 0,
    };
}

/// The value of [`OverConfig::stage`] to count nothing.
pub const OVER_OFF: u32 = u32::MAX;

/// What was counted for a key: the value of the map `OVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct OverCount {
    /// All connections since there is this entry.
    pub total: u64,
    /// In the upper half the number of the interval that is counted, in the lower half that of [`Self::total`]
    /// when it began.
    pub turn: u64,
    /// Twice the number of the last interval in which there were too many; and 1 if there is an
    /// [`OverEvent`] of it, or 0 if the ring buffer had no room.
    pub told: u64,
}
const _: () = assert!(size_of::<OverCount>() == 24);

/// Says that a key had too many connections, as a record of the ring buffer. There may be several of one
/// interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct OverEvent {
    /// The key, masked as [`OverConfig`] says.
    pub key: Key,
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// The number of the interval.
    pub interval: u64,
    /// How many there were in it so far.
    pub connections: u64,
}
const _: () = assert!(size_of::<OverEvent>() == 48);

/// What `--over` could not do: the values of the map `OVER_COUNTERS`, one for each processor, in whole cache
/// lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct OverCounters {
    /// Connections for whose key there was no room, or no memory.
    pub not_counted: u64,
    /// How often the ring buffer had no room for the first [`OverEvent`] of a key and an interval.
    pub delayed: u64,
    /// How often there was one later all the same.
    pub told_later: u64,
    /// Nothing.
    pub padding: [u64; 5],
}
const _: () = assert!(size_of::<OverCounters>() == 64);
