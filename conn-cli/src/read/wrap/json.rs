//! Lines in the `message` field of a JSON object, as log shippers, docker and journalctl write them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::Inner;
use crate::{
    model::connection::When,
    read::parse::{kernel_log::stamp::Stamp, lines::object},
};

/// The fields where the line is; the first that is there does.
const MESSAGE: [&str; 6] = ["message", "MESSAGE", "msg", "log", "short_message", "line"];

/// Those where the time is, as RFC 3339.
const TIME: [&str; 4] = ["@timestamp", "timestamp", "time", "ts"];

/// Those where the host is: of the journal, of the Elastic Common Schema, and of log shippers. Slashes as below.
const HOST: [&str; 5] = [
    "/_HOSTNAME",
    "/host/name",
    "/host.name",
    "/host",
    "/hostname",
];

/// Those where the name of the program is that wrote it, with slashes between those of objects in objects.
const WRITER: [&str; 19] = [
    "/SYSLOG_IDENTIFIER",
    "/_SYSLOG_IDENTIFIER",
    "/syslog/identifier",
    "/labels/syslog_identifier",
    "/program",
    "/_program",
    "/_application_name",
    "/programname",
    "/appname",
    "/app_name",
    "/ident",
    "/tag",
    "/syslogtag",
    "/syslog-tag",
    "/syslog_tag",
    "/_COMM",
    // Elastic Common Schema.
    "/process/name",
    "/process.name",
    "/log/syslog/appname",
];

/// An object that has each field once: which of two is meant, no reader agrees on with another.
struct Fields(Value);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;

        impl<'de> Visitor<'de> for Once {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Fields, A::Error> {
                let mut object = Map::new();
                while let Some((name, value)) = access.next_entry()? {
                    if object.insert(name, value).is_some() {
                        return Err(A::Error::custom("a field occurs twice"));
                    }
                }
                Ok(Fields(Value::Object(object)))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// The line, if this is an object with one.
pub(super) fn peel(line: &[u8]) -> Option<Inner<'_>> {
    let Fields(object) = object(line)?;
    let text = |name: &&str| object.get(*name).and_then(Value::as_str);
    let message = MESSAGE.iter().find_map(text)?;
    let message = message.strip_suffix('\n').unwrap_or(message);
    let message = message.strip_suffix('\r').unwrap_or(message);
    // The text after a tag begins with a blank in rsyslog's `msg`; more of them are the line's own.
    let message = match message.strip_prefix(' ') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => message,
    };
    // A line is one line: what follows may be anything that somebody sent.
    if message.contains(['\n', '\r']) {
        return None;
    }
    let mut tags = WRITER.iter().filter_map(|name| object.pointer(name));
    // The journal has a list of names if a program sent several. That is nobody's.
    let tag = tags.find(|tag| !tag.is_null());
    let tag = tag.map(|tag| name(tag.as_str().unwrap_or_default()));
    // In the journal any user can choose a name: the kernel log's parser judges its entries.
    let has_user = ["_TRANSPORT", "_UID"]
        .iter()
        .any(|name| object.get(*name).is_some());
    let tag = match tag {
        None | Some("kernel" | "klogd" | "ulogd") if has_user => Some(""),
        tag => tag,
    };
    Some(Inner {
        line: Cow::Owned(message.as_bytes().to_vec()),
        // It lacks nothing.
        time: time(&object),
        host: { HOST.iter() }
            .find_map(|name| object.pointer(name)?.as_str())
            .map(|host| Cow::Owned(host.as_bytes().to_vec())),
        tags: [
            tag.map(|tag| Cow::Owned(tag.as_bytes().to_vec())),
            None,
            None,
        ],
    })
}

/// The name in a tag such as `sshd[12]:`.
fn name(tag: &str) -> &str {
    let tag = tag.trim_ascii();
    let tag = tag.strip_suffix(':').unwrap_or(tag);
    match tag.split_once('[') {
        Some((name, number)) if number.ends_with(']') => name,
        _ => tag,
    }
}

fn time(object: &Value) -> When {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    if let Some(text) = text("__REALTIME_TIMESTAMP") {
        return Stamp::Microseconds(text.as_bytes()).when();
    }
    let text = TIME.into_iter().find_map(text);
    let time = text.and_then(|text| text.parse().ok());
    time.map_or(When::Unknown, When::At)
}
