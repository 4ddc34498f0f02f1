//! How many times its length the content of a compressed input has.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
    num::NonZeroU32,
    rc::Rc,
};

/// How much content any input may have, however short it is. Some kilobytes that are megabytes of a log
/// are nothing unusual: many lines of a log are nearly the same, and `xz` shortens those some hundred times,
/// equal ones some thousand times. They take no time worth a question either. It is more of them
/// that somebody has to ask for.
const FREE: u64 = 16 * 1024 * 1024;

/// Compares the length of the content with that of what it is made from.
#[derive(Debug)]
pub(super) struct Expansion {
    /// How many times as long the content may be; None for any length.
    most: Option<NonZeroU32>,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
}

/// An input whose bytes are counted as they are decoded, which may be long after they are read.
pub(super) struct Packed<R> {
    input: R,
    taken: Rc<Cell<u64>>,
}

impl Expansion {
    /// Watches the decoder of this input.
    pub(super) fn new<R>(most: Option<NonZeroU32>, input: R) -> (Self, Packed<R>) {
        let packed = Rc::<Cell<u64>>::default();
        let taken = Rc::clone(&packed);
        let expansion = Self {
            most,
            packed,
            unpacked: 0,
        };
        (expansion, Packed { input, taken })
    }

    /// Adds content.
    pub(super) fn add(&mut self, length: usize) {
        self.unpacked += length as u64;
    }

    /// How many times as long the content may be, if it is longer.
    pub(super) fn exceeded(&self) -> Option<NonZeroU32> {
        let most = self.most?;
        let allowed = self.packed.get().saturating_mul(most.get().into());
        (self.unpacked > allowed.max(FREE)).then_some(most)
    }
}

impl<R> Packed<R> {
    fn count(&self, length: usize) {
        self.taken.set(self.taken.get() + length as u64);
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.count(length);
    }
}
