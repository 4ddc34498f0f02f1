//! The lines of `--over`, which are about connections and are none.

use super::{is_blank, is_number, summary::is_key, time::split_time};

/// Whether this is such a line. It is known by its end, which no name of a process, cgroup or user is before:
/// `...: more than 100 connections to port 80 in 1 m (since 14:25:00)`, `...: no longer more than 100 in 1 m`.
pub(crate) fn is_over(line: &str) -> bool {
    let Some((time, rest)) = split_time(line) else {
        return false;
    };
    // That of syslog lacks a year, and a program and its message follow it.
    let is_of_syslog = time.starts_with(|first: char| first.is_ascii_alphabetic())
        && time.split(is_blank).filter(|word| !word.is_empty()).count() < 5;
    if is_of_syslog {
        return false;
    }
    if let Some((_, limit)) = rest.rsplit_once(": no longer more than ") {
        let mut words = limit.split(is_blank);
        return words.next().is_some_and(is_number)
            && words.next() == Some("in")
            && is_length(words);
    }
    let Some((_, limit)) = rest.rsplit_once(": more than ") else {
        return false;
    };
    let Some((limit, since)) = limit.rsplit_once(" (since ") else {
        return false;
    };
    let Some((counted, length)) = limit.rsplit_once(" in ") else {
        return false;
    };
    let number = counted.split(is_blank).next();
    number.is_some_and(is_number) && is_length(length.split(is_blank)) && since.ends_with(')')
}

/// Whether such a line says who in a way in which no program writes to a log: of others, it could be a message.
pub(crate) fn names_key(line: &str) -> bool {
    let rest = split_time(line).map_or(line, |(_, rest)| rest);
    let key = rest.rsplit_once(": no longer more than ");
    let key = key.or_else(|| rest.rsplit_once(": more than "));
    key.is_some_and(|(key, _)| is_key(key))
}

/// `1 m`
fn is_length<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    words.next().is_some_and(is_number)
        && matches!(words.next(), Some("s" | "m" | "h"))
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_programs_name_no_key() {
        for (line, names) in [
            (
                "14:25:37.5 203.0.113.7: no longer more than 100 in 1 m",
                true,
            ),
            (
                "2026-11-22T14:25:38+00:00 office port 80: no longer more than 3 in 2 s",
                true,
            ),
            (
                "2026-11-22T14:25:38+00:00 web1 app: no longer more than 3 in 2 s",
                false,
            ),
            (
                "2026-11-22T14:25:38+00:00 web1 app[7]: x: more than 3 SYNs in 2 s (since 14:25:36)",
                false,
            ),
        ] {
            assert!(is_over(line), "{line}");
            assert_eq!(names_key(line), names, "{line}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "203.0.113.7: more than 100 connections in 1 m (since 14:25:00)",
            "14:25:37.5 203.0.113.7: more than 100 connections",
            "14:25:37.5 203.0.113.7: more than x connections in 1 m (since 14:25:00)",
            "14:25:37.5 203.0.113.7: more than 100 connections in 1 d (since 14:25:00)",
            "14:25:37.5 203.0.113.7: no longer more than 100 in 1 m later",
            "14:25:37.5 203.0.113.7: no longer more than 100",
            "Nov 22 14:25:38 web1 app: x: no longer more than 3 in 2 s",
            "Nov 22 14:25:38 web1: no longer more than 3 in 2 s",
            "14:25:37.5 192.0.2.1:4 -> 192.0.2.9:80 x: more than 9[99] waited 96 µs",
            "14:25:37.5 192.0.2.1:4 -> 192.0.2.9:80 (since 1)",
        ] {
            assert!(!is_over(line), "{line}");
        }
    }
}
