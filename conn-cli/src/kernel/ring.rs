//! Waiting for the ring buffer.

use std::os::fd::{AsRawFd, RawFd};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

/// The ring buffer of events.
pub(super) struct Ring {
    fd: AsyncFd<Reader>,
}

/// So that tokio asks a type whose descriptor is known not to change.
struct Reader(RingBuf<MapData>);

impl AsRawFd for Reader {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> anyhow::Result<Self> {
        // SAFETY: the RingBuf owns the descriptor of its map, which is the same one from
        // here until the RingBuf is dropped, and AsyncFd owns the RingBuf.
        let fd = unsafe { AsyncFd::register_with_interest(Reader(ring), Interest::READABLE) }
            .context("cannot wait for the ring buffer")?;
        Ok(Self { fd })
    }

    /// Returns when there may be something to read. May be dropped at any time.
    pub(super) async fn readable(&mut self) -> anyhow::Result<()> {
        let mut guard = self
            .fd
            .readable_mut()
            .await
            .context("cannot wait for the ring buffer")?;
        // The kernel tells again about whatever comes after the next look at the ring.
        guard.clear_ready();
        Ok(())
    }

    /// Hands the next record to `read`; false if there is none.
    pub(super) fn next(&mut self, read: impl FnOnce(&[u8])) -> bool {
        match self.fd.get_mut().0.next() {
            Some(record) => {
                read(&record);
                true
            }
            None => false,
        }
    }
}
