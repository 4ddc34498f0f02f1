//! The connection that conn-cli makes to itself, to see that the hooks run.

use crate::{
    config::{is_on, setting},
    namespace::{self, Namespace},
    record,
    socket::Ends,
    stage::Stage,
    task,
};

/// Whether the program is done with a connection: it is conn-cli's own, and is counted as such only,
/// or it is to the port of that, which the user side adds to the watched ports, and nobody asked for.
///
/// A port number is not unique: the addresses, random ones of 127.0.0.0/8, and both ports must be
/// those of conn-cli's sockets, and where the program knows who accepts, that must be conn-cli. Else
/// somebody who finds those out could hide a connection in another network namespace.
///
/// `namespace`: the connection's network namespace.
#[inline(always)]
#[must_use]
pub fn is_done(ends: &Ends, stage: Stage, namespace: &impl Namespace) -> bool {
    if ends.local_port != setting(|config| &config.self_test_port) {
        return false;
    }
    let address = setting(|config| &config.self_test_address);
    let is_own = ends.local_address == address
        && ends.remote_address == address
        && ends.remote_port == setting(|config| &config.self_test_remote_port)
        && (!matches!(stage, Stage::Accepted) || is_accepted_by_conn_cli());
    if is_own {
        record::self_test(stage);
        namespace::remember_own(namespace);
    }
    is_own || is_on(|config| &config.self_test_port_only)
}

#[inline(always)]
fn is_accepted_by_conn_cli() -> bool {
    let tgid = setting(|config| &config.self_test_tgid);
    tgid == 0 || task::tgid() == tgid
}
