//! Service names of ports.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    sync::OnceLock,
};

/// The file with this machine's names.
const SERVICES: &str = "/etc/services";

/// How much of it is read. It usually has 13 KiB, or 700 KiB with all names that IANA has assigned.
const MAX_BYTES: u64 = 1 << 20;

/// Common names, for machines without that file.
const COMMON: &[(&str, u16)] = &[
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("imap2", 143),
    ("imap", 143),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("submissions", 465),
    ("shell", 514),
    ("printer", 515),
    ("submission", 587),
    ("ipp", 631),
    ("ldaps", 636),
    ("domain-s", 853),
    ("rsync", 873),
    ("imaps", 993),
    ("pop3s", 995),
    ("socks", 1080),
    ("openvpn", 1194),
    ("ms-sql-s", 1433),
    ("mqtt", 1883),
    ("nfs", 2049),
    ("postgrey", 10023),
    ("mysql", 3306),
    ("ms-wbt-server", 3389),
    ("svn", 3690),
    ("epmd", 4369),
    ("sip", 5060),
    ("xmpp-client", 5222),
    ("postgresql", 5432),
    ("amqps", 5671),
    ("amqp", 5672),
    ("x11", 6000),
    ("redis", 6379),
    ("http-alt", 8080),
    ("webcache", 8080),
    ("git", 9418),
];

/// The TCP port of a service name.
pub(crate) fn port(name: &[u8]) -> Option<u16> {
    static NAMES: OnceLock<HashMap<Box<[u8]>, u16>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names = common();
        // If it cannot be read, the common names remain.
        add(&mut names, &read(SERVICES).unwrap_or_default());
        names
    });
    names.get(name).copied()
}

fn common() -> HashMap<Box<[u8]>, u16> {
    let pair = |&(name, port): &(&str, u16)| (name.as_bytes().into(), port);
    COMMON.iter().map(pair).collect()
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// Adds lines such as `http  80/tcp  www  # WorldWideWeb HTTP`. The first line with a name
/// counts, as it does for the C library.
fn add(names: &mut HashMap<Box<[u8]>, u16>, text: &[u8]) {
    let mut added = HashMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let (Some(name), Some(port)) = (words.next(), words.next()) else {
            continue;
        };
        let number = port.strip_suffix(b"/tcp");
        let number = number.and_then(|number| str::from_utf8(number).ok()?.parse().ok());
        let Some(port) = number else {
            continue;
        };
        for name in std::iter::once(name).chain(words) {
            added.entry(name.into()).or_insert(port);
        }
    }
    names.extend(added);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_names_and_aliases_are_found() {
        let mut names = common();
        let text = b"# Network services\n\
            ssh\t\t22/tcp\t\t\t# SSH Remote Login Protocol\n\
            http 8000/tcp www #old 1/tcp\n\
            web 81/tcp\r\nweb 82/tcp\n\
            syslog 514/udp\nbad 99999/tcp\n80/tcp\n\xff\0 7/tcp\n";
        add(&mut names, text);
        let find = |name: &str| names.get(name.as_bytes()).copied();
        assert_eq!(find("ssh"), Some(22));
        assert_eq!(find("http"), Some(8000), "the file takes precedence");
        assert_eq!(find("www"), Some(8000));
        assert_eq!(find("web"), Some(81));
        assert_eq!(find("mysql"), Some(3306));
        for name in ["syslog", "bad", "80/tcp", "#old", "old", ""] {
            assert_eq!(find(name), None, "{name}");
        }
    }

    #[test]
    fn common_names_are_built_in() {
        assert_eq!(port(b"https"), Some(443));
        assert_eq!(port(b"no-such-service"), None);
    }
}
