//! The lines of `journalctl -o json`.

use serde::{Deserialize, de::IgnoredAny};

use super::{stamp::Stamp, syslog::Entry, tag::Writer};
use crate::read::parse::lines::object;

/// The fields of a line of `journalctl -o json` that are used.
#[derive(Deserialize)]
pub(crate) struct Journal {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    microseconds: Option<String>,
    #[serde(rename = "MESSAGE")]
    message: Option<Text>,
    /// Only the journal can set this field.
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Text>,
    /// Likewise. The user of the program that wrote the entry; the kernel has none.
    #[serde(rename = "_UID")]
    uid: Option<Text>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Text>,
}

/// The value of a field. `Bytes` if it is not UTF-8; `Other` if the field occurs twice or is too
/// long.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    String(String),
    Bytes(Vec<u8>),
    Other(IgnoredAny),
}

/// The host that the journal says a line was written on. Only the journal can set this field.
pub(super) fn host(line: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Host {
        #[serde(rename = "_HOSTNAME")]
        name: Option<Text>,
    }
    let host: Host = object(line)?;
    Some(host.name?.bytes().to_vec())
}

impl Journal {
    /// Parses a line; None if it is not from the journal.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let journal: Self = object(line)?;
        (journal.microseconds.is_some() || journal.message.is_some()).then_some(journal)
    }

    /// Converts it to a log entry.
    pub(crate) fn entry(&self) -> Entry<'_> {
        let is_root = self.uid.as_ref().map(Text::bytes) == Some(b"0");
        let has_user = self.uid.is_some();
        let named = |name| match Writer::with_name(name, false) {
            // Any user can choose a name.
            Writer::Kernel if name == b"kernel" && !has_user => Writer::Kernel,
            writer if name != b"kernel" && is_root => writer,
            _ => Writer::Foreign,
        };
        let writer = match (
            self.transport.as_ref().map(Text::bytes),
            self.identifier.as_ref().map(Text::bytes),
        ) {
            // A message that a program wrote to /dev/kmsg has that program's name.
            (Some(b"kernel"), Some(b"kernel") | None) => Writer::Kernel,
            (Some(b"kernel"), Some(_)) | (Some(_), Some(b"kernel") | None) => Writer::Foreign,
            // `journalctl --output-fields` can leave out the transport.
            (_, Some(name)) => named(name),
            (None, None) if has_user => Writer::Foreign,
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
