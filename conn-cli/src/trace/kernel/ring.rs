//! The ring buffer and waiting for it.

use std::{
    os::fd::{AsRawFd as _, RawFd},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use conn_common::Event;
use tokio::io::{Interest, unix::AsyncFd};

/// How long to wait between two reads of the ring buffer: a wakeup costs more than a record. At least
/// as long as a few thousand records take to be read, at most so long that no two reads are 20 ms apart, with
/// what else is done between them and the timer's millisecond.
const MIN_PAUSE: Duration = Duration::from_millis(2);
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(14);

/// What precedes a record (`BPF_RINGBUF_HDR_SZ` of `include/uapi/linux/bpf.h`).
pub(super) const HEADER: usize = 8;

/// The ring buffer of events.
pub(super) struct Ring {
    ring: RingBuf<MapData>,
    /// In bytes.
    size: u32,
    /// The records that were read since it was last empty, and when that was.
    records: usize,
    emptied: Instant,
}

impl Ring {
    /// `size`: in bytes.
    pub(super) fn new(ring: RingBuf<MapData>, size: u32) -> Self {
        Self {
            ring,
            size,
            records: 0,
            emptied: Instant::now(),
        }
    }

    /// It is empty: returns how long it is expected to be no more than half full.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = pause(self.records, self.emptied.elapsed(), self.size);
        self.records = 0;
        self.emptied = Instant::now();
        pause
    }

    /// Returns when there is something to read. Cancel safe.
    ///
    /// The descriptor is only registered while this waits, so that a caller that polls the ring at
    /// fixed intervals is not woken in between.
    pub(super) async fn readable(&mut self) -> anyhow::Result<()> {
        let ring: RawFd = self.ring.as_raw_fd();
        // SAFETY: this function borrows the RingBuf, which keeps the same descriptor open for
        // longer than the function runs.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("cannot wait for the ring buffer")?;
        let ready = ring.readable().await;
        ready.map(drop).context("cannot wait for the ring buffer")
    }

    /// Passes the next record to `read`. Returns false if there is none.
    pub(super) fn next(&mut self, read: impl FnOnce(&[u8])) -> bool {
        match self.ring.next() {
            Some(record) => {
                read(&record);
                self.records += 1;
                true
            }
            None => false,
        }
    }
}

/// The time in which half of a ring buffer fills, at the rate of these records: within [`MIN_PAUSE`] and
/// [`MAX_PAUSE`]. `elapsed`: the time in which they were written.
pub(super) fn pause(records: usize, elapsed: Duration, size: u32) -> Duration {
    let half = f64::from(size / 2);
    let written = (records * (size_of::<Event>() + HEADER)) as f64;
    // Without records it is infinite, or not a number.
    let half_full = Duration::try_from_secs_f64(elapsed.as_secs_f64() * half / written);
    half_full.map_or(MAX_PAUSE, |time| time.clamp(MIN_PAUSE, MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_ends_when_half_is_full() {
        const SIZE: u32 = 512 << 10;
        let after = |records, elapsed_ms| pause(records, Duration::from_millis(elapsed_ms), SIZE);
        for none in [0, 1, 100] {
            assert_eq!(after(none, 20), MAX_PAUSE);
        }
        // 2,520 records are half of it.
        assert_eq!(after(2520, 10).as_millis(), 10);
        assert_eq!(after(5041, 10).as_millis(), 5);
        assert_eq!(after(1_000_000, 10), MIN_PAUSE);
        // Two reads in the same moment, and a clock that stands still.
        assert_eq!(after(1, 0), MIN_PAUSE);
        assert_eq!(after(0, 0), MAX_PAUSE);
    }
}
