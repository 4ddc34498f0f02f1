//! Parses the prefix of a line, and which part of which system call it shows.

use crate::read::{
    event::ParseError,
    parse::scan::{digits, find, is_seconds, is_time_of_day, number, split_at_byte, word},
};

pub(super) const NOT_STRACE: ParseError = "not an strace line";

/// What a line shows.
pub(super) enum Call<'a> {
    /// A call of accept or accept4, with the text after the opening parenthesis.
    Accept(&'a [u8]),
    /// The rest of such a call that began on another line.
    Resumed(&'a [u8]),
    /// Something else that strace prints.
    Other,
}

/// Replaces the rest of a call that has not returned yet.
pub(super) const UNFINISHED: &[u8] = b"<unfinished ...>";

/// Whether other output interrupts a call after its file descriptor, so that the rest is on
/// another line. `arguments` begins after the file descriptor.
pub(super) fn is_interrupted(arguments: &[u8]) -> bool {
    match arguments.strip_prefix(b", ") {
        Some(rest) => !rest.ends_with(UNFINISHED) && !is_address(rest),
        None => false,
    }
}

/// Whether this begins with the second argument, which strace prints when the call returns.
pub(super) fn is_address(text: &[u8]) -> bool {
    [&b"{sa_family="[..], b"NULL", b"0x", OLD_NULL, OLD_FAMILY]
        .iter()
        .any(|start| text.starts_with(start))
}

/// How old versions of strace print an address that is NULL.
const OLD_NULL: &[u8] = b"0, ";

/// How old versions of strace begin an address.
pub(super) const OLD_FAMILY: &[u8] = b"{sin_family=";

/// Splits a line into the thread, the time, and the text after them.
pub(super) fn prefix(line: &[u8]) -> (Option<u32>, &[u8], &[u8]) {
    let (tid, rest) = thread(line);
    let rest = rest.trim_ascii_start();
    let (time, mut rest) = match word(rest) {
        Some((time, after)) if is_time(time) => (time, after.trim_ascii_start()),
        _ => (&b""[..], rest),
    };
    while let Some(after) = bracketed(rest) {
        rest = after.trim_ascii_start();
    }
    (tid, time, rest)
}

/// Whether this is a time of -t, -tt, -ttt or -r. Any other word is from a program that writes to the
/// same terminal.
fn is_time(word: &[u8]) -> bool {
    is_time_of_day(word) || is_seconds(word) || number::<u64>(word).is_some()
}

/// Skips `(+     0.000044)`, which -r with -t prints, `[ 288]` of -n or `[00007fd9b3b19b9f]` of -i.
fn bracketed(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"(+") {
        let (seconds, after) = split_at_byte(rest, b')')?;
        return is_seconds(seconds.trim_ascii_start()).then_some(after);
    }
    let (number, after) = split_at_byte(text.strip_prefix(b"[")?, b']')?;
    // -i prints question marks where it cannot read the instruction pointer.
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'?';
    let number = number.trim_ascii_start();
    (!number.is_empty() && number.iter().all(is_digit)).then_some(after)
}

/// Splits off `[pid  1234] `, `[pid  1234<comm>] ` or `1234  ` at the beginning, but not the
/// seconds of -ttt, which have a decimal point.
fn thread(line: &[u8]) -> (Option<u32>, &[u8]) {
    if let Some(rest) = line.strip_prefix(b"[pid ") {
        let (tid, after) = digits(rest.trim_ascii_start());
        let after = match after {
            [b']', after @ ..] => after,
            // The name may contain any byte.
            [b'<', ..] => match find(after, b">] ") {
                Some(at) => &after[at + 2..],
                None => after,
            },
            _ => after,
        };
        return (number(tid), after);
    }
    let (tid, after) = digits(line);
    match after.first() {
        Some(b' ') => (number(tid), after),
        Some(b'<') if !tid.is_empty() => match find(after, b"> ") {
            Some(at) => (number(tid), &after[at + 1..]),
            None => (None, line),
        },
        _ => (None, line),
    }
}

/// Parses a line without its prefix.
pub(super) fn call(text: &[u8]) -> Result<Call<'_>, ParseError> {
    if let Some(rest) = text.strip_prefix(b"accept") {
        let rest = rest.strip_prefix(b"4").unwrap_or(rest);
        if let Some(arguments) = rest.strip_prefix(b"(") {
            return Ok(Call::Accept(arguments));
        }
    }
    if let Some(rest) = text.strip_prefix(b"<... ") {
        let (name, rest) = word(rest).ok_or(NOT_STRACE)?;
        let rest = rest.strip_prefix(b"resumed>").ok_or(NOT_STRACE)?;
        return Ok(match name {
            b"accept" | b"accept4" => Call::Resumed(rest),
            _ => Call::Other,
        });
    }
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let name = text.iter().take_while(|byte| is_name(byte)).count();
    let is_other = (name > 0 && text.get(name) == Some(&b'('))
        || text.is_empty()
        || text == UNFINISHED
        || ["--- ", "+++ ", "> ", "strace: ", "???("]
            .iter()
            .any(|start| text.starts_with(start.as_bytes()));
    if is_other {
        Ok(Call::Other)
    } else {
        Err(NOT_STRACE)
    }
}

/// Splits `ARGUMENTS)   = RESULT`.
pub(super) fn result(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = text.len();
    loop {
        end = memchr::memrchr(b'=', &text[..end])?;
        let arguments = text[..end].trim_ascii_end();
        if let (Some(arguments), Some(result)) = (
            arguments.strip_suffix(b")"),
            text[end + 1..].strip_prefix(b" "),
        ) {
            return Some((arguments, result));
        }
    }
}
