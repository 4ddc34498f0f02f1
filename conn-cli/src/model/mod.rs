//! The domain: connections, what is asked about them, and what is known of them. No I/O.

pub mod connection;
pub mod demand;
pub mod discrepancies;
pub mod exactness;
pub mod filter;
pub mod format;
pub mod group;
pub mod hook;
pub mod listener;
pub mod options;
pub mod ports;
pub mod preemption;
pub mod queues;
pub mod read_stats;
pub mod schema;
pub mod stage;
