//! Adds names to the ids that the kernel counts by.

use std::collections::HashMap;

use super::Origin;
use crate::{
    model::group::{GroupBy, GroupKey},
    system::{cgroups, container::container, procfs, text::escaped, users::Users},
};

/// The names of what connections are grouped by.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// Those of each process's thread that accepted first, and whether `/proc` has the processes.
    Processes(HashMap<u32, Box<str>>, bool),
    /// The paths of cgroups, by id.
    Cgroups(HashMap<u64, Box<str>>),
    Users(Users),
    /// The keys need none.
    None,
}

impl Names {
    /// What is needed for these groups. Asks the machine.
    pub(super) fn read(by: GroupBy, origin: &Origin) -> Self {
        match (by, origin) {
            (GroupBy::Process, Origin::Kernel(live)) => {
                Self::Processes(live.process_names.clone(), procfs::has_own_ids())
            }
            (GroupBy::Cgroup, _) => Self::Cgroups(cgroups::paths()),
            (GroupBy::User, _) => Self::Users(Users::read()),
            _ => Self::None,
        }
    }

    /// The key with its name, if it has any.
    pub(super) fn named(&self, mut key: GroupKey) -> GroupKey {
        match (self, &mut key) {
            (
                Self::Processes(first, has_own_ids),
                GroupKey::Process {
                    pid: Some(pid),
                    name,
                    ..
                },
            ) => {
                // If it has ended, its thread that accepted first most often had the same name.
                let now = has_own_ids.then(|| procfs::name(*pid)).flatten();
                *name = now.or_else(|| first.get(pid).cloned());
            }
            (Self::Cgroups(paths), GroupKey::Cgroup { id, name }) => {
                *name = paths.get(id).map(|path| cgroup(path).into());
            }
            (Self::Users(users), GroupKey::User { uid, name }) => {
                *name = users.name(*uid).map(Into::into);
            }
            _ => (),
        }
        key
    }
}

/// A cgroup's container, if any that root has named, and its path.
fn cgroup(path: &str) -> String {
    let shown = escaped(path.as_bytes());
    match container(cgroups::named_by_root(path)) {
        Some(container) => format!("{container} ({shown})"),
        None => shown,
    }
}
