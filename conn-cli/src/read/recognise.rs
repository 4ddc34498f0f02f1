//! Recognises what an input is from its content: the parsers themselves say how many lines they
//! understand, of the lines as they are and without what other programs may have put around them.

use super::{
    encoding::Encoding,
    parse::lines::{Form, Wanted},
    peeled::parser,
    wrap::{Wrapper, Wrappers},
};
use crate::model::format::Format;

/// The most lines from which it is recognised what is around them: trying that takes longer.
const MAX_WRAPPED_LINES: usize = 200;

/// How many lines are enough if they make it clear: all parsers take as long for them as one for a megabyte.
const ENOUGH_LINES: usize = 64;

/// How many combinations of layers are looked into.
const MAX_KEPT: usize = 3;

/// What some lines are, as far as they tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    /// The most likely encoding.
    pub encoding: Encoding,
    /// Another format that understands as many lines.
    pub tie: Option<Format>,
    /// How many of the lines only this format has.
    own: usize,
    /// How many others it understands.
    shared: usize,
    /// How many connections, packets and the like it finds in them.
    events: usize,
    /// How many lines that are not empty were looked at.
    lines: usize,
}

impl Guess {
    /// Whether a line is certainly of this format.
    pub(crate) fn is_certain(self) -> bool {
        self.own > 0
    }

    /// Whether no line shows a connection or the like.
    pub(crate) fn finds_nothing(self) -> bool {
        self.events == 0
    }

    /// Whether this is so for most of the lines.
    pub(crate) fn is_clear(self) -> bool {
        self.own > 0 && self.own * 2 >= self.lines
    }
}

/// What `lines` are: in one of the formats, or the given one. `is_whole`: these are all lines of the input,
/// or as many as a format is recognised from. None if no parser understands any.
pub(crate) fn guess(
    lines: &[&[u8]],
    format: Option<Format>,
    wanted: &Wanted,
    is_whole: bool,
) -> Option<Guess> {
    let lines: Vec<&[u8]> = lines
        .iter()
        .copied()
        .filter(|line| !line.trim_ascii().is_empty())
        .collect();
    let formats = match &format {
        Some(format) => std::slice::from_ref(format),
        None => &Format::ALL[..],
    };
    let judge = |wrappers, lines: &[&[u8]]| judge(wrappers, lines, formats, wanted, is_whole);
    let first = lines.get(..ENOUGH_LINES);
    let first = first.and_then(|first| judge(Wrappers::default(), first));
    // For that of ulogd, all lines matter.
    let is_enough = |first: &Guess| {
        first.is_clear() && first.tie.is_none() && first.encoding.format != Format::Ulogd
    };
    if let Some(first) = first.filter(is_enough) {
        return Some(first);
    }
    let plain = judge(Wrappers::default(), &lines);
    if plain.is_some_and(Guess::is_clear) {
        return plain;
    }
    let lines = &lines[..lines.len().min(MAX_WRAPPED_LINES)];
    let mut best = plain;
    let mut kept = vec![Wrappers::default()];
    while !kept.is_empty() && !best.is_some_and(Guess::is_clear) {
        let mut next = Vec::new();
        for outer in kept {
            for wrapper in Wrapper::ALL {
                let Some(wrappers) = outer.with(wrapper) else {
                    continue;
                };
                if !is_around(outer, wrapper, wrappers, lines) {
                    continue;
                }
                let guess = judge(wrappers, lines);
                if guess.is_some_and(|guess| best.is_none_or(|best| guess.own > best.own)) {
                    best = guess;
                }
                next.push(wrappers);
            }
        }
        next.truncate(MAX_KEPT);
        kept = next;
    }
    best
}

/// Whether most lines have this layer inside of the outer ones; `all` are these and it.
fn is_around(outer: Wrappers, wrapper: Wrapper, all: Wrappers, lines: &[&[u8]]) -> bool {
    let peeled = { lines.iter() }.filter(|line| all.peel(line, false).is_some());
    let likely = |line: &&&[u8]| {
        let inner = outer.peel(line, false);
        inner.is_some_and(|inner| wrapper.is_likely(&inner.line))
    };
    peeled.count() * 2 > lines.len() && lines.iter().any(|line| likely(&line))
}

/// The format that understands most of the lines in these layers.
fn judge(
    wrappers: Wrappers,
    lines: &[&[u8]],
    formats: &[Format],
    wanted: &Wanted,
    is_whole: bool,
) -> Option<Guess> {
    let mut best: Option<Guess> = None;
    for &format in formats.iter().filter(|format| wrappers.may_wrap(**format)) {
        let encoding = Encoding { format, wrappers };
        let Some(mut parser) = parser(encoding, wanted) else {
            continue;
        };
        let mut guess = Guess {
            encoding,
            tie: None,
            own: 0,
            shared: 0,
            events: 0,
            lines: lines.len(),
        };
        let mut events = Vec::new();
        for line in lines {
            match parser.line(line, &mut events) {
                Ok(Form::Own) => guess.own += 1,
                Ok(Form::Shared) => guess.shared += 1,
                Err(_) => (),
            }
            guess.events += events.len();
            events.clear();
        }
        // In a log of several programs any of them can write such lines.
        let needs_all = format == Format::Ulogd && formats.len() > 1;
        if needs_all && !(is_whole && guess.own == lines.len()) {
            continue;
        }
        // Lines that other formats have, too, are of none of them; in a log, any program can write them.
        let is_taken = wrappers.is_empty() && (guess.events > 0 || formats.len() == 1);
        let is_empty = guess.own == 0 && !is_taken && format != Format::KernelLog;
        let score = (guess.own, guess.shared);
        match &mut best {
            _ if score == (0, 0) || is_empty => (),
            Some(best) if score < (best.own, best.shared) => (),
            // A kernel log can have any text, and a format that finds nothing loses nothing.
            Some(best)
                if score == (best.own, best.shared) && (best.events > 0 || guess.events == 0) =>
            {
                best.tie = best.tie.or(Some(format));
            }
            best => *best = Some(guess),
        }
    }
    best
}

#[cfg(test)]
mod tests;
