//! What ends a run: a signal, or the time that was set.

use std::{mem::MaybeUninit, ptr, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

/// Watches for the end.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
    deadline: Option<Instant>,
    interrupts: u32,
}

impl Stop {
    /// From now on signals no longer end the process by themselves.
    ///
    /// # Errors
    /// The system's.
    pub fn watch() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot handle signals");
        let hang_up = match hang_up_is_ignored() {
            // As nohup(1) wants it.
            true => None,
            false => Some(on(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hang_up,
            deadline: None,
            interrupts: 0,
        })
    }

    /// Ends after this time from now.
    pub fn after(&mut self, duration: Duration) {
        self.deadline = Instant::now().checked_add(duration);
    }

    /// Returns when it is time to end. May be dropped at any time.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => self.interrupts += 1,
            _ = self.terminate.recv() => (),
            () = received(&mut self.hang_up) => (),
            () = reached(self.deadline) => (),
        }
    }

    /// Whether Ctrl-C was pressed, so that the other programs of a pipeline end too.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.interrupts > 0
    }

    /// Returns at the second SIGINT: somebody has lost patience. Not at the first, which may
    /// have come when the run had just ended by itself, and not at a second SIGTERM, which
    /// timeout(1) and service managers send as a matter of course.
    pub async fn insisted(&mut self) {
        while self.interrupts < 2 {
            self.interrupt.recv().await;
            self.interrupts += 1;
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
    // SAFETY: without a new action, sigaction only writes what the present one is.
    let told = unsafe { libc::sigaction(libc::SIGHUP, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: it has been written if there was no error.
    told == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
