//! Lines in the `message` field of a JSON object, as log shippers, docker and journalctl write them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Inner;
use crate::{model::connection::When, read::parse::kernel_log::stamp::Stamp};

/// The fields that may have the line; the first that is there does.
const MESSAGE: [&str; 4] = ["message", "MESSAGE", "msg", "log"];

/// Those that may have the time, as RFC 3339.
const TIME: [&str; 4] = ["@timestamp", "timestamp", "time", "ts"];

/// Those that may have the name of the program that wrote it.
const WRITER: [&str; 7] = [
    "SYSLOG_IDENTIFIER",
    "program",
    "programname",
    "appname",
    "app_name",
    "ident",
    "tag",
];

/// The line, if this is an object with one.
pub(super) fn peel(line: &[u8], wants_time: bool) -> Option<Inner<'_>> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let text = |name: &&str| object.get(*name).and_then(Value::as_str);
    let message = MESSAGE.iter().find_map(text)?;
    let message = message.strip_suffix('\n').unwrap_or(message);
    // A line is one line: what follows may be anything that somebody sent.
    if message.contains(['\n', '\r']) {
        return None;
    }
    let tag = WRITER.iter().find_map(text);
    Some(Inner {
        line: Cow::Owned(message.as_bytes().to_vec()),
        time: if wants_time {
            time(&object)
        } else {
            When::Unknown
        },
        tag: tag.map(|tag| Cow::Owned(tag.as_bytes().to_vec())),
    })
}

fn time(object: &Map<String, Value>) -> When {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    if let Some(text) = text("__REALTIME_TIMESTAMP") {
        return Stamp::Microseconds(text.as_bytes()).when();
    }
    let text = TIME.into_iter().find_map(text);
    let time = text.and_then(|text| text.parse().ok());
    time.map_or(When::Unknown, When::At)
}
