//! The rows: the ways in which conn-cli is started.

/// The server's port.
pub(super) const PORT: u16 = 80;
/// The output file of conn-cli, in the guest.
pub(super) const OUT: &str = "/tmp/out";

/// A way to run conn-cli, or to run nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Words separated by blanks; [`OUT`] follows ` > `. Empty if nothing is run.
    pub(super) line: &'static str,
    pub(super) reports: Reports,
}

/// What conn-cli writes before its summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// Nothing.
    Nowhere,
    /// A line of text for each connection, or for each of its stages.
    Text,
    /// A line of JSON for each connection, and the summary as another.
    Json,
}

const fn row(name: &'static str, line: &'static str, reports: Reports) -> Row {
    Row {
        name,
        line,
        reports,
    }
}

/// All rows; the others are compared with the first.
pub(super) const ROWS: &[Row] = &[
    row("no tracer", "", Reports::Nowhere),
    row(
        "kretprobe",
        "conn-cli --port 80 --probe kretprobe > /tmp/out",
        Reports::Text,
    ),
    row(
        "kretprobe, quiet",
        "conn-cli --port 80 --probe kretprobe --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    row(
        "kretprobe, JSON",
        "conn-cli --port 80 --probe kretprobe --json > /tmp/out",
        Reports::Json,
    ),
    row(
        "kretprobe, funnel",
        "conn-cli --port 80 --probe kretprobe --funnel > /tmp/out",
        Reports::Text,
    ),
    row(
        "fentry",
        "conn-cli --port 80 --probe fentry > /tmp/out",
        Reports::Text,
    ),
    row(
        "fentry, quiet",
        "conn-cli --port 80 --probe fentry --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    row(
        "fentry, JSON",
        "conn-cli --port 80 --probe fentry --json > /tmp/out",
        Reports::Json,
    ),
    // Too small on purpose, to show that this benchmark sees losses.
    row(
        "fentry, buffer of 4 KiB",
        "conn-cli --port 80 --probe fentry --buffer-size 4096 > /tmp/out",
        Reports::Text,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_match_the_other_fields() {
        assert!(ROWS[0].line.is_empty());
        for row in &ROWS[1..] {
            let (line, out) = row.line.split_once(" > ").unwrap();
            assert_eq!(out, OUT, "{}", row.name);
            assert!(line.contains(&format!(" --port {PORT} ")), "{}", row.name);
            assert_eq!(line.contains("--quiet"), row.reports == Reports::Nowhere);
            assert_eq!(line.contains("--json"), row.reports == Reports::Json);
        }
    }
}
