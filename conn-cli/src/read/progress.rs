//! How far reading has come, for whoever waits for it at a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Reading that is done sooner needs no bar.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// A bar on standard error, if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    is_shown: bool,
}

impl Progress {
    /// Of as many bytes; None if there is to be no bar.
    #[must_use]
    pub fn new(bytes: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::hidden());
        let style = "{bar:40} {percent}% {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well formed"));
        Self {
            bar,
            begun: Instant::now(),
            is_shown: bytes.is_none(),
        }
    }

    /// What counts how much is read.
    #[must_use]
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Shows the bar, once it takes long.
    pub fn show_if_long(&mut self) {
        if !self.is_shown && self.begun.elapsed() > SHOW_AFTER {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.is_shown = true;
        }
    }

    /// Writes something to standard error without the bar.
    pub fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
