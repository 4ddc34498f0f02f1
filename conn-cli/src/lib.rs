//! The user side of conn-cli, as a library of the binary `conn-cli` alone.
//!
//! [`connection`] is the domain. Connections come from the [`kernel`], led to the screen by
//! [`live`], or from records of other programs, which [`read`] leads there; [`filter`] says
//! which of them are wanted. [`tally`] counts them for [`key`] it is, [`interval`] by time,
//! [`waits`] and [`profile`] how long they waited and when they came; [`known`] tells who is
//! new, and [`listen`] who serves. [`view`] knows what has been shown, [`summary`] what is
//! known at the end, and [`output`] writes both; [`names`] gives numbers their names, from
//! [`cgroups`], [`container`] and [`users`]. [`stop`] says that it is enough.

pub mod cgroups;
pub mod cli;
pub mod connection;
pub mod container;
pub mod filter;
pub mod group;
pub mod interval;
pub mod kernel;
pub mod known;
pub mod listen;
pub mod live;
pub mod memory;
pub mod names;
pub mod output;
pub mod ports;
pub mod profile;
pub mod read;
pub mod stop;
pub mod summary;
pub mod tally;
pub mod users;
pub mod view;
pub mod waits;
