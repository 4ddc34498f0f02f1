//! A program that reads its own BPF maps while connections are accepted, as agents and
//! `bpftool map dump` do. The kernel skips kprobe programs during such reads
//! (`bpf_disable_instrumentation`, `include/linux/bpf.h`).

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use lab::bpf::bpf;
use lab::itself;
use lab::process::{Lines, Process};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The line that the reader prints once it reads.
const READY: &str = "reading";

const ENTRIES: u32 = 20_000;
const PAUSE: Duration = Duration::from_millis(20);

/// How a map is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadMode {
    /// Many entries at once, again and again.
    Batches,
    /// The same every 20 ms.
    Paused,
    /// One entry at a time, again and again.
    Keys,
}

impl fmt::Display for ReadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batches => "batches",
            Self::Paused => "paused",
            Self::Keys => "keys",
        })
    }
}

/// Reads its own map until its standard input ends, then prints how many times it read all of it
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    #[arg(long)]
    how: ReadMode,
}

/// The main function of the reader process.
pub(crate) fn run(args: &Args) -> Result<()> {
    // Before Linux 5.11 a map counts as locked memory.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, unlimited)?;
    let map = Map::filled().context("cannot create a map")?;
    let stop = Arc::new(AtomicBool::new(false));
    let stop_at_eof = Arc::clone(&stop);
    thread::spawn(move || {
        // End of input or an error: both end the reader.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        stop_at_eof.store(true, Ordering::Relaxed);
    });
    let mut stdout = io::stdout();
    writeln!(stdout, "{READY}")?;
    let mut times = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        match args.how {
            ReadMode::Batches => map.read_batches()?,
            ReadMode::Paused => {
                map.read_batches()?;
                thread::sleep(PAUSE);
            }
            ReadMode::Keys => map.read_keys(&stop)?,
        }
        times += 1;
    }
    writeln!(stdout, "{times}")?;
    Ok(())
}

/// A running reader.
pub(crate) struct Reader {
    process: Process,
    stdout: Lines,
}

impl Reader {
    pub(crate) fn start(how: ReadMode) -> Result<Self> {
        let mut command = itself::command("read-map");
        command
            .args(["--how", &how.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::spawn("the reader", &mut command)?;
        let stdout = process.child.stdout.take().context("no pipe")?;
        let stdout = Lines::of("the reader", stdout);
        let ready = stdout.next()?;
        ensure!(ready.as_deref() == Some(READY), "the reader did not start");
        Ok(Self { process, stdout })
    }

    /// Ends the reader and returns how many times it has read its map.
    pub(crate) fn finish(mut self) -> Result<u64> {
        drop(self.process.child.stdin.take());
        let times = self.stdout.rest()?.join("");
        self.process.wait()?;
        times
            .parse()
            .with_context(|| format!("the reader printed {times:?}"))
    }
}

/// A hash map with [`ENTRIES`] entries, used through bpf(2) (`include/uapi/linux/bpf.h`).
struct Map(OwnedFd);

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const TYPE_HASH: u32 = 1;

/// The part of `union bpf_attr` for commands on one entry.
#[repr(C)]
struct Entry {
    map: u64,
    key: u64,
    /// The value, or for [`MAP_GET_NEXT_KEY`] the next key.
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for commands on many entries.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl Map {
    fn filled() -> io::Result<Self> {
        let (key_size, value_size) = (size_of::<u32>() as u32, size_of::<u64>() as u32);
        let mut create = [TYPE_HASH, key_size, value_size, ENTRIES, 0];
        // SAFETY: the attributes have no pointers.
        let fd = unsafe { bpf(MAP_CREATE, &mut create) }?;
        // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
        let map = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        for key in 0..ENTRIES {
            map.entry(MAP_UPDATE, Some(&key), &mut u64::from(key))?;
        }
        Ok(map)
    }

    fn entry<V>(&self, command: libc::c_int, key: Option<&u32>, value: &mut V) -> io::Result<()> {
        let mut entry = Entry {
            map: self.0.as_raw_fd() as u64,
            key: key.map_or(0, |key| std::ptr::from_ref(key) as u64),
            value: std::ptr::from_mut(value) as u64,
            flags: 0,
        };
        // SAFETY: both pointers are to values of the map's sizes, which outlive the call.
        unsafe { bpf(command, &mut entry) }.map(|_| ())
    }

    /// Reads all entries in as few calls as possible.
    fn read_batches(&self) -> io::Result<()> {
        let (mut keys, mut values) = (vec![0_u32; ENTRIES as usize], vec![0_u64; ENTRIES as usize]);
        let mut position = 0_u64;
        let mut is_first = true;
        loop {
            let at = std::ptr::from_mut(&mut position) as u64;
            let mut batch = Batch {
                in_batch: if is_first { 0 } else { at },
                out_batch: at,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: ENTRIES,
                map: self.0.as_raw_fd() as u32,
                element_flags: 0,
                flags: 0,
            };
            // SAFETY: `keys` and `values` have room for `count`, and all buffers outlive the call.
            match unsafe { bpf(MAP_LOOKUP_BATCH, &mut batch) } {
                Ok(_) => is_first = false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads entry by entry, until all are read or `stop` is set.
    fn read_keys(&self, stop: &AtomicBool) -> io::Result<()> {
        let mut key = None;
        while !stop.load(Ordering::Relaxed) {
            let mut next = 0_u32;
            match self.entry(MAP_GET_NEXT_KEY, key.as_ref(), &mut next) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                Err(error) => return Err(error),
            }
            self.entry(MAP_LOOKUP, Some(&next), &mut 0_u64)?;
            key = Some(next);
        }
        Ok(())
    }
}
