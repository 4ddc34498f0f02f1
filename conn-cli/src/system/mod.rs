//! What conn-cli asks of the machine, apart from tracing.

pub(crate) mod cgroup_watch;
pub(crate) mod cgroups;
pub(crate) mod container;
pub(crate) mod endpoint;
pub(crate) mod files;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod privileges;
pub(crate) mod procfs;
pub(crate) mod services;
pub(crate) mod stderr;
pub(crate) mod stop;
pub(crate) mod terminal;
pub(crate) mod text;
pub(crate) mod users;
