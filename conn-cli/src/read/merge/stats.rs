//! Counts what is beside the connections: lines, packets, and records that are not understood.

use anyhow::bail;

use super::{Merge, add};
use crate::{
    model::format::Format,
    read::{batch::Batch, wrap::Wrapper},
};

impl Merge {
    /// Adds the lines, packets and parse errors of a batch.
    pub(super) fn add_stats(&mut self, batch: &Batch) -> anyhow::Result<()> {
        if let Some(recognised) = &batch.recognised {
            let layers = recognised.encoding.wrappers.layers();
            self.input.inside = layers.map(Wrapper::name).collect();
            self.input.tie = recognised.tie;
            self.input.needs_all = batch.format == Format::Ulogd && !recognised.is_given;
        }
        if let Some(first) = &batch.first_not_understood {
            let (what, before) = match batch.packets {
                0 => ("line", self.input.lines),
                _ => ("packet", self.input.packets),
            };
            let mut text = format!(
                "{what} {} of {}: {}",
                before + first.index + 1,
                self.input.name,
                first.parse_error
            );
            if !first.line.is_empty() {
                text += &format!(": '{}'", first.line);
            }
            if self.input.needs_all {
                bail!(
                    "{text}: it is not ulogd's, so another program may have written the other lines, too; \
                     --format ulogd believes them"
                );
            }
            if self.options.strict {
                bail!("{text}");
            }
            self.input
                .first_not_understood
                .get_or_insert_with(|| text.clone());
            self.add_parse_errors(batch.not_understood, Some(text));
        }
        self.stats.forgot_syns |= !self.options.every_packet && self.repeats.is_crowded();
        self.stats.formats.insert(batch.format);
        self.input.format = Some(batch.format);
        self.stats.lines += batch.lines;
        self.stats.packets += batch.packets;
        for (link_type, packets) in &batch.unknown_link_types {
            *self.stats.unknown_link_types.entry(*link_type).or_default() += packets;
        }
        self.input.lines += batch.lines;
        self.input.packets += batch.packets;
        self.input.understood += batch.understood;
        self.input.records += (batch.counted.ends.len() + batch.events.len()) as u64;
        Ok(())
    }

    /// Adds `count` parse errors; `first` describes the first.
    pub(super) fn add_parse_errors(&mut self, count: u64, first: Option<String>) {
        add(&mut self.stats.not_understood, count);
        if self.stats.first_not_understood.is_none() {
            self.stats.first_not_understood = first;
        }
    }
}
