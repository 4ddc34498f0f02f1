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
    /// The client of a call, if the call is like the earlier one.
    #[inline]
    pub(super) fn client(&self, call: &[u8]) -> Option<(Ipv4Addr, u16)> {
        if self.after.is_empty() {
            return None;
        }
        let (client, rest) = port_and_host(call.strip_prefix(&self.before[..])?)?;
        let descriptor = rest.strip_prefix(&self.after[..])?;
        is_number(descriptor).then_some(client)
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
    use crate::read::parse::{
        lines::{Line as _, Wanted},
        strace::Lines,
    };

    /// After each of these calls, each of them is parsed as by itself, with any of these bytes in each place.
    #[test]
    fn the_call_before_changes_nothing() {
        let peer = r#"{sa_family=AF_INET, sin_port=htons(37822), sin_addr=inet_addr("192.0.2.1")}"#;
        let calls = [
            format!("12 accept4(3, {peer}, [16], SOCK_CLOEXEC) = 4"),
            format!("accept(3<socket:[12]>, {peer}, [16]) = 4"),
            format!("accept(3, {peer}, [128->16])    = 4 <0.000012>"),
            format!("accept4(3<TCP:[0.0.0.0:80]>, {peer}, [16], 0) = 4"),
            format!("<... accept resumed>{peer}, [16]) = 4"),
        ];
        let parse = |parser: &mut Lines, line: &[u8]| {
            let mut events = Vec::new();
            let parsed = parser.line(line, &mut events);
            format!("{parsed:?} {events:?}")
        };
        let new = || Lines::new(&Wanted::default());
        let mut usual = 0;
        for before in &calls {
            for place in 0..before.len() {
                for byte in *b"0, =<\"){" {
                    let mut line = before.clone().into_bytes();
                    line[place] = byte;
                    let mut parser = new();
                    parse(&mut parser, before.as_bytes());
                    usual += usize::from(parser.usual.client(&line).is_some());
                    let found = parse(&mut parser, &line);
                    assert_eq!(found, parse(&mut new(), &line), "{}", line.escape_ascii());
                }
            }
        }
        assert!(usual > 25, "{usual}");
    }
}
