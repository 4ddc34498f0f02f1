//! A row of text for each interval.

#[cfg(test)]
mod tests;

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
