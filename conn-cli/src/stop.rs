//! What ends a run: a signal, or the time that was set.

use std::{fs, time::Duration};

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
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hang_up(&status))
}

/// `SigIgn` has bit `n - 1` for signal `n`; SIGHUP is 1.
fn ignores_hang_up(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_recognised() {
        assert!(ignores_hang_up("SigBlk:\t0\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hang_up("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hang_up("SigIgn:\tnonsense\n"));
        assert!(!ignores_hang_up(""));
    }
}
