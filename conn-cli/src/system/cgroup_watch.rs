//! Sees that the directory of a cgroup is removed or made, without being asked to look all the time.

use std::{
    ffi::OsStr,
    fs::File,
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, inotify, open},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::cgroups::is_cgroup2;

/// The kernel tells of each cgroup that a process makes or removes, in whatever mount or namespace
/// (`fs/namei.c`, `vfs_mkdir` and `vfs_rmdir`): all mounts of a hierarchy share their inodes.
#[derive(Debug)]
pub(crate) struct CgroupWatch {
    directory: PathBuf,
    /// The cgroups that it is in, outermost first.
    ancestors: Vec<PathBuf>,
    inotify: AsyncFd<OwnedFd>,
}

/// A directory of a cgroup, and the cgroup's id.
#[derive(Debug)]
pub(crate) struct OpenCgroup {
    /// It cannot be read.
    pub(crate) directory: OwnedFd,
    pub(crate) id: u64,
}

impl CgroupWatch {
    /// Watches this path of a directory that is there. Needs a tokio runtime.
    ///
    /// # Errors
    /// An error of the system, such as that there are too many watches.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.canonicalize()?;
        let is_cgroup = |path: &&Path| is_cgroup2(path).unwrap_or(false);
        let ancestors = directory.ancestors().skip(1).take_while(is_cgroup);
        let mut ancestors: Vec<_> = ancestors.map(Path::to_owned).collect();
        ancestors.reverse();
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)?;
        // SAFETY: this descriptor is new, and nothing closes it before the AsyncFd that owns it.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }?;
        let watch = Self {
            directory,
            ancestors,
            inotify,
        };
        watch.renew()?;
        Ok(watch)
    }

    /// The path, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    /// The cgroup that has the path now, if any. A change after this call ends [`Self::changed`].
    ///
    /// # Errors
    /// It cannot be watched any longer, or not be opened.
    pub(crate) fn now(&self) -> anyhow::Result<Option<OpenCgroup>> {
        self.renew()?;
        // Not for reading, which it may not permit to everybody.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(&self.directory, flags, Mode::empty()) {
            Ok(directory) => {
                let directory = File::from(directory);
                let id = directory.metadata()?.ino();
                let directory = directory.into();
                Ok(Some(OpenCgroup { directory, id }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Watches each ancestor that is there. One that is made meanwhile is seen in the one before.
    fn renew(&self) -> Result<(), Errno> {
        let flags = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ONLYDIR;
        for ancestor in &self.ancestors {
            match inotify::add_watch(&self.inotify, ancestor, flags) {
                Ok(_) => (),
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns once the directory, or one that it is in, may have been made or removed. Cancel safe.
    ///
    /// # Errors
    /// An error of the system.
    pub(crate) async fn changed(&self) -> anyhow::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
            let mut concerns = false;
            // Not until there are no more: others can make cgroups faster than they are read.
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| name.to_bytes());
                        concerns |= name.is_none_or(|name| self.has(OsStr::from_bytes(name)));
                    }
                    Err(Errno::AGAIN) => {
                        ready.clear_ready();
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
                if reader.is_buffer_empty() {
                    break;
                }
            }
            if concerns {
                return Ok(());
            }
        }
    }

    /// Whether a directory of this name is in the path.
    fn has(&self, name: &OsStr) -> bool {
        self.directory.iter().any(|part| part == name)
    }
}
