//! Adds names to the ids that the kernel counts by.

use super::Row;
use crate::{
    model::group::{GroupBy, GroupKey},
    system::{cgroups, container::container, text::escaped, users::Users},
};

/// Adds the names of cgroups and users to rows that are grouped by them, if they have any.
pub(super) fn add(by: GroupBy, rows: &mut [Row]) {
    match by {
        GroupBy::Cgroup => {
            let paths = cgroups::paths();
            for row in rows {
                if let GroupKey::Cgroup { id, name } = &mut row.key {
                    *name = paths.get(id).map(|path| cgroup(path).into());
                }
            }
        }
        GroupBy::User => {
            let users = Users::read();
            for row in rows {
                if let GroupKey::User { uid, name } = &mut row.key {
                    *name = users.name(*uid).map(Into::into);
                }
            }
        }
        GroupBy::Address | GroupBy::Network(..) | GroupBy::Port | GroupBy::Process => (),
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
