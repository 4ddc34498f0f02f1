//! A flood of forged SYNs while real clients connect: conn-cli must lose none of their connections,
//! keep its totals exact and its memory small.

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::peers::handshakes::Handshakes;
use lab::peers::tcpdump::Tcpdump;
use lab::process::{Lines, poll_until};
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::stages::Stages;
use lab::tracer::{Ended, Tracer};
use lab::wire::{Link, Sources, Syns};
use rustix::process::Signal;

use super::text;
use crate::context::Context;

/// Forged clients; fewer where the machine may be emulated.
const FORGED: u32 = 100_000;
const FORGED_WITH_ACCEPTS: u32 = 6000;

/// How many of them may have a row.
const MAX_CLIENTS: u32 = 1000;

/// The limit of conn-cli's resident memory after the flood.
const MAX_RESIDENT_KIB: u64 = 64 * 1024;

/// Connections before the flood, and as many after it.
const CONNECTIONS: u32 = 45;

/// More connections than there is time for.
const CONCURRENT_CONNECTIONS: u32 = 1_000_000;

pub(crate) fn syn_flood(context: &Context) -> Result<String> {
    let link = Link::new()?;
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let lines = Run::start(context, &["--json"])?;
    let quiet = Run::start(context, &["--json", "--quiet"])?;
    let text = Run::start(context, &["--quiet"])?;
    let tcpdump = Tcpdump::start("lo", &Handshakes::filter(context.port))?;
    let forged = flood(context, &link)?;
    let genuine = Handshakes::from_lines(&tcpdump.finish()?, context.port)?;
    let served = server.finish()?;
    let resident = lines.resident_kib()?.max(quiet.resident_kib()?);
    ensure!(
        resident < MAX_RESIDENT_KIB,
        "conn-cli uses {resident} KiB of memory"
    );
    let syns = genuine.syns().len() as u64;
    let connections = served.values().sum();
    ensure!(
        syns == connections,
        "the test is at fault: of {syns} SYNs, the server accepted {connections}"
    );
    let expected = Stages {
        established: (!context.hook.sees_accepts()).then_some(connections),
        accepted: context.hook.sees_accepts().then_some(connections),
        syn: forged + syns,
        repeated: genuine.repeated,
    };
    let not_shown = lines.check_json(&expected, &served).context("with lines")?;
    quiet.check_json(&expected, &served).context("quiet")?;
    let other = text.check_text(&expected, &served)?;
    Ok(format!(
        "{expected} other={other} not_shown={not_shown} resident={resident} KiB"
    ))
}

/// Sends the flood and returns how many SYNs were sent. Real clients connect before, during and
/// after it.
fn flood(context: &Context, link: &Link) -> Result<u64> {
    let forged = if context.hook.sees_accepts() {
        FORGED_WITH_ACCEPTS
    } else {
        FORGED
    };
    let load = Load::v4(context.port, CONNECTIONS);
    load.run()?;
    let concurrent = Load {
        connections: CONCURRENT_CONNECTIONS,
        ..load.clone()
    }
    .start()?;
    poll_until("a client has connected", || Ok(concurrent.made() > 0))?;
    let before = concurrent.made();
    let sent = link.send(&Syns::new(context.port, Sources::Benchmark, forged));
    let after = concurrent.made();
    concurrent.stop();
    concurrent.finish()?;
    ensure!(
        after > before,
        "the test is at fault: no client connected during the flood"
    );
    load.run()?;
    sent
}

/// A running conn-cli.
struct Run(Tracer, Lines);

impl Run {
    fn start(context: &Context, options: &[&str]) -> Result<Self> {
        let max_clients = MAX_CLIENTS.to_string();
        let mut command = context.conn_cli(context.port);
        command
            .args(["--event", "syn,accepted", "--max-clients", &max_clients])
            .args(options);
        let mut tracer = Tracer::start(&mut command)?;
        let stdout = tracer.stdout()?;
        Ok(Self(tracer, stdout))
    }

    /// Its resident memory.
    fn resident_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.0.process.child.id());
        let status = std::fs::read_to_string(path)?;
        let resident = |line: &str| {
            let rest = line.strip_prefix("VmRSS:")?;
            rest.trim().strip_suffix(" kB")?.parse().ok()
        };
        let resident = status.lines().find_map(resident);
        resident.with_context(|| format!("no resident memory: {status}"))
    }

    fn end(self) -> Result<Ended> {
        self.0.finish(Signal::INT, &self.1)
    }

    /// Checks the totals and the real clients. Returns how many lines were not shown, if any were.
    fn check_json(self, expected: &Stages, served: &Counts) -> Result<u64> {
        let ended = self.end()?;
        let report = Report::new(&ended)?;
        let stages = Stages::from_report(&report)?;
        let printed = Stages::from_stderr(&ended)?;
        ensure!(
            stages == printed && is_same_but_forgotten(&stages, expected),
            "{stages} in the summary, {printed} in the diagnostics, instead of {expected}"
        );
        ensure!(
            stages.syn == expected.syn || report.summary["forgot_syns"] == true,
            "SYNs that were sent again are counted, and nothing says so: {stages}"
        );
        let counts = report.counts()?;
        ensure!(
            counts == *served && report.number("other_clients")? == 0,
            "{counts:?}, where the server counted {served:?}"
        );
        // The real clients connected before the flood, so their SYNs have entries, too.
        let mut syns = report.counts_for("syn")?;
        syns.retain(|address, _| served.contains_key(address));
        ensure!(
            syns.values().sum::<u64>() - (stages.syn - expected.syn) == expected.last()
                && served
                    .iter()
                    .all(|(address, count)| syns.get(address) >= Some(count)),
            "SYNs {syns:?}, where the server counted {served:?}"
        );
        if report.live.is_empty() {
            report.check_discrepancies(0).map(|()| 0)
        } else {
            report.check_stages(&stages)
        }
    }

    /// All rows must add up to the total. Returns the SYNs in the row "other".
    fn check_text(self, expected: &Stages, served: &Counts) -> Result<u64> {
        let ended = self.end()?;
        let printed = Stages::from_stderr(&ended)?;
        ensure!(
            is_same_but_forgotten(&printed, expected),
            "printed {printed} instead of {expected}"
        );
        let shown = text::parse(&ended)?;
        let (mut rows, mut other, mut total) = ([0, 0], None, None);
        let mut clients = 0;
        let mut counts = Counts::new();
        // Where no hook sees accepts, handshakes are the last stage.
        let last = match expected.accepted {
            Some(_) => "accepted",
            None => "established",
        };
        for (name, row) in shown.rows(["syn", last])? {
            match name {
                "other" => other = Some(row),
                "total" => total = Some(row),
                address => {
                    clients += 1;
                    rows = [rows[0] + row[0], rows[1] + row[1]];
                    if row[1] > 0 {
                        counts.insert(address.parse()?, row[1]);
                    }
                }
            }
        }
        let other = other.context("no row \"other\"")?;
        let sum = [rows[0] + other[0], rows[1] + other[1]];
        ensure!(
            total == Some(sum) && sum == [printed.syn, printed.last()] && counts == *served,
            "rows {rows:?} and other {other:?} are not the total {total:?}, or not {printed}"
        );
        // SYN-only clients have separate entries.
        let max_rows = u64::from(MAX_CLIENTS) + served.len() as u64;
        ensure!(clients <= max_rows, "{clients} rows");
        Ok(other[0])
    }
}

/// Whether these are the stages, except for SYNs that were sent again so late, after so many
/// others, that conn-cli took them for first ones.
fn is_same_but_forgotten(stages: &Stages, expected: &Stages) -> bool {
    let forgotten = stages.syn.saturating_sub(expected.syn);
    let corrected = Stages {
        syn: stages.syn - forgotten,
        repeated: stages.repeated + forgotten,
        ..*stages
    };
    corrected == *expected
}
