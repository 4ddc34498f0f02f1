//! When to search for network namespaces that are made during the run, if that is wanted.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    model::listener::Listener,
    system::stderr::say,
    trace::listeners::{Search, Survey, Worker},
};

/// The time between two searches, unless they take long. In each one, the link of each process is read, and
/// each namespace without a listener on the ports is entered.
const SEARCH_INTERVAL: Duration = Duration::from_secs(10);

/// How many times as long as a search took the next one does not begin: that is at most 1 % of one CPU.
const MIN_PAUSE_FACTOR: u32 = 99;

/// The thread that searches, which has the privileges, and its searches.
#[derive(Debug)]
pub(super) struct Follow {
    worker: Worker,
    search: Option<Search<Vec<Listener>>>,
    next: Instant,
}

impl Follow {
    /// Starts the thread. None, which is said, without the privileges that it takes.
    pub(super) fn begin() -> Option<Self> {
        if !Worker::is_possible() {
            say(
                "note: network namespaces that are made later are not searched for listeners: that takes \
                 CAP_SYS_ADMIN and CAP_SYS_PTRACE",
            );
            return None;
        }
        match Worker::start() {
            Ok(worker) => Some(Self {
                worker,
                search: None,
                next: Instant::now() + SEARCH_INTERVAL,
            }),
            Err(error) => {
                say(format_args!(
                    "cannot search for network namespaces: {error}"
                ));
                None
            }
        }
    }

    /// The thread, which searches for whatever else takes privileges.
    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// How long until the next search.
    pub(super) fn left(&self, now: Instant) -> Duration {
        if self.search.is_some() {
            Duration::MAX
        } else {
            self.next.saturating_duration_since(now)
        }
    }

    /// Begins a search, if it is time.
    pub(super) fn begin_if_due(&mut self, survey: &Arc<Mutex<Survey>>, now: Instant) {
        if self.left(now).is_zero() {
            self.search = Search::for_namespaces(survey, &self.worker).ok();
        }
    }

    /// The search that runs.
    pub(super) fn search(&mut self) -> Option<&mut Search<Vec<Listener>>> {
        self.search.as_mut()
    }

    /// Ends it.
    pub(super) fn end_search(&mut self, now: Instant) {
        let took = self
            .search
            .take()
            .map_or(Duration::ZERO, |search| search.age());
        self.next = now + SEARCH_INTERVAL.max(took.saturating_mul(MIN_PAUSE_FACTOR));
    }

    /// Makes the search end soon, and begins none any more.
    pub(super) fn stop(&mut self) {
        if let Some(search) = &self.search {
            search.stop();
        }
    }
}
