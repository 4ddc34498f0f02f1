//! The timestamps that dmesg, syslog daemons and journalctl print.

use crate::{
    model::connection::{Lacks, When},
    read::parse::{
        clock::only_clock,
        scan::{
            are_digits, day_after_month, digits, is_date, is_seconds, is_time_of_day,
            leading_number, may_be_since_1970, month, number, recorded, seconds, split_at_byte,
            word,
        },
    },
};

/// A timestamp, not yet parsed because it is often not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp<'a> {
    /// The line has none.
    None,
    /// `2026-11-22T14:25:37.123456+00:00`, with or without fraction and zone.
    Iso(&'a [u8]),
    /// `Sun 2026-11-22 14:25:37 UTC`
    Full(&'a [u8]),
    /// `12345.678901`: since boot, or since 1970 if the number is large enough.
    Seconds(&'a [u8]),
    /// The same in microseconds.
    Microseconds(&'a [u8]),
    /// `22/Nov/2026:14:25:37 +0000`
    Clf(&'a [u8]),
    /// A timestamp that lacks something.
    Recorded(&'a [u8], Lacks),
}

/// A timestamp and the text after it.
pub(crate) type Stamped<'a> = (Stamp<'a>, &'a [u8]);

const DAYS: &[&[u8; 3]] = &[b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

impl Stamp<'_> {
    /// Whether it may have all of a time.
    pub(crate) fn may_be_whole(&self) -> bool {
        match self {
            Self::None | Self::Recorded(..) => false,
            Self::Iso(text) => !text.get(11..).is_some_and(is_time_of_day),
            Self::Seconds(text) => may_be_since_1970(text),
            Self::Full(_) | Self::Microseconds(_) | Self::Clf(_) => true,
        }
    }

    /// Parses the timestamp.
    pub(crate) fn when(self) -> When {
        match self {
            Self::None => When::Unknown,
            Self::Iso(text) => match timestamp(text) {
                Some(when) => when,
                None if text.get(11..).is_some_and(is_time_of_day) => recorded(text, Lacks::Zone),
                None => When::Unknown,
            },
            Self::Full(text) => {
                // Skips the day of the week. The abbreviation of a time zone can be ambiguous.
                let (time, zone) = text[4..].split_at(19);
                let zone = match zone.trim_ascii() {
                    b"UTC" => b"Z",
                    zone => zone,
                };
                timestamp(&[time, zone].concat()).unwrap_or_else(|| recorded(text, Lacks::Zone))
            }
            Self::Seconds(text) => seconds(text, Lacks::Boot).unwrap_or(When::Unknown),
            Self::Microseconds(text) => number::<u64>(text)
                .map(|number| format!("{}.{:06}", number / 1_000_000, number % 1_000_000))
                .and_then(|text| seconds(text.as_bytes(), Lacks::Boot))
                .unwrap_or(When::Unknown),
            Self::Clf(text) => clf(text).unwrap_or(When::Unknown),
            Self::Recorded(text, lacks) => recorded(text, lacks),
        }
    }

    /// The time, or only its clock if no more is wanted of a time that lacks something.
    #[inline]
    pub(crate) fn wanted(self, is_wanted: bool) -> When {
        if is_wanted || self.may_be_whole() {
            self.when()
        } else {
            self.only_clock()
        }
    }

    /// What is wanted of a timestamp that lacks something if it is not shown.
    fn only_clock(self) -> When {
        match self {
            Self::Iso(text) => only_clock(text, Lacks::Zone),
            Self::Seconds(text) => only_clock(text, Lacks::Boot),
            Self::Recorded(text, lacks) => only_clock(text, lacks),
            Self::None | Self::Full(_) | Self::Microseconds(_) | Self::Clf(_) => self.when(),
        }
    }
}

/// `22/Nov/2026:14:25:37 +0000`
fn clf(text: &[u8]) -> Option<When> {
    let [date @ .., b' ', _, _, _, _, _] = text else {
        return None;
    };
    let (date, clock) = date.split_at_checked(12)?;
    let month = month(&date[3..])? + 1;
    let (day, year) = (str::from_utf8(&date[..2]), str::from_utf8(&date[7..11]));
    let time = format!("{}-{month:02}-{}T", year.ok()?, day.ok()?);
    timestamp(&[time.as_bytes(), clock, &text[text.len() - 5..]].concat())
}

fn timestamp(text: &[u8]) -> Option<When> {
    str::from_utf8(text).ok()?.parse().ok().map(When::At)
}

fn begins_with_day(text: &[u8]) -> bool {
    text.first_chunk()
        .is_some_and(|start| DAYS.contains(&start))
}

/// RFC 3164 and `journalctl`: `Nov 22 14:25:37 `, `Nov  2 14:25:37.123456 `. Some write the year after it:
/// `Nov 22 14:25:37 2026 `.
#[inline]
pub(crate) fn without_year(text: &[u8]) -> Option<Stamped<'_>> {
    let (time, rest) = month_to_second(text)?;
    if let [
        b'1' | b'2',
        b'0' | b'9',
        b'0'..=b'9',
        b'0'..=b'9',
        b' ',
        after @ ..,
    ] = rest
    {
        let stamp = &text[..time.len() + b" 2026".len()];
        return Some((Stamp::Recorded(stamp, Lacks::Zone), after));
    }
    Some((Stamp::Recorded(time, Lacks::Year), rest))
}

/// `Nov 22 14:25:37`, and the text after it and a space.
#[inline]
fn month_to_second(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, time) = day_after_month(text)?;
    month(text)?;
    let (clock, rest) = word(time).unwrap_or((time, b""));
    is_time_of_day(clock).then(|| (&text[..text.len() - time.len() + clock.len()], rest))
}

/// `logread` of OpenWrt: `Sun Nov 22 14:25:37 2026 `
pub(crate) fn ctime(text: &[u8]) -> Option<Stamped<'_>> {
    let (_, after) = month_to_second(text.get(4..)?)?;
    let (year, rest) = split_at_byte(after, b' ').unwrap_or((after, b""));
    let is_time = begins_with_day(text) && text[3] == b' ' && number::<u16>(year).is_some();
    let stamp = &text[..text.len() - after.len() + year.len()];
    is_time.then_some((Stamp::Recorded(stamp, Lacks::Zone), rest))
}

/// `2026-11-22T14:25:37+00:00 `, with `separator` instead of the `T`.
pub(crate) fn iso(text: &[u8], separator: u8) -> Option<Stamped<'_>> {
    if !is_date_and_time(text, separator) {
        return None;
    }
    let clock = split_at_byte(&text[11..], b' ').map_or(text.len() - 11, |(clock, _)| clock.len());
    let (stamp, rest) = text.split_at(11 + clock);
    Some((Stamp::Iso(stamp), rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// Whether this begins with `2026-11-22T14:25:37`, with `separator` instead of the `T`.
fn is_date_and_time(text: &[u8], separator: u8) -> bool {
    text.len() >= 19
        && is_date(&text[..10])
        && text[10] == separator
        && is_time_of_day(&text[11..19])
}

/// `journalctl -o short-full`: `Sun 2026-11-22 14:25:37 UTC `
pub(crate) fn full(text: &[u8]) -> Option<Stamped<'_>> {
    let time = text.get(4..)?;
    if !begins_with_day(text) || text[3] != b' ' || !is_date_and_time(time, b' ') {
        return None;
    }
    let (zone, rest) = split_at_byte(time[19..].strip_prefix(b" ")?, b' ')?;
    let is_zone = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-".contains(byte);
    let stamp = &text[..text.len() - rest.len() - 1];
    (zone.len() <= 6 && zone.iter().all(is_zone)).then_some((Stamp::Full(stamp), rest))
}

/// `journalctl -o short-unix`: `1732285537.123456 `
pub(crate) fn unix(text: &[u8]) -> Option<Stamped<'_>> {
    let (stamp, rest) = split_at_byte(text, b' ')?;
    is_seconds(stamp).then_some((Stamp::Seconds(stamp), rest))
}

/// dmesg, in any of its formats: `[12345.678901] `, `[Sun Nov 22 14:25:37 2026] `,
/// `[Nov22 14:25] `, `[  +0.000123] `, `[<    0.000123>] `, `[12345.678901 <    0.000123>] `;
/// optionally followed by the thread that printed: `[   T12] `.
#[inline]
pub(crate) fn bracketed(text: &[u8]) -> Option<Stamped<'_>> {
    let text = text.strip_prefix(b"[")?;
    usual_bracketed(text).or_else(|| any_bracketed(text))
}

/// `12345.678901] `, before anything but another bracket: a fast path.
#[inline]
fn usual_bracketed(text: &[u8]) -> Option<Stamped<'_>> {
    let text = text.trim_ascii_start();
    let (_, rest) = leading_number::<u64>(text)?;
    let (fraction, after) = rest.strip_prefix(b".")?.split_first_chunk::<6>()?;
    match after {
        [b']', b' ', after @ ..] if are_digits(fraction) && after.first() != Some(&b'[') => {
            let seconds = &text[..text.len() - after.len() - b"] ".len()];
            Some((Stamp::Seconds(seconds), after))
        }
        _ => None,
    }
}

/// Any of them, after the first bracket.
fn any_bracketed(text: &[u8]) -> Option<Stamped<'_>> {
    let (inside, rest) = split_at_byte(text, b']')?;
    if rest.starts_with(b" [") && is_of_apache(inside, &rest[2..]) {
        return None;
    }
    // `conntrack -E -o timestamp`
    if rest.starts_with(b"\t") {
        return None;
    }
    let inside = inside.trim_ascii_start();
    let stamp = if is_seconds(inside) {
        Stamp::Seconds(inside)
    } else {
        other_bracketed(inside)?
    };
    let caller = rest
        .strip_prefix(b"[")
        .and_then(|rest| split_at_byte(rest, b']'));
    let rest = match caller {
        Some((caller, rest)) if is_caller(caller.trim_ascii_start()) => rest,
        _ => rest,
    };
    Some((stamp, rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// Apache's error log: `[Sun Nov 22 14:25:37 2026] [error] ..`, `[Sun Nov 22 14:25:37.123456 2026] [core:error] ..`
fn is_of_apache(inside: &[u8], rest: &[u8]) -> bool {
    const LEVELS: [&[u8]; 8] = [
        b"emerg", b"alert", b"crit", b"error", b"warn", b"notice", b"info", b"debug",
    ];
    let Some((level, _)) = split_at_byte(rest, b']') else {
        return false;
    };
    let level = level
        .rsplit(|byte| *byte == b':')
        .next()
        .unwrap_or_default();
    begins_with_day(inside) && LEVELS.contains(&level)
}

fn other_bracketed(inside: &[u8]) -> Option<Stamp<'_>> {
    if let Some((time, _)) = split_at_byte(inside, b'<') {
        let delta = inside[time.len() + 1..].strip_suffix(b">")?.trim_ascii();
        return match time.trim_ascii_end() {
            b"" => is_seconds(delta).then_some(Stamp::Recorded(delta, Lacks::Before)),
            time if is_seconds(time) => Some(Stamp::Seconds(time)),
            time => other_bracketed(time),
        };
    }
    if let Some(delta) = inside.strip_prefix(b"+") {
        return is_seconds(delta).then_some(Stamp::Recorded(inside, Lacks::Before));
    }
    if let Some((stamp, b"")) = ctime(inside) {
        return Some(stamp);
    }
    let is_clock = |time: &[u8]| time.len() == 5 && is_time_of_day(&[time, b":00"].concat());
    let is_minute = inside.len() == 11
        && month(inside).is_some()
        && number::<u8>(inside[3..5].trim_ascii_start()).is_some()
        && inside[5] == b' '
        && is_clock(&inside[6..]);
    is_minute.then_some(Stamp::Recorded(inside, Lacks::Year))
}

/// See `print_caller` in the kernel's printk.c.
fn is_caller(text: &[u8]) -> bool {
    matches!(text, [b'T' | b'C', number @ ..] if !number.is_empty() && digits(number).1.is_empty())
}

/// `/dev/kmsg`: `4,1234,5678901,-;`. The first value is whether the facility is the kernel's.
pub(crate) fn kmsg(text: &[u8]) -> Option<(bool, Stamp<'_>, &[u8])> {
    let (priority, rest) = digits(text);
    let priority: u32 = number(priority)?;
    let (sequence, rest) = digits(rest.strip_prefix(b",")?);
    let (time, rest) = digits(rest.strip_prefix(b",")?);
    if sequence.is_empty() || time.is_empty() || !rest.starts_with(b",") {
        return None;
    }
    let (_, message) = split_at_byte(rest, b';')?;
    Some((priority < 8, Stamp::Microseconds(time), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With any byte in each place.
    #[test]
    fn fast_path_for_brackets_matches_the_general_one() {
        let mut usual = 0;
        for text in [
            "12345.678901] NEW: IN=",
            "    5.678901] [   T12] a",
            "Sun Nov 22 14:25:37 2026] [error] a",
            "12345.678901 <    0.000123>] a",
            "12345678901234567890.678901] a",
        ] {
            for place in 0..text.len() {
                for byte in *b"0.] [\tT" {
                    let mut text = text.as_bytes().to_vec();
                    text[place] = byte;
                    let found = usual_bracketed(&text);
                    usual += usize::from(found.is_some());
                    let shown = text.escape_ascii();
                    assert!(
                        found.is_none_or(|found| Some(found) == any_bracketed(&text)),
                        "{shown}"
                    );
                }
            }
        }
        assert!(usual > 50);
    }
}
