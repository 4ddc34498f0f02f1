//! Recognises the format of an input from its content: the parsers themselves say how many lines they
//! understand.

use super::parse::{
    self,
    lines::{Form, Wanted},
};
use crate::model::format::Format;

/// The most bytes from which a format is recognised.
pub(crate) const MAX_HEAD_LEN: usize = 64 * 1024;

impl Format {
    /// The format of an input that begins with `head`; None if `head` is not sufficient.
    /// `is_all`: nothing follows, or nothing that is worth waiting for.
    #[must_use]
    pub fn recognise(head: &[u8], is_all: bool) -> Option<Self> {
        if parse::packet::is_capture(head) {
            return Some(Self::Pcap);
        }
        let mut best = None;
        for format in Self::ALL {
            let Some(mut parser) = parse::parser(format, &Wanted::default()) else {
                continue;
            };
            let (mut own, mut shared) = (0, 0);
            let mut events = Vec::new();
            for line in whole_lines(head, is_all).filter(|line| !line.is_empty()) {
                match parser.line(line, &mut events) {
                    Ok(Form::Own) => own += 1,
                    Ok(Form::Shared) => shared += 1,
                    Err(_) => (),
                }
            }
            let score = (own, shared);
            if (own > 0 || is_all && shared > 0) && best.is_none_or(|(most, _)| score > most) {
                best = Some((score, format));
            }
        }
        best.map(|(_, format)| format)
    }
}

/// The lines, without the last one if it may be incomplete.
fn whole_lines(head: &[u8], is_all: bool) -> impl Iterator<Item = &[u8]> {
    let end = if is_all {
        head.len()
    } else {
        memchr::memrchr(b'\n', head).map_or(0, |newline| newline + 1)
    };
    parse::lines::lines(&head[..end])
}
