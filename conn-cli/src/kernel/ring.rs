//! Waiting for the ring buffer.

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

    /// Returns when there is something to read. May be dropped at any time.
    ///
    /// The descriptor is only registered while this waits: whoever looks at the ring at
    /// fixed times is not woken in between.
    pub(super) async fn readable(&mut self) -> anyhow::Result<()> {
        let ring: RawFd = self.0.as_raw_fd();
        // SAFETY: the RingBuf keeps the descriptor open, and the same, for longer than this
        // function runs, which has borrowed it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("cannot wait for the ring buffer")?;
        let ready = ring.readable().await;
        ready.map(drop).context("cannot wait for the ring buffer")
    }

    /// Hands the next record to `read`; false if there is none.
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
