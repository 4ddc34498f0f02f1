//! Adds names to the ids that the kernel counts by.

use std::{cell::RefCell, collections::HashMap};

use super::Origin;
use crate::{
    model::group::{GroupBy, GroupKey},
    system::{cgroups, container::container, text::escaped, users::Users},
};

/// The names of what connections are grouped by.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// Those that the processes had when they accepted first.
    Processes(HashMap<u32, Box<str>>),
    /// The paths of cgroups, by id, and the names that were made of them.
    Cgroups(HashMap<u64, Box<str>>, RefCell<HashMap<u64, Box<str>>>),
    Users(Users),
    /// The keys need none.
    None,
}

impl Names {
    /// What is needed for these groups. Asks the machine.
    pub(super) fn read(by: GroupBy, origin: &Origin) -> Self {
        match (by, origin) {
            (GroupBy::Process, Origin::Kernel(live)) => Self::Processes(live.process_names.clone()),
            (GroupBy::Cgroup, _) => Self::Cgroups(cgroups::paths(), RefCell::default()),
            (GroupBy::User, _) => Self::Users(Users::read()),
            _ => Self::None,
        }
    }

    /// The key with its name, if it has any.
    pub(super) fn named(&self, mut key: GroupKey) -> GroupKey {
        let without_port = match &mut key {
            GroupKey::WithPort(key, _) => key,
            key => key,
        };
        match (self, without_port) {
            (
                Self::Processes(names),
                GroupKey::Process {
                    pid: Some(pid),
                    name,
                    ..
                },
            ) => *name = names.get(pid).cloned(),
            // A row is made twice, and its directory may be another one's the next time.
            (Self::Cgroups(paths, made), GroupKey::Cgroup { id, name }) => {
                let mut made = made.borrow_mut();
                if let Some(path) = paths.get(id) {
                    let made = made.entry(*id).or_insert_with(|| cgroup(path).into());
                    *name = Some(made.clone());
                }
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
