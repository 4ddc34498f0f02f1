//! The lines of `journalctl -o json`.

use serde::{Deserialize, de::IgnoredAny};

use super::{
    stamp::Stamp,
    syslog::{Entry, Writer, writer},
};

/// A line of `journalctl -o json`, as far as it is used.
#[derive(Deserialize)]
pub struct Journal {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    microseconds: Option<String>,
    #[serde(rename = "MESSAGE")]
    message: Option<Text>,
    /// Nobody but the journal can set this.
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Text>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Text>,
}

/// A value of the journal's: bytes if it is not UTF-8; else it is there twice, or is too long.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    String(String),
    Bytes(Vec<u8>),
    Other(IgnoredAny),
}

impl Journal {
    /// Takes a line apart; None if it is none of the journal's.
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.first() != Some(&b'{') {
            return None;
        }
        let journal: Self = serde_json::from_slice(line).ok()?;
        (journal.microseconds.is_some() || journal.message.is_some()).then_some(journal)
    }

    /// What is in it.
    pub fn entry(&self) -> Entry<'_> {
        let writer = match (
            self.transport.as_ref().map(Text::bytes),
            self.identifier.as_ref().map(Text::bytes),
        ) {
            (_, Some(b"ulogd")) => Writer::Kernel,
            // What a program wrote to /dev/kmsg has its name.
            (Some(b"kernel"), Some(name)) => writer(name, name != b"kernel"),
            (Some(b"kernel"), None) => Writer::Kernel,
            (Some(_), _) => Writer::Process,
            // journalctl --output-fields
            (None, Some(name)) => writer(name, name != b"kernel"),
            (None, None) => Writer::Unnamed,
        };
        Entry {
            stamp: match &self.microseconds {
                Some(text) => Stamp::Microseconds(text.as_bytes()),
                None => Stamp::None,
            },
            writer,
            message: self.message.as_ref().map(Text::bytes).unwrap_or_default(),
            is_known: true,
        }
    }
}

impl Text {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::String(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Other(_) => b"",
        }
    }
}
