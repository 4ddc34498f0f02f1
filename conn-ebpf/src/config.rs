//! What the user side sets before it loads the programs. The kernel freezes these values, so the
//! verifier knows them and removes the branches that they rule out.

use conn_common::{Config, PORT_WORDS, PortBits, RequestOffsets, SocketOffsets, TaskOffsets};

/// How the programs run.
#[unsafe(no_mangle)]
static CONFIG: Config = Config::EVERYTHING;

/// The offsets of a socket's fields in the running kernel.
#[unsafe(no_mangle)]
static OFFSETS: SocketOffsets = SocketOffsets::STABLE;

/// The offsets of a task's fields in the running kernel.
#[unsafe(no_mangle)]
static TASK_OFFSETS: TaskOffsets = TaskOffsets::UNKNOWN;

/// The offsets of what the programs that see SYNs in TCP read in the running kernel.
#[unsafe(no_mangle)]
static REQUEST_OFFSETS: RequestOffsets = RequestOffsets::NONE;

/// The local ports to watch.
#[unsafe(no_mangle)]
static PORTS: PortBits = [u64::MAX; PORT_WORDS];

/// One of the settings; [`Config`] documents their units and byte order.
#[inline(always)]
#[must_use]
pub fn setting<T: Copy + 'static>(field: impl FnOnce(&'static Config) -> &'static T) -> T {
    frozen(field(&CONFIG))
}

/// Whether one of the settings that are switches is on, that is, not 0.
#[inline(always)]
#[must_use]
pub fn is_on(field: impl FnOnce(&'static Config) -> &'static u32) -> bool {
    setting(field) != 0
}

/// One of the offsets, in bytes; [`conn_common::UNKNOWN_OFFSET`] if it is not known.
#[inline(always)]
#[must_use]
pub fn offset(field: impl FnOnce(&'static SocketOffsets) -> &'static u16) -> u16 {
    frozen(field(&OFFSETS))
}

/// One of the offsets of a task's fields, in bytes; [`conn_common::UNKNOWN_OFFSET`] if they are not known.
#[inline(always)]
#[must_use]
pub(crate) fn task_offset(field: impl FnOnce(&'static TaskOffsets) -> &'static u16) -> u16 {
    frozen(field(&TASK_OFFSETS))
}

/// One of the offsets that only the programs which see SYNs in TCP need, in bytes.
#[inline(always)]
#[must_use]
pub fn request_offset(field: impl FnOnce(&'static RequestOffsets) -> &'static u16) -> u16 {
    frozen(field(&REQUEST_OFFSETS))
}

/// Whether to watch connections to this local port, in host byte order. One load, whatever the set
/// of ports.
#[inline(always)]
#[must_use]
pub fn watched(port: u16) -> bool {
    // SAFETY: a port has 16 bits, so its word is below PORT_WORDS. A checked index would leave a
    // panic, which the verifier refuses.
    let word = unsafe { PORTS.get_unchecked(usize::from(port) / 64) };
    (frozen(word) >> (port % 64)) & 1 == 1
}

/// The value that the user side set. A plain read would let the compiler use the initial value.
#[inline(always)]
pub(crate) fn frozen<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(value).read_volatile() }
}
