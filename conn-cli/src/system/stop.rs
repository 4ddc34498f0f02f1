//! What ends a run: a signal, or the time limit. And the signals that ask how far it is.

use std::{mem::MaybeUninit, ptr, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

/// Waits for the end of a run.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    user_defined: Signal,
    /// Only handled: a write to a file that has reached its limit fails then, instead of ending the
    /// process.
    _too_large: Signal,
    hang_up: Option<Signal>,
    deadline: Option<Instant>,
    interrupts: u32,
}

impl Stop {
    /// Installs signal handlers. From now on signals do not end the process by themselves.
    ///
    /// # Errors
    /// If a signal handler cannot be installed.
    pub fn watch() -> anyhow::Result<Self> {
        let handle = |kind| signal(kind).context("cannot handle signals");
        // nohup(1) expects that SIGHUP stays ignored.
        let hang_up = if hang_up_is_ignored() {
            None
        } else {
            Some(handle(SignalKind::hangup())?)
        };
        Ok(Self {
            interrupt: handle(SignalKind::interrupt())?,
            terminate: handle(SignalKind::terminate())?,
            user_defined: handle(SignalKind::user_defined2())?,
            _too_large: handle(SignalKind::from_raw(libc::SIGXFSZ))?,
            hang_up,
            deadline: None,
            interrupts: 0,
        })
    }

    /// Sets the time limit, counted from now.
    pub fn after(&mut self, duration: Duration) {
        self.deadline = Instant::now().checked_add(duration);
    }

    /// Returns when the run must end. Cancel safe.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => self.interrupts += 1,
            _ = self.terminate.recv() => (),
            _ = self.user_defined.recv() => (),
            () = received(&mut self.hang_up) => (),
            () = reached(self.deadline) => (),
        }
    }

    /// Whether Ctrl-C was pressed, so that the other programs of a pipeline end too.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.interrupts > 0
    }

    /// Returns at the second SIGINT, when the user does not want to wait. Not at the first, which
    /// may have come just after the run ended by itself, and not at a second SIGTERM, which
    /// timeout(1) and service managers send routinely.
    pub async fn insisted(&mut self) {
        while self.interrupts < 2 {
            self.interrupt.recv().await;
            self.interrupts += 1;
        }
    }
}

/// Waits for requests to show the totals so far, which by themselves would kill the process: SIGUSR1, and
/// SIGQUIT, which is Ctrl-\\ on a terminal.
#[derive(Debug)]
pub(crate) struct TotalsRequests {
    user_defined: Signal,
    quit: Signal,
}

impl TotalsRequests {
    /// Installs signal handlers.
    ///
    /// # Errors
    /// If a signal handler cannot be installed.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let handle = |kind| signal(kind).context("cannot handle signals");
        Ok(Self {
            user_defined: handle(SignalKind::user_defined1())?,
            quit: handle(SignalKind::quit())?,
        })
    }

    /// Returns when there is a request. Cancel safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.user_defined.recv() => (),
            _ = self.quit.recv() => (),
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn hang_up_is_ignored() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, sigaction only writes the current action.
    let result = unsafe { libc::sigaction(libc::SIGHUP, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: `action` has been written if there was no error.
    result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
