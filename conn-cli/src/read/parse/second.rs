//! Parses complete times faster than one by one.

use jiff::Timestamp;

use super::scan::are_digits;
use crate::model::connection::When;

/// The minute of the record before: most records are of the same one, so that only the seconds of
/// their time must be parsed. `N`: the length of a time up to the last two digits of the whole second.
/// `LAST`: the last number that these can be without being a leap second.
#[derive(Debug)]
pub(crate) struct Second<const N: usize, const LAST: u8> {
    text: [u8; N],
    zone: Vec<u8>,
    /// That of 0 in these two digits.
    start: i64,
}

impl<const N: usize, const LAST: u8> Second<N, LAST> {
    /// There is no record yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            text: [0; N],
            zone: Vec::new(),
            start: 0,
        }
    }

    /// What `parse` makes of this text.
    #[inline]
    pub(crate) fn when(&mut self, text: &[u8], parse: impl FnOnce(&[u8]) -> When) -> When {
        let Some((whole, [tens @ b'0'..=b'9', units @ b'0'..=b'9', rest @ ..])) =
            text.split_first_chunk()
        else {
            return parse(text);
        };
        let second = (*tens - b'0') * 10 + (*units - b'0');
        let Some((nanosecond, zone)) = fraction(rest).filter(|_| second <= LAST) else {
            return parse(text);
        };
        if *whole == self.text
            && zone == self.zone
            && let Ok(time) = Timestamp::new(self.start + i64::from(second), nanosecond)
        {
            return When::At(time);
        }
        let when = parse(text);
        if let When::At(time) = when
            && time.subsec_nanosecond() == nanosecond
        {
            self.keep(whole, zone, time.as_second() - i64::from(second));
        }
        when
    }

    /// The time with microseconds and without a zone with which a text begins, if it is of the same minute, and
    /// the text from the space after it on.
    #[inline(always)]
    pub(crate) fn leading<'a>(&self, text: &'a [u8]) -> Option<(When, &'a [u8])> {
        let (whole, rest) = text.split_first_chunk()?;
        let ([tens, units, b'.', micros @ ..], rest @ [b' ', ..]) =
            rest.split_first_chunk::<9>()?
        else {
            return None;
        };
        let is_same = *whole == self.text && self.start > 0 && self.zone.is_empty();
        if !is_same || !are_digits(&[*tens, *units]) || !are_digits(micros) {
            return None;
        }
        let second = (*tens - b'0') * 10 + (*units - b'0');
        (second <= LAST).then_some(())?;
        let add = |number, digit: &u8| number * 10 + i32::from(digit - b'0');
        let nanosecond = micros.iter().fold(0, add) * 1000;
        let time = Timestamp::new(self.start + i64::from(second), nanosecond).ok()?;
        Some((When::At(time), rest))
    }

    #[cold]
    fn keep(&mut self, whole: &[u8; N], zone: &[u8], start: i64) {
        // Before 1970 the fraction is subtracted.
        if start >= 0 {
            self.text = *whole;
            zone.clone_into(&mut self.zone);
            self.start = start;
        }
    }
}

/// Recognises a time that differs from an earlier one only in `37.123456` at its end.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    /// What the earlier one begins with.
    same: Vec<u8>,
}

impl Stamps {
    /// The length of the time with which a text begins, if it is like the earlier one; a space follows.
    #[inline]
    pub(crate) fn length(&self, text: &[u8]) -> Option<usize> {
        let length = self.same.len();
        match text.get(length..)?.first_chunk()? {
            [tens, units, b'.', a, b, c, d, e, f, b' ']
                if are_digits(&[*tens, *units, *a, *b, *c, *d, *e, *f])
                    && text.starts_with(&self.same) =>
            {
                Some(length + "37.123456".len())
            }
            _ => None,
        }
    }

    /// Keeps a time, if others can be like it.
    #[cold]
    pub(crate) fn keep(&mut self, time: &[u8]) {
        if let Some((same, [tens, units, b'.', a, b, c, d, e, f])) = time.split_last_chunk()
            && are_digits(&[*tens, *units, *a, *b, *c, *d, *e, *f])
        {
            same.clone_into(&mut self.same);
        }
    }
}

/// The nanoseconds in the last of so many digits.
const UNITS: [i32; 10] = [
    1_000_000_000,
    100_000_000,
    10_000_000,
    1_000_000,
    100_000,
    10_000,
    1_000,
    100,
    10,
    1,
];

/// Nanoseconds from a decimal point and up to nine digits, if there is one, and the text after them.
#[inline]
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let rest = match text {
        [b'.', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => rest,
        [b'.', ..] => return None,
        _ => return Some((0, text)),
    };
    // Nearly all have microseconds.
    if let Some((digits, after)) = rest.split_first_chunk::<6>()
        && are_digits(digits)
        && !after.first().is_some_and(u8::is_ascii_digit)
    {
        let add = |number, digit: &u8| number * 10 + i32::from(digit - b'0');
        return Some((digits.iter().fold(0, add) * 1000, after));
    }
    let mut number = 0;
    for (index, byte) in rest.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Some((number * UNITS.get(index)?, &rest[index..]));
        }
        if index == 9 {
            return None;
        }
        number = number * 10 + i32::from(digit);
    }
    Some((number * UNITS.get(rest.len())?, b""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::connection::Lacks, read::parse::scan::seconds};

    fn parse(text: &[u8]) -> When {
        let time = str::from_utf8(text).unwrap().parse();
        time.map_or(When::Unknown, When::At)
    }

    #[test]
    fn times_like_the_one_before_are_recognised() {
        let mut stamps = Stamps::default();
        stamps.keep(b"14:25:37.123456");
        for (text, length) in [
            (&b"14:25:38.000009 x"[..], Some(15)),
            (b"14:25:99.999999 ", Some(15)),
            (b"14:25:38.00000", None),
            (b"14:25:38.000009", None),
            (b"14:25:38.0000091", None),
            (b"14:26:38.000009 x", None),
            (b"14:25:3:.000009 x", None),
            (b"14:25:38,000009 x", None),
            (b"14:25:38.00/009 x", None),
            (b"", None),
        ] {
            assert_eq!(stamps.length(text), length, "{text:?}");
        }
        stamps.keep(b"14:25:37");
        assert!(stamps.length(b"14:25:38.000009 x").is_some());
        for byte in 0..=u8::MAX {
            let bytes = [b'0', b'9', b'0', byte, b'9', b'0', b'9', b'0'];
            assert_eq!(are_digits(&bytes), byte.is_ascii_digit());
        }
    }

    #[test]
    fn leading_times_are_those_of_their_text() {
        let at = |text: &[u8]| seconds(text, Lacks::Before).unwrap();
        let mut second = Second::<8, 99>::new();
        assert_eq!(second.leading(b"\0\0\0\0\0\0\0\083.123456 x"), None);
        second.when(b"1395029583.123456", at);
        for text in [
            &b"1395029583.123456"[..],
            b"1395029500.000000",
            b"1395029599.999999",
        ] {
            let line = [text, b" x"].concat();
            assert_eq!(second.leading(&line), Some((at(text), &b" x"[..])));
        }
        for text in [
            &b"1395029583.123456"[..],
            b"1395029583.12345 x",
            b"1395029583.1234567 x",
            b"1395029683.123456 x",
            b"13950295:3.123456 x",
            b"1395029583.12345/ x",
            b"1395029583,123456 x",
        ] {
            assert_eq!(second.leading(text), None, "{}", text.escape_ascii());
        }
    }

    /// After each of these times, each of them is parsed as by itself.
    #[test]
    fn the_time_before_changes_nothing() {
        let mut times = Vec::new();
        for second in [
            "2026-11-22T14:25:37",
            "2026-11-22T14:25:38",
            "2016-12-31T23:59:59",
            "2016-12-31T23:59:60",
            "1969-12-31T23:59:59",
            "1970-01-01T00:00:00",
            "9999-12-30T22:00:00",
            "2026-02-30T14:25:37",
            "2026-11-22T24:25:37",
            "2026-11-22 14:25:37",
        ] {
            for fraction in [
                "",
                ".",
                ".5",
                ".05",
                ".123456",
                ".999999999",
                ".1234567891",
                ".x",
                ",5",
                ",0",
            ] {
                for zone in ["+00:00", "Z", "+01:00", "-08", "", "x", "[UTC]"] {
                    times.push(format!("{second}{fraction}{zone}"));
                }
            }
        }
        let mut known = 0;
        for before in &times {
            for time in &times {
                let mut second = Second::<17, 59>::new();
                second.when(before.as_bytes(), parse);
                let found = second.when(time.as_bytes(), parse);
                assert_eq!(found, parse(time.as_bytes()), "{time} after {before}");
                known += usize::from(second.when(time.as_bytes(), |_| When::Unknown) == found);
            }
        }
        assert!(known > 0);
    }
}
