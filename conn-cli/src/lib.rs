//! The user side of conn-cli, as a library of the binary `conn-cli` alone.
//!
//! Each module may use the ones after it in this list, never one before:
//! [`cli`] parses the arguments; [`jobs`] join a source, counting and an output; [`output`], [`trace`]
//! and [`mod@read`] do not know each other; [`report`] is what is known at the end; [`count`] counts;
//! [`model`] is the domain; [`system`] asks the machine.

pub mod cli;
pub mod count;
pub mod jobs;
pub mod model;
mod output;
pub mod read;
mod report;
mod system;
pub mod trace;

pub use self::{report::Verdict, system::stderr::say};
