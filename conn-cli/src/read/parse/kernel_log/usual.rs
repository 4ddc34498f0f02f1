//! Recognises a line whose beginning differs from that of an earlier one only in the digits of its times: nearly all
//! records of a log do, so that only what follows has to be parsed. A fast path.

use super::stamp::Stamp;
use crate::model::connection::Lacks;

/// So many bytes are compared at a time.
const WORD: usize = size_of::<u64>();

/// The same byte everywhere in a word.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; WORD])
}

/// Where the tens of minutes and seconds are in the time of day `14:25:37`, which go up to 5.
const TENS: [usize; 2] = [3, 6];

/// The length of `14:25:37`.
const CLOCK: usize = 8;

/// The length of `12345.` whose number is below 2^64 in any case.
const MAX_WHOLE: usize = 19;

/// The beginning of the earlier line.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// Its length; 0 if there is none.
    length: usize,
    /// The bytes that others must have, and a bit for each bit of digits.
    words: Vec<(u64, u64)>,
    /// The same of the last word, which overlaps the one before.
    last: (u64, u64),
    /// The length of the timestamp that it begins with.
    stamp: usize,
    /// Where the time of day is in it.
    clock: usize,
    /// What the timestamp lacks, if it is one.
    lacks: Option<Lacks>,
    /// How often it was of use, and how often another one took its place.
    hits: u32,
    changes: u32,
}

impl Usual {
    /// The timestamp of a line that begins so, and the text after that beginning.
    #[inline]
    pub(super) fn split<'a>(&mut self, line: &'a [u8]) -> Option<(Stamp<'a>, &'a [u8])> {
        let (start, rest) = line.split_at_checked(self.length)?;
        let mut any = differs(start.last_chunk()?, self.last);
        let (all, _) = start.as_chunks();
        for (word, same) in all.iter().zip(&self.words) {
            any |= differs(word, *same);
        }
        let is_later = |at| start.get(self.clock + at).is_none_or(|tens| *tens > b'5');
        if any != 0 || TENS.into_iter().any(is_later) {
            return None;
        }
        self.hits = self.hits.saturating_add(1);
        let stamp = &start[..self.stamp];
        let stamp = match self.lacks {
            None => Stamp::Iso(stamp),
            Some(lacks) => Stamp::Recorded(stamp, lacks),
        };
        Some((stamp, rest))
    }

    /// Keeps the beginning of a line, if others can be like it: its timestamp, with which it begins, who wrote it,
    /// and the first `start` bytes of the message. Not often in vain.
    pub(super) fn keep(&mut self, line: &[u8], stamp: Stamp<'_>, message: &[u8], start: usize) {
        if self.changes > self.hits.saturating_add(64) / 4 {
            return;
        }
        self.changes += 1;
        self.length = 0;
        let (text, clock, lacks) = match stamp {
            Stamp::Iso(text) => (text, "2026-11-22T".len(), None),
            Stamp::Recorded(text, lacks @ Lacks::Year) => (text, "Nov 22 ".len(), Some(lacks)),
            _ => return,
        };
        let header = line.len() - message.len();
        if !line.starts_with(text) || text.len() < clock + CLOCK || header + start < WORD {
            return;
        }
        let mut is_digit = vec![0_u8; header + start];
        let fraction = text.len().min(clock + CLOCK + 1)..text.len();
        let after = text[fraction.clone()]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let fraction = fraction.start..fraction.start + after.count();
        for at in (clock + TENS[0]..clock + CLOCK).chain(fraction) {
            is_digit[at] = if line[at].is_ascii_digit() {
                u8::MAX
            } else {
                0
            };
        }
        for at in of_kernel(&line[..header]).unwrap_or_default() {
            is_digit[at] = if line[at].is_ascii_digit() {
                u8::MAX
            } else {
                0
            };
        }
        let start = &line[..header + start];
        let ((same, _), (digits, _)) = (start.as_chunks(), is_digit.as_chunks());
        let pair = |(same, digits): (&[u8; WORD], &[u8; WORD])| (word(same), word(digits));
        self.words.clear();
        self.words.extend(same.iter().zip(digits).map(pair));
        let last = start.last_chunk().zip(is_digit.last_chunk());
        self.last = last.map_or((0, 0), pair);
        (self.stamp, self.clock, self.lacks) = (text.len(), clock, lacks);
        self.length = start.len();
    }
}

/// Where the kernel's own time is, if a header ends with it: that of `[12345.678901] `.
fn of_kernel(header: &[u8]) -> Option<std::ops::Range<usize>> {
    let inside = header.strip_suffix(b"] ")?;
    let (whole, fraction) = inside.split_last_chunk::<6>()?;
    let whole = whole.strip_suffix(b".")?;
    let digits = { whole.iter().rev() }.take_while(|byte| byte.is_ascii_digit());
    let digits = digits.count();
    let before = whole[..whole.len() - digits].trim_ascii_end();
    let is_time = (1..=MAX_WHOLE).contains(&digits)
        && fraction.iter().all(u8::is_ascii_digit)
        && before.ends_with(b"[");
    is_time.then(|| whole.len() - digits..inside.len())
}

#[inline]
fn word(bytes: &[u8; WORD]) -> u64 {
    u64::from_ne_bytes(*bytes)
}

/// 0 if a word has a digit in the place of each digit, and is the same elsewhere.
#[inline]
fn differs(bytes: &[u8; WORD], (same, digits): (u64, u64)) -> u64 {
    let word = word(bytes);
    // In other places a zero.
    let digit = (word & digits | each(b'0') & !digits) ^ each(b'0');
    // The carry of one that is none changes the next, but it is enough to find the first.
    let is_none = (digit | digit.wrapping_add(each(0x80 - 10))) & each(0x80);
    (word ^ same) & !digits | is_none
}

#[cfg(test)]
mod tests {
    use super::{super::syslog::Entry, *};

    /// With any byte in each place: what is recognised is what the general parser makes of the line.
    #[test]
    fn what_is_recognised_is_parsed_so() {
        let mut recognised = 0;
        for line in [
            "2026-11-22T14:25:37.123456+00:00 host kernel: [12345.678901] NEW: IN=eth0 OUT= MAC=",
            "2026-11-22T14:25:37Z host kernel: NEW: IN=eth0 OUT= MAC=",
            "Nov 22 14:25:37 host kernel: [    5.678901] IN=eth0 OUT= MAC=",
            "Nov  2 14:25:37.1 10.0.0.1 kernel: [a]12.345678] IN=eth0 OUT= MAC=",
            "Nov 22 14:25:37 2026 h kernel: [12345678901234567890.678901] IN=eth0 OUT= MAC=",
            "<4>Nov 22 14:25:37 host kernel: [5.678901] IN=eth0 OUT= MAC=",
            "Nov 22 14:25:38 relay Nov 22 14:25:37 web1 kernel: IN=eth0 OUT= MAC=",
        ] {
            let start = |message: &[u8]| message.windows(5).position(|part| part == b" OUT=");
            let line = line.as_bytes();
            let entry = Entry::parse(line);
            let of_start = start(entry.message).unwrap() + 5;
            let mut usual = Usual::default();
            usual.keep(line, entry.stamp, entry.message, of_start);
            for place in 0..line.len() {
                for byte in *b"0569.:/ []T\xff\x80" {
                    let mut other = line.to_vec();
                    other[place] = byte;
                    let parsed = Entry::parse(&other);
                    if let Some((stamp, rest)) = usual.split(&other) {
                        recognised += 1;
                        assert_eq!(stamp, parsed.stamp);
                        assert_eq!(parsed.writer, entry.writer);
                        assert_eq!(parsed.message[..of_start], entry.message[..of_start]);
                        assert_eq!(&parsed.message[of_start..], rest);
                    }
                }
            }
            assert!(usual.split(&line[..line.len() - 6]).is_none());
        }
        assert!(recognised > 300, "{recognised}");
    }

    #[test]
    fn digits_and_nothing_else_may_differ() {
        let digits = word(&[0, 0, 255, 255, 255, 255, 255, 255]);
        for place in 0..WORD {
            for byte in 0..=u8::MAX {
                let mut other = *b"a:123456";
                other[place] = byte;
                let is_like = if place < 2 {
                    other == *b"a:123456"
                } else {
                    byte.is_ascii_digit()
                };
                let differs = differs(&other, (word(b"a:123456"), digits)) != 0;
                assert_eq!(differs, !is_like, "{place} {byte}");
            }
        }
    }
}
