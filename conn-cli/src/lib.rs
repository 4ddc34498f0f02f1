//! The user side of conn-cli, as a library of the binary `conn-cli` alone.
//!
//! [`connection`] is the domain; [`kernel`] is where connections come from; [`tally`] counts
//! them; [`output`] writes them, and [`screen`] knows what has been shown; [`live`] leads them from one to the other until [`stop`] says
//! that it is enough.

pub mod cli;
pub mod connection;
pub mod kernel;
pub mod live;
pub mod output;
pub mod ports;
pub mod screen;
pub mod stop;
pub mod tally;
