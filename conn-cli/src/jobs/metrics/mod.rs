//! Metrics of a run: a thread serves them, and the loop of the run tells it the figures.

mod reading;
mod serve;

use std::thread;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

pub(super) use self::reading::{Figures, Verdicts};
use crate::{
    model::metrics::Reading,
    system::endpoint::{Bound, SocketFile},
};

/// Where the figures of one scrape are to be sent.
pub(super) type Answer = oneshot::Sender<Reading>;

/// The endpoint, if there is one. It serves until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    requests: Option<mpsc::Receiver<Answer>>,
    /// Removed with this.
    _file: Option<SocketFile>,
    /// The thread ends when this is dropped.
    _stop: Option<oneshot::Sender<()>>,
}

impl Endpoint {
    /// Begins to serve, in a thread that has the privileges of this one.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) fn serve(bound: Option<Bound>) -> anyhow::Result<Self> {
        let Some(bound) = bound else {
            return Ok(Self::default());
        };
        let (sender, requests) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let (listener, file) = match bound {
            Bound::Tcp(listener) => (serve::Listener::Tcp(listener), None),
            Bound::Unix(listener, file) => (serve::Listener::Unix(listener), Some(file)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot serve metrics")?;
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || serve::run(&runtime, listener, sender, stopped))
            .context("cannot serve metrics")?;
        Ok(Self {
            requests: Some(requests),
            _file: file,
            _stop: Some(stop),
        })
    }

    /// Tells no more figures. The socket still exists: nobody must be told that conn-cli's own one has closed.
    pub(super) fn end(&mut self) {
        self.requests = None;
    }

    /// The next request for the figures. Cancel safe.
    pub(super) async fn requested(&mut self) -> Answer {
        if let Some(requests) = &mut self.requests
            && let Some(answer) = requests.recv().await
        {
            return answer;
        }
        std::future::pending().await
    }
}
