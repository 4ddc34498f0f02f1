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

use super::Survey;
use crate::system::privileges;

/// A thread that completes a [`Survey`].
#[derive(Debug)]
pub struct Search {
    stop: Arc<AtomicBool>,
    result: oneshot::Receiver<anyhow::Result<Survey>>,
}

impl Search {
    /// Starts the thread, which has the privileges that the calling one has now.
    ///
    /// # Errors
    /// If there cannot be another thread.
    pub fn start(mut survey: Survey) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, result) = oneshot::channel();
        let is_stopped = Arc::clone(&stop);
        thread::Builder::new()
            .name("listeners".to_owned())
            .spawn(move || {
                let completed = survey.complete(&is_stopped).map(|()| survey);
                // It ends soon, but not before the receiver goes on.
                let completed = privileges::drop_privileges(false).and(completed);
                // Nobody may want it any more.
                let _ = sender.send(completed);
            })?;
        Ok(Self { stop, result })
    }

    /// Makes the thread end soon, with what it has found so far.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Returns the survey once it is complete, or stopped. Cancel safe.
    ///
    /// # Errors
    /// If not a single namespace could be searched, or the result was taken before.
    pub async fn result(&mut self) -> anyhow::Result<Survey> {
        (&mut self.result)
            .await
            .unwrap_or_else(|_| Err(no_result()))
    }

    /// The same, if that is so already.
    #[must_use]
    pub fn try_result(&mut self) -> Option<anyhow::Result<Survey>> {
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
