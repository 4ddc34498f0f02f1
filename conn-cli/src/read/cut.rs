//! Cuts text into pieces of whole lines, however it arrives.

use std::sync::mpsc;

use super::{Format, batch::Piece, parse, reader::Stopped};

/// How much is read at once: what is read, parsed and counted stays in the processor's cache.
const READ: usize = 128 * 1024;

/// Buffers that were parsed, to be used again: new memory has to be mapped and cleared, which
/// takes longer than to read into it.
pub type Used = mpsc::Receiver<Vec<u8>>;

/// Reads lines and hands on those that are whole.
#[derive(Debug)]
pub struct Cutter<'a> {
    format: Format,
    used: &'a Used,
    /// What has come and cannot be handed on yet, then room for more.
    buffer: Vec<u8>,
    /// How much has come: whole lines that belong together with the next one, then the
    /// beginning of a line.
    kept: usize,
    /// How long the whole lines are.
    held_back: usize,
    /// Whether the line that has begun is too long: of that nothing is kept.
    discards: bool,
}

impl<'a> Cutter<'a> {
    /// For an input of lines of this format.
    #[must_use]
    pub fn new(format: Format, used: &'a Used) -> Self {
        Self {
            format,
            used,
            buffer: Vec::new(),
            kept: 0,
            held_back: 0,
            discards: false,
        }
    }

    /// Where the next bytes are to be read to.
    pub fn room(&mut self) -> &mut [u8] {
        let end = self.kept + READ;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.kept..end]
    }

    /// Hands on all lines that are whole with these bytes, which are in [`Self::room`].
    ///
    /// # Errors
    /// If nobody wants more.
    pub fn push(
        &mut self,
        length: usize,
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let mut end = self.kept + length;
        if self.discards {
            // Nothing was kept.
            let Some(line) = memchr::memchr(b'\n', &self.buffer[..end]) else {
                return Ok(());
            };
            self.discards = false;
            emit(Piece::LongLine(self.format))?;
            self.buffer.copy_within(line + 1..end, 0);
            end -= line + 1;
        }
        let whole = memchr::memrchr(b'\n', &self.buffer[self.kept..end]);
        if let Some(at) = whole {
            let lines = self.kept + at + 1;
            let handed_on = parse::hold_back(self.format, &self.buffer[..lines]);
            self.hand_on(handed_on, end, emit)?;
            self.held_back = lines - handed_on;
            end -= handed_on;
        }
        self.kept = end;
        let longest = parse::longest_line(self.format);
        // It may end with a carriage return.
        self.discards = self.kept - self.held_back > longest + 1;
        // Nothing real belongs together for so long.
        if self.discards || self.held_back > longest {
            let held_back = std::mem::take(&mut self.held_back);
            self.hand_on(held_back, self.kept, emit)?;
            self.kept -= held_back;
        }
        if self.discards {
            self.kept = 0;
        }
        Ok(())
    }

    /// Hands on what is left when no more comes.
    ///
    /// # Errors
    /// If nobody wants more.
    pub fn end(
        mut self,
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if self.discards {
            return emit(Piece::LongLine(self.format));
        }
        self.hand_on(self.kept, self.kept, emit)
    }

    /// Hands on the first `lines` bytes, and keeps the others up to `end`.
    fn hand_on(
        &mut self,
        lines: usize,
        end: usize,
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if lines == 0 {
            return Ok(());
        }
        let mut next = self.used.try_recv().unwrap_or_default();
        let rest = end - lines;
        if next.len() < rest {
            next.resize(rest, 0);
        }
        next[..rest].copy_from_slice(&self.buffer[lines..end]);
        let mut piece = std::mem::replace(&mut self.buffer, next);
        piece.truncate(lines);
        emit(Piece::Lines(self.format, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(
        cutter: &mut Cutter<'_>,
        part: &[u8],
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) {
        cutter.room()[..part.len()].copy_from_slice(part);
        cutter.push(part.len(), emit).unwrap();
    }

    /// The pieces of `parts`; `None` is a line that is too long.
    fn pieces(format: Format, parts: &[&[u8]]) -> Vec<Option<String>> {
        let mut pieces = Vec::new();
        let mut emit = |piece| {
            pieces.push(match piece {
                Piece::Lines(_, lines) => Some(String::from_utf8(lines).unwrap()),
                Piece::LongLine(_) => None,
                Piece::Packets(_) => panic!("packets"),
            });
            Ok(())
        };
        let (_, used) = mpsc::channel();
        let mut cutter = Cutter::new(format, &used);
        for part in parts {
            push(&mut cutter, part, &mut emit);
        }
        cutter.end(&mut emit).unwrap();
        pieces
    }

    #[test]
    fn lines_are_handed_on_as_soon_as_they_are_whole() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            pieces(Format::Strace, &[b"a\nb", b"c", b"\nd\n", b"", b"e"]),
            [some("a\n"), some("bc\nd\n"), some("e")]
        );
        assert_eq!(pieces(Format::Strace, &[]), []);
        // The call that was begun stays with its rest.
        assert_eq!(
            pieces(
                Format::Strace,
                &[b"a\naccept(3, ready\n", b" <unfinished ...>\n"]
            ),
            [some("a\n"), some("accept(3, ready\n <unfinished ...>\n")]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_not_kept() {
        let part = vec![b'x'; READ];
        let (_, used) = mpsc::channel();
        let mut cutter = Cutter::new(Format::Strace, &used);
        let mut long = 0;
        let mut emit = |piece| {
            assert!(matches!(piece, Piece::LongLine(_)), "{piece:?}");
            long += 1;
            Ok(())
        };
        for _ in 0..100 * 1024 * 1024 / READ {
            push(&mut cutter, &part, &mut emit);
            assert!(cutter.buffer.capacity() <= 4 * 1024 * 1024);
        }
        push(&mut cutter, b"\n", &mut emit);
        cutter.end(&mut emit).unwrap();
        assert_eq!(long, 1);

        let begun = &b"accept(3, ready\n"[..];
        let next = &b"\nnext\n"[..];
        let some = |text: &str| Some(text.to_owned());
        let mut parts = vec![begun];
        parts.extend(std::iter::repeat_n(&part[..], 1024 * 1024 / READ + 1));
        parts.push(next);
        assert_eq!(
            pieces(Format::Strace, &parts),
            [some("accept(3, ready\n"), None, some("next\n")]
        );
    }
}
