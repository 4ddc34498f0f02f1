//! The kernel's counters of connections that it could not queue, for a whole network namespace
//! (`TcpExt` in `/proc/net/netstat`; `net/ipv4/proc.c`, `netstat_seq_show`).

use std::{fs::File, io, os::unix::fs::FileExt as _, str};

/// The counters of one namespace.
#[derive(Debug)]
pub(super) struct Counters {
    file: File,
    at_start: Counts,
}

/// The values that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) overflows: u64,
    pub(super) drops: u64,
}

impl Counters {
    /// The counters of the namespace that this thread is in now. None if they cannot be read.
    pub(super) fn open() -> Option<Self> {
        let file = File::open("/proc/thread-self/net/netstat").ok()?;
        let at_start = read(&file)?;
        Some(Self { file, at_start })
    }

    /// How much they have grown since they were opened. The open file belongs to its namespace
    /// whichever thread reads it, and reading needs no privilege (`fs/proc/proc_net.c`,
    /// `single_open_net`).
    pub(super) fn growth(&self) -> Option<Counts> {
        Some(read(&self.file)?.since(self.at_start))
    }
}

impl Counts {
    fn since(self, start: Self) -> Self {
        Self {
            overflows: self.overflows.saturating_sub(start.overflows),
            drops: self.drops.saturating_sub(start.drops),
        }
    }
}

fn read(file: &File) -> Option<Counts> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        // Reading from offset 0 makes the kernel sum up the counters again.
        match file.read_at(&mut buffer, bytes.len() as u64) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(_) => return None,
        }
    }
    counts(str::from_utf8(&bytes).ok()?)
}

/// Each group of counters is two lines with the same prefix: names, then values.
fn counts(text: &str) -> Option<Counts> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted| {
        let index = names.split(' ').position(|name| name == wanted)?;
        values.split(' ').nth(index)?.parse().ok()
    };
    Some(Counts {
        overflows: value("ListenOverflows")?,
        drops: value("ListenDrops")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPHPHits\n\
TcpExt: 1 22 333 18446744073709551615\n\
IpExt: InNoRoutes ListenDrops\n\
IpExt: 4 5\n";

    #[test]
    fn values_are_found_by_name() {
        let found = counts(TEXT).unwrap();
        assert_eq!((found.overflows, found.drops), (22, 333));
        let later = counts(&TEXT.replace("22 333", "25 344")).unwrap();
        let growth = later.since(found);
        assert_eq!((growth.overflows, growth.drops), (3, 11));
    }

    #[test]
    fn truncated_text_has_no_counts() {
        let enough = TEXT.find(" 18446744073709551615").unwrap();
        for end in 0..enough - 2 {
            assert_eq!(counts(&TEXT[..end]), None, "{}", &TEXT[..end]);
        }
        assert!(counts(&TEXT[..enough]).is_some());
        assert_eq!(counts(&TEXT.replace("ListenDrops", "Other")), None);
    }

    #[test]
    fn open_file_can_be_read_again() {
        let counters = Counters::open().unwrap();
        let (first, second) = (read(&counters.file), read(&counters.file));
        assert!(first.is_some() && second.is_some());
        assert!(counters.growth().is_some());
    }
}
