//! The times with which conn-cli's lines begin.

/// Times, where `9` is a digit and `a` is a letter. The longer ones come first, so that the whole time is
/// taken.
const PATTERNS: [&str; 15] = [
    "aaa aaa 99 99:99:99 9999",
    "aaa aaa  9 99:99:99 9999",
    "aaa aaa 9 99:99:99 9999",
    "aaa 9999-99-99 99:99:99 aaaa",
    "aaa 9999-99-99 99:99:99 aaa",
    "aaa 9999-99-99 99:99:99 +99",
    "aaa 9999-99-99 99:99:99",
    "9999-99-99T99:99:99",
    "9999-99-99 99:99:99",
    "aaa 99 99:99:99",
    "aaa  9 99:99:99",
    "aaa 9 99:99:99",
    "aaa99 99:99",
    "aaa  9 99:99",
    "99:99:99",
];

/// What the time of a record may lack, as conn-cli 0.1 says it behind the time.
const LACKS: [&str; 5] = [
    " (no date)",
    " (no year)",
    " (no time zone)",
    " (since boot, no date)",
    " (since the record before, no date)",
];

/// What a line has in place of a time that is not known.
pub(crate) const NO_TIME: &str = "(no time)";

/// The time, and the text after the blank that ends it. None if the line does not begin with a time.
pub(crate) fn split_time(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix(NO_TIME).or_else(|| after_date(line));
    let rest = rest.or_else(|| after_boot(line));
    let rest = rest.or_else(|| after_seconds(line))?;
    let time = &line[..line.len() - rest.len()];
    let lacks = LACKS.iter().find_map(|lacks| rest.strip_prefix(lacks));
    Some((time, lacks.unwrap_or(rest).strip_prefix(' ')?))
}

fn after_date(line: &str) -> Option<&str> {
    let matches = |pattern: &&&str| {
        let text = line.as_bytes().get(..pattern.len());
        let fits = |(byte, kind): (&u8, u8)| match kind {
            b'9' => byte.is_ascii_digit(),
            b'a' => byte.is_ascii_alphabetic(),
            literal => *byte == literal,
        };
        text.is_some_and(|text| text.iter().zip(pattern.bytes()).all(fits))
    };
    let pattern = PATTERNS.iter().find(matches)?;
    // What matched is ASCII.
    let rest = line.get(pattern.len()..)?;
    let fraction = rest.strip_prefix(['.', ',']).map(after_digits);
    let rest = fraction.unwrap_or(rest);
    let zone = rest.strip_prefix(['+', '-']);
    let zone = zone.map(|zone| zone.trim_start_matches(|char: char| is_digit(char) || char == ':'));
    Some(zone.or(rest.strip_prefix('Z')).unwrap_or(rest))
}

/// After the time since a boot, such as `+2:03:10`.
fn after_boot(line: &str) -> Option<&str> {
    let hours = line.strip_prefix('+')?;
    let rest = after_digits(hours);
    let is_minutes = |text: &[u8]| {
        let digits = [text[1], text[2], text[4], text[5]];
        text[0] == b':' && text[3] == b':' && digits.iter().all(u8::is_ascii_digit)
    };
    let minutes = rest.as_bytes().first_chunk::<6>()?;
    if rest.len() == hours.len() || !is_minutes(minutes) {
        return None;
    }
    let rest = rest.get(minutes.len()..)?;
    Some(rest.strip_prefix('.').map_or(rest, after_digits))
}

/// After seconds such as `-1395029583.123456`.
fn after_seconds(line: &str) -> Option<&str> {
    let digits = line.strip_prefix(['+', '-']).unwrap_or(line);
    let rest = after_digits(digits);
    let fraction = rest.strip_prefix('.')?;
    let rest_after = after_digits(fraction);
    (rest.len() < digits.len() && rest_after.len() < fraction.len()).then_some(rest_after)
}

fn after_digits(text: &str) -> &str {
    text.trim_start_matches(is_digit)
}

fn is_digit(char: char) -> bool {
    char.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_formats_are_taken_whole() {
        for time in [
            "Sun Nov 22 14:25:37 2026",
            "Sun Nov  2 14:25:37 2026",
            "Sun Nov 2 14:25:37 2026",
            "2026-11-22T14:25:37.482000+00:00",
            "2026-11-22T14:25:37.482000-03:30",
            "1795357537.482000",
            "0.000000",
            "-0.000012",
            "14:25:37.482000",
            "2026-11-22 14:25:37.482000",
            "(no time)",
            // Of records
            "2026-11-22T14:25:37",
            "2026-11-22T14:25:37,123456",
            "Sun 2026-11-22 14:25:37 CET",
            "Sun 2026-11-22 14:25:37 CEST",
            "Sun 2026-11-22 14:25:37 +03",
            "Nov 22 14:25:37",
            "Nov  2 14:25:37.123456",
            "Nov 2 14:25:37",
            "Nov22 14:25",
            "14:25:37",
            "+0.000123",
            "+0:00:00",
            "+100:01:01.500",
            "14:25:37.5 (no date)",
            "12345.678901 (since boot, no date)",
        ] {
            let line = format!("{time} New");
            let (before, rest) = split_time(&line).unwrap();
            assert!(
                time.starts_with(before) && rest == "New",
                "{time}: {before}"
            );
            let is_lacking = time.ends_with(')') && time != NO_TIME;
            assert_eq!(before != time, is_lacking, "{time}");
            assert_eq!(split_time(&format!("{time}/ New")), None, "{time}");
        }
    }

    #[test]
    fn other_beginnings_are_no_times() {
        for text in [
            "",
            "192.0.2.1 New",
            "13 New",
            "1. New",
            "+:00:00 New",
            "+1:00: New",
            ".5 New",
            "14:25 New",
            "listening: 14:25:37 New",
            "14:25:37 (no idea) New",
            "\u{663}4:25:37 New",
        ] {
            assert!(
                split_time(text).is_none_or(|(_, rest)| rest != "New"),
                "{text}"
            );
        }
    }
}
