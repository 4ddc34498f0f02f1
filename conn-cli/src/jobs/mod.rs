//! The jobs of conn-cli. Each joins a source of connections, counting and an output.

mod cgroup;
pub mod check;
pub mod compare;
mod drop_watch;
mod first;
mod follow;
mod listeners;
mod metrics;
pub mod read;
mod self_tests;
mod service;
mod settings;
mod silence;
mod start;
mod status;
mod target;
pub mod trace;
pub mod view;

#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod text_tests;
