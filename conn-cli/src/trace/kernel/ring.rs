//! The ring buffer and waiting for it.

use std::os::fd::{AsRawFd as _, RawFd};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

/// The ring buffer of events.
pub(super) struct Ring(RingBuf<MapData>);

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Returns when there is something to read. Cancel safe.
    ///
    /// The descriptor is only registered while this waits, so that a caller that polls the ring at
    /// fixed intervals is not woken in between.
    pub(super) async fn readable(&mut self) -> anyhow::Result<()> {
        let ring: RawFd = self.0.as_raw_fd();
        // SAFETY: this function borrows the RingBuf, which keeps the same descriptor open for
        // longer than the function runs.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("cannot wait for the ring buffer")?;
        let ready = ring.readable().await;
        ready.map(drop).context("cannot wait for the ring buffer")
    }

    /// Passes the next record to `read`. Returns false if there is none.
    pub(super) fn next(&mut self, read: impl FnOnce(&[u8])) -> bool {
        match self.0.next() {
            Some(record) => {
                read(&record);
                true
            }
            None => false,
        }
    }
}
