//! Parses numbers, addresses and times in records.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;

use crate::model::connection::{Host, Lacks, Recorded, When};

/// Fewer seconds than this are not since 1970, but since boot or since another record. They
/// end in 1973: uptimes and gaps between records are taken to be shorter than three years.
const MIN_EPOCH_SECONDS: i64 = 100_000_000;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The number of the month, from 0, with whose name `text` begins.
#[inline]
pub(crate) fn month(text: &[u8]) -> Option<usize> {
    let name = text.first_chunk()?;
    MONTHS.iter().position(|month| *month == name)
}

/// The day in `Nov 22 `, `Nov  2 ` or `Nov 2 `, and the text after it. Pages of the web show several blanks
/// as one, and so does what is copied from them.
#[inline]
pub(crate) fn day_after_month(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [_, _, _, b' ', b' ', day @ b'0'..=b'9', b' ', rest @ ..]
        | [_, _, _, b' ', day @ b'0'..=b'9', b' ', rest @ ..] => Some((day - b'0', rest)),
        [
            _,
            _,
            _,
            b' ',
            tens @ b'0'..=b'9',
            units @ b'0'..=b'9',
            b' ',
            rest @ ..,
        ] => Some(((tens - b'0') * 10 + (units - b'0'), rest)),
        _ => None,
    }
}

/// Parses the whole `text` as a number without a sign.
pub(crate) fn number<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    // 19 digits cannot overflow a u64.
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let mut number = 0_u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    T::try_from(number).ok()
}

/// Parses the whole `text` as an address.
pub(crate) fn address(text: &[u8]) -> Option<Host> {
    if let Some(address) = ipv4(text) {
        return Some(Host::Address(address.into()));
    }
    let address: IpAddr = str::from_utf8(text).ok()?.parse().ok()?;
    Some(Host::at(address))
}

/// Parses the whole `text` as an IPv4 address. The standard library's parser would take a third
/// of the time of a whole line.
pub(crate) fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    leading_ipv4(text).and_then(|(address, rest)| rest.is_empty().then_some(address))
}

/// The IPv4 address with which `text` begins, and the text after it.
#[inline]
pub(crate) fn leading_ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (first, rest) = octet(text)?;
    let (second, rest) = octet(rest.strip_prefix(b".")?)?;
    let (third, rest) = octet(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = octet(rest.strip_prefix(b".")?)?;
    let address = first << 24 | second << 16 | third << 8 | fourth;
    Some((Ipv4Addr::from_bits(address), rest))
}

/// A number up to 255 without a leading zero, and the text after it.
#[inline]
fn octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |byte: u8| u32::from(byte - b'0');
    match *text {
        [
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            ref rest @ ..,
        ] => {
            let number = digit(a) * 100 + digit(b) * 10 + digit(c);
            (number <= 255 && !matches!(rest, [b'0'..=b'9', ..])).then_some((number, rest))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', ref rest @ ..] => Some((digit(a) * 10 + digit(b), rest)),
        [b'0', b'0'..=b'9', ..] => None,
        [a @ b'0'..=b'9', ref rest @ ..] => Some((digit(a), rest)),
        _ => None,
    }
}

/// The digits at the beginning, and the text after them.
pub(crate) fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// The number with which `text` begins, and the text after it.
#[inline]
pub(crate) fn leading_number<T: TryFrom<u64>>(text: &[u8]) -> Option<(T, &[u8])> {
    let (mut number, mut rest) = (0_u64, text);
    while let [byte @ b'0'..=b'9', after @ ..] = rest {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        rest = after;
    }
    // 19 digits cannot overflow a u64.
    (1..=19)
        .contains(&(text.len() - rest.len()))
        .then_some(())?;
    Some((T::try_from(number).ok()?, rest))
}

/// Whether all bytes at these places are digits. Without a branch for each.
#[inline]
pub(crate) fn are_digits<const N: usize>(text: &[u8; N]) -> bool {
    let wrong = |byte: &u8| u8::from(byte.wrapping_sub(b'0') > 9);
    text.iter().fold(0, |any, byte| any | wrong(byte)) == 0
}

/// The position of the first `needle`. For needles near the beginning of a line, where setting
/// up a faster search takes longer than this one. The last byte of `needle` should be rare.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let (&last, before) = needle.split_last()?;
    memchr::memchr_iter(last, text)
        .find(|&at| text[..at].ends_with(before))
        .map(|at| at - before.len())
}

/// The text between `open` and the first `close` after it.
pub(crate) fn between<'a>(text: &'a [u8], open: &[u8], close: u8) -> Option<&'a [u8]> {
    let rest = &text[find(text, open)? + open.len()..];
    Some(&rest[..memchr::memchr(close, rest)?])
}

/// The text before and after the first `byte`.
pub(crate) fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The text before and after the first space. Words are so short that a plain loop is faster than
/// memchr.
pub(crate) fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&byte| byte == b' ')?;
    Some((&text[..end], &text[end + 1..]))
}

/// Whether this is `14:25:37` or `14:25:37.123456`.
pub(crate) fn is_time_of_day(text: &[u8]) -> bool {
    let Some((clock, fraction)) = text.split_at_checked(8) else {
        return false;
    };
    clock.iter().enumerate().all(|(index, byte)| match index {
        2 | 5 => *byte == b':',
        _ => byte.is_ascii_digit(),
    }) && is_fraction(fraction)
}

/// Whether this is empty, or a decimal point and digits.
fn is_fraction(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b'.', digits @ ..] => {
            (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Whether this is `2026-11-22`.
pub(crate) fn is_date(text: &[u8]) -> bool {
    let is_right = |(index, byte): (usize, &u8)| match index {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.iter().enumerate().all(is_right)
}

/// Whether this is `12345.678901`.
pub(crate) fn is_seconds(text: &[u8]) -> bool {
    let (whole, fraction) = digits(text);
    !whole.is_empty()
        && fraction.len() > 1
        && fraction[0] == b'.'
        && digits(&fraction[1..]).1.is_empty()
}

/// Whether these seconds may be enough to be since 1970: see [`MIN_EPOCH_SECONDS`].
pub(crate) fn may_be_since_1970(text: &[u8]) -> bool {
    text.first_chunk::<9>()
        .is_some_and(|start| start.iter().all(u8::is_ascii_digit))
}

/// Parses seconds such as `1732285537.123456`: since 1970 if the number is large enough, else
/// since what `lacks` says.
pub(crate) fn seconds(text: &[u8], lacks: Lacks) -> Option<When> {
    let (whole, fraction) = digits(text);
    if !is_fraction(fraction) {
        return None;
    }
    let second: i64 = number(whole)?;
    if second < MIN_EPOCH_SECONDS {
        return Some(recorded(text, lacks));
    }
    let digits = fraction.get(1..).unwrap_or_default();
    let nanosecond = match digits.len() {
        0 => 0,
        // At most nine digits: see `is_fraction`.
        length => number::<i32>(digits)? * 10_i32.pow(9 - length as u32),
    };
    Timestamp::new(second, nanosecond).ok().map(When::At)
}

/// Parses a date and a time such as `2026-11-22T14:25:37.123456+0000`, with or without zone.
pub(crate) fn date_time(text: &[u8]) -> Option<When> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, time) = rest.split_first()?;
    if !is_date(date) || *separator != b'T' {
        return None;
    }
    if is_time_of_day(time) {
        return Some(recorded(text, Lacks::Zone));
    }
    str::from_utf8(text).ok()?.parse().ok().map(When::At)
}

/// A time as it is written. The caller has checked that it is printable ASCII.
pub(crate) fn recorded(text: &[u8], lacks: Lacks) -> When {
    match str::from_utf8(text) {
        Ok(text) => When::Recorded(Box::new(Recorded {
            text: text.into(),
            lacks,
            assumed: None,
        })),
        Err(_) => When::Unknown,
    }
}

/// Parses an IPv4 address and a port as tcpdump writes them, `192.0.2.1.80`. One pass for both,
/// because every line has two of them.
pub(crate) fn socket_address(text: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let mut octets = [0_u8; 4];
    let mut dots = 0;
    let mut value = 0_u32;
    let mut length = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            // No leading zero, and at most five digits.
            if length == 5 || (length > 0 && value == 0) {
                return None;
            }
            value = value * 10 + u32::from(digit);
            length += 1;
        } else {
            if byte != b'.' || length == 0 {
                return None;
            }
            *octets.get_mut(dots)? = u8::try_from(value).ok()?;
            dots += 1;
            value = 0;
            length = 0;
        }
    }
    let port = u16::try_from(value).ok()?;
    (dots == 4 && length > 0).then(|| (octets.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_match_the_standard_library() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "192.168.122.1",
            "::1",
            "::ffff:10.0.0.1",
            "256.0.0.1",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1..2.3",
            ".1.2.3",
            "1.2.3.",
            "+1.2.3.4",
            "1.2.3.4 ",
            "",
            "fe80::1%eth0",
            "999.1.1.1",
            "0.0.0.00",
            "0.0.0.000",
            "1.2.3.099",
            "1.2.3.100",
            "1.2.3.1000",
            "1.2.3.4294967297",
            "1.2.3.18446744073709551617",
            "1.2.3/4",
            "1.2.3:4",
            "1.2.3.04",
            "10.20.30.40",
            "1.2.3.256",
            "1.2.3.0255",
            "...",
        ] {
            let expected = text.parse::<IpAddr>().ok().map(Host::at);
            assert_eq!(address(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn socket_addresses_match_their_parts() {
        for host in [
            "0.0.0.0",
            "255.255.255.255",
            "10.0.0.100",
            "256.0.0.1",
            "1.2.3",
            "01.2.3.4",
        ] {
            for port in ["0", "80", "65535", "65536", "080", "", "http", "100000"] {
                let text = format!("{host}.{port}");
                let parts = host.parse::<Ipv4Addr>().ok();
                let parts = parts.zip(port.parse().ok().filter(|_| port != "080"));
                assert_eq!(socket_address(text.as_bytes()), parts, "{text}");
            }
        }
        for text in ["", ".", "1.2.3.4.", ".1.2.3.4", "1.2.3.4.5.6", "1..2.3.4"] {
            assert_eq!(socket_address(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_must_fit_their_type() {
        for (text, expected) in [
            ("", None),
            ("0", Some(0)),
            ("007", Some(7)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("99999999999", None),
            ("1x", None),
            ("+1", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn leading_numbers_match_their_parts() {
        for text in [
            "",
            "x",
            "0",
            "007,",
            "80 x",
            "4294967295:",
            "4294967296:",
            "9999999999999999999 ",
            "99999999999999999999 ",
            "-1",
        ] {
            let (number_text, after) = digits(text.as_bytes());
            let expected = number::<u32>(number_text).map(|number| (number, after));
            assert_eq!(leading_number(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn numbers_with_signs_or_other_characters_are_rejected() {
        assert_eq!(number(b"80"), Some(80_u16));
        for text in [
            "",
            "+80",
            "-1",
            "65536",
            " 80",
            "80 ",
            "8x",
            "99999999999999999999",
        ] {
            assert_eq!(number::<u16>(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn leading_values_match_those_of_their_text() {
        for text in [
            "",
            "x",
            "0",
            "007 ",
            "80x",
            "65535]",
            "65536",
            "1234567890123456789",
            "12345678901234567890",
            "99999999999999999999x",
        ] {
            let (start, rest) = digits(text.as_bytes());
            let expected = number::<u16>(start).map(|number| (number, rest));
            assert_eq!(leading_number(text.as_bytes()), expected, "{text}");
            let expected = number::<u64>(start).map(|number| (number, rest));
            assert_eq!(leading_number(text.as_bytes()), expected, "{text}");
        }
        let start = |text: &'static str| leading_ipv4(text.as_bytes());
        let rest = |rest: &'static str| Some((Ipv4Addr::new(192, 0, 2, 1), rest.as_bytes()));
        assert_eq!(start("192.0.2.1 LEN"), rest(" LEN"));
        assert_eq!(start("192.0.2.1.80"), rest(".80"));
        assert_eq!(start("192.0.2.1234"), None);
        assert!(are_digits(b"0123456789"));
        assert!(!are_digits(b"/") && !are_digits(b":"));
    }

    #[test]
    fn find_matches_memmem() {
        for (text, needle) in [
            ("", "->"),
            ("->", "->"),
            ("a-b->c->", "->"),
            ("aab", "ab"),
            ("ab", "aab"),
            ("xx]]>", "]>"),
        ] {
            let (text, needle) = (text.as_bytes(), needle.as_bytes());
            assert_eq!(find(text, needle), memchr::memmem::find(text, needle));
        }
    }

    #[test]
    fn times_of_day_are_recognised() {
        assert!(is_time_of_day(b"14:25:37"));
        assert!(is_time_of_day(b"14:25:37.123456"));
        for text in [
            "",
            "14:25",
            "14:25:3x",
            "14:25:37.",
            "14:25:37x",
            "14.25.37",
            "14:25:37.1234567890",
        ] {
            assert!(!is_time_of_day(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn dates_with_a_zone_are_timestamps() {
        let expected = When::At("2014-03-17T04:13:03.5Z".parse().unwrap());
        for text in [
            "2014-03-17T04:13:03.5Z",
            "2014-03-17T05:13:03.500000+0100",
            "2014-03-17T05:13:03.5+01:00",
        ] {
            assert_eq!(date_time(text.as_bytes()), Some(expected.clone()), "{text}");
        }
        let local = b"2014-03-17T04:13:03.5";
        assert_eq!(date_time(local), Some(recorded(local, Lacks::Zone)));
        for text in [
            "",
            "2014-03-17",
            "2014-03-17 04:13:03Z",
            "2014-03-17T04:13",
            "2014-03-17T04:13:03 x",
            "2014-02-30T04:13:03Z",
            "2014-03-17T04:13:03+9999",
        ] {
            assert_eq!(date_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn seconds_since_1970_are_timestamps() {
        let at = |text: &str| seconds(text.as_bytes(), Lacks::Before);
        assert_eq!(
            at("1395029583.5"),
            Some(When::At("2014-03-17T04:13:03.5Z".parse().unwrap()))
        );
        assert_eq!(
            at("1395029583.000000123"),
            Some(When::At("2014-03-17T04:13:03.000000123Z".parse().unwrap()))
        );
        assert_eq!(at("0.000123"), Some(recorded(b"0.000123", Lacks::Before)));
        for text in [
            "",
            ".",
            "1.",
            "1.x",
            "99999999999999999999",
            "999999999999",
            "1 ",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
