//! The domain: connections, what is asked about them, and what is known of them. No I/O.

pub(crate) mod check;
pub mod clock;
pub mod connection;
pub(crate) mod demand;
pub(crate) mod discrepancies;
pub(crate) mod exactness;
pub mod filter;
pub mod format;
pub mod group;
pub mod hook;
pub(crate) mod link_type;
pub mod listener;
pub mod listener_gauges;
pub mod machine;
pub mod names;
pub mod options;
pub mod period;
pub mod ports;
pub(crate) mod preemption;
pub(crate) mod printed;
pub(crate) mod queues;
pub mod read_stats;
pub(crate) mod schema;
pub mod scope;
pub(crate) mod self_test;
pub(crate) mod stage;
