//! The end of a run with very many clients: from Ctrl-C until conn-cli has printed them and ended.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::Bench;
use super::map::{Counts, Key, Map};
use crate::measure;
use crate::table::Table;

/// Nothing listens on this port.
const PORT: &str = "9";

/// The clients that are added to the map at once.
const BATCH: u32 = 10_000;

impl Bench {
    pub(super) fn end(&self) -> Result<Table> {
        let few = Clients::ipv4(65_536);
        let many = Clients::ipv4(1_000_000);
        let most = Clients::ipv4(10_000_000);
        let ipv6 = Clients { ipv6: true, ..many };
        let rows: &[(Clients, &str)] = &[
            (few, ""),
            (few, "--json"),
            (few, "--top 10"),
            (many, ""),
            (many, "--json"),
            (many, "--top 10"),
            (ipv6, ""),
            (most, "--top 10"),
        ];
        let rows = if self.is_short { &rows[..3] } else { rows };
        let mut table = Table::new(&[
            "clients at the end of a run",
            "s",
            "user s",
            "system s",
            "peak MiB",
        ]);
        for (clients, options) in rows {
            let End {
                wall,
                user,
                system,
                peak,
            } = self.end_with(*clients, options)?;
            let family = if clients.ipv6 { " of IPv6" } else { "" };
            let mut row = vec![format!("{}{family} {options}", clients.number)];
            row.extend([wall, user, system].map(|time| format!("{:.2}", time.as_secs_f64())));
            row.push((peak >> 20).to_string());
            table.row(row);
        }
        Ok(table)
    }

    fn end_with(&self, clients: Clients, options: &str) -> Result<End> {
        let out = self.directory.join("end");
        let mut child = Command::new(&self.conn_cli)
            .args(["--port", PORT, "--quiet", "--max-clients"])
            .arg(clients.number.to_string())
            .args(options.split_whitespace())
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.conn_cli.display()))?;
        let mut stderr = BufReader::new(child.stderr.take().context("no pipe")?).lines();
        let is_ready =
            |line: &Result<String, _>| line.as_ref().is_ok_and(|line| line.contains("Tracing TCP"));
        if !stderr.any(|line| is_ready(&line)) {
            bail!("conn-cli did not become ready: {}", child.wait()?);
        }
        let added = Map::of_process(child.id()).and_then(|map| clients.add_to(&map));
        if added.is_err() {
            // It would go on after the bench.
            child.kill()?;
            child.wait()?;
        }
        let connections = added?;
        let start = Instant::now();
        let pid = Pid::from_raw(child.id().cast_signed()).context("no process")?;
        kill_process(pid, Signal::INT)?;
        let said: Vec<_> = stderr.collect::<Result<_, _>>()?;
        let (status, usage) = measure::wait(child.id())?;
        let wall = start.elapsed();
        ensure!(status == 0, "status {status:#x}: {}", said.join("\n"));
        // What it said, not what it printed: the next one begins with the memory that this process then has.
        let total = format!("{connections} ");
        ensure!(
            said.iter().any(|line| line.starts_with(&total)),
            "it did not count {connections} connections"
        );
        fs::remove_file(out)?;
        Ok(End {
            wall,
            user: measure::duration(usage.ru_utime),
            system: measure::duration(usage.ru_stime),
            peak: usage.ru_maxrss as u64 * 1024,
        })
    }
}

/// So many clients of one family.
#[derive(Clone, Copy)]
struct Clients {
    number: u32,
    ipv6: bool,
}

impl Clients {
    const fn ipv4(number: u32) -> Self {
        Self {
            number,
            ipv6: false,
        }
    }

    /// Adds them to the map, and returns the number of all their connections.
    fn add_to(self, map: &Map) -> Result<u64> {
        let mut sum = 0;
        let mut first = 0;
        while first < self.number {
            let numbers = first..self.number.min(first + BATCH);
            first = numbers.end;
            let counts: Vec<_> = numbers.clone().map(counts).collect();
            let keys: Vec<_> = numbers.map(|number| key(number, self.ipv6)).collect();
            map.add(&keys, &counts)?;
            sum += counts.iter().map(|counts| counts[ACCEPTED]).sum::<u64>();
        }
        Ok(sum)
    }
}

/// What an end takes. Of the times in user space and in the kernel, a few milliseconds are those of the start.
struct End {
    wall: Duration,
    user: Duration,
    system: Duration,
    /// The most memory that the process had, in bytes.
    peak: u64,
}

/// A different one for each number, in no order.
fn key(number: u32, ipv6: bool) -> Key {
    // Multiplication by an odd factor permutes the numbers.
    let number = number.wrapping_mul(2_654_435_761).to_be_bytes();
    let mut address = [0; 16];
    if ipv6 {
        address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    } else {
        address[10..12].copy_from_slice(&[0xff, 0xff]);
    }
    address[12..].copy_from_slice(&number);
    let [first, second] = [0, 8].map(|at| {
        let word = address[at..].first_chunk().expect("two words");
        u64::from_ne_bytes(*word)
    });
    [first, second, 80]
}

/// Half of them have connected once, others up to some thousand times.
fn counts(number: u32) -> Counts {
    let connections = 1 + u64::from(number.trailing_ones()) * u64::from(number % 1000 + 1);
    let mut counts = Counts::default();
    (counts[ESTABLISHED], counts[ACCEPTED]) = (connections, connections);
    counts
}

// The fields of `conn_common::Stages`.
const ESTABLISHED: usize = 3;
const ACCEPTED: usize = 4;
