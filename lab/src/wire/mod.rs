//! Handmade packets: SYNs of forged clients, through an interface that exists for them.

pub mod link;
pub mod packet;
pub mod socket;
pub mod syns;

pub use link::Link;
pub use packet::Extension;
pub use syns::{Sources, Syns};
