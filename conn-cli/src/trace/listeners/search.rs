//! The search for listeners, and the later looks at them, in the background: records are read, and signals
//! heeded, meanwhile.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{Listener, Queues, Survey, Unseen, Worker, namespace, owner};
use crate::system::privileges;

/// A thread that searches, and its result.
#[derive(Debug)]
pub struct Search<T> {
    began: Instant,
    stop: Arc<AtomicBool>,
    result: oneshot::Receiver<anyhow::Result<T>>,
}

/// What a later look at the listeners has found.
#[derive(Debug)]
pub struct Look {
    /// Their accept queues.
    pub queues: Queues,
    /// Those whose processes were never searched for.
    pub new: Vec<Listener>,
    /// What could not be searched.
    pub unseen: Unseen,
}

impl Search<Survey> {
    /// Has the worker complete the survey, or a new thread, with the privileges that the calling one has
    /// now.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn start(mut survey: Survey, worker: Option<&Worker>) -> io::Result<Self> {
        let is_last = worker.is_none();
        if !is_last {
            // The next search finds it again.
            survey.kept_empty = Duration::ZERO;
        }
        Self::begin(worker, move |stop| {
            let completed = survey.complete(stop).map(|()| survey);
            if !is_last {
                return completed;
            }
            // The thread ends soon, but not before the receiver goes on.
            privileges::drop_privileges(false).and(completed)
        })
    }
}

impl Search<Look> {
    /// Starts a thread that queries the listeners and the counters of their namespaces again: a machine
    /// with very many of them takes longer than a reader of records may be away.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn for_queues(survey: &Arc<Mutex<Survey>>) -> io::Result<Self> {
        let survey = Arc::clone(survey);
        Self::begin(None, move |_| {
            let mut survey = lock(&survey);
            let queues = survey.queues()?;
            let listeners = queues.listeners.iter().map(|(listener, _)| listener);
            let new = listeners.filter(|listener| survey.is_new(listener));
            Ok(Look {
                new: new.cloned().collect(),
                unseen: survey.unseen(),
                queues,
            })
        })
    }
}

impl Search<Option<Listener>> {
    /// Has the worker search for the processes of these listeners, or a new thread without the privileges
    /// that the calling one has given up. The result is the first whose process is not known since it
    /// began too late.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn for_owners(
        survey: &Arc<Mutex<Survey>>,
        mut listeners: Vec<Listener>,
        worker: Option<&Worker>,
    ) -> io::Result<Self> {
        let survey = Arc::clone(survey);
        let lacks_privileges = worker.is_none();
        Self::begin(worker, move |stop| {
            let denied = owner::find(&mut listeners, stop);
            let is_complete = !stop.load(Ordering::Relaxed);
            for listener in &mut listeners {
                let is_unknown = listener.owners.is_empty();
                listener.began_too_late =
                    is_unknown && is_complete && lacks_privileges && denied > 0;
            }
            Ok(lock(&survey).add_later(listeners).cloned())
        })
    }
}

impl Search<Vec<Listener>> {
    /// Has the worker search the network namespaces that are not watched. The result is the listeners in
    /// those that are watched from now on.
    ///
    /// # Errors
    /// None: there is a thread.
    pub fn for_namespaces(survey: &Arc<Mutex<Survey>>, worker: &Worker) -> io::Result<Self> {
        let survey = Arc::clone(survey);
        Self::begin(Some(worker), move |stop| {
            let (ports, kept) = lock(&survey).search_terms();
            let mut visited = namespace::visit_others(&ports, None, &kept, stop)?;
            visited.find_owners(stop);
            Ok(lock(&survey).add_found(visited))
        })
    }
}

/// A thread that panicked has shown that, and what it left is as good as a query that failed.
fn lock(survey: &Mutex<Survey>) -> MutexGuard<'_, Survey> {
    survey.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send + 'static> Search<T> {
    /// Has the worker search, or else a new thread.
    fn begin(
        worker: Option<&Worker>,
        search: impl FnOnce(&AtomicBool) -> anyhow::Result<T> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, result) = oneshot::channel();
        let is_stopped = Arc::clone(&stop);
        let job = move || {
            // Nobody may want it any more.
            let _ = sender.send(search(&is_stopped));
        };
        match worker {
            Some(worker) => worker.run(job),
            None => drop(
                thread::Builder::new()
                    .name("listeners".to_owned())
                    .spawn(job)?,
            ),
        }
        Ok(Self {
            began: Instant::now(),
            stop,
            result,
        })
    }

    /// How long ago it was started.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Makes the thread end soon, with what it has found so far.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Returns the result once the search is complete, or stopped. Cancel safe.
    ///
    /// # Errors
    /// If not a single namespace could be searched, or the result was taken before.
    pub async fn result(&mut self) -> anyhow::Result<T> {
        (&mut self.result)
            .await
            .unwrap_or_else(|_| Err(no_result()))
    }

    /// The same, if that is so already.
    #[must_use]
    pub fn try_result(&mut self) -> Option<anyhow::Result<T>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(no_result())),
        }
    }
}

fn no_result() -> anyhow::Error {
    anyhow!("the search for listeners has no result")
}
