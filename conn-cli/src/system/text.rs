//! Untrusted text, made safe to show.

/// Whether a terminal may interpret a character instead of showing it: control characters, and
/// those that change the direction of text or end a line.
#[must_use]
pub(crate) fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many characters of a line are quoted.
const MAX_QUOTED: usize = 60;

/// The beginning of an untrusted line, safe to show.
#[must_use]
pub(crate) fn quoted(line: &[u8]) -> String {
    // No character has more bytes than four.
    let line = &line[..line.len().min(4 * MAX_QUOTED)];
    let text = String::from_utf8_lossy(line.trim_ascii());
    let text: String = text.chars().take(MAX_QUOTED).collect();
    escaped(text.as_bytes())
}

/// Makes untrusted bytes safe to show: escapes control characters, bytes that are not UTF-8, and
/// the backslash.
#[must_use]
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if is_unsafe(char) || char == '\\' {
                shown.extend(char.escape_default());
            } else {
                shown.push(char);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}
