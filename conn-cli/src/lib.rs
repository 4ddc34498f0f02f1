//! The user-space side of conn-cli, as a library for the binary `conn-cli` only.
//!
//! [`connection`] is the domain. [`live`] traces the connections that the [`kernel`] reports,
//! [`read`] reads those in records of other programs, and [`filter`] selects the requested ones.
//! [`tally`] counts them by [`group`], [`interval`] by time. [`waits`] and [`profile`] record how
//! long they waited and when they came. [`known`] decides which clients are new, and [`listen`]
//! finds the listeners. [`view`] tracks what has been shown, [`summary`] is the result, and
//! [`output`] writes both. [`names`] resolves ids to names with [`cgroups`], [`container`] and
//! [`users`]. [`stop`] ends a run.

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
