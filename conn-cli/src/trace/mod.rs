//! Connections as the running kernel sees them.

pub mod kernel;
pub mod listeners;
