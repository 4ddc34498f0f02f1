//! The cgroup that `--cgroup` selects: the one that has the path, also after a restart of its service,
//! for which systemd removes the directory and makes another one.

use std::path::{Path, PathBuf};

use crate::{
    system::{
        cgroup_watch::{CgroupWatch, OpenCgroup},
        cgroups,
        stderr::say,
        text::escaped,
    },
    trace::kernel::Tracer,
};

/// The cgroup that has a path.
#[derive(Debug)]
pub(super) struct SelectedCgroup {
    directory: PathBuf,
    /// None if it cannot be watched.
    watch: Option<CgroupWatch>,
    /// The id of the cgroup that is counted. None while there is none.
    counted: Option<u64>,
}

impl SelectedCgroup {
    /// Finds the cgroup, and watches its path. Needs a tokio runtime.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn find(path: &Path) -> anyhow::Result<Self> {
        let directory = cgroups::directory(path)?;
        let name = escaped(directory.as_os_str().as_encoded_bytes());
        let watch = CgroupWatch::new(&directory).and_then(|watch| {
            let id = watch.now()?.map(|cgroup| cgroup.id);
            Ok((watch, id))
        });
        let (watch, counted) = watch
            .inspect_err(|error| {
                say(format_args!(
                    "cannot watch the cgroup {name}: {error:#}; if it is removed and made again, \
                     its connections do not count any more"
                ));
            })
            .ok()
            .unzip();
        Ok(Self {
            directory,
            watch,
            counted: counted.flatten(),
        })
    }

    /// The path of its directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns once another cgroup may have the path, or none. Cancel safe.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) async fn changed(&self) -> anyhow::Result<()> {
        match &self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Has the programs count in the cgroup that has the path now. Says what has changed. Returns whether
    /// connections were accepted there that do not count.
    pub(super) fn update(&mut self, tracer: &mut Tracer) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        let name = escaped(watch.path().as_os_str().as_encoded_bytes());
        let now = match watch.now() {
            Ok(now) => now,
            Err(error) => {
                say(format_args!("cannot watch the cgroup {name}: {error:#}"));
                return true;
            }
        };
        let id = now.as_ref().map(|cgroup| cgroup.id);
        if id == self.counted {
            return false;
        }
        if self.counted.take().is_some() {
            say(format_args!(
                "the cgroup {name} was removed; the next one of this path counts"
            ));
        }
        let Some(cgroup) = now else {
            return false;
        };
        let missed = missed_in(&cgroup, watch.path(), tracer);
        match missed {
            Ok(missed) => {
                self.counted = id;
                let but = match missed {
                    Some(false) => "",
                    Some(true) => ", but not what was accepted there until now",
                    None => ", but perhaps not what was accepted there until now",
                };
                say(format_args!("the new cgroup {name} counts{but}"));
                missed != Some(false)
            }
            Err(error) => {
                say(format_args!(
                    "cannot count in the new cgroup {name}: {error:#}"
                ));
                true
            }
        }
    }
}

/// Counts in this cgroup from now on. Returns whether connections were accepted before, there or below;
/// None if that cannot be told.
fn missed_in(
    cgroup: &OpenCgroup,
    path: &Path,
    tracer: &mut Tracer,
) -> anyhow::Result<Option<bool>> {
    let others = tracer.count_in_cgroup(&cgroup.directory)?;
    Ok(others.map(|others| {
        let is_below = || !others.is_disjoint(&cgroups::ids_below(path));
        !others.is_empty() && (others.contains(&cgroup.id) || is_below())
    }))
}
