//! Handmade packets: SYNs of forged clients, through an interface that exists for them.

mod link;
mod packet;
pub(super) mod socket;
mod syns;

pub(super) use link::Link;
pub(super) use packet::Extension;
pub(super) use syns::{Sources, Syns};
