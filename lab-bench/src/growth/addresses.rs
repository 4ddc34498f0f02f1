//! Time and memory of `conn-cli read` by the number of addresses, each with one connection.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Bench, check_total};
use crate::measure::{self, Cost, Output};
use crate::table::Table;

/// What is printed, and the options for it.
const VIEWS: [(&str, &[&str]); 4] = [
    ("text", &[]),
    ("--json", &["--json"]),
    ("--top 10", &["--top", "10"]),
    ("--long", &["--long"]),
];

impl Bench {
    pub(super) fn addresses(&self) -> Result<Table> {
        let numbers: &[u32] = if self.is_short {
            &[1_000, 1_000_000]
        } else {
            &[1_000, 100_000, 1_000_000, 3_000_000, 10_000_000]
        };
        let mut head = vec!["addresses in strace text: s, MiB".to_owned()];
        head.extend(VIEWS.iter().map(|(name, _)| (*name).to_owned()));
        let head: Vec<_> = head.iter().map(String::as_str).collect();
        let mut table = Table::new(&head);
        let input = self.directory.join("addresses");
        for number in numbers {
            write(*number, &input)?;
            let mut cells = vec![number.to_string()];
            for (_, options) in VIEWS {
                let cost = self.read(&input, options, *number)?;
                let mebibytes = cost.peak as f64 / 1_048_576.0;
                cells.push(format!("{:.2}, {mebibytes:.0}", cost.wall.as_secs_f64()));
            }
            table.row(cells);
        }
        std::fs::remove_file(input)?;
        Ok(table)
    }

    /// Reads the input, and checks the number of connections that conn-cli says.
    fn read(&self, input: &Path, options: &[&str], connections: u32) -> Result<Cost> {
        let (out, err) = (self.directory.join("out"), self.directory.join("err"));
        let mut conn_cli = Command::new(&self.conn_cli);
        // With room for each: the default depends on the machine's memory.
        conn_cli
            .args(["read", "--quiet", "--max-clients", "10000000"])
            .args(options)
            .arg(input);
        let cost = measure::run(&mut conn_cli, Output::File(&out), &err)?;
        ensure!(cost.succeeded, "{conn_cli:?} failed");
        check_total(&err, connections.into())?;
        Ok(cost)
    }
}

/// Writes a line of strace for each address.
fn write(addresses: u32, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let first = Ipv4Addr::new(10, 0, 0, 0).to_bits();
    for number in 0..addresses {
        let address = Ipv4Addr::from_bits(first + number);
        writeln!(
            file,
            "accept4(3, {{sa_family=AF_INET, sin_port=htons(40000), sin_addr=inet_addr(\"{address}\")}}, [16], \
             SOCK_CLOEXEC) = 4"
        )?;
    }
    file.flush().context("cannot write the input")
}
