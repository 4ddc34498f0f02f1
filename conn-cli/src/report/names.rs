//! Adds names to the ids that the kernel counts by.

use super::Summary;
use crate::{
    model::group::{GroupBy, GroupKey},
    system::{cgroups, container::container, text::escaped, users::Users},
};

/// Adds the names of cgroups and users to a summary, if they have any.
pub fn add(summary: &mut Summary) {
    match summary.by {
        GroupBy::Cgroup => {
            let paths = cgroups::paths();
            for row in &mut summary.rows {
                if let GroupKey::Cgroup { id, name } = &mut row.key {
                    *name = paths.get(id).map(|path| cgroup(path).into());
                }
            }
        }
        GroupBy::User => {
            let users = Users::read();
            for row in &mut summary.rows {
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
