//! Whose network namespace a connection is in.

use aya_ebpf::{macros::map, maps::Array};

use crate::{config::setting, socket::Fields};

/// The address of conn-cli's own network namespace, as a socket has it; 0 until its connection to
/// itself shows it. It stays valid: conn-cli is in that namespace as long as its programs run.
#[map]
static OWN_NETNS: Array<u64> = Array::with_max_entries(1, 0);

/// Remembers the address of conn-cli's own network namespace, if it is this one: not everybody who makes
/// a connection like conn-cli's own is in it.
#[inline(always)]
pub(crate) fn remember_own(namespace: &impl Namespace) {
    let inode = setting(|config| &config.own_netns);
    if inode == 0 || namespace.inode() != inode {
        return;
    }
    if let Some(own) = OWN_NETNS.get_ptr_mut(0) {
        // SAFETY: a pointer to the map's only value; a u64 is written as a whole.
        unsafe { own.write_volatile(namespace.address()) };
    }
}

/// A network namespace: how to find out about it.
pub trait Namespace {
    /// The address of its `struct net`; 0 if that is not known.
    fn address(&self) -> u64;

    /// Its inode number; 0 if that is not known.
    fn inode(&self) -> u32;

    /// The level of the user namespace that it belongs to: 0 for the initial one, and if that is not
    /// known.
    fn owner_level(&self) -> u32;
}

/// One that is not known.
pub struct Unknown;

impl Namespace for Unknown {
    #[inline(always)]
    fn address(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn inode(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn owner_level(&self) -> u32 {
        0
    }
}

/// That of a socket.
pub struct OfSocket<'a, F>(pub &'a F);

impl<F: Fields> Namespace for OfSocket<'_, F> {
    #[inline(always)]
    fn address(&self) -> u64 {
        self.0.net()
    }

    #[inline(always)]
    fn inode(&self) -> u32 {
        self.0.netns()
    }

    #[inline(always)]
    fn owner_level(&self) -> u32 {
        self.0.owner_level()
    }
}

/// Whether it is a user's: it belongs to another user namespace than the initial one. `false` for
/// conn-cli's own, and if it is not known.
///
/// Most connections are in conn-cli's own, which costs less to see than who it belongs to.
#[inline(always)]
pub(crate) fn is_of_user(namespace: &impl Namespace) -> bool {
    let own = OWN_NETNS.get(0).copied().unwrap_or(0);
    namespace.address() != own
        && namespace.owner_level() != 0
        && namespace.inode() != setting(|config| &config.own_netns)
}
