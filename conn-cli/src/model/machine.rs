//! The machines that connections were recorded on. In JSON they are `host`.

use std::sync::Arc;

use crate::system::text::{escaped, is_unsafe};

/// The longest name of a machine, in bytes (RFC 1035).
const MAX_LEN: usize = 255;

/// The name of a machine, safe to show. It may come from a log, and then it can be any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine(Arc<str>);

/// The machines of several connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Machines {
    /// There are no connections yet.
    #[default]
    None,
    /// All are of the same; None if their records do not tell it.
    One(Option<Machine>),
    /// They are of several, or only some tell it.
    Several,
}

impl Machine {
    /// The machine with this name. None if it has none, or if the text is too long to be one.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let is_name = !name.is_empty() && name.len() <= MAX_LEN && name != b"-";
        is_name.then(|| Self(escaped(name).into()))
    }

    /// The machine whose name conn-cli has printed in JSON, which is [safe](Self::as_str) already unless
    /// somebody else wrote that.
    #[must_use]
    pub(crate) fn printed(name: &str) -> Option<Self> {
        // Escapes are longer than what they are for.
        let is_name = !name.is_empty() && name.len() <= MAX_LEN * "\\u{10ffff}".len();
        is_name.then(|| {
            if name.contains(is_unsafe) {
                Self(escaped(name.as_bytes()).into())
            } else {
                Self(name.into())
            }
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Machines {
    /// Adds that of a connection.
    #[inline]
    pub(crate) fn add(&mut self, machine: Option<&Machine>) {
        match self {
            Self::One(one) if one.as_ref() == machine => (),
            Self::None => *self = Self::One(machine.cloned()),
            Self::One(_) => *self = Self::Several,
            Self::Several => (),
        }
    }

    /// The machine that all connections are of. `default`: that of those whose records do not tell it, if that is
    /// known.
    #[must_use]
    pub(crate) fn one<'a>(&'a self, default: Option<&'a Machine>) -> Option<&'a Machine> {
        match self {
            Self::One(Some(one)) => Some(one),
            Self::None | Self::One(None) => default,
            Self::Several => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_to_show() {
        let named = |name: &[u8]| Machine::named(name).map(|machine| machine.as_str().to_owned());
        assert_eq!(named(b"web-1.example").as_deref(), Some("web-1.example"));
        assert_eq!(named(b"fe80::1").as_deref(), Some("fe80::1"));
        assert_eq!(
            named(b"a\x1b[2J\"\\\xff").as_deref(),
            Some("a\\u{1b}[2J\"\\\\\\xff")
        );
        for name in [&b""[..], b"-", &[b'a'; MAX_LEN + 1]] {
            assert_eq!(named(name), None);
        }
    }

    #[test]
    fn printed_names_are_read_back() {
        for name in [&b"web1"[..], b"a\x1b\\b", b"\xff\xfe"] {
            let machine = Machine::named(name).unwrap();
            assert_eq!(Machine::printed(machine.as_str()), Some(machine));
        }
        let foreign = Machine::printed("a\u{1b}[2J").unwrap();
        assert_eq!(foreign.as_str(), "a\\u{1b}[2J");
    }

    #[test]
    fn only_one_machine_is_the_machine_of_all() {
        let [a, b] = [&b"a"[..], b"b"].map(|name| Machine::named(name).unwrap());
        let of = |all: &[Option<&Machine>]| {
            let mut machines = Machines::default();
            all.iter().for_each(|machine| machines.add(*machine));
            machines.one(Some(&b)).cloned()
        };
        assert_eq!(of(&[]), Some(b.clone()));
        assert_eq!(of(&[None, None]), Some(b.clone()));
        assert_eq!(of(&[Some(&a), Some(&a)]), Some(a.clone()));
        assert_eq!(of(&[Some(&a), None]), None);
        assert_eq!(of(&[Some(&a), Some(&b)]), None);
    }
}
