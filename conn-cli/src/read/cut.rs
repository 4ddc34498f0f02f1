//! Cuts text into pieces of whole lines, however it arrives.

use super::{Format, batch::Piece, parse, reader::Stopped};

/// What has come and cannot be handed on yet.
#[derive(Debug)]
pub struct Cutter {
    format: Format,
    /// Whole lines that belong together with the next one, then the beginning of a line.
    kept: Vec<u8>,
    /// How long the whole lines are.
    held_back: usize,
    /// Whether the line that has begun is too long: of that nothing is kept.
    discards: bool,
}

impl Cutter {
    /// For an input of lines of this format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            kept: Vec::new(),
            held_back: 0,
            discards: false,
        }
    }

    /// Hands on all lines that are whole with these bytes.
    ///
    /// # Errors
    /// If nobody wants more.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if self.discards {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                return Ok(());
            };
            self.discards = false;
            emit(Piece::LongLine(self.format))?;
            bytes = &bytes[end + 1..];
        }
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        if whole > 0 {
            let mut lines = std::mem::take(&mut self.kept);
            lines.extend_from_slice(&bytes[..whole]);
            let held_back = parse::hold_back(self.format, &lines);
            self.kept.extend_from_slice(&lines[held_back..]);
            self.held_back = self.kept.len();
            lines.truncate(held_back);
            self.emit(lines, emit)?;
        }
        self.kept.extend_from_slice(&bytes[whole..]);
        let longest = parse::longest_line(self.format);
        self.discards = self.kept.len() - self.held_back > longest;
        // Nothing real belongs together for so long.
        if self.discards || self.held_back > longest {
            let mut lines = std::mem::take(&mut self.kept);
            let begun = lines.split_off(std::mem::take(&mut self.held_back));
            if !self.discards {
                self.kept = begun;
            }
            self.emit(lines, emit)?;
        }
        Ok(())
    }

    /// Hands on what is left when no more comes.
    ///
    /// # Errors
    /// If nobody wants more.
    pub fn end(self, emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>) -> Result<(), Stopped> {
        if self.discards {
            return emit(Piece::LongLine(self.format));
        }
        let lines = self.kept.clone();
        self.emit(lines, emit)
    }

    fn emit(
        &self,
        lines: Vec<u8>,
        emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        match lines[..] {
            [] => Ok(()),
            _ => emit(Piece::Lines(self.format, lines)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut cutter = Cutter::new(format);
        for part in parts {
            cutter.push(part, &mut emit).unwrap();
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
        let part = vec![b'x'; 1024 * 1024];
        let mut cutter = Cutter::new(Format::Strace);
        let mut long = 0;
        let mut emit = |piece| {
            assert!(matches!(piece, Piece::LongLine(_)), "{piece:?}");
            long += 1;
            Ok(())
        };
        for _ in 0..100 {
            cutter.push(&part, &mut emit).unwrap();
            assert!(cutter.kept.capacity() <= 3 * part.len());
        }
        cutter.push(b"\n", &mut emit).unwrap();
        cutter.end(&mut emit).unwrap();
        assert_eq!(long, 1);

        let begun = &b"accept(3, ready\n"[..];
        let next = &b"\nnext\n"[..];
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            pieces(Format::Strace, &[begun, &part, &part, next]),
            [some("accept(3, ready\n"), None, some("next\n")]
        );
    }
}
