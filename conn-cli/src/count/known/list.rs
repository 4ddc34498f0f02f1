//! Reads the file of known clients.

use std::io::BufRead;

use anyhow::{Context as _, bail};

use super::{
    Clients, json,
    line::{Lines, Wrong},
};

/// The greatest length of the file.
pub(super) const MAX_LEN: u64 = 64 << 20;

/// The most addresses, names and networks, which bounds the memory.
const MAX_ENTRIES: usize = 4_000_000;

/// Reads the known clients. `name` is the name of the file.
pub(super) fn read(reader: impl BufRead, name: &str) -> anyhow::Result<Clients> {
    // The file may have grown since its length was checked, or have none, as those in /proc.
    let mut reader = reader.take(MAX_LEN + 1);
    let mut clients = Clients::default();
    let mut lines = Lines::default();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let length = { reader.read_until(b'\n', &mut line) }
            .with_context(|| format!("cannot read {name}"))?;
        if length == 0 {
            break;
        }
        if reader.limit() == 0 {
            bail!(too_long(name));
        }
        // Never the text: the file may hold secrets that only root may read.
        add(&line, number == 1, &mut lines, &mut clients)
            .with_context(|| format!("{name}, line {number}"))?;
    }
    Ok(clients)
}

/// What to say of a file that is too long.
pub(super) fn too_long(name: &str) -> String {
    format!(
        "cannot read {name}: it is larger than {} MiB; a summary, which --quiet prints, is smaller",
        MAX_LEN >> 20
    )
}

fn add(
    line: &[u8],
    is_first: bool,
    lines: &mut Lines,
    clients: &mut Clients,
) -> anyhow::Result<()> {
    // The rest of a line may be a comment in another encoding.
    let text = String::from_utf8_lossy(line);
    let text = text.trim_ascii();
    // Some Windows editors start a UTF-8 file with a byte order mark.
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) if is_first => rest.trim_ascii(),
        _ => text,
    };
    let added = if text.starts_with('{') {
        json::add_clients(text, clients)
    } else {
        let entry = lines.parse(text);
        entry.map(|entry| entry.iter().for_each(|entry| clients.add(entry)))
    };
    match added {
        Ok(()) if clients.len() > MAX_ENTRIES => {
            bail!("more than {MAX_ENTRIES} addresses and networks")
        }
        Ok(()) => Ok(()),
        Err(Wrong::NotByAddress) => bail!("a summary that does not count by address"),
        Err(Wrong::NotPrinted) if str::from_utf8(line).is_err() => bail!("not UTF-8 text"),
        Err(Wrong::NotPrinted) => {
            bail!("not an address, a network such as 192.0.2.0/24, or a line that conn-cli prints")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, BufReader},
        net::IpAddr,
    };

    use super::*;
    use crate::model::connection::Host;

    fn listed(content: impl AsRef<[u8]>) -> anyhow::Result<Clients> {
        read(content.as_ref(), "list")
    }

    fn contain(clients: &Clients, host: &str) -> bool {
        clients.contain(&match host.parse::<IpAddr>() {
            Ok(address) => Host::at(address),
            Err(_) => Host::named(host.as_bytes()).unwrap(),
        })
    }

    fn error(content: impl AsRef<[u8]>) -> String {
        format!("{:#}", listed(content).unwrap_err())
    }

    #[test]
    fn summaries_and_handwritten_lists_are_read() {
        let clients = listed(
            "\u{feff}\r\n=== Summary ===\r\n192.0.2.1: 5\r\n2001:db8::1: 1\r\n\
             web.example: 3\n192.0.2.5 port 80: 3\nfd00::5 unknown port: 1\n5 more: 7\n5 other addresses: 7\nunknown: 4\nother: 2\n\
             # the office\n  192.0.2.2\t# and its printer\n\n\
             ::ffff:192.0.2.3\n  2001:db8::2  :  7  \n::: 1\n10.1.2.3/8\n2001:db8:1::/48 B\u{fc}ro\n",
        )
        .unwrap();
        for host in [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.5",
            "fd00::5",
            "2001:db8::1",
            "2001:db8::2",
            "::",
            "web.example",
            "10.0.0.0",
            "10.255.255.255",
            "2001:db8:1:ffff::1",
        ] {
            assert!(contain(&clients, host), "{host}");
        }
        // The totals in a summary are not clients.
        for host in ["192.0.2.4", "11.0.0.0", "2001:db8:2::", "unknown", "other"] {
            assert!(!contain(&clients, host), "{host}");
        }
        assert!(!clients.contain(&Host::Unknown));
        let latin1 = listed(b"192.0.2.1 B\xfcro\n").unwrap();
        assert!(contain(&latin1, "192.0.2.1"));
    }

    #[test]
    fn json_has_clients_in_lines_and_summaries() {
        let clients = listed(concat!(
            r#"{"type":"connection","time":null,"remote_address":"192.0.2.1","local_address":"198.51.100.1","comm":"10.0.0.1"}"#,
            "\n",
            r#"{"type":"stage","stage":"syn","remote_address":"192.0.2.2"}"#,
            "\n",
            r#"{"type":"connection","remote_name":"web.example"}"#,
            "\n",
            r#"{"type":"interval","busiest_address":"198.51.100.2"}"#,
            "\n",
            r#"{"type":"totals","clients":[{"address":"::ffff:192.0.2.3","connections":1}]}"#,
            "\r\n",
            r#"{"type":"summary","by":"network","clients":[{"network":"192.0.2.128/25","connections":1}]}"#,
            "\n",
            r#"{"type":"summary","listeners":[{"address":"198.51.100.3"}],"clients":[{"name":"db.example","connections":1},{}]}"#,
            "\n",
            r#"{"type":"news","remote_address":"198.51.100.4"}"#,
            "\nListening\n",
        ).replace("Listening", "listening: 198.51.100.5:80 nobody"))
        .unwrap();
        for host in [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.200",
            "web.example",
            "db.example",
        ] {
            assert!(contain(&clients, host), "{host}");
        }
        assert_eq!(clients.len(), 6);
        for (line, why) in [
            (
                r#"{"type":"summary","by":"user","clients":[{"name":"www","connections":1}]}"#,
                "by address",
            ),
            (
                r#"{"type":"connection","remote_address":"x"}"#,
                "not an address",
            ),
            (r#"{"remote_address":"192.0.2.1"}"#, "not an address"),
            ("{", "not an address"),
        ] {
            let error = error(format!("{line}\n"));
            assert!(
                error.starts_with("list, line 1: ") && error.contains(why),
                "{error}"
            );
        }
    }

    /// The file may be one that only root may read.
    #[test]
    fn errors_name_the_line_and_never_its_text() {
        for secret in [
            &b"root:$6$secret:19000:0:99999:7:::"[..],
            b"secret: 5",
            b"secret[7]: 5",
            b"\xff\xfes\0e\0c\0r\0e\0t\0",
            b"{\"secret\":1}",
            b"{\"type\":\"connection\",\"remote_address\":\"secret\"}",
            b"\x1b[2Jsecret",
            b"\0\0secret",
        ] {
            // A name with a count is one of a summary.
            let Err(error) = listed([b"192.0.2.1\r\n\r\n", secret].concat()) else {
                assert_eq!(secret, b"secret: 5");
                continue;
            };
            let error = format!("{error:#}");
            assert!(error.starts_with("list, line 3: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        assert!(error(b"\xff\xfe1\x009\0").contains("not UTF-8"));
        assert!(error("x").contains("192.0.2.0/24"));
    }

    #[test]
    fn length_and_entries_are_bounded() {
        let error = read(BufReader::new(io::repeat(b'1')), "list").unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("cannot read list: it is larger than 64 MiB"),
            "{error}"
        );
        let comment = format!("192.0.2.1 {}\n192.0.2.2", "x".repeat(100_000));
        assert!(contain(&listed(comment).unwrap(), "192.0.2.2"));
    }

    #[test]
    fn own_summary_is_read() {
        use crate::{
            count::tally::Tally,
            model::{options::TimeFormat, read_stats::ReadStats},
            output::{Clock, Look, Text},
            report::{Origin, Report},
        };
        let hosts = [
            Host::at([192, 0, 2, 1]),
            Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]),
            Host::named(b"web-1.example").unwrap(),
        ];
        let mut tally = Tally::default();
        for host in &hosts {
            tally.add(host, Some(80), 3);
        }
        tally.add(&Host::Unknown, None, 2);
        tally.add_other(1);
        for long in [false, true] {
            let clock = Clock::new(jiff::tz::TimeZone::UTC, TimeFormat::default());
            let report = Report::sample(&tally, Origin::Records(ReadStats::default()));
            let look = Look {
                long,
                ..Look::default()
            };
            let mut printer = Text::new(clock, look);
            let text: String = printer.report(&report, "Summary").collect();
            let clients = listed(text.into_bytes()).unwrap();
            for host in &hosts {
                assert!(clients.contain(host), "{host}");
            }
            assert_eq!(clients.len(), hosts.len());
        }
    }
}
