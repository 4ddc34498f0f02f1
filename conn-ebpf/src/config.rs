//! What the user side sets before it loads the programs. The kernel freezes these
//! values, so the verifier knows them and removes the branches that they rule out.

use conn_common::{Config, PORT_WORDS, PortBits, SocketOffsets};

/// How to run.
#[unsafe(no_mangle)]
static CONFIG: Config = Config::EVERYTHING;

/// Where the running kernel keeps the fields of a socket.
#[unsafe(no_mangle)]
static OFFSETS: SocketOffsets = SocketOffsets::STABLE;

/// The local ports to watch.
#[unsafe(no_mangle)]
static PORTS: PortBits = [u64::MAX; PORT_WORDS];

/// One of the settings.
#[inline(always)]
#[must_use]
pub fn setting<T: Copy + 'static>(field: impl FnOnce(&'static Config) -> &'static T) -> T {
    frozen(field(&CONFIG))
}

/// Whether one of the settings that are switches is on.
#[inline(always)]
#[must_use]
pub fn is_on(field: impl FnOnce(&'static Config) -> &'static u32) -> bool {
    setting(field) != 0
}

/// One of the offsets.
#[inline(always)]
#[must_use]
pub fn offset(field: impl FnOnce(&'static SocketOffsets) -> &'static u16) -> u16 {
    frozen(field(&OFFSETS))
}

/// Whether connections to this local port are to be shown: one load, whatever the set.
#[inline(always)]
#[must_use]
pub fn watched(port: u16) -> bool {
    // SAFETY: a port has 16 bits, so its word is below PORT_WORDS. A checked index would
    // leave a panic behind that the verifier refuses.
    let word = unsafe { PORTS.get_unchecked(usize::from(port) / 64) };
    (frozen(word) >> (port % 64)) & 1 == 1
}

/// The value that the user side has set. The compiler would use the initial one.
#[inline(always)]
fn frozen<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(value).read_volatile() }
}
