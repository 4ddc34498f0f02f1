//! The user side of conn-cli, as a library of the binary `conn-cli` alone.
//!
//! [`connection`] is the domain. Connections come from the [`kernel`], led to the screen by
//! [`live`], or from records of other programs, which [`read`] leads there. [`tally`] counts
//! them; [`output`] writes them, and [`screen`] knows what has been shown; [`stop`] says that
//! it is enough. [`interval`] counts by time, and [`known`] tells who is new; [`cgroups`],
//! [`container`] and [`users`] have names for numbers.

pub mod cgroups;
pub mod cli;
pub mod connection;
pub mod container;
pub mod interval;
pub mod kernel;
pub mod listen;
pub mod known;
pub mod live;
pub mod output;
pub mod ports;
pub mod read;
pub mod screen;
pub mod stop;
pub mod tally;
pub mod users;
