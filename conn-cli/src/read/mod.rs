//! Reads records of other programs and of conn-cli itself.
//!
//! A thread opens the [`input`]s, [`unpack`]s them, [`recognise`]s their formats from their [`head`] and what is
//! around each line ([`wrap`]), and splits them into [`piece`]s ([`reader`], [`cut`], [`capture`]); what is of no
//! format is named ([`foreign`]). Other threads [`parse`] the pieces.
//! [`dates`] completes the times of the [`batch`]es in their order, and [`merge`] counts them. [`feed`]
//! connects these stages.

pub mod batch;
pub(crate) mod capture;
pub(crate) mod cut;
pub(crate) mod dates;
pub mod encoding;
pub mod error;
pub(crate) mod event;
pub(crate) mod feed;
pub(crate) mod foreign;
pub(crate) mod head;
pub mod how;
pub(crate) mod input;
pub(crate) mod io;
pub mod merge;
pub mod parse;
pub(crate) mod peeled;
pub mod piece;
pub(crate) mod progress;
pub mod reader;
pub(crate) mod recognise;
pub(crate) mod unpack;
pub mod wrap;

use std::{io::Read, num::NonZeroU32, sync::mpsc};

use jiff::{Timestamp, tz::TimeZone};

use self::{
    dates::{Dates, InputDates},
    error::{ReadError, Stopped},
    how::How,
    merge::{Merge, MergeOptions},
    parse::lines::Wanted,
};
use crate::{
    count::tally::Tally,
    model::{discrepancies::Discrepancies, format::Format, read_stats::ReadStats},
};

/// How many times the length of a compressed input its content may have in [`summarise`].
const MAX_EXPANSION: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// What was counted, what may make it wrong, and what else there was.
pub type Findings = (Tally, Discrepancies, ReadStats);

/// Reads one input to its end in this thread, without output. Returns also how reading ended.
pub fn summarise(
    input: impl Read,
    format: Option<Format>,
    options: MergeOptions,
) -> (anyhow::Result<Findings>, Result<(), ReadError>) {
    let mut merge = Merge::new(options);
    let mut dates = Dates::new(TimeZone::UTC, true);
    dates.begin(InputDates {
        // The result must not depend on when it is read.
        changed: Some(Timestamp::UNIX_EPOCH),
        ..InputDates::default()
    });
    let mut result = Ok(());
    let (_, recycled) = mpsc::channel();
    let how = How {
        format,
        wanted: Wanted::with_times(),
        max_expansion: Some(MAX_EXPANSION),
        is_file: false,
    };
    let end = reader::read(input, &how, &recycled, &mut |piece| {
        let mut batch = parse::parse(&piece, &how.wanted);
        dates.complete(&mut batch);
        result = merge.take(&mut batch, &mut |_| true);
        result.as_ref().map_err(|_| Stopped).copied()
    });
    let result = result.and_then(|()| merge.end(&mut |_| true));
    (result.map(|()| merge.finish()), end)
}
