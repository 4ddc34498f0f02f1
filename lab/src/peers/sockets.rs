//! `ss`, which shows the kernel's sockets.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command;
use crate::command::program;

/// A listening socket, as `ss` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub local: String,
    /// Connections that wait to be accepted: Recv-Q.
    pub waiting: u64,
    /// The limit of these connections: Send-Q.
    pub backlog: u64,
    /// SYNs and handshakes that it dropped.
    pub drops: u64,
}

/// The listening sockets on a port, in this network namespace.
pub fn listeners(port: u16) -> Result<Vec<Listener>> {
    let filter = format!("sport = :{port}");
    let mut ss = Command::new(program("ss")?);
    parse(&command::output(ss.args(["-HltnmO", &filter]))?)
}

/// The only listening socket on a port.
pub fn only_one(port: u16) -> Result<Listener> {
    let mut listeners = listeners(port)?;
    ensure!(listeners.len() == 1, "not one listener: {listeners:?}");
    Ok(listeners.remove(0))
}

/// The number of listening sockets in this network namespace.
pub fn count_all() -> Result<usize> {
    let mut ss = Command::new(program("ss")?);
    Ok(parse(&command::output(ss.arg("-HltnmO"))?)?.len())
}

fn parse(text: &str) -> Result<Vec<Listener>> {
    text.lines()
        .map(|line| parse_line(line).with_context(|| format!("ss wrote {line:?}")))
        .collect()
}

fn parse_line(line: &str) -> Option<Listener> {
    let words: Vec<_> = line.split_whitespace().collect();
    let ["LISTEN", waiting, backlog, local, _peer, rest @ ..] = words.as_slice() else {
        return None;
    };
    let memory = rest.iter().find_map(|word| word.strip_prefix("skmem:("))?;
    let mut fields = memory.trim_end_matches(')').split(',');
    Some(Listener {
        local: (*local).to_owned(),
        waiting: waiting.parse().ok()?,
        backlog: backlog.parse().ok()?,
        drops: fields.find_map(|field| field.strip_prefix('d')?.parse().ok())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_ss_output() {
        let text = "LISTEN 3      2      127.0.0.1:80 0.0.0.0:* skmem:(r0,rb131072,t0,tb16384,f0,w0,o0,bl0,d17)\n\
            LISTEN 0      4096            *:80       *:*    skmem:(r0,rb131072,t0,tb16384,f0,w0,o0,bl0,d0)\n";
        let expected = [("127.0.0.1:80", 3, 2, 17), ("*:80", 0, 4096, 0)].map(
            |(local, waiting, backlog, drops)| Listener {
                local: local.to_owned(),
                waiting,
                backlog,
                drops,
            },
        );
        assert_eq!(parse(text).unwrap(), expected);
        assert!(parse("").unwrap().is_empty());
        assert!(parse("LISTEN 0 128 0.0.0.0:2024 0.0.0.0:*\n").is_err());
    }
}
