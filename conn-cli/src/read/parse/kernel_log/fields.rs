//! The fields of a packet record in any order, and those that end it. The kernel has one order, but others write
//! them in another or with more spaces between them, and leave some out.

use crate::read::parse::scan::digits;

/// What stands before the values of these fields, in the kernel's order.
const VALUES: [&[u8]; 9] = [
    b"SRC=", b"DST=", b"ID=", b"PROTO=", b"SPT=", b"DPT=", b"SEQ=", b"ACK=", b"WINDOW=",
];

/// Fields that say nothing about a connection.
const OTHERS: &[&[u8]] = &[
    b"IN=",
    b"OUT=",
    b"PHYSIN=",
    b"PHYSOUT=",
    b"MAC=",
    b"MACSRC=",
    b"MACDST=",
    b"MACPROTO=",
    b"VPROTO=",
    b"VID=",
    b"LEN=",
    b"TOS=",
    b"PREC=",
    b"TTL=",
    b"TC=",
    b"HOPLIMIT=",
    b"FLOWLBL=",
    b"RES=",
    b"UID=",
    b"GID=",
    b"MARK=",
];

const FLAGS: &[&[u8]] = &[
    b"AE", b"CWR", b"ECE", b"URG", b"ACK", b"PSH", b"RST", b"SYN", b"FIN",
];

/// Where the first field is, if there is one.
pub(super) fn first(text: &[u8]) -> Option<usize> {
    let mut start = 0;
    text.split(|byte| *byte == b' ').find_map(|word| {
        let at = start;
        start += word.len() + 1;
        let mut names = VALUES.iter().chain(OTHERS);
        names.any(|name| word.starts_with(name)).then_some(at)
    })
}

/// The fields that `text` has, as the kernel writes them. None if there is anything else.
/// `ends_with_flags`: nothing has to follow the flags, of which there is at least one.
pub(super) fn in_order(text: &[u8], ends_with_flags: bool) -> Option<Vec<u8>> {
    let mut values: [Option<&[u8]>; VALUES.len()] = [None; VALUES.len()];
    let mut others = vec![false; OTHERS.len()];
    let (mut fragment, mut flags, mut urgent) = (None, Vec::new(), None);
    let words = text.split(|byte| b" \t".contains(byte));
    for word in words.filter(|word| !word.is_empty()) {
        // Kernels before 2.6.32 continue a line with a level, as Asuswrt's does: `<1>SRC=192.0.2.1`
        let word = match word {
            [b'<', b'0'..=b'7', b'>', rest @ ..] => rest,
            word => word,
        };
        let value = |name: &&[u8]| word.strip_prefix(*name);
        if let Some(index) = VALUES.iter().position(|name| value(name).is_some()) {
            let value = value(&VALUES[index])?;
            if value.is_empty() || value.contains(&b'=') || values[index].replace(value).is_some() {
                return None;
            }
            if VALUES[index] == b"PROTO=" && value != b"TCP" {
                if b"TCP".starts_with(value) {
                    return None;
                }
                // The rest of another protocol is not looked at.
                break;
            }
        } else if let Some(index) = OTHERS.iter().position(|name| value(name).is_some()) {
            let value = value(&OTHERS[index])?;
            if value.contains(&b'=') || std::mem::replace(&mut others[index], true) {
                return None;
            }
        } else if FLAGS.contains(&word) {
            flags.push(word);
        } else if let Some(value) = value(&&b"URGP="[..]) {
            if value.is_empty() || urgent.replace(value).is_some() {
                return None;
            }
        } else if let Some(value) = value(&&b"FRAG:"[..]) {
            fragment = Some(value);
        } else if ![&b"CE"[..], b"DF", b"MF", b"OPT"].contains(&word) && !is_options(word) {
            return None;
        }
    }
    if ends_with_flags && !flags.is_empty() {
        urgent = urgent.or(Some(b"0"));
    }
    let mut text = Vec::new();
    for (name, value) in VALUES.iter().zip(values) {
        if *name == b"ID=" {
            // The kernel always has a field between the addresses and the protocol.
            text.extend(b" LEN=0");
        }
        match value {
            Some(value) => text.extend([b" ", *name, value].concat()),
            None if *name == b"WINDOW=" => text.extend(b" WINDOW=0"),
            None => (),
        }
        if let (b"ID=", Some(offset)) = (*name, fragment) {
            text.extend([b" FRAG:", offset].concat());
        }
    }
    for flag in flags {
        text.extend([b" ", flag].concat());
    }
    if let Some(urgent) = urgent {
        text.extend([b" URGP=", urgent].concat());
    }
    text.push(b' ');
    Some(text)
}

/// Whether this is the value of `URGP=`, and only fields follow it, of which the last may be cut. Other text
/// means that a program logged a forged record, as in `Invalid user IN= .. from 192.0.2.1`.
#[inline]
pub(super) fn is_end(text: &[u8]) -> bool {
    matches!(text, [b'0'..=b'9'] | [b'0'..=b'9', b' ']) || is_long_end(text)
}

fn is_long_end(text: &[u8]) -> bool {
    let (urgent, mut rest) = digits(text);
    if urgent.is_empty() {
        return false;
    }
    while let [b' ', after @ ..] = rest {
        rest = after;
        let end = rest.iter().position(|byte| *byte == b' ');
        let (field, after) = rest.split_at(end.unwrap_or(rest.len()));
        if !field.is_empty() && !is_after_urgent(field, end.is_none()) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Whether this is one of `OPT`, `(020405B4)`, `UID=0`, `GID=0`, `MARK=0x1`, which follow the TCP header in
/// `nf_log_syslog.c`. ulogd writes the mark without `0x`.
fn is_after_urgent(field: &[u8], may_be_cut: bool) -> bool {
    if let Some(options) = field.strip_prefix(b"(") {
        let hex = options.strip_suffix(b")");
        return hex.is_some_and(is_hex) || may_be_cut && is_hex(options);
    }
    let names = [&b"OPT"[..], b"UID=", b"GID=", b"MARK=", b"MARK=0x"];
    if may_be_cut && names.iter().any(|name| name.starts_with(field)) {
        return true;
    }
    match memchr::memchr(b'=', field).map(|at| field.split_at(at + 1)) {
        None => field == b"OPT",
        Some((b"UID=" | b"GID=", number)) => {
            !number.is_empty() && number.iter().all(u8::is_ascii_digit)
        }
        Some((b"MARK=", mark)) => {
            let mark = mark.strip_prefix(b"0x").unwrap_or(mark);
            !mark.is_empty() && is_hex(mark)
        }
        Some(_) => false,
    }
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit)
}

/// `(020405B4)`
fn is_options(word: &[u8]) -> bool {
    let inside = word
        .strip_prefix(b"(")
        .and_then(|word| word.strip_suffix(b")"));
    inside.is_some_and(is_hex)
}
