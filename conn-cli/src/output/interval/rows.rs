//! A row of text for each interval.

use std::{io::Write as _, time::Duration};

use anstyle::{AnsiColor, Style};
use jiff::{civil::Date, tz::TimeZone};

use crate::{
    count::interval::Interval,
    model::options::TimeFormat,
    output::{Clock, brief::noun, clock::put},
};

const TIME: Style = Style::new().dimmed();
const ADDRESS: Style = AnsiColor::Cyan.on_default();
const BAR: Style = AnsiColor::Green.on_default();

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The width of the longest bar, in characters.
const MAX_BAR_WIDTH: u64 = 20;

/// One to seven eighths of a character.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The least and the greatest width of the busiest client's column, which grows with its content. A
/// long name must not make all further rows long.
const BUSIEST_WIDTHS: [usize; 2] = [22, 48];

/// How rows look.
#[derive(Clone, Debug)]
pub(crate) struct RowStyle {
    /// The time zone of the times.
    pub zone: TimeZone,
    /// `Iso` and `Epoch` apply. Otherwise rows have the time of day: `Ctime` would be most of the
    /// row, and `Delta` the same in all rows.
    pub format: TimeFormat,
    /// The length of an interval. Times have milliseconds if it has a fraction of a second.
    pub length: Duration,
    /// Every row has the date. Otherwise rows of a day or more have it, and all after midnight.
    pub dated: bool,
    /// A bar shows how many connections there are.
    pub bar: bool,
    /// With colours.
    pub colour: bool,
}

/// Writes a row of text for each interval.
#[derive(Debug)]
pub(crate) struct Rows {
    style: RowStyle,
    clock: Clock,
    dated: bool,
    /// The date of the previous row.
    date: Option<Date>,
    busiest_width: usize,
    /// The most connections in a row so far.
    most: u64,
    /// Rows have what listeners dropped, from the first row on in which they dropped something.
    shows_dropped: bool,
}

impl Rows {
    /// Rows in this style.
    #[must_use]
    pub(crate) fn new(style: RowStyle) -> Self {
        Self {
            clock: Clock::new(style.zone.clone(), style.format),
            dated: style.dated || style.length >= DAY,
            style,
            date: None,
            busiest_width: BUSIEST_WIDTHS[0],
            most: 0,
            shows_dropped: false,
        }
    }

    /// `14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (45)   ██▌`
    pub(crate) fn row(&mut self, out: &mut Vec<u8>, interval: &Interval) {
        let when = self.time(interval);
        let mut rest = String::new();
        match (interval.not_measured, interval.skipped_empty) {
            (1, _) => rest.push_str("(not measured)"),
            (not_measured @ 2.., _) => put(
                &mut rest,
                format_args!("({not_measured} intervals not measured)"),
            ),
            (0, 0) => self.counts(&mut rest, interval),
            (0, 1) => rest.push_str("(1 interval without a connection)"),
            (0, skipped) => put(
                &mut rest,
                format_args!("({skipped} intervals without a connection)"),
            ),
        }
        let time = self.colour(TIME);
        writeln!(out, "{time}{when}{time:#}  {}", rest.trim_end())
            .expect("writing to memory does not fail");
    }

    fn counts(&mut self, out: &mut String, interval: &Interval) {
        let (connections, addresses) = (interval.connections, interval.addresses);
        let word = noun(connections, "connection", "connections");
        put(out, format_args!("{connections:>6} {word:<11}"));
        let word = noun(addresses as u64, "address", "addresses");
        put(out, format_args!(" {addresses:>6} {word:<9}"));
        put(out, format_args!(" {:>9.1}/s", interval.rate()));
        self.shows_dropped |= interval.dropped.is_some_and(|packets| packets > 0);
        if self.shows_dropped {
            match interval.dropped {
                Some(packets) => put(out, format_args!(" {packets:>6} dropped")),
                None => out.push_str("               "),
            }
        }

        let mut width = 0;
        if let Some((host, most)) = &interval.busiest {
            let (host, most, style) = (host.to_string(), most.to_string(), self.colour(ADDRESS));
            width = host.len() + most.len() + " ()".len();
            put(out, format_args!("   {style}{host}{style:#} ({most})"));
        } else {
            out.push_str("   ");
        }
        self.busiest_width = self.busiest_width.max(width.min(BUSIEST_WIDTHS[1]));
        let gap = self.busiest_width.saturating_sub(width);

        self.most = self.most.max(connections);
        if self.style.bar && connections > 0 {
            let (bar, style) = (bar(connections, self.most), self.colour(BAR));
            put(out, format_args!("{:gap$}   {style}{bar}{style:#}", ""));
        }
        let notes = notes(interval);
        if !notes.is_empty() {
            // Notes need no column: nothing follows them, and most rows have none.
            put(out, format_args!("   ({notes})"));
        }
    }

    fn time(&mut self, interval: &Interval) -> String {
        let whole_seconds = self.style.length.subsec_nanos() == 0;
        if interval.since_boot {
            return since_boot(interval.start.as_millisecond(), whole_seconds);
        }
        if matches!(self.style.format, TimeFormat::Iso | TimeFormat::Epoch) {
            return self.clock.text(interval.start).to_owned();
        }
        let start = interval.start.to_zoned(self.style.zone.clone());
        let date = start.date();
        // From then on: a user who comes back to the screen sees only the last rows.
        self.dated |= self.date.is_some_and(|previous| previous != date);
        self.date = Some(date);
        let format = match (self.dated, whole_seconds) {
            (true, true) => "%Y-%m-%d %H:%M:%S",
            (true, false) => "%Y-%m-%d %H:%M:%S.%3f",
            (false, true) => "%H:%M:%S",
            (false, false) => "%H:%M:%S.%3f",
        };
        start.strftime(format).to_string()
    }

    fn colour(&self, style: Style) -> Style {
        match self.style.colour {
            true => style,
            false => Style::new(),
        }
    }
}

/// `+2:03:10`, hours, minutes and seconds
fn since_boot(millis: i64, whole_seconds: bool) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if whole_seconds {
        String::new()
    } else {
        format!(".{millis:03}")
    };
    format!("+{hours}:{minutes:02}:{seconds:02}{fraction}")
}

fn notes(interval: &Interval) -> String {
    let mut notes = Vec::new();
    if interval.partial {
        let seconds = interval.length.as_secs_f64();
        notes.push(match seconds < 1.0 {
            true => format!("partial, {} ms", interval.length.as_millis()),
            false => format!("partial, {seconds:.1} s"),
        });
    }
    if interval.lost > 0 {
        let word = noun(interval.lost, "connection", "connections");
        notes.push(format!("{} {word} without a line", interval.lost));
    }
    notes.join("; ")
}

/// Never empty for a connection: few must not look like none.
fn bar(connections: u64, most: u64) -> String {
    let eighths = u128::from(connections) * u128::from(MAX_BAR_WIDTH) * 8 / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX).max(1);
    let mut bar = "█".repeat(eighths / 8);
    if let Some(last) = (eighths % 8).checked_sub(1) {
        bar.push(EIGHTHS[last]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::connection::Host;

    fn style() -> RowStyle {
        RowStyle {
            zone: TimeZone::UTC,
            format: TimeFormat::Ctime,
            length: Duration::from_secs(10),
            dated: false,
            bar: false,
            colour: false,
        }
    }

    fn interval(start: &str, connections: u64) -> Interval {
        Interval {
            start: start.parse().unwrap(),
            since_boot: false,
            length: Duration::from_secs(10),
            connections,
            lost: 0,
            dropped: None,
            addresses: 17,
            busiest: Some((Host::at([192, 168, 122, 1]), connections / 2)),
            partial: false,
            skipped_empty: 0,
            not_measured: 0,
        }
    }

    fn first() -> Interval {
        interval("2026-11-22T14:25:30Z", 123)
    }

    fn empty() -> Interval {
        Interval {
            addresses: 0,
            busiest: None,
            ..interval("2026-11-22T14:25:40Z", 0)
        }
    }

    fn rows(style: RowStyle, intervals: &[Interval]) -> String {
        let (mut rows, mut out) = (Rows::new(style), Vec::new());
        for interval in intervals {
            rows.row(&mut out, interval);
        }
        String::from_utf8(out).unwrap()
    }

    fn times(style: RowStyle, starts: &[&str]) -> Vec<String> {
        let intervals: Vec<_> = starts.iter().map(|start| interval(start, 1)).collect();
        let rows = rows(style, &intervals);
        let time = |row: &str| row.split("  ").next().unwrap().to_owned();
        rows.lines().map(time).collect()
    }

    #[test]
    fn columns_are_aligned() {
        let one = Interval {
            addresses: 1,
            busiest: Some((Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]), 1)),
            ..interval("2026-11-22T14:25:50Z", 1)
        };
        assert_eq!(
            rows(style(), &[first(), empty(), one]),
            "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (61)\n\
             14:25:40       0 connections      0 addresses       0.0/s\n\
             14:25:50       1 connection       1 address         0.1/s   2001:db8::1 (1)\n"
        );
    }

    #[test]
    fn drops_have_a_column_once_there_are_some() {
        let dropped = |packets| Interval {
            dropped: packets,
            ..first()
        };
        let intervals = [Some(0), Some(37), None, Some(0)].map(dropped);
        assert_eq!(
            rows(style(), &intervals),
            "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (61)\n\
             14:25:30     123 connections     17 addresses      12.3/s     37 dropped   192.168.122.1 (61)\n\
             14:25:30     123 connections     17 addresses      12.3/s                  192.168.122.1 (61)\n\
             14:25:30     123 connections     17 addresses      12.3/s      0 dropped   192.168.122.1 (61)\n"
        );
    }

    #[test]
    fn partial_lost_and_skipped_are_noted() {
        let partial = Interval {
            partial: true,
            length: Duration::from_millis(3_210),
            lost: 12,
            ..first()
        };
        let short = Interval {
            partial: true,
            length: Duration::from_millis(3),
            ..empty()
        };
        let skipped = Interval {
            skipped_empty: 31_000,
            ..empty()
        };
        let not_measured = |not_measured| Interval {
            not_measured,
            since_boot: true,
            start: jiff::Timestamp::from_second(360_061).unwrap(),
            ..empty()
        };
        let rows = rows(
            style(),
            &[partial, short, skipped, not_measured(1), not_measured(12)],
        );
        let rows: Vec<_> = rows.lines().collect();
        let note = "38.3/s   192.168.122.1 (61)   (partial, 3.2 s; 12 connections without a line)";
        assert!(rows[0].ends_with(note), "{}", rows[0]);
        assert!(
            rows[1].ends_with("0.0/s      (partial, 3 ms)"),
            "{}",
            rows[1]
        );
        assert_eq!(rows[2], "14:25:40  (31000 intervals without a connection)");
        assert_eq!(rows[3], "+100:01:01  (not measured)");
        assert_eq!(rows[4], "+100:01:01  (12 intervals not measured)");
    }

    #[test]
    fn bars_are_scaled_to_the_largest_so_far() {
        assert_eq!(bar(1, 1), "█".repeat(20));
        assert_eq!(bar(1, 2), "█".repeat(10));
        assert_eq!(bar(9, 160), "█▏");
        assert_eq!(bar(7, 160), "▉");
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(u64::MAX, u64::MAX), "█".repeat(20));
        let with_bar = RowStyle {
            bar: true,
            ..style()
        };
        let second = interval("2026-11-22T14:25:40Z", 246);
        let rows = rows(with_bar, &[first(), second, first(), empty()]);
        let bars = rows.lines().map(|row| row.matches('█').count());
        assert_eq!(bars.collect::<Vec<_>>(), [20, 20, 10, 0]);
    }

    #[test]
    fn bars_start_in_the_same_column() {
        let style = RowStyle {
            bar: true,
            ..style()
        };
        let host = |text: &str| Host::at(text.parse::<IpAddr>().unwrap());
        let busiest = |busiest| Interval {
            busiest,
            ..interval("2026-11-22T14:25:30Z", 1000)
        };
        let long = host("2001:db8:1111:2222:3333:4444:5555:6666");
        let rows = rows(
            style,
            &[
                busiest(Some((long, 1000))),
                busiest(Some((host("10.0.0.1"), 1))),
                busiest(None),
            ],
        );
        let columns: Vec<_> = rows.lines().map(|row| row.find('█').unwrap()).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{rows}");
    }

    #[test]
    fn the_date_is_shown_where_it_is_not_obvious() {
        let two_days = [
            "2026-11-22T23:59:50Z",
            "2026-11-23T00:00:00Z",
            "2026-11-23T00:00:10Z",
        ];
        let changed = ["23:59:50", "2026-11-23 00:00:00", "2026-11-23 00:00:10"];
        assert_eq!(times(style(), &two_days), changed);
        let east = RowStyle {
            zone: TimeZone::fixed(jiff::tz::offset(9)),
            ..style()
        };
        let local = ["08:59:50", "09:00:00", "09:00:10"];
        assert_eq!(times(east, &two_days), local);
        for dated in [
            RowStyle {
                dated: true,
                ..style()
            },
            RowStyle {
                length: DAY,
                ..style()
            },
        ] {
            assert_eq!(times(dated, &two_days[..1]), ["2026-11-22 23:59:50"]);
        }
    }

    #[test]
    fn times_have_the_requested_format() {
        let formats = [
            (TimeFormat::Iso, "2026-11-22T14:25:37.482000+00:00"),
            (TimeFormat::Epoch, "1795357537.482000"),
            (TimeFormat::Ctime, "14:25:37"),
            (TimeFormat::Delta, "14:25:37"),
        ];
        for (format, time) in formats {
            let style = RowStyle { format, ..style() };
            assert_eq!(times(style, &["2026-11-22T14:25:37.482Z"]), [time]);
        }
        let short = RowStyle {
            length: Duration::from_millis(100),
            ..style()
        };
        assert_eq!(times(short, &["2026-11-22T14:25:37.4Z"]), ["14:25:37.400"]);
    }

    #[test]
    fn colour_adds_escapes_and_nothing_else() {
        let render = |colour| {
            let (bar, intervals) = (true, [first(), empty()]);
            let style = RowStyle {
                bar,
                colour,
                ..style()
            };
            rows(style, &intervals)
        };
        let coloured = render(true);
        assert!(coloured.contains('\x1b'));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped, render(false));
    }
}
