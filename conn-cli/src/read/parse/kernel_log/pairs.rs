//! The line of a log as `NAME=VALUE` pairs, which syslog-ng writes for Graylog and others:
//! `HOST=192.0.2.1 MESSAGE="input: in:ether1 .." PROGRAM=firewall,info`

use crate::read::parse::scan::split_at_byte;

/// The program and the message. None unless all of the text is pairs with one of each.
pub(super) fn message(mut text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut program, mut message) = (None, None);
    while !text.is_empty() {
        let (name, rest) = split_at_byte(text, b'=')?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
        if name.is_empty() || !name.iter().all(is_name) {
            return None;
        }
        let (value, rest) = value(rest)?;
        let place = match name {
            b"PROGRAM" => &mut program,
            b"MESSAGE" => &mut message,
            _ => &mut None,
        };
        if place.replace(value).is_some() {
            return None;
        }
        text = rest.trim_ascii_start();
    }
    program.zip(message)
}

/// A word, or a text in quotes, and what follows.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b' ');
        return Some(text.split_at(end.unwrap_or(text.len())));
    };
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => {
                let rest = &quoted[at + 1..];
                return matches!(rest, [] | [b' ', ..]).then_some((&quoted[..at], rest));
            }
            _ => (),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_pairs_are_split() {
        for (text, expected) in [
            ("A=1 MESSAGE=\"x y\" PROGRAM=p,i", Some(("p,i", "x y"))),
            ("PROGRAM=p MESSAGE=x", Some(("p", "x"))),
            (
                "PROGRAM=p MESSAGE=\"x\\\" PROGRAM=kernel\"",
                Some(("p", "x\\\" PROGRAM=kernel")),
            ),
            ("PROGRAM=p MESSAGE=\"x\" PROGRAM=kernel", None),
            ("PROGRAM=p MESSAGE=\"x\"y", None),
            ("PROGRAM=p MESSAGE=\"x", None),
            ("PROGRAM=p x MESSAGE=y", None),
            ("MESSAGE=y", None),
            ("", None),
        ] {
            let expected = expected.map(|(program, text)| (program.as_bytes(), text.as_bytes()));
            assert_eq!(message(text.as_bytes()), expected, "{text}");
        }
    }
}
