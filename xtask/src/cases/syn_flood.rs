//! A flood of SYNs from clients that there are not, while others connect: no connection of
//! theirs is lost, no total, and conn-cli stays small.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::exact::Family;
use super::peers::handshakes::Handshakes;
use super::peers::tcpdump::Tcpdump;
use super::plan::Context;
use super::process::{Lines, poll_until};
use super::report::Report;
use super::server::{Counts, Serve, Server};
use super::stages::Stages;
use super::text;
use super::tracer::{Ended, Tracer};
use super::wire::{Link, Sources, Syns};

/// Clients that there are not; fewer where the machine may be an emulated one.
const FORGED: u32 = 100_000;
const FORGED_WITH_ACCEPTS: u32 = 6000;

/// How many of them have a row.
const MAX_CLIENTS: u32 = 1000;

/// What conn-cli may have in memory after the flood.
const MOST_RESIDENT_KIB: u64 = 64 * 1024;

/// Connections before the flood, and as many after it.
const CONNECTIONS: u32 = 45;

/// More than there is time for.
const MEANWHILE: u32 = 1_000_000;

pub(super) fn syn_flood(context: &Context) -> Result<String> {
    let link = Link::new()?;
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let lines = Run::start(context, &["--json"])?;
    let quiet = Run::start(context, &["--json", "--quiet"])?;
    let text = Run::start(context, &["--quiet"])?;
    let tcpdump = Tcpdump::start("lo", &Handshakes::filter(context.port))?;
    let forged = flood(context, &link)?;
    let genuine = Handshakes::of(&tcpdump.finish()?, context.port)?;
    let served = server.finish()?;
    let resident = lines.resident_kib()?.max(quiet.resident_kib()?);
    ensure!(
        resident < MOST_RESIDENT_KIB,
        "conn-cli has {resident} KiB in memory"
    );
    let asked = genuine.asked().len() as u64;
    let connections = served.values().sum();
    ensure!(
        asked == connections,
        "the test is at fault: of {asked} connections, the server accepted {connections}"
    );
    let expected = Stages {
        established: (!context.hook.sees_accepts()).then_some(connections),
        accepted: context.hook.sees_accepts().then_some(connections),
        syn: forged + asked,
        repeated: genuine.repeated,
    };
    let not_shown = lines.check_json(&expected, &served).context("with lines")?;
    quiet.check_json(&expected, &served).context("quiet")?;
    let other = text.check_text(&expected, &served)?;
    Ok(format!(
        "{expected} other={other} not_shown={not_shown} resident={resident} KiB"
    ))
}

/// Sends the flood, and returns how much that was. Others connect before, meanwhile and
/// after.
fn flood(context: &Context, link: &Link) -> Result<u64> {
    let forged = match context.hook.sees_accepts() {
        true => FORGED_WITH_ACCEPTS,
        false => FORGED,
    };
    let load = Load::v4(context.port, CONNECTIONS);
    load.run()?;
    let meanwhile = Load {
        connections: MEANWHILE,
        ..load.clone()
    }
    .start()?;
    poll_until("a client has connected", || Ok(meanwhile.made() > 0))?;
    let before = meanwhile.made();
    let sent = link.send(&Syns::new(context.port, Sources::Benchmark, forged));
    let after = meanwhile.made();
    meanwhile.stop();
    meanwhile.finish()?;
    ensure!(
        after > before,
        "the test is at fault: nobody connected during the flood"
    );
    load.run()?;
    sent
}

/// A conn-cli that watches.
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

    /// How much of its memory is there.
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

    /// The totals, and the genuine clients; what has no line, if lines were asked for.
    fn check_json(self, expected: &Stages, served: &Counts) -> Result<u64> {
        let ended = self.end()?;
        let report = Report::of(&ended)?;
        let stages = Stages::of(&report)?;
        let said = Stages::said(&ended)?;
        ensure!(
            stages == said && is_same(&stages, expected),
            "{stages}, and said {said}, instead of {expected}"
        );
        let counts = report.counts()?;
        ensure!(
            counts == *served && report.number("other_clients")? == 0,
            "{counts:?}, where the server counted {served:?}"
        );
        // They were there before the flood, so that their SYNs have their place, too.
        let mut asked = report.counts_of("syn")?;
        asked.retain(|address, _| served.contains_key(address));
        ensure!(
            asked.values().sum::<u64>() - (stages.syn - expected.syn) == expected.last()
                && served
                    .iter()
                    .all(|(address, count)| asked.get(address) >= Some(count)),
            "{asked:?} asked, of {served:?}"
        );
        match report.live.is_empty() {
            true => report.check_doubts(0).map(|()| 0),
            false => report.check_stages(&stages),
        }
    }

    /// All rows together must be the total. Returns what is under "other".
    fn check_text(self, expected: &Stages, served: &Counts) -> Result<u64> {
        let ended = self.end()?;
        let said = Stages::said(&ended)?;
        ensure!(
            is_same(&said, expected),
            "said {said} instead of {expected}"
        );
        let shown = text::parse(&ended)?;
        let (mut rows, mut other, mut total) = ([0, 0], None, None);
        let mut clients = 0;
        let mut counts = Counts::new();
        for (who, row) in shown.rows()? {
            match who {
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
            total == Some(sum) && sum == [said.syn, said.last()] && counts == *served,
            "rows {rows:?} and other {other:?} are not the total {total:?}, or not {said}"
        );
        // Those who only asked have places of their own.
        let most = u64::from(MAX_CLIENTS) + served.len() as u64;
        ensure!(clients <= most, "{clients} rows");
        Ok(other[0])
    }
}

/// Whether these are the stages, but for SYNs that were sent again so late, after so many
/// others, that they were taken for first ones.
fn is_same(stages: &Stages, expected: &Stages) -> bool {
    let forgotten = stages.syn.saturating_sub(expected.syn);
    let remembered = Stages {
        syn: stages.syn - forgotten,
        repeated: stages.repeated + forgotten,
        ..*stages
    };
    remembered == *expected
}
