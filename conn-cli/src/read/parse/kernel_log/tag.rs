//! Who wrote a line of a log.
//!
//! Where lines have a header, the tag after it tells which program wrote them, and only a few write packet
//! records. A tag that is odd or missing is not theirs: the text after it may be what somebody sent to
//! another program.

use super::{pairs, routeros, untagged};
use crate::read::parse::scan::{digits, split_at_byte, word};

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The kernel, or klogd for it.
    Kernel,
    /// ulogd, which writes what rules send to it.
    Ulogd,
    /// The kernel, as dmesg shows it, or a program that wrote to the kernel's log.
    Dmesg,
    /// filterlog of pfSense and OPNsense.
    Filterlog,
    /// RouterOS, which writes topics in place of its name.
    RouterOs,
    /// The line does not say.
    Unnamed,
    /// Another program.
    Foreign,
}

/// The severities of syslog, also as rsyslog and syslog-ng name them.
pub(super) const LEVELS: &[&[u8]] = &[
    b"emerg", b"alert", b"crit", b"err", b"warn", b"notice", b"info", b"debug", b"error",
    b"warning",
];

impl Writer {
    /// The writer with this name.
    pub(crate) fn with_name(name: &[u8], has_process: bool) -> Self {
        match (name, has_process) {
            (b"kernel" | b"klogd", false) => Self::Kernel,
            (b"ulogd", _) => Self::Ulogd,
            (b"filterlog", _) => Self::Filterlog,
            _ if name.contains(&b',') && routeros::is_topics(name) => Self::RouterOs,
            _ => Self::Foreign,
        }
    }
}

type Written<'a> = (Writer, &'a [u8]);

/// Who wrote `HOST TAG: MESSAGE` after a header, and the message. The host is optional.
#[inline]
pub(crate) fn named(text: &[u8]) -> Written<'_> {
    if let Some(message) = after_host_and_kernel(text) {
        return (Writer::Kernel, message);
    }
    if let Some(message) = after_usual_host_and_program(text) {
        return (Writer::Foreign, message);
    }
    let after_host = || {
        let rest = after_host(text)?;
        // UniFi OS writes its name twice.
        let host = &text[..text.len() - rest.len()];
        believed(rest).or_else(|| believed(rest.strip_prefix(host)?))
    };
    believed(text)
        .or_else(after_host)
        .unwrap_or_else(|| (Writer::Foreign, host_and_tag(text).unwrap_or(text)))
}

/// The same for a line that can lack a header, such as one of dmesg.
pub(crate) fn unnamed(text: &[u8]) -> Written<'_> {
    if let Some(message) = after_host_and_kernel(text) {
        return (Writer::Kernel, message);
    }
    let after_host =
        || after_host(text).filter(|rest| is_host(&text[..text.len() - rest.len() - 1]));
    let process = |text| tag(text).filter(|(_, has_process, _)| *has_process);
    if let Some(written) = believed(text).or_else(|| believed(after_host()?)) {
        return written;
    }
    match process(text).or_else(|| process(after_host()?)) {
        Some((_, _, message)) => (Writer::Foreign, message),
        None => (Writer::Unnamed, text),
    }
}

/// The message after `HOST TAG: ` or `TAG: ` of any program; None if there is no usual tag.
pub(crate) fn host_and_tag(text: &[u8]) -> Option<&[u8]> {
    let (_, _, message) = tag(text).or_else(|| tag(after_host(text)?))?;
    Some(message)
}

/// Whether a text begins with a tag that is believed, and so has no host before it.
pub(super) fn is_believed(text: &[u8]) -> bool {
    believed(text).is_some()
}

/// The writer and the message of a text that begins with a tag, if it is one of those that are believed.
fn believed(text: &[u8]) -> Option<Written<'_>> {
    // BusyBox and OpenWrt: `kern.warn kernel: `
    let text = match word(text) {
        Some((word, rest)) if is_facility_and_level(word) => rest,
        _ => text,
    };
    if let Some((name, has_process, message)) = tag(text) {
        return match Writer::with_name(name, has_process) {
            Writer::Foreign => {
                untagged::pvefw_tag(name, message).then_some((Writer::Kernel, message))
            }
            writer => Some((writer, message)),
        };
    }
    if let Some(message) = routeros::after_topics(text) {
        return Some((Writer::RouterOs, message));
    }
    if untagged::is_record(text) {
        return Some((Writer::Kernel, text));
    }
    let (program, message) = pairs::message(text)?;
    match Writer::with_name(program, false) {
        Writer::Foreign => None,
        writer => Some((writer, message)),
    }
}

/// The parts of `kernel: ` or `sshd[1234]: `: the name, whether it has a process, and the text after it.
fn tag(text: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let end = text.iter().position(|byte| b" :[=".contains(byte))?;
    let (name, rest) = text.split_at(end);
    let (has_process, rest) = match rest.strip_prefix(b"[") {
        Some(rest) => (true, digits(rest).1.strip_prefix(b"]")?),
        None => (false, rest),
    };
    let message = match rest.strip_prefix(b":")? {
        [b' ', message @ ..] => message,
        message @ ([] | [b'[', ..]) => message,
        // An IPv6 address.
        _ => return None,
    };
    (!name.is_empty()).then_some((name, has_process, message))
}

/// The message after `HOST kernel: `, with which nearly all kernel lines begin. This is a fast path
/// with the same result as the general one, which takes no such host for a tag.
#[inline(always)]
pub(super) fn after_host_and_kernel(text: &[u8]) -> Option<&[u8]> {
    let host = text.iter().take_while(|byte| is_host_byte(byte)).count();
    let message = text[host..].strip_prefix(b" kernel: ")?;
    (host > 0).then_some(message)
}

/// The message after `HOST sshd[1234]: `, with which nearly all other lines begin: a fast path, too.
fn after_usual_host_and_program(text: &[u8]) -> Option<&[u8]> {
    let host = text.iter().take_while(|byte| is_host_byte(byte)).count();
    let (name, has_process, message) = tag(text[host..].strip_prefix(b" ")?)?;
    let is_foreign = Writer::with_name(name, has_process) == Writer::Foreign;
    (host > 0 && is_foreign && !untagged::pvefw_tag(name, message)).then_some(message)
}

/// The text after the first word, which can be any host but no tag.
pub(super) fn after_host(text: &[u8]) -> Option<&[u8]> {
    let (host, rest) = word(text)?;
    (!host.is_empty() && !host.ends_with(b":")).then_some(rest)
}

fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(byte)
}

/// Whether a word without a header before it can be a host.
fn is_host(word: &[u8]) -> bool {
    word.iter()
        .all(|byte| is_host_byte(byte) || b":/@".contains(byte))
}

/// The text after `<kern.warn> ` or `<0.4> `, which the syslogd of FreeBSD writes before the host with -v.
pub(crate) fn after_level(text: &[u8]) -> &[u8] {
    let level = text
        .strip_prefix(b"<")
        .and_then(|text| split_at_byte(text, b'>'));
    let Some((level, rest)) = level else {
        return text;
    };
    let is_level = is_facility_and_level(level)
        || level
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.');
    rest.strip_prefix(b" ").filter(|_| is_level).unwrap_or(text)
}

/// `kern.warn`
pub(super) fn is_facility_and_level(text: &[u8]) -> bool {
    split_at_byte(text, b'.').is_some_and(|(_, level)| LEVELS.contains(&level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_path_for_kernel_lines_matches_general_parser() {
        for host in [
            "web1",
            "a-b_c.example.org",
            "kernel",
            "kern.warn",
            "10.0.0.1",
        ] {
            let text = format!("{host} kernel: [1.5] IN=");
            let message = after_host_and_kernel(text.as_bytes()).unwrap();
            let general = believed(text.as_bytes())
                .or_else(|| believed(after_host(text.as_bytes()).unwrap()));
            assert_eq!(general, Some((Writer::Kernel, message)), "{text}");
        }
        for text in ["web1 sshd[12]: x", "web1 app: x", "kern.warn app: x"] {
            let message = after_usual_host_and_program(text.as_bytes());
            let written = believed(text.as_bytes())
                .or_else(|| believed(after_host(text.as_bytes()).unwrap()));
            assert_eq!((message, written), (Some(&b"x"[..]), None), "{text}");
        }
        // The fast paths do not handle these.
        for text in [
            "",
            "kernel: IN=",
            " kernel: IN=",
            "web1",
            "web1 kernel:",
            "web1 sshd: x",
            "web1: kernel: x",
            "web1[1] kernel: x",
            "web1=x kernel: x",
        ] {
            assert_eq!(after_host_and_kernel(text.as_bytes()), None, "{text}");
        }
        for text in [
            "web1 kernel: x",
            "web1 ulogd[12]: x",
            "web1 firewall,info: x",
            "firewall,info input: x",
            "kernel: app: x",
            "web1 x",
            "",
        ] {
            assert_eq!(
                after_usual_host_and_program(text.as_bytes()),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn only_writers_of_packet_records_are_believed() {
        for (text, writer) in [
            ("web1 kernel: x", Writer::Kernel),
            ("kernel: x", Writer::Kernel),
            ("fe80::1%eth0 kernel: x", Writer::Kernel),
            ("web+1 klogd: x", Writer::Kernel),
            ("web1 ulogd[12]: x", Writer::Ulogd),
            ("kern.warn kernel: x", Writer::Kernel),
            ("b\u{fc}ro kern.warn kernel:[1.5] x", Writer::Kernel),
            ("fw filterlog[123]: x", Writer::Filterlog),
            ("filterlog: x", Writer::Filterlog),
            ("192.0.2.1 firewall,info x", Writer::RouterOs),
            ("firewall,info: x", Writer::RouterOs),
            ("web1 kernel[12]: x", Writer::Foreign),
            ("web1 kernels: x", Writer::Foreign),
            ("web1 nginx: kernel: x", Writer::Foreign),
            ("nginx: kernel: x", Writer::Foreign),
            ("web1 app:kernel: x", Writer::Foreign),
            ("web1 app[web.1]: kernel: x", Writer::Foreign),
            ("web1 my kernel: x", Writer::Foreign),
            ("web1 a=b: x", Writer::Foreign),
            ("web1 firewall x", Writer::Foreign),
            ("web1 x", Writer::Foreign),
            ("x", Writer::Foreign),
            ("", Writer::Foreign),
        ] {
            assert_eq!(named(text.as_bytes()).0, writer, "{text}");
        }
    }
}
