//! Standard output. If it stalls, nothing else is blocked.

use std::io;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat},
    io::{retry_on_intr, write},
};
use tokio::io::AsyncWriteExt as _;

/// The bytes that a pipe takes without blocking if poll(2) reports it writable, however full it is.
const PIPE_BUF: usize = 4096;

/// The bytes of a long output that wait until they are written.
const CHUNK: usize = 64 * 1024;

/// Buffered standard output. Writes to a stopped terminal or to a pipe whose reader has stopped can block, so
/// they are made in a thread of tokio. If the future of [`Self::send`] is dropped and it is called
/// again, nothing is lost or written twice.
#[derive(Debug)]
pub struct Stdout {
    kind: Kind,
    stream: tokio::io::Stdout,
    /// Whether tokio's thread may still be writing.
    in_thread: bool,
    pending: Vec<u8>,
    written: usize,
    lines_pending: u64,
    lines_sent: u64,
}

/// The kind of standard output, which decides whether a write can stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Never stalls.
    File,
    /// poll(2) tells whether a write would stall.
    Pipe,
    /// A terminal or a socket: may stall in the middle of a write.
    Other,
}

impl Stdout {
    /// The standard output of this process.
    #[must_use]
    pub fn new() -> Self {
        let file_type = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        Self {
            kind: match file_type {
                Ok(FileType::RegularFile) => Kind::File,
                Ok(FileType::Fifo) => Kind::Pipe,
                _ => Kind::Other,
            },
            stream: tokio::io::stdout(),
            in_thread: false,
            pending: Vec::new(),
            written: 0,
            lines_pending: 0,
            lines_sent: 0,
        }
    }

    /// The buffer to append to, which [`Self::send`] writes.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Counts an appended line as that of a connection.
    pub fn count_line(&mut self) {
        self.lines_pending += 1;
    }

    /// How many connections' lines have been written.
    #[must_use]
    pub fn lines_sent(&self) -> u64 {
        self.lines_sent
    }

    /// Appends text, and writes everything that was appended if that is much. If this is dropped, the
    /// text may be lost.
    ///
    /// # Errors
    /// The system's, including `BrokenPipe`.
    pub(crate) async fn write(&mut self, text: &str) -> io::Result<()> {
        self.pending.extend_from_slice(text.as_bytes());
        if self.pending.len() >= CHUNK {
            self.send().await?;
        }
        Ok(())
    }

    /// Writes everything that was appended. May be dropped at any time and called again.
    ///
    /// # Errors
    /// The system's, including `BrokenPipe`.
    pub async fn send(&mut self) -> io::Result<()> {
        if self.in_thread {
            self.stream.flush().await?;
            self.in_thread = false;
        }
        while self.written < self.pending.len() {
            let rest = &self.pending[self.written..];
            self.written += match self.writable_now() {
                Some(limit) => {
                    retry_on_intr(|| write(io::stdout(), &rest[..rest.len().min(limit)]))?
                }
                None => {
                    let taken = self.stream.write(rest).await?;
                    self.in_thread = true;
                    taken
                }
            };
        }
        if self.in_thread {
            self.stream.flush().await?;
            self.in_thread = false;
        }
        self.lines_sent += std::mem::take(&mut self.lines_pending);
        self.pending.clear();
        self.written = 0;
        Ok(())
    }

    /// How many bytes can be written now without a stall; None if that is unknown.
    fn writable_now(&self) -> Option<usize> {
        match self.kind {
            _ if self.in_thread => None,
            Kind::File => Some(usize::MAX),
            Kind::Pipe if self.polls(PollFlags::OUT) == PollFlags::OUT => Some(PIPE_BUF),
            Kind::Pipe | Kind::Other => None,
        }
    }

    /// Whether [`Self::is_closed`] can become true.
    #[must_use]
    pub fn can_close(&self) -> bool {
        self.kind != Kind::File
    }

    /// Whether the reader of a pipe, the peer of a socket or the terminal is gone. Otherwise only
    /// the next write would notice.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.polls(PollFlags::empty())
            .intersects(PollFlags::ERR | PollFlags::HUP)
    }

    fn polls(&self, wanted: PollFlags) -> PollFlags {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, wanted)];
        let no_wait = Timespec::default();
        match poll(&mut polled, Some(&no_wait)) {
            Ok(_) => polled[0].revents(),
            Err(_) => PollFlags::empty(),
        }
    }
}

impl Default for Stdout {
    fn default() -> Self {
        Self::new()
    }
}
