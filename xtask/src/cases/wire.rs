//! Packets made by hand: SYNs of clients that there are not, through an interface that is
//! there for them.

mod link;
mod packet;
pub(super) mod socket;
mod syns;

pub(super) use link::Link;
pub(super) use packet::Extension;
pub(super) use syns::{Sources, Syns};
