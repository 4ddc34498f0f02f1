//! The search for listeners in the background: records are read, and signals heeded, meanwhile.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::anyhow;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{Listener, Survey, owner};
use crate::system::privileges;

/// A thread that searches, and its result.
#[derive(Debug)]
pub struct Search<T> {
    stop: Arc<AtomicBool>,
    result: oneshot::Receiver<anyhow::Result<T>>,
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

impl Search<Vec<Listener>> {
    /// Starts a thread that searches for the processes of these listeners, without the privileges that
    /// the calling one has given up.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn for_owners(mut listeners: Vec<Listener>) -> io::Result<Self> {
        Self::spawn(move |stop| {
            let denied = owner::find(&mut listeners, stop);
            let is_complete = !stop.load(Ordering::Relaxed);
            for listener in &mut listeners {
                let is_unknown = listener.owners.is_empty();
                listener.began_too_late = is_unknown && is_complete && denied > 0;
            }
            Ok(listeners)
        })
    }
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
        Ok(Self { stop, result })
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
