//! Parses the prefix of a line, and which part of which system call it shows.

use crate::read::{
    event::ParseError,
    parse::{
        lines::Form,
        scan::{
            are_digits, digits, find, is_seconds, is_time_of_day, leading_number,
            may_be_since_1970, number, split_at_byte, word,
        },
    },
};

pub(super) const NOT_STRACE: ParseError = "not an strace line";

/// What a line shows.
pub(super) enum Call<'a> {
    /// A call of accept or accept4, with the text after the opening parenthesis.
    Accept(&'a [u8]),
    /// The rest of such a call that began on another line.
    Resumed(&'a [u8]),
    /// Something else that strace prints.
    Other(Form),
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

/// Whether this begins with the second argument, which strace prints when the call returns: the address,
/// which old versions print in other ways, or a pointer, which may be NULL, in old versions `0`.
pub(super) fn is_address(text: &[u8]) -> bool {
    match text {
        [b'{', ..] => family(text).is_some() || text.starts_with(b"{...}"),
        _ => [&b"NULL"[..], b"0x", b"0, "]
            .iter()
            .any(|start| text.starts_with(start)),
    }
}

/// What follows `{sa_family=` or, in old versions, `{sin_family=` and the like.
#[inline]
pub(super) fn family(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"{sa_family=") {
        return Some(rest);
    }
    let (name, rest) = split_at_byte(text.strip_prefix(b"{")?, b'=')?;
    [&b"sin_family"[..], b"sin6_family", b"sun_family"]
        .contains(&name)
        .then_some(rest)
}

/// A thread, a time, and the text after them.
type Prefixed<'a> = (Option<u32>, &'a [u8], &'a [u8]);

/// Splits a line into the thread, the time, and the text after them.
#[inline]
pub(super) fn prefix(line: &[u8]) -> Prefixed<'_> {
    usual_prefix(line).unwrap_or_else(|| any_prefix(line))
}

/// The same for `12    ` or `[pid    12] `, if that is there, and then a time of -tt or -ttt, if that is there:
/// a fast path, in one pass.
#[inline]
fn usual_prefix(line: &[u8]) -> Option<Prefixed<'_>> {
    let (tid, rest) = match line.strip_prefix(b"[pid ") {
        Some(rest) => {
            let (tid, rest) = leading_number(rest.trim_ascii_start())?;
            (Some(tid), rest.strip_prefix(b"] ")?)
        }
        None => match leading_number(line) {
            Some((tid, [b' ', rest @ ..])) => (Some(tid), rest),
            _ => (None, line),
        },
    };
    let rest = rest.trim_ascii_start();
    let time = usual_time(rest);
    let (time, rest) = match rest.split_at(time) {
        (time, [b' ', rest @ ..]) => (time, rest),
        (b"", rest) => (&b""[..], rest),
        _ => return None,
    };
    matches!(rest, [b'a'..=b'z' | b'<', ..]).then_some((tid, time, rest))
}

/// The length of `1732285537.123456` or `14:25:37.123456`, with which `text` begins; 0 if it does not.
#[inline]
fn usual_time(text: &[u8]) -> usize {
    let has_digits = |start: usize| {
        let digits = text.get(start..).and_then(|text| text.first_chunk());
        digits.is_some_and(are_digits::<6>)
    };
    match text {
        [_, _, b':', m, mm, b':', s, ss, b'.', ..] => {
            let has_time = are_digits(&[text[0], text[1], *m, *mm, *s, *ss]);
            if has_time && has_digits(9) { 15 } else { 0 }
        }
        [_, _, _, _, _, _, _, _, _, _, b'.', ..]
            if has_digits(0) && has_digits(4) && has_digits(11) =>
        {
            17
        }
        _ => 0,
    }
}

/// The same for any prefix.
fn any_prefix(line: &[u8]) -> Prefixed<'_> {
    let (tid, rest) = thread(line);
    let (time, rest) = time(rest.trim_ascii_start());
    (tid, time, after_brackets(rest))
}

/// Splits off the time, which may be empty.
pub(super) fn time(text: &[u8]) -> (&[u8], &[u8]) {
    match word(text) {
        Some((time, after)) if is_time(time) => (time, after),
        _ => (b"", text),
    }
}

/// Skips what is in brackets between the time and the call.
#[inline]
pub(super) fn after_brackets(text: &[u8]) -> &[u8] {
    match text {
        // Mostly there is nothing.
        [b' ', b'a'..=b'z', ..] => &text[1..],
        _ => after_any_brackets(text),
    }
}

fn after_any_brackets(text: &[u8]) -> &[u8] {
    let mut rest = text.trim_ascii_start();
    while let [b'(' | b'[', ..] = rest
        && let Some(after) = bracketed(rest)
    {
        rest = after.trim_ascii_start();
    }
    rest
}

/// Whether this is a time of -t, -tt, -ttt or -r. Any other word is from a program that writes to the
/// same terminal.
fn is_time(word: &[u8]) -> bool {
    match word.get(2) {
        Some(b':') => is_time_of_day(word),
        _ if may_be_since_1970(word) => is_seconds(word) || number::<u64>(word).is_some(),
        _ => is_seconds(word) && matches!(fraction(word), 3 | 6 | 9),
    }
}

/// The number of digits after the decimal point: strace prints milliseconds, microseconds or nanoseconds.
fn fraction(seconds: &[u8]) -> usize {
    digits(seconds).1.len() - 1
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
    let is_pointer = matches!(number.len(), 8 | 16) && number.iter().all(is_digit);
    let number = number.trim_ascii_start();
    let is_number = !number.is_empty() && digits(number).1.is_empty();
    (is_pointer || is_number).then_some(after)
}

/// Splits off `[pid  1234] `, `[pid  1234<comm>] ` or `1234  ` at the beginning, but not the
/// seconds of -ttt, which have a decimal point.
#[inline]
pub(super) fn thread(line: &[u8]) -> (Option<u32>, &[u8]) {
    match leading_number(line) {
        // Most lines begin like that.
        Some((tid, after @ [b' ', ..])) => (Some(tid), after),
        _ => any_thread(line),
    }
}

/// The same for any line.
fn any_thread(line: &[u8]) -> (Option<u32>, &[u8]) {
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
#[inline]
pub(super) fn call(text: &[u8]) -> Result<Call<'_>, ParseError> {
    if let Some(rest) = text.strip_prefix(b"accept") {
        let rest = rest.strip_prefix(b"4").unwrap_or(rest);
        if let Some(arguments) = rest.strip_prefix(b"(") {
            return Ok(Call::Accept(arguments));
        }
    }
    other_call(text)
}

/// The same for anything but the beginning of accept.
fn other_call(text: &[u8]) -> Result<Call<'_>, ParseError> {
    if let Some(rest) = text.strip_prefix(b"<... ") {
        let (name, rest) = word(rest).ok_or(NOT_STRACE)?;
        let rest = rest.strip_prefix(b"resumed>").ok_or(NOT_STRACE)?;
        return Ok(match name {
            b"accept" | b"accept4" => Call::Resumed(rest),
            _ => Call::Other(Form::Own),
        });
    }
    if text.is_empty() {
        return Ok(Call::Other(Form::Shared));
    }
    let is_other =
        is_other_call(text) || text == UNFINISHED || is_message(text) || is_stack_frame(text);
    if is_other {
        Ok(Call::Other(Form::Own))
    } else {
        Err(NOT_STRACE)
    }
}

/// `name(ARGUMENTS) = RESULT`, or a part of it. Unlike in a program, nothing else is on the line.
fn is_other_call(text: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let name = text.iter().take_while(|byte| is_name(byte)).count();
    let arguments = match &text[name..] {
        [b'(', arguments @ ..] if name > 0 => arguments,
        // A system call that strace does not know.
        _ => match text.strip_prefix(b"???(") {
            Some(arguments) => arguments,
            None => return false,
        },
    };
    arguments.ends_with(UNFINISHED)
        || result(arguments).is_some_and(|(_, result)| is_result(result))
}

/// `0`, `-1 EBADF (Bad file descriptor)`, `0x7f2e`, `3</etc/hosts>`, or `?`.
fn is_result(text: &[u8]) -> bool {
    if text.first() == Some(&b'?') {
        return true;
    }
    let (number, after) = digits(text.strip_prefix(b"-").unwrap_or(text));
    !number.is_empty() && after.first().is_none_or(|byte| b" <x".contains(byte))
}

/// Messages of strace, of exits and of signals. Old versions have no `strace: ` before the first, and the
/// terminal may have shown ^C before it.
fn is_message(text: &[u8]) -> bool {
    let text = match text.strip_prefix(b"^C") {
        Some([]) => return true,
        Some(text) => text,
        None => text,
    };
    const STARTS: [&[u8]; 6] = [
        b"strace: ",
        b"--- SIG",
        b"--- stopped by SIG",
        b"+++ exited with ",
        b"+++ killed by SIG",
        b"+++ superseded by execve in pid ",
    ];
    if STARTS.iter().any(|start| text.starts_with(start)) {
        return true;
    }
    if let Some(rest) = text.strip_prefix(b"Process ") {
        let (pid, after) = digits(rest);
        let after = after.strip_prefix(b" ").unwrap_or_default();
        let (what, _) = word(after).unwrap_or((after, b""));
        return !pid.is_empty()
            && [&b"attached"[..], b"detached", b"resumed", b"suspended"].contains(&what);
    }
    text == b"<detached ...>" || text.starts_with(b"[ Process PID=") && text.ends_with(b" mode. ]")
}

/// ` > /usr/lib/libc.so.6(accept+0x4d) [0x11e55d]` of -k
fn is_stack_frame(text: &[u8]) -> bool {
    text.starts_with(b"> ") && text.ends_with(b"]") && find(text, b"[0x").is_some()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Any combination of what may be before a call, and parts of that, changed in each place.
    #[test]
    fn fast_path_for_prefixes_matches_the_general_one() {
        let threads = [
            "",
            "12 ",
            "12   ",
            "[pid 12] ",
            "[pid    12] ",
            "[pid 12",
            "12<a> ",
            "4294967296 ",
            "[pid 4294967296] ",
            " ",
            "[pid ] ",
            "12\t",
        ];
        let times = [
            "",
            "1395029583.123456 ",
            "14:25:37.123456 ",
            "14:25:37 ",
            "1395029583 ",
            "0.000012 ",
            "1395029583.123456",
            "14:25:37.123456  ",
            "1395029583.1234567 ",
            "395029583.123456 ",
            "14:25:37.123 ",
            "14:25:37.123456 (+     0.000001) ",
            "14:25:37.123456 [ 288] ",
        ];
        let mut usual = 0;
        for line in threads
            .iter()
            .flat_map(|thread| times.map(|time| format!("{thread}{time}")))
        {
            for call in [
                "accept(3",
                "<... accept resumed>",
                "",
                "+++ exited with 0 +++",
                "x: ",
                "1",
            ] {
                let line = format!("{line}{call}").into_bytes();
                for place in 0..line.len() {
                    for byte in *b"0: .[]<a" {
                        let mut line = line.clone();
                        line[place] = byte;
                        let found = usual_prefix(&line);
                        usual += usize::from(found.is_some());
                        let expected = any_prefix(&line);
                        let shown = line.escape_ascii();
                        assert!(found.is_none_or(|found| found == expected), "{shown}");
                    }
                }
            }
        }
        assert!(usual > 1000);
    }
}
