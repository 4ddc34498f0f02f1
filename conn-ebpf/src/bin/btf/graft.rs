//! What both hooks on `security_sock_graft` do with the accepted socket.
//!
//! ```c
//! // security/security.c
//! void security_sock_graft(struct sock *sk, struct socket *parent);
//! ```

use core::ffi::c_void;

use conn_ebpf::{
    config, filter,
    namespace::OfSocket,
    record, self_test,
    socket::{Direct, Fields as _, Socket},
    stage::Stage,
};

/// Counts the connection of `sock`, the first argument of the hook, if the filters want it. `hook`
/// is one of the `HOOK_` constants.
///
/// # Errors
/// A negative `errno` of the kernel if the socket cannot be read.
#[inline(always)]
pub(crate) fn grafted(sock: *const c_void, hook: u16) -> Result<(), i32> {
    let Some(socket) = Socket::new(sock) else {
        return Ok(());
    };
    let fields = Direct::new(socket);
    if !fields.is_ip() {
        return Ok(());
    }
    let local_port = fields.local_port()?;
    if !config::watched(local_port) {
        return Ok(());
    }
    let protocol = fields.protocol()?;
    if !protocol.is_tcp() {
        return Ok(());
    }
    let mut ends = fields.ends(local_port);
    if self_test::is_done(&ends, Stage::Accepted, &OfSocket(&fields)) {
        return Ok(());
    }
    if filter::wants_accepted(&mut ends, &fields) {
        record::accepted(&ends, hook, &fields, protocol);
    }
    Ok(())
}
