//! What is measured: conn-cli as it is started.

/// The server's port.
pub(super) const PORT: u16 = 80;
/// Where conn-cli's output goes, in the guest.
pub(super) const OUT: &str = "/tmp/out";

/// A way to run conn-cli, or to run nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Words with blanks between them; after ` > ` comes [`OUT`]. Empty if nothing is run.
    pub(super) line: &'static str,
    pub(super) told: Told,
}

/// What conn-cli writes before its summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    Nowhere,
    /// A line of text for each connection, or stage of one.
    Text,
    /// A line of JSON for each connection, and the summary as another.
    Json,
}

const fn row(name: &'static str, line: &'static str, told: Told) -> Row {
    Row { name, line, told }
}

/// All rows; the first is what the others are compared with.
pub(super) const ROWS: &[Row] = &[
    row("no tracer", "", Told::Nowhere),
    row(
        "kretprobe",
        "conn-cli --port 80 --probe kretprobe > /tmp/out",
        Told::Text,
    ),
    row(
        "kretprobe, quiet",
        "conn-cli --port 80 --probe kretprobe --quiet > /tmp/out",
        Told::Nowhere,
    ),
    row(
        "kretprobe, JSON",
        "conn-cli --port 80 --probe kretprobe --json > /tmp/out",
        Told::Json,
    ),
    row(
        "kretprobe, funnel",
        "conn-cli --port 80 --probe kretprobe --funnel > /tmp/out",
        Told::Text,
    ),
    row(
        "fentry",
        "conn-cli --port 80 --probe fentry > /tmp/out",
        Told::Text,
    ),
    row(
        "fentry, quiet",
        "conn-cli --port 80 --probe fentry --quiet > /tmp/out",
        Told::Nowhere,
    ),
    row(
        "fentry, JSON",
        "conn-cli --port 80 --probe fentry --json > /tmp/out",
        Told::Json,
    ),
    // Too little on purpose: shows that losses are seen here.
    row(
        "fentry, buffer of 4 KiB",
        "conn-cli --port 80 --probe fentry --buffer-size 4096 > /tmp/out",
        Told::Text,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_they_are_read() {
        assert!(ROWS[0].line.is_empty());
        for row in &ROWS[1..] {
            let (line, out) = row.line.split_once(" > ").unwrap();
            assert_eq!(out, OUT, "{}", row.name);
            assert!(line.contains(&format!(" --port {PORT} ")), "{}", row.name);
            assert_eq!(line.contains("--quiet"), row.told == Told::Nowhere);
            assert_eq!(line.contains("--json"), row.told == Told::Json);
        }
    }
}
