//! Comparing two inputs: each is read to its end, then the counts of each address are put side by side.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use anyhow::{Context as _, anyhow};

use super::read::room;
use crate::{
    count::{comparison::Comparison, ranking::Counts, tally::Tally},
    model::{
        options::{CompareOptions, Listing},
        period::Period,
        read_stats::InputStats,
        stage::Stage,
    },
    output::{self, diagnostics, plural},
    read::{
        feed::{Feed, FeedItem},
        how::How,
        input,
        merge::{Merge, MergeOptions},
        progress::Progress,
    },
    report::{Origin, Report, Verdict},
    system::stderr::say,
};

/// Compares two inputs. Returns the lines to print, and whether the counts can be trusted.
///
/// # Errors
/// If not all records can be read.
pub async fn compare(
    options: &CompareOptions,
) -> anyhow::Result<(impl Iterator<Item = String>, Verdict)> {
    let [before, after] = &options.files;
    let names = [before, after].map(|path| input::name(path));
    let (before, one) = counted(before, options).await?;
    let (after, other) = counted(after, options).await?;
    let comparison = Comparison::new(names, [before, after], options.top);
    let verdict = match one {
        Verdict::Trusted => other,
        doubtful => doubtful,
    };
    Ok((output::compare(comparison, options.json), verdict))
}

/// Reads an input to its end, and says what may make its count wrong.
async fn counted(path: &Path, options: &CompareOptions) -> anyhow::Result<(Tally, Verdict)> {
    let mut merge = Merge::new(MergeOptions {
        ports: options.ports.clone(),
        filter: options.ends.clone(),
        period: Period::default(),
        strict: options.records.strict,
        every_packet: options.records.every_packet,
        lines_only: false,
        all_addresses: true,
        names: None,
    })
    .within(room(options.records.max_clients, 2));
    let mut feed = Feed::start(
        vec![PathBuf::from(path)],
        How::new(&options.records, false),
        available_parallelism().map_or(1, NonZeroUsize::get),
        None,
        Progress::new(None).bar(),
    )
    .context("cannot start a thread")?;
    while let Some(item) = feed.next().await {
        match item {
            FeedItem::Begin(input, _) => merge.begin(input),
            FeedItem::Batch(mut batch) => {
                merge.take(&mut batch, &mut |_| true)?;
                feed.recycle(batch);
            }
            FeedItem::Failed(why) => return Err(anyhow!(why)),
        }
    }
    merge.end(&mut |_| true)?;
    let (tally, discrepancies, stats) = merge.finish();
    if let Some(why) = { &stats.inputs }
        .iter()
        .find_map(InputStats::nothing_understood)
    {
        return Err(anyhow!(why));
    }
    let mut counts = Counts::new([Stage::Accepted]);
    counts.add_tally(Stage::Accepted, tally.clone());
    let turned_away = stats.turned_away;
    let origin = Origin::Records(stats);
    let report = Report::new(
        counts,
        None,
        Listing::default(),
        discrepancies,
        origin,
        None,
    );
    let name = input::name(path);
    for line in diagnostics(&report, None) {
        // The counts are in the comparison.
        if let Some(warning) = line.strip_prefix("warning: ") {
            say(format_args!("warning: {name}: {warning}"));
        }
    }
    if turned_away > 0 {
        let connections = plural(turned_away, "connection", "connections");
        say(format_args!(
            "warning: {name}: {connections} of clients beyond --max-clients under \"unknown\""
        ));
        return Ok((tally, Verdict::Incomplete));
    }
    Ok((tally, report.verdict()))
}
