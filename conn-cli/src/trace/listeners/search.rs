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

use super::{Listener, Queues, Survey, owner};
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
}

impl Search<Survey> {
    /// Starts a thread that completes the survey, with the privileges that the calling one has now.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn start(mut survey: Survey) -> io::Result<Self> {
        Self::spawn(move |stop| {
            let completed = survey.complete(stop).map(|()| survey);
            // It ends soon, but not before the receiver goes on.
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
        Self::spawn(move |_| {
            let mut survey = lock(&survey);
            let queues = survey.queues()?;
            let listeners = queues.listeners.iter().map(|(listener, _)| listener);
            let new = listeners.filter(|listener| survey.is_new(listener));
            Ok(Look {
                new: new.cloned().collect(),
                queues,
            })
        })
    }
}

impl Search<Option<Listener>> {
    /// Starts a thread that searches for the processes of these listeners, without the privileges that
    /// the calling one has given up. The result is the first whose process is not known since it began
    /// too late.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn for_owners(
        survey: &Arc<Mutex<Survey>>,
        mut listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let survey = Arc::clone(survey);
        Self::spawn(move |stop| {
            let denied = owner::find(&mut listeners, stop);
            let is_complete = !stop.load(Ordering::Relaxed);
            for listener in &mut listeners {
                let is_unknown = listener.owners.is_empty();
                listener.began_too_late = is_unknown && is_complete && denied > 0;
            }
            Ok(lock(&survey).add_later(listeners).cloned())
        })
    }
}

/// A thread that panicked has shown that, and what it left is as good as a query that failed.
fn lock(survey: &Mutex<Survey>) -> MutexGuard<'_, Survey> {
    survey.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send + 'static> Search<T> {
    fn spawn(
        search: impl FnOnce(&AtomicBool) -> anyhow::Result<T> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, result) = oneshot::channel();
        let is_stopped = Arc::clone(&stop);
        thread::Builder::new()
            .name("listeners".to_owned())
            .spawn(move || {
                // Nobody may want it any more.
                let _ = sender.send(search(&is_stopped));
            })?;
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
