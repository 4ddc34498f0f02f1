//! A conn.log as JSON.

use std::{borrow::Cow, net::IpAddr};

use jiff::{SignedDuration, Timestamp, Unit};
use serde::Deserialize;

use super::{Row, is_tcp};
use crate::{
    model::connection::{Host, When},
    read::parse::scan::date_time,
};

/// A line of JSON.
#[derive(Deserialize)]
pub(super) struct Json<'a> {
    /// Which log it is of, where several are in one file.
    #[serde(rename = "_path", borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) ts: Option<Time<'a>>,
    #[serde(rename = "id.orig_h", alias = "id_orig_h")]
    orig_h: Option<IpAddr>,
    #[serde(rename = "id.orig_p", alias = "id_orig_p")]
    orig_p: Option<u16>,
    #[serde(rename = "id.resp_h", alias = "id_resp_h")]
    resp_h: Option<IpAddr>,
    #[serde(rename = "id.resp_p", alias = "id_resp_p")]
    resp_p: Option<u16>,
    #[serde(borrow)]
    proto: Option<Cow<'a, str>>,
    #[serde(borrow)]
    conn_state: Option<Cow<'a, str>>,
    #[serde(borrow)]
    history: Option<Cow<'a, str>>,
}

/// One of the forms of `LogAscii::json_timestamps`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Time<'a> {
    Number(f64),
    Text(Cow<'a, str>),
}

/// Numbers that are not smaller are milliseconds: as seconds, they are after the year 5000.
const MIN_MILLISECONDS: f64 = 1e11;

impl Time<'_> {
    pub(super) fn when(&self) -> Option<When> {
        let seconds = match self {
            Self::Text(text) => return date_time(text.as_bytes()),
            Self::Number(number) if *number >= MIN_MILLISECONDS => number / 1000.,
            Self::Number(number) => *number,
        };
        let time = SignedDuration::try_from_secs_f64(seconds).ok()?;
        // Zeek writes microseconds, and more digits are an error of the floating point.
        let time = Timestamp::from_duration(time).and_then(|time| time.round(Unit::Microsecond));
        time.ok().map(When::At)
    }
}

impl Json<'_> {
    /// Whether it is of a log that names itself otherwise.
    pub(super) fn is_other_log(&self) -> bool {
        self.ts.is_some() && self.path.as_ref().is_some_and(|path| path != "conn")
    }

    /// None if it is not a connection. Other logs do not have its state.
    pub(super) fn row(&self) -> Option<Row<'_>> {
        if self.conn_state.is_none() && self.history.is_none() {
            return None;
        }
        Some(Row {
            time: match &self.ts {
                Some(time) => time.when()?,
                None => When::Unknown,
            },
            client: (Host::at(self.orig_h?), self.orig_p?),
            server: (Host::at(self.resp_h?), self.resp_p?),
            is_tcp: is_tcp(self.proto.as_ref()?.as_bytes())?,
            state: self.conn_state.as_deref().map(str::as_bytes),
            history: self.history.as_deref().map(str::as_bytes),
        })
    }
}
