//! Standard output that may stall without stopping anything else.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::AsyncWriteExt as _;

/// Bytes on their way to standard output. A write that does not get on, to a terminal that
/// was stopped or a pipe that nobody reads, waits in a thread of tokio's; whoever awaits it
/// may stop awaiting and come back, and nothing is lost or written twice.
#[derive(Debug)]
pub struct Stdout {
    stream: tokio::io::Stdout,
    pending: Vec<u8>,
    written: usize,
    lines_pending: u64,
    lines_sent: u64,
}

impl Stdout {
    /// The standard output of this process.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stream: tokio::io::stdout(),
            pending: Vec::new(),
            written: 0,
            lines_pending: 0,
            lines_sent: 0,
        }
    }

    /// Where to append what [`Self::send`] shall write.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Counts a connection's line that was appended.
    pub fn count_line(&mut self) {
        self.lines_pending += 1;
    }

    /// How many connections' lines have been written.
    #[must_use]
    pub fn lines_sent(&self) -> u64 {
        self.lines_sent
    }

    /// Writes all that was appended. May be dropped at any time and called again.
    ///
    /// # Errors
    /// What the system says, `BrokenPipe` among it.
    pub async fn send(&mut self) -> io::Result<()> {
        while self.written < self.pending.len() {
            self.written += self.stream.write(&self.pending[self.written..]).await?;
        }
        self.stream.flush().await?;
        self.lines_sent += std::mem::take(&mut self.lines_pending);
        self.pending.clear();
        self.written = 0;
        Ok(())
    }

    /// Whether the reader of a pipe, the peer of a socket or the terminal has gone away, which
    /// is otherwise only noticed at the next write.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec::default();
        poll(&mut polled, Some(&at_once)).is_ok()
            && polled[0]
                .revents()
                .intersects(PollFlags::ERR | PollFlags::HUP)
    }
}

impl Default for Stdout {
    fn default() -> Self {
        Self::new()
    }
}
