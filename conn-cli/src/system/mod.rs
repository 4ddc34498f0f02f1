//! What conn-cli asks of the machine, apart from tracing.

pub mod cgroups;
pub mod container;
pub mod kernel_version;
pub mod memory;
pub mod privileges;
pub mod procfs;
pub mod stderr;
pub mod stop;
pub mod text;
pub mod users;
