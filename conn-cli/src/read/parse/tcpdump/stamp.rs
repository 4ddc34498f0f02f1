//! Parses the times of tcpdump.

use memchr::memchr;

use crate::{
    model::connection::{Lacks, When},
    read::parse::{
        clock::only_clock,
        scan::{
            day_after_month, digits, find, is_date, is_seconds, is_time_of_day, month, recorded,
            seconds,
        },
    },
};

/// Splits off the time, which may be empty, and skips a packet number before it, after which Cisco ASA's
/// `show capture` has a colon.
pub(super) fn prefix(line: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = line.trim_ascii_start();
    let (count, after) = digits(rest);
    if !count.is_empty()
        && let [b' ' | b':', b' ', after @ ..] = after
    {
        rest = after.trim_ascii_start();
    }
    let end = length(rest);
    (&rest[..end], rest[end..].trim_ascii_start())
}

/// The length of the time with which this begins; 0 if it does not.
fn length(text: &[u8]) -> usize {
    let word = |text: &[u8]| memchr(b' ', text).unwrap_or(text.len());
    let end = word(text);
    let first = &text[..end];
    if first.first().is_some_and(u8::is_ascii_uppercase) {
        return with_month(text);
    }
    if is_date(first) && end < text.len() {
        let clock = &text[end + 1..];
        let length = word(clock);
        if is_time_of_day(&clock[..length]) {
            return end + 1 + length;
        }
    }
    let clock = first.strip_prefix(b"-").unwrap_or(first);
    if is_time_of_day(clock) || is_seconds(first) || is_microseconds(first) {
        return end;
    }
    // tcpdump 3 with -ttt: `1. 013365`, a second and microseconds.
    match digits(first) {
        ([_, ..], b".") if text.get(end + 1..end + 7).is_some_and(is_microseconds) => end + 7,
        _ => 0,
    }
}

/// tcpdump 3 with -ttt: `013365`
fn is_microseconds(text: &[u8]) -> bool {
    text.len() == 6 && text.iter().all(u8::is_ascii_digit)
}

/// The length of OpenBSD's `Sep 28 05:50:22.683986`; 0 if it is not that.
fn with_month(text: &[u8]) -> usize {
    let clock = "05:50:22.683986".len();
    match day_after_month(text) {
        Some((_, rest))
            if rest.get(..clock).is_some_and(is_time_of_day) && month(text).is_some() =>
        {
            text.len() - rest.len() + clock
        }
        _ => 0,
    }
}

/// A time that lacks something. `line` begins with it, and perhaps a packet number before it.
pub(super) fn incomplete(line: &[u8], is_wanted: bool) -> When {
    let (time, _) = prefix(line);
    let lacks = match time {
        [] => return When::Unknown,
        [_, _, _, _, b'-', ..] => Lacks::Zone,
        [b'A'..=b'Z', ..] => Lacks::Year,
        // -ttt and -ttttt print the time since another packet, with a sign or a blank before it.
        _ if is_relative(line, time) => Lacks::Before,
        _ if memchr(b':', time).is_some() => Lacks::Date,
        _ => return seconds(time, Lacks::Before).unwrap_or(When::Unknown),
    };
    if is_wanted {
        recorded(time, lacks)
    } else {
        only_clock(time, lacks)
    }
}

/// Whether a blank stands for the sign of a line's time, or there is one. The packet number of `--number`
/// ends with two blanks.
fn is_relative(line: &[u8], time: &[u8]) -> bool {
    let before = &line[..find(line, time).unwrap_or(0)];
    let blanks = before.len() - before.trim_ascii_end().len();
    let usual = if blanks < before.len() { 2 } else { 0 };
    blanks > usual || time.starts_with(b"-")
}
