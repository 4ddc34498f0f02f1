//! The inputs of the benchmarks: real recordings, repeated to any length.
//!
//! The recorded server and client were in separate network namespaces. The lines of the kernel's
//! log come from dmesg, with the prefix that rsyslog adds.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lab::workspace;

use super::packets::Packets;
use super::scale::{Counter, Session};
use super::text::Lines;
use super::truth::Truth;

/// Increase this when the file for the same kind and size changes.
const VERSION: u32 = 2;

const STRACE_THREADS: &str = include_str!("../../conn-cli/benches/recorded/strace-threads.txt");
const STRACE_ONE: &str = include_str!("../../conn-cli/benches/recorded/strace-one.txt");
const KERNEL_LOG: &str = include_str!("../../conn-cli/benches/recorded/kernel-log.txt");
const TCPDUMP: &str = include_str!("../../conn-cli/benches/recorded/tcpdump.txt");
pub(super) const RECORDED_PACKETS: &[u8] =
    include_bytes!("../../conn-cli/benches/recorded/packets.pcap");

/// The format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `strace -f` of a server with eight threads: a call that blocks takes two lines.
    StraceThreads,
    /// The same for one thread that never has to wait: each call is one line.
    StraceOne,
    /// Log lines of iptables in a syslog.
    KernelLog,
    /// All packets of short connections, as printed by `tcpdump -n`.
    Tcpdump,
    /// The packets themselves; half of them are SYNs.
    Pcap,
}

/// A file and the correct result of reading it.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) truth: Truth,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::StraceThreads,
        Self::StraceOne,
        Self::KernelLog,
        Self::Tcpdump,
        Self::Pcap,
    ];

    /// The beginning of the file's name.
    fn name(self) -> &'static str {
        match self {
            Self::StraceThreads => "strace-threads",
            Self::StraceOne => "strace-one",
            Self::KernelLog => "kernel-log",
            Self::Tcpdump => "tcpdump",
            Self::Pcap => "pcap",
        }
    }

    /// The name in tables.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::StraceThreads => "strace of eight threads",
            Self::StraceOne => "strace of one thread",
            Self::KernelLog => "iptables in a syslog",
            Self::Tcpdump => "tcpdump -n, all packets",
            Self::Pcap => "pcap, half of the packets SYNs",
        }
    }

    fn session(self) -> Result<Box<dyn Session>> {
        let has_client = |_: &str| true;
        let is_syn = |line: &str| line.contains("Flags [S],");
        Ok(match self {
            Self::StraceThreads => Box::new(Lines::new(STRACE_THREADS, has_client)?),
            Self::StraceOne => Box::new(Lines::new(STRACE_ONE, has_client)?),
            Self::KernelLog => Box::new(Lines::new(KERNEL_LOG, has_client)?),
            Self::Tcpdump => Box::new(Lines::new(TCPDUMP, is_syn)?),
            Self::Pcap => Box::new(Packets::new(RECORDED_PACKETS)?),
        })
    }
}

/// The directory of the cached inputs.
pub(super) fn directory() -> Result<PathBuf> {
    let directory = workspace::root().join("target/bench");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// Returns the input of this kind with at least `size` bytes; generates it if it does not exist.
pub(super) fn input(kind: Kind, size: u64) -> Result<Input> {
    let name = format!("{}-{size}-v{VERSION}", kind.name());
    let path = directory()?.join(name);
    let truth = if path.exists() {
        fs::read_to_string(truth_path(&path))?.parse()?
    } else {
        eprintln!("writing {}", path.display());
        generate(kind, size, &path).with_context(|| format!("cannot write {}", path.display()))?
    };
    Ok(Input {
        size: fs::metadata(&path)?.len(),
        path,
        truth,
    })
}

fn truth_path(path: &Path) -> PathBuf {
    path.with_added_extension("truth")
}

fn generate(kind: Kind, size: u64, path: &Path) -> Result<Truth> {
    let session = kind.session()?;
    // Gets its final name only when it is complete.
    let unfinished = path.with_added_extension("new");
    let mut file = BufWriter::with_capacity(1 << 16, File::create(&unfinished)?);
    let mut counter = Counter::new();
    let mut out = Vec::new();
    session.opening(&mut out, &mut counter);
    let mut written = 0;
    for round in 0.. {
        session.round(round, &mut out, &mut counter);
        file.write_all(&out)?;
        written += out.len() as u64;
        out.clear();
        if written >= size {
            break;
        }
    }
    session.closing(&mut out, &mut counter);
    file.write_all(&out)?;
    file.flush()?;
    let truth = counter.truth();
    fs::write(truth_path(path), truth.to_text())?;
    fs::rename(unfinished, path)?;
    Ok(truth)
}

/// Splits the file into `count` parts at line ends. The parts are rewritten each time.
pub(super) fn parts(input: &Input, count: u64) -> Result<Vec<PathBuf>> {
    let mut file = BufReader::new(File::open(&input.path)?);
    let mut paths = Vec::new();
    for number in 0..count {
        let path = input.path.with_added_extension(format!("part{number}"));
        let mut part = BufWriter::new(File::create(&path)?);
        io::copy(&mut file.by_ref().take(input.size / count), &mut part)?;
        let mut line = Vec::new();
        if number + 1 == count {
            file.read_to_end(&mut line)?;
        } else {
            file.read_until(b'\n', &mut line)?;
        }
        part.write_all(&line)?;
        part.flush()?;
        paths.push(path);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_connections() {
        for kind in Kind::ALL {
            let session = kind.session().unwrap();
            let (mut out, mut counter) = (Vec::new(), Counter::new());
            session.opening(&mut out, &mut counter);
            session.round(0, &mut out, &mut counter);
            session.closing(&mut out, &mut counter);
            let truth = counter.truth();
            assert!(truth.connections() >= 20, "{kind:?}");
            assert!(truth.records >= truth.connections(), "{kind:?}");
        }
    }
}
