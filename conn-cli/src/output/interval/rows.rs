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

/// The width of the longest bar, in characters: that of half a million connections.
const MAX_BAR_WIDTH: usize = 20;

/// One to seven eighths of a character.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The least and the greatest width of the busiest client's column, which grows with its content. A
/// long name must not make all further rows long.
const BUSIEST_WIDTHS: [usize; 2] = [22, 48];

/// The fewest characters of a client that are worth to be shown.
const MIN_HOST_WIDTH: usize = 8;

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
            shows_dropped: false,
        }
    }

    /// `14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (45)   ███████▉`
    ///
    /// On a screen with so many columns the row fits one line, and what room is left is for the bar.
    pub(crate) fn row(&mut self, out: &mut Vec<u8>, interval: &Interval, columns: Option<usize>) {
        let when = self.time(interval);
        let mut rest = String::new();
        match (interval.not_measured, interval.skipped_empty) {
            (1, _) => rest.push_str("(not measured)"),
            (not_measured @ 2.., _) => put(
                &mut rest,
                format_args!("({not_measured} intervals not measured)"),
            ),
            (0, 0) => {
                let room = columns.map(|columns| columns.saturating_sub(when.len() + "  ".len()));
                self.counts(&mut rest, interval, room);
            }
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

    /// `room`: how many characters fit the screen.
    fn counts(&mut self, out: &mut String, interval: &Interval, room: Option<usize>) {
        let (connections, addresses) = (interval.connections, interval.addresses);
        let word = noun(connections, "connection", "connections");
        put(out, format_args!("{connections:>6} {word:<11}"));
        let word = noun(addresses as u64, "address", "addresses");
        put(out, format_args!(" {addresses:>6} {word:<9}"));
        put(out, format_args!(" {:>9.1}/s", interval.rate()));
        self.shows_dropped |= interval.dropped.is_some_and(|packets| packets > 0);
        if self.shows_dropped {
            match interval.dropped {
                Some(packets) => put(out, format_args!(" {packets:>5} dropped")),
                None => out.push_str("              "),
            }
        }

        // Notes need no column: nothing follows them, and most rows have none.
        let all = in_brackets("   ", &notes(interval));
        let fits = room.is_none_or(|room| out.len() + all.len() <= room);
        let notes = if fits {
            all
        } else {
            in_brackets("  ", short_notes(interval))
        };
        let taken = out.len() + "   ".len() + notes.len();
        let room = room.map(|room| room.saturating_sub(taken));

        let mut width = 0;
        out.push_str("   ");
        if let Some((host, most)) = busiest(interval, room) {
            let style = self.colour(ADDRESS);
            put(out, format_args!("{style}{host}{style:#}{most}"));
            width = host.chars().count() + most.len();
        }
        self.busiest_width = self.busiest_width.max(width.min(BUSIEST_WIDTHS[1]));
        let gap = self.busiest_width.saturating_sub(width);
        let room = room.map_or(0, |room| room.saturating_sub(width + gap + "   ".len()));
        let bar = bar(connections, room);
        if !bar.is_empty() {
            let style = self.colour(BAR);
            put(out, format_args!("{:gap$}   {style}{bar}{style:#}", ""));
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push_str(&notes);
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

/// The busiest client and how many it made: as much as fits `room`, or nothing if the client would hardly be
/// left.
fn busiest(interval: &Interval, room: Option<usize>) -> Option<(String, String)> {
    let (host, most) = interval.busiest.as_ref()?;
    let (host, most) = (host.to_string(), format!(" ({most})"));
    let columns = room.map_or(usize::MAX, |room| room.saturating_sub(most.len()));
    if host.chars().count() <= columns {
        return Some((host, most));
    }
    let beginning = host.chars().take(columns.checked_sub(1)?);
    (columns >= MIN_HOST_WIDTH).then(|| (beginning.chain(['…']).collect(), most))
}

/// The notes in brackets, if there are any, after these blanks.
fn in_brackets(blanks: &str, notes: &str) -> String {
    match notes {
        "" => String::new(),
        _ => format!("{blanks}({notes})"),
    }
}

/// What a screen of 80 columns has room for behind the drops.
fn short_notes(interval: &Interval) -> &'static str {
    match (interval.partial, interval.lost) {
        (true, _) => "partial",
        (false, 0) => "",
        (false, _) => "lost",
    }
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

/// A character for one connection, and one more for each time as many again, so that a bar means the same
/// in all rows. None if there is no room: one that is cut would look like fewer connections.
fn bar(connections: u64, room: usize) -> String {
    if connections == 0 || room < MAX_BAR_WIDTH {
        return String::new();
    }
    let eighths = ((connections as f64).log2() + 1.0) * 8.0;
    let eighths = (eighths.round() as usize).min(MAX_BAR_WIDTH * 8);
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
        rows_on(None, style, intervals)
    }

    fn rows_on(columns: Option<usize>, style: RowStyle, intervals: &[Interval]) -> String {
        let (mut rows, mut out) = (Rows::new(style), Vec::new());
        for interval in intervals {
            rows.row(&mut out, interval, columns);
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
             14:25:30     123 connections     17 addresses      12.3/s    37 dropped   192.168.122.1 (61)\n\
             14:25:30     123 connections     17 addresses      12.3/s                 192.168.122.1 (61)\n\
             14:25:30     123 connections     17 addresses      12.3/s     0 dropped   192.168.122.1 (61)\n"
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
        assert!(rows[1].ends_with("0.0/s   (partial, 3 ms)"), "{}", rows[1]);
        assert_eq!(rows[2], "14:25:40  (31000 intervals without a connection)");
        assert_eq!(rows[3], "+100:01:01  (not measured)");
        assert_eq!(rows[4], "+100:01:01  (12 intervals not measured)");
    }

    #[test]
    fn bars_have_a_fixed_logarithmic_scale() {
        for (connections, expected) in [
            (0, ""),
            (1, "█"),
            (2, "██"),
            (3, "██▋"),
            (4, "███"),
            (1024, "███████████"),
            (u64::MAX, "████████████████████"),
        ] {
            assert_eq!(bar(connections, 20), expected);
        }
        assert_eq!(bar(4, 19), "");
        let rise = [5, 23, 46, 92, 148];
        let rise = rise.map(|connections| interval("2026-11-22T14:25:30Z", connections));
        let of_each = rows_on(Some(120), style(), &rise);
        let bars = of_each.lines().map(|row| row.matches('█').count());
        assert_eq!(bars.collect::<Vec<_>>(), [3, 5, 6, 7, 8]);
        let reversed: Vec<_> = rise.into_iter().rev().collect();
        let reversed = rows_on(Some(120), style(), &reversed);
        assert!(reversed.lines().rev().eq(of_each.lines()), "{reversed}");
    }

    #[test]
    fn rows_fit_the_screen() {
        let long = Host::at([
            0x2001, 0xdb8, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666_u16,
        ]);
        let long = Interval {
            busiest: Some((long, 61)),
            ..first()
        };
        let partial = Interval {
            partial: true,
            length: Duration::from_millis(428),
            ..first()
        };
        let dropped = Interval {
            dropped: Some(37),
            ..partial.clone()
        };
        let intervals = [first(), long, partial];
        for columns in 80..140 {
            let rows = rows_on(Some(columns), style(), &intervals);
            for row in rows.lines() {
                assert!(row.chars().count() <= columns, "{columns}: {row}");
            }
            // Behind a long client it starts further right, from then on.
            assert_eq!(rows.contains('█'), columns >= 105, "{columns}: {rows}");
        }
        let rows = rows_on(Some(80), style(), &intervals);
        assert_eq!(
            rows,
            "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (61)\n\
             14:25:30     123 connections     17 addresses      12.3/s   2001:db8:1111:… (61)\n\
             14:25:30     123 connections     17 addresses     287.4/s   (partial, 428 ms)\n"
        );
        assert_eq!(
            rows_on(Some(80), style(), &[dropped]),
            "14:25:30     123 connections     17 addresses     287.4/s    37 dropped  (partial)\n"
        );
    }

    #[test]
    fn bars_start_in_the_same_column() {
        let host = |text: &str| Host::at(text.parse::<IpAddr>().unwrap());
        let busiest = |busiest| Interval {
            busiest,
            ..interval("2026-11-22T14:25:30Z", 1000)
        };
        let long = host("2001:db8:1111:2222:3333:4444:5555:6666");
        let rows = rows_on(
            Some(140),
            style(),
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
            let style = RowStyle { colour, ..style() };
            rows_on(Some(120), style, &[first(), empty()])
        };
        let coloured = render(true);
        assert!(coloured.contains('\x1b'));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped, render(false));
    }
}
