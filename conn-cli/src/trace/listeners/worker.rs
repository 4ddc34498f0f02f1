//! A thread that keeps privileges, so that network namespaces that are made during a run can be searched.

use std::{
    io,
    sync::mpsc::{Sender, channel},
    thread,
};

use rustix::thread::{CapabilitySet, capabilities};

use crate::system::privileges;

/// What it takes to enter network namespaces, and to see which ones the processes of others are in.
const NEEDED: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_PTRACE);

/// What lists the open files of other users' processes besides (`fs/proc/fd.c`: the directory is only its
/// owner's).
const USEFUL: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// The thread. It ends with this value.
#[derive(Debug)]
pub struct Worker {
    jobs: Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Worker {
    /// Whether this thread has the privileges that it takes.
    #[must_use]
    pub fn is_possible() -> bool {
        capabilities(None).is_ok_and(|held| held.effective.contains(NEEDED))
    }

    /// Starts the thread with the privileges that this one has now, of which it keeps what it needs.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn start() -> io::Result<Self> {
        let (sender, jobs) = channel::<Job>();
        thread::Builder::new()
            .name("namespaces".to_owned())
            .spawn(move || {
                // Without that, nothing is done with too many: whoever waits for a result gets none.
                if privileges::retain(NEEDED | USEFUL).is_ok() {
                    jobs.into_iter().for_each(|job| job());
                }
            })?;
        Ok(Self { jobs: sender })
    }

    /// Has the thread do this once it has done all before.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // If it has ended, so has what the job would send a result to.
        let _ = self.jobs.send(Box::new(job));
    }
}
