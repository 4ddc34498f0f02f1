//! What each input was read as.

use super::brief::plural;
use crate::model::{
    format::Format,
    read_stats::{InputStats, ReadStats},
};

/// The most inputs that are named: a directory may have hundreds of logs.
const MAX_NAMED: usize = 8;

/// A line for each input, but for those of which nothing could be read; that is said when it happens.
#[must_use]
pub(crate) fn inputs(stats: &ReadStats) -> Vec<String> {
    let is_read = |input: &&InputStats| input.format.is_some() || !input.failed;
    let lines = stats.inputs.iter().filter(is_read).map(line);
    let mut lines: Vec<String> = lines.collect();
    // The line about the others is not shorter than the last of them.
    if lines.len() > MAX_NAMED + 1 {
        let others = lines.split_off(MAX_NAMED).len();
        lines.push(format!("and {others} more inputs"));
    }
    lines
}

/// `kern.log.gz: kernel-log, gzip, 1204 lines`
fn line(input: &InputStats) -> String {
    let what = input.format.map_or("empty", Format::name);
    let mut line = format!("{}: {what}", input.name);
    for layer in input.inside.iter().rev() {
        line += &format!(" in {layer}");
    }
    if let Some(tie) = input.tie {
        line += &format!(" (it may as well be {}: --format says which)", tie.name());
    }
    if input.needs_all {
        line += " (each line is a record of it)";
    }
    if let Some(compression) = input.compression {
        line += &format!(", {compression}");
    }
    if input.format.is_some() {
        let count = match input.format {
            Some(Format::Pcap) => plural(input.packets, "packet", "packets"),
            _ => plural(input.lines, "line", "lines"),
        };
        line += &format!(", {count}");
        if input.records == 0 && input.understood > 0 {
            line += ", no record of a connection";
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: usize) -> InputStats {
        InputStats {
            name: format!("{name}.log"),
            format: Some(Format::KernelLog),
            lines: 1204,
            ..InputStats::default()
        }
    }

    fn shown(inputs: impl IntoIterator<Item = InputStats>) -> Vec<String> {
        let inputs = inputs.into_iter().collect();
        super::inputs(&ReadStats {
            inputs,
            ..ReadStats::default()
        })
    }

    #[test]
    fn each_input_has_a_line_unless_nothing_could_be_read() {
        let compressed = InputStats {
            compression: Some("gzip"),
            format: Some(Format::Pcap),
            packets: 1,
            failed: true,
            ..input(2)
        };
        let empty = InputStats {
            format: None,
            ..input(3)
        };
        let unreadable = InputStats {
            failed: true,
            ..empty.clone()
        };
        assert_eq!(
            shown([input(1), compressed, unreadable, empty]),
            [
                "1.log: kernel-log, 1204 lines",
                "2.log: pcap, gzip, 1 packet",
                "3.log: empty"
            ]
        );
    }

    #[test]
    fn many_inputs_are_summed_up() {
        assert_eq!(shown((1..=9).map(input)).len(), 9);
        let many = shown((1..=500).map(input));
        assert_eq!(many.len(), 9);
        assert_eq!(many[8], "and 492 more inputs");
    }
}
