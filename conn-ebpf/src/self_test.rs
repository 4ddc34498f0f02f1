//! The connection that conn-cli makes to itself, to see that the hooks run.

use crate::{
    config::{is_on, setting},
    record::{self, Stage},
    socket::Ends,
};

/// Whether the program is done with a connection: it is conn-cli's own, and is counted as such only,
/// or it is to the port of that, which the user side adds to the watched ports, and nobody asked for.
///
/// A port number is not unique: the addresses, random ones of 127.0.0.0/8, and both ports must be
/// those of conn-cli's sockets.
#[inline(always)]
#[must_use]
pub fn is_done(ends: &Ends, stage: Stage) -> bool {
    if u32::from(ends.local_port) != setting(|config| &config.self_test_port) {
        return false;
    }
    let address = setting(|config| &config.self_test_address);
    let is_own = ends.local_address == address
        && ends.remote_address == address
        && u32::from(ends.remote_port) == setting(|config| &config.self_test_remote_port);
    if is_own {
        record::self_test(stage);
    }
    is_own || is_on(|config| &config.self_test_port_only)
}
