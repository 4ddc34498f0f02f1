//! Names for the numbers that the kernel counts by.

use crate::{
    cgroups,
    connection::escaped,
    container::container,
    summary::Summary,
    users::Users,
    who::{By, Who},
};

/// Gives the cgroups and users in a summary their names, as far as they have some.
pub fn add(summary: &mut Summary) {
    match summary.by {
        By::Cgroup => {
            let paths = cgroups::paths();
            for row in &mut summary.rows {
                if let Who::Cgroup { id, name } = &mut row.who {
                    *name = paths.get(id).map(|path| cgroup(path).into());
                }
            }
        }
        By::User => {
            let users = Users::read();
            for row in &mut summary.rows {
                if let Who::User { uid, name } = &mut row.who {
                    *name = users.name(*uid).map(Into::into);
                }
            }
        }
        By::Address | By::Network(..) | By::Port | By::Process => (),
    }
}

/// A cgroup's path, and the container that it is.
fn cgroup(path: &str) -> String {
    let shown = escaped(path.as_bytes());
    match container(path) {
        Some(container) => format!("{container} ({shown})"),
        None => shown,
    }
}
