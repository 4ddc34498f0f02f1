//! Numbers in a form for people.

use std::time::Duration;

/// `640 µs`, `51 ms`, `1.2 s`: two digits or three.
#[must_use]
pub(super) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_micros() {
        0..1_000 => format!("{:.0} µs", seconds * 1e6),
        1_000..10_000 => format!("{:.1} ms", seconds * 1e3),
        10_000..1_000_000 => format!("{:.0} ms", seconds * 1e3),
        1_000_000..100_000_000 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// Rounds to three decimal places.
#[must_use]
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// `1 connection`, `2 connections`.
#[must_use]
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", noun(count, one, many))
}

/// `connection` for a count of 1, otherwise `connections`.
#[must_use]
pub(super) fn noun<'a>(count: u64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (us, text) in [
            (0, "0 µs"),
            (640, "640 µs"),
            (1_500, "1.5 ms"),
            (51_234, "51 ms"),
            (1_234_567, "1.2 s"),
            (250_000_000, "250 s"),
        ] {
            assert_eq!(brief(Duration::from_micros(us)), text);
        }
    }
}
