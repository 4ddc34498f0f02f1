//! What is printed: text or JSON on standard output, the account on standard error.

mod account;
mod clock;
mod json;
mod stderr;
mod stdout;
mod text;

use std::time::Duration;

pub use self::{
    account::account, clock::Clock, json::Json, stderr::say, stdout::Stdout, text::Text,
};
use crate::{
    connection::Connection,
    kernel::{Backend, Doubts},
    tally::Client,
};

/// What is known when tracing has ended.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What counted.
    pub backend: Backend,
    /// All connections: the sum of all clients and of `other_clients`.
    pub connections: u64,
    /// The clients, most connections first.
    pub clients: Vec<Client>,
    /// Connections of clients for which there was no room.
    pub other_clients: u64,
    /// Of all connections, those that only the second hook of the pair saw.
    pub second_hook_only: u64,
    /// Connections that have no line of their own though one was asked for.
    pub lines_not_shown: u64,
    /// How long the probes were attached.
    pub elapsed: Duration,
}

/// The format of standard output.
#[derive(Debug)]
pub enum Printer {
    /// Lines for people.
    Text(Text),
    /// Lines for programs.
    Json(Json),
}

impl Printer {
    /// Appends one connection's line.
    pub fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        match self {
            Self::Text(text) => text.connection(out, connection),
            Self::Json(json) => json.connection(out, connection),
        }
    }

    /// Appends the summary.
    pub fn summary(&self, out: &mut Vec<u8>, summary: &Summary, doubts: &Doubts) {
        match self {
            Self::Text(text) => text.summary(out, summary),
            Self::Json(json) => json.summary(out, summary, doubts),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;
    use crate::{
        connection::{Family, Hook, Process},
        tally::Tally,
    };

    fn connection() -> Connection {
        Connection {
            time: Timestamp::constant(1_395_029_583, 5_000),
            remote: "192.168.122.1:40000".parse().unwrap(),
            local: "[2001:db8::5]:443".parse().unwrap(),
            family: Family::Ipv6,
            process: Some(Process {
                pid: 7,
                tid: 8,
                uid: 33,
                cgroup: 99,
                comm: *b"a\x1b\"b\0\0\0\0\0\0\0\0\0\0\0\0",
            }),
            netns: Some(4_026_531_840),
            hook: Hook::Kprobe,
        }
    }

    fn summary() -> Summary {
        let mut tally = Tally::default();
        tally.add("192.168.122.1".parse().unwrap(), 80, 2);
        tally.add("2001:db8::1".parse().unwrap(), 443, 1);
        tally.add_other(4);
        Summary {
            backend: Backend::Kretprobe,
            connections: tally.connections(),
            other_clients: tally.other(),
            clients: tally.ranked(),
            second_hook_only: 1,
            lines_not_shown: 0,
            elapsed: Duration::from_micros(1_234_567),
        }
    }

    fn text(names_port: bool, colour: bool) -> Text {
        Text::new(Clock::new(TimeZone::UTC), names_port, colour)
    }

    fn lines(mut printer: Printer) -> String {
        let mut out = Vec::new();
        printer.connection(&mut out, &connection());
        printer.summary(&mut out, &summary(), &Doubts::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_that_of_the_systemtap_script() {
        assert_eq!(
            lines(Printer::Text(text(false, false))),
            "Mon Mar 17 04:13:03 2014 New connection from 192.168.122.1\n\
             \n=== Summary ===\n192.168.122.1: 2\n2001:db8::1: 1\nother: 4\n"
        );
    }

    #[test]
    fn text_names_the_port_among_several() {
        let lines = lines(Printer::Text(text(true, false)));
        let first = lines.lines().next().unwrap();
        assert!(first.ends_with("from 192.168.122.1 to port 443"), "{first}");
    }

    #[test]
    fn colour_adds_escapes_and_nothing_else() {
        let coloured = lines(Printer::Text(text(false, true)));
        assert!(coloured.contains('\x1b'));
        assert_eq!(
            anstream::adapter::strip_str(&coloured).to_string(),
            lines(Printer::Text(text(false, false)))
        );
    }

    #[test]
    fn json_has_the_documented_fields() {
        let lines = lines(Printer::Json(Json::new(Clock::new(TimeZone::UTC))));
        let mut lines = lines.lines();
        assert_eq!(
            lines.next().unwrap(),
            concat!(
                r#"{"type":"connection","time":"2014-03-17T04:13:03.000005+00:00","#,
                r#""remote_address":"192.168.122.1","remote_port":40000,"#,
                r#""local_address":"2001:db8::5","local_port":443,"family":"ipv6","#,
                r#""pid":7,"tid":8,"comm":"a\\u{1b}\"b","uid":33,"cgroup":99,"#,
                r#""netns":4026531840,"hook":"kprobe"}"#
            )
        );
        assert_eq!(
            lines.next().unwrap(),
            concat!(
                r#"{"type":"summary","probe":"kretprobe","connections":7,"addresses":2,"#,
                r#""seconds":1.235,"lines_not_shown":0,"second_hook_only":1,"other_clients":4,"#,
                r#""unreadable":0,"missed_runs":null,"unaccounted":0,"#,
                r#""clients":[{"address":"192.168.122.1","connections":2,"ports":{"80":2}},"#,
                r#"{"address":"2001:db8::1","connections":1,"ports":{"443":1}}]}"#
            )
        );
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn json_leaves_out_what_is_not_known() {
        let mut out = Vec::new();
        let unknown = Connection {
            process: None,
            netns: None,
            ..connection()
        };
        Json::new(Clock::new(TimeZone::UTC)).connection(&mut out, &unknown);
        let line = String::from_utf8(out).unwrap();
        assert!(!line.contains("pid") && !line.contains("netns"), "{line}");
    }
}
