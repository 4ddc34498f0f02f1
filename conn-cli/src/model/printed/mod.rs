//! The shapes of the text that conn-cli prints, for those who read it back: `read`, `compare` and `--known`.
//!
//! Each shape is tied to the beginning of the line, and an address counts only at its place in the shape:
//! output contains names that others chose, such as those of processes, and a name must not make an
//! address known, nor a connection.

pub(crate) mod connection;
pub(crate) mod message;
pub(crate) mod over;
pub(crate) mod summary;
#[cfg(test)]
mod tests;
pub(crate) mod time;

/// What the keys of a summary are called, one and several; see [`super::group::GroupBy::nouns`].
pub(crate) const BY_ADDRESS: [&str; 4] = ["address", "addresses", "network", "networks"];
pub(crate) const BY_OTHERS: [&str; 10] = [
    "name",
    "names",
    "port",
    "ports",
    "process",
    "processes",
    "cgroup",
    "cgroups",
    "user",
    "users",
];

/// Whether these are the titles of a comparison.
pub(crate) fn is_comparison(line: &str) -> bool {
    words(line).eq(["before", "after", "difference", "address"])
}

pub(crate) fn words(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// The first word, and the text after the blanks behind it.
pub(crate) fn first_word(text: &str) -> (&str, &str) {
    match text.split_once(is_blank) {
        Some((word, rest)) => (word, rest.trim_start_matches(is_blank)),
        None => (text, ""),
    }
}

pub(crate) fn is_blank(char: char) -> bool {
    char == ' ' || char == '\t'
}

pub(crate) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number without a sign.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    is_number(text).then(|| text.parse().ok()).flatten()
}
