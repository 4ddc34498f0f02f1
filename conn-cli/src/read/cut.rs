//! Splits text into pieces of whole lines, however it arrives.

use std::sync::{Arc, mpsc};

use super::{encoding::Encoding, error::Stopped, parse, piece::Piece};

/// The most bytes that are read at once: few enough to stay in the CPU cache until they are
/// counted, but enough to be worth waking the thread that parses them.
const READ_LEN: usize = 256 * 1024;

/// Buffers of parsed pieces, for reuse: mapping and clearing new memory takes longer than reading
/// into it.
pub(crate) type RecycledBuffers = mpsc::Receiver<Vec<u8>>;

/// Splits an input at the ends of lines.
#[derive(Debug)]
pub(crate) struct Cutter<'a> {
    encoding: Encoding,
    recycled: &'a RecycledBuffers,
    /// Bytes that cannot be emitted yet, then room for more.
    buffer: Vec<u8>,
    /// Number of bytes that cannot be emitted yet: whole lines that belong together with the
    /// next one, then the beginning of a line.
    filled: usize,
    /// The length of these whole lines.
    held_back: usize,
    /// Whether the current line is too long, and its bytes are discarded.
    is_discarding: bool,
    /// The line that names the columns of the table, if one was emitted.
    heading: Option<Arc<[u8]>>,
}

impl<'a> Cutter<'a> {
    /// A cutter for lines of this format.
    #[must_use]
    pub(crate) fn new(encoding: Encoding, recycled: &'a RecycledBuffers) -> Self {
        Self {
            encoding,
            recycled,
            buffer: Vec::new(),
            filled: 0,
            held_back: 0,
            is_discarding: false,
            heading: None,
        }
    }

    /// The buffer for the next read.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let end = self.filled + READ_LEN;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.filled..end]
    }

    /// Takes `length` bytes that were read into [`Self::room`], and emits the lines that are now
    /// complete.
    ///
    /// # Errors
    /// If `emit` wants no more pieces.
    pub(crate) fn push(
        &mut self,
        length: usize,
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let mut end = self.filled + length;
        if self.is_discarding {
            // The buffer has only the new bytes.
            let Some(line) = memchr::memchr(b'\n', &self.buffer[..end]) else {
                return Ok(());
            };
            self.is_discarding = false;
            emit(Piece::LongLine(self.encoding))?;
            self.buffer.copy_within(line + 1..end, 0);
            end -= line + 1;
        }
        let last_newline = memchr::memrchr(b'\n', &self.buffer[self.filled..end]);
        if let Some(index) = last_newline {
            let lines = self.filled + index + 1;
            let emitted = parse::hold_back(self.encoding, &self.buffer[..lines]);
            self.emit_lines(emitted, end, emit)?;
            self.held_back = lines - emitted;
            end -= emitted;
        }
        self.filled = end;
        let max_len = parse::longest_line(self.encoding.format);
        // The line may end with a carriage return.
        self.is_discarding = self.filled - self.held_back > max_len + 1;
        // Real records are never this long.
        if self.is_discarding || self.held_back > max_len {
            let held_back = std::mem::take(&mut self.held_back);
            self.emit_lines(held_back, self.filled, emit)?;
            self.filled -= held_back;
        }
        if self.is_discarding {
            self.filled = 0;
        }
        Ok(())
    }

    /// Emits the rest at the end of the input.
    ///
    /// # Errors
    /// If `emit` wants no more pieces.
    pub(crate) fn finish(
        mut self,
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if self.is_discarding {
            return emit(Piece::LongLine(self.encoding));
        }
        self.emit_lines(self.filled, self.filled, emit)
    }

    /// Emits the first `lines` bytes, and keeps the others up to `end`.
    fn emit_lines(
        &mut self,
        lines: usize,
        end: usize,
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if lines == 0 {
            return Ok(());
        }
        let mut next = self.recycled.try_recv().unwrap_or_default();
        let rest = end - lines;
        if next.len() < rest {
            next.resize(rest, 0);
        }
        next[..rest].copy_from_slice(&self.buffer[lines..end]);
        let mut piece = std::mem::replace(&mut self.buffer, next);
        piece.truncate(lines);
        let next_heading = parse::heading(self.encoding, &piece).map(Arc::from);
        let heading = match next_heading {
            Some(next) => self.heading.replace(next),
            None => self.heading.clone(),
        };
        emit(match heading {
            Some(heading) => Piece::Headed(self.encoding, heading, piece),
            None => Piece::Lines(self.encoding, piece),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::format::Format;

    fn push(
        cutter: &mut Cutter<'_>,
        part: &[u8],
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) {
        cutter.room()[..part.len()].copy_from_slice(part);
        cutter.push(part.len(), emit).unwrap();
    }

    /// The pieces of `parts`; `None` for a line that is too long.
    fn pieces(format: Format, parts: &[&[u8]]) -> Vec<Option<String>> {
        let mut pieces = Vec::new();
        let mut emit = |piece| {
            pieces.push(match piece {
                Piece::Lines(_, lines) => Some(String::from_utf8(lines).unwrap()),
                Piece::Headed(_, heading, lines) => Some(format!(
                    "{} before {}",
                    String::from_utf8(heading.to_vec()).unwrap(),
                    String::from_utf8(lines).unwrap()
                )),
                Piece::LongLine(_) => None,
                Piece::Packets(_) | Piece::Recognised(_) => panic!("{piece:?}"),
            });
            Ok(())
        };
        let (_, recycled) = mpsc::channel();
        let mut cutter = Cutter::new(Encoding::plain(format), &recycled);
        for part in parts {
            push(&mut cutter, part, &mut emit);
        }
        cutter.finish(&mut emit).unwrap();
        pieces
    }

    #[test]
    fn lines_are_emitted_as_soon_as_they_are_complete() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            pieces(Format::Strace, &[b"a\nb", b"c", b"\nd\n", b"", b"e"]),
            [some("a\n"), some("bc\nd\n"), some("e")]
        );
        assert_eq!(pieces(Format::Strace, &[]), []);
        // Both lines of an unfinished call are in one piece.
        assert_eq!(
            pieces(
                Format::Strace,
                &[b"a\naccept(3, ready\n", b" <unfinished ...>\n"]
            ),
            [some("a\n"), some("accept(3, ready\n <unfinished ...>\n")]
        );
    }

    #[test]
    fn each_piece_of_a_table_has_the_heading_before_it() {
        let some = |text: &str| Some(text.to_owned());
        let parts = [
            &b"#fields\tts\r\n1"[..],
            b"\n2\n",
            b"3\n#fields\tts\tuid\n4\tC\n",
            b"5\tC",
        ];
        assert_eq!(
            pieces(Format::Zeek, &parts),
            [
                some("#fields\tts\r\n"),
                some("#fields\tts before 1\n2\n"),
                some("#fields\tts before 3\n#fields\tts\tuid\n4\tC\n"),
                some("#fields\tts\tuid before 5\tC"),
            ]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_discarded() {
        let part = vec![b'x'; READ_LEN];
        let (_, recycled) = mpsc::channel();
        let mut cutter = Cutter::new(Encoding::plain(Format::Strace), &recycled);
        let mut long = 0;
        let mut emit = |piece| {
            assert!(matches!(piece, Piece::LongLine(_)), "{piece:?}");
            long += 1;
            Ok(())
        };
        for _ in 0..100 * 1024 * 1024 / READ_LEN {
            push(&mut cutter, &part, &mut emit);
            assert!(cutter.buffer.capacity() <= 4 * 1024 * 1024);
        }
        push(&mut cutter, b"\n", &mut emit);
        cutter.finish(&mut emit).unwrap();
        assert_eq!(long, 1);

        let unfinished = &b"accept(3, ready\n"[..];
        let next = &b"\nnext\n"[..];
        let some = |text: &str| Some(text.to_owned());
        let mut parts = vec![unfinished];
        parts.extend(std::iter::repeat_n(&part[..], 1024 * 1024 / READ_LEN + 1));
        parts.push(next);
        assert_eq!(
            pieces(Format::Strace, &parts),
            [some("accept(3, ready\n"), None, some("next\n")]
        );
    }
}
