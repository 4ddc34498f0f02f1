//! Adds names to the ids that the kernel counts by.

use std::collections::HashMap;

use crate::{
    model::group::{GroupBy, GroupKey},
    system::{cgroups, container::container, text::escaped, users::Users},
};

/// The names of what connections are grouped by.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// The paths of cgroups, by id.
    Cgroups(HashMap<u64, Box<str>>),
    Users(Users),
    /// The keys need none.
    None,
}

impl Names {
    /// What is needed for these groups. Asks the machine.
    pub(super) fn read(by: GroupBy) -> Self {
        match by {
            GroupBy::Cgroup => Self::Cgroups(cgroups::paths()),
            GroupBy::User => Self::Users(Users::read()),
            GroupBy::Address | GroupBy::Network(..) | GroupBy::Port | GroupBy::Process => {
                Self::None
            }
        }
    }

    /// The key with its name, if it has any.
    pub(super) fn named(&self, mut key: GroupKey) -> GroupKey {
        match (self, &mut key) {
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

/// A cgroup's container, if any, and its path.
fn cgroup(path: &str) -> String {
    let shown = escaped(path.as_bytes());
    match container(path) {
        Some(container) => format!("{container} ({shown})"),
        None => shown,
    }
}
