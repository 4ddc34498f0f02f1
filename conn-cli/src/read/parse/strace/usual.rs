//! Recognises calls that differ from an earlier one only in the client and the new file descriptor.

use std::net::Ipv4Addr;

use super::ends::{IPV4_PEER, port_and_host};
use crate::read::parse::scan::digits;

/// What an earlier call has around its client: most calls have the same, so that they need not be parsed.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// `accept4(3, {sa_family=AF_INET, sin_port=htons(`
    before: Vec<u8>,
    /// `")}, [16], SOCK_CLOEXEC) = `, which the new file descriptor and nothing else follows.
    after: Vec<u8>,
}

impl Usual {
    /// A line without what follows the client, if that is as in the earlier one.
    #[inline]
    pub(super) fn without_end<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = line;
        while let [before @ .., b'0'..=b'9'] = rest {
            rest = before;
        }
        if self.after.is_empty() || rest.len() == line.len() {
            return None;
        }
        rest.strip_suffix(&self.after[..])
    }

    /// The client with which a call [without its end](Self::without_end) ends, if the call is like the earlier
    /// one up to there.
    #[inline]
    pub(super) fn client(&self, call: &[u8]) -> Option<(Ipv4Addr, u16)> {
        match port_and_host(call.strip_prefix(&self.before[..])?)? {
            (client, b"") => Some(client),
            _ => None,
        }
    }

    /// Keeps a call if others can be like it. It returned a connection, and shows no address of the server with
    /// its first argument, after which `rest` begins. `result` is what it ends with.
    #[cold]
    pub(super) fn keep(&mut self, call: &[u8], rest: &[u8], result: &[u8]) {
        let peer = { rest.strip_prefix(b", ") }.and_then(|rest| rest.strip_prefix(IPV4_PEER));
        if let Some(peer) = peer
            && let Some((_, after @ [b'"', ..])) = port_and_host(peer)
            && is_number(result)
        {
            let before = &call[..call.len() - peer.len()];
            before.clone_into(&mut self.before);
            after[..after.len() - result.len()].clone_into(&mut self.after);
        }
    }
}

fn is_number(text: &[u8]) -> bool {
    let (number, after) = digits(text);
    !number.is_empty() && after.is_empty()
}

#[cfg(test)]
mod tests {
    use crate::read::{
        event::Event,
        parse::{
            lines::{Line as _, Wanted},
            strace::Lines,
        },
    };

    /// After each of these calls, with any of these bytes in each place.
    #[test]
    fn fast_path_for_calls_matches_the_general_one() {
        let peer = r#"{sa_family=AF_INET, sin_port=htons(37822), sin_addr=inet_addr("192.0.2.1")}"#;
        let calls = [
            format!("12 accept4(3, {peer}, [16], SOCK_CLOEXEC) = 4"),
            format!("12 1395029583.123456 accept4(3, {peer}, [16]) = 4"),
            format!("1395029583.123456 accept4(3, {peer}, [16]) = 4"),
            format!("accept(3<socket:[12]>, {peer}, [16]) = 4"),
            format!("accept(3, {peer}, [128->16])    = 4 <0.000012>"),
            format!("accept4(3<TCP:[0.0.0.0:80]>, {peer}, [16], 0) = 4"),
            format!("<... accept resumed>{peer}, [16]) = 4"),
        ];
        let parse = |parser: &mut Lines, line: &str| {
            let mut events = Vec::new();
            let parsed = parser.line(line.as_bytes(), &mut events);
            format!("{parsed:?} {events:?}")
        };
        let new = || Lines::new(&Wanted::default());
        let mut usual = 0;
        for before in &calls {
            for place in 0..before.len() {
                for byte in ["0", ",", " ", "=", "<", "\"", ")", "{"] {
                    let mut line = before.clone();
                    line.replace_range(place..=place, byte);
                    let mut parser = new();
                    parse(&mut parser, before);
                    if let Some(connection) = parser.usual(line.as_bytes()) {
                        let expected = format!("Ok(Own) {:?}", [Event::Connection(connection)]);
                        assert_eq!(parse(&mut new(), &line), expected, "{line}");
                        usual += 1;
                    }
                }
            }
        }
        assert!(usual > 25, "{usual}");
    }
}
