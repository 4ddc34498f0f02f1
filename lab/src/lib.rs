//! What the tests against real connections, the benches and the recordings share: guests, servers,
//! clients, conn-cli as it is run, and other programs that show what the kernel did.
//!
//! It is for development only, and has no test case of its own. Modules use those in the groups
//! above them, never one below.

pub mod command;

pub mod itself;
pub mod packages;
pub mod strip;
pub mod workspace;

pub mod counts;
pub mod family;
pub mod hook;
pub mod machine;
pub mod outcome;

pub mod bpf;
pub mod cgroup;
pub mod kernel;
pub mod netns;
pub mod process;
pub mod setting;
pub mod terminal;

pub mod guest;

pub mod vm;

pub mod accept;
pub mod as_user;
pub mod client;

pub mod server;

pub mod scrape;

pub mod tracer;

pub mod diagnostics;
pub mod report;
pub mod several;

pub mod stages;

pub mod wire;

pub mod peers;
