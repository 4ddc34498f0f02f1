//! The text for people and for scripts that read the SystemTap script's output.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Clock, Summary};
use crate::connection::{Connection, When};

const TIME: Style = Style::new().dimmed();
const ADDRESS: Style = AnsiColor::Cyan.on_default();
const TITLE: Style = Style::new().bold();

/// Writes lines of text.
#[derive(Debug)]
pub struct Text {
    clock: Clock,
    names_port: bool,
    colour: bool,
}

impl Text {
    /// `names_port`: every line says which local port it was.
    #[must_use]
    pub fn new(clock: Clock, names_port: bool, colour: bool) -> Self {
        Self {
            clock,
            names_port,
            colour,
        }
    }

    /// `Mon Mar 17 04:13:03 2014 New connection from 192.168.122.1`
    pub fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        let (time, address) = (self.style(TIME), self.style(ADDRESS));
        match &connection.time {
            When::At(moment) => {
                let when = self.clock.text(*moment);
                put(out, format_args!("{time}{when}{time:#}"));
            }
            When::Recorded(when) => {
                let (when, lacks) = (&when.text, when.lacks);
                put(out, format_args!("{time}{when} ({lacks}){time:#}"));
            }
            When::Unknown => put(out, format_args!("{time}(no time){time:#}")),
        }
        let who = &connection.remote;
        put(
            out,
            format_args!(" New connection from {address}{who}{address:#}"),
        );
        if let (true, Some(port)) = (self.names_port, connection.local_port) {
            put(out, format_args!(" to port {port}"));
        }
        out.push(b'\n');
    }

    /// An empty line, a title, and a line for each client.
    pub fn summary(&self, out: &mut Vec<u8>, summary: &Summary) {
        let (title, address) = (self.style(TITLE), self.style(ADDRESS));
        put(out, format_args!("\n{title}=== Summary ==={title:#}\n"));
        for client in &summary.clients {
            let (who, connections) = (&client.host, client.connections);
            put(
                out,
                format_args!("{address}{who}{address:#}: {connections}\n"),
            );
        }
        for (who, connections) in [
            ("unknown", summary.unknown_clients),
            ("other", summary.other_clients),
        ] {
            if connections > 0 {
                put(out, format_args!("{who}: {connections}\n"));
            }
        }
    }

    fn style(&self, style: Style) -> Style {
        if self.colour { style } else { Style::new() }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}
