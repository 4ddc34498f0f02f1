//! The guest's side: runs each row in turn and says what it cost, and what it missed.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::clock::{executed, rest, settle};
use super::ends::{Client, WaitingServer, work};
use super::plan::Plan;
use super::process::Started;
use super::rows::{Kind, ROWS, Row, Told, WAITING_THREADS};
use super::said::{Figure, Missed, Said, What};
use super::tracer::Tracer;

/// Whether processes may have huge pages that they have not asked for.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Connections before those that are measured.
const WARM_UP: u32 = 100;

/// Runs the rows in a guest that counts instructions
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with the number of connections and of runs
    #[arg(long)]
    plan: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let plan: Plan = fs::read_to_string(&args.plan)?.parse().context("no plan")?;
    // Or the kernel makes one for whoever has the memory, now in this run and now in that: two
    // million instructions each.
    fs::write(HUGE_PAGES, "never").context("cannot do without huge pages")?;
    // All runs of a row one after the other, and conn-cli's are the first rows: what other tracers
    // leave behind can cost those that come later.
    for number in plan.turns() {
        let row = &ROWS[number];
        let (starts, runs) = match row.starts_once() {
            true => (1, plan.runs),
            false => (plan.runs, 1),
        };
        for start in 0..starts {
            let tell = |what| println!("{}", Said { row: number, what });
            if let Err(error) = turn(row, plan.connections, runs, start == 0, tell) {
                tell(What::Failed(format!("{error:#}")));
                break;
            }
        }
    }
    Ok(())
}

/// The runs of a tracer that is started; what it misses is counted the first time.
fn turn(row: &Row, connections: u32, runs: u32, first: bool, tell: impl Fn(What)) -> Result<()> {
    let mut running = None;
    if first && row.can_miss() {
        let (missed, tracer) = with_threads_waiting(row, connections)?;
        tell(What::Missed(missed));
        running = tracer;
    }
    for figure in with_one_server(row, connections, runs, running)? {
        tell(What::Figure(figure));
    }
    Ok(())
}

/// Starts the tracer when many threads of a server wait, and counts what it does not tell of
/// what they accept. The tracer comes back if it is not to be started once more.
fn with_threads_waiting(row: &Row, connections: u32) -> Result<(Missed, Option<Tracer<'_>>)> {
    settle()?;
    let mut server = WaitingServer::start(WAITING_THREADS)?;
    let tracer = Tracer::beside(row, server.id())?;
    rest();
    Client::start()?.connect(connections)?;
    rest();
    let accepted = server.accepted()?;
    ensure!(
        accepted == u64::from(connections),
        "the server accepted {accepted} of {connections}"
    );
    let (told, tracer) = match row.starts_once() {
        true => (tracer.told_in_out()?, Some(tracer)),
        false => (tracer.end()?.context("it tells of none")?, None),
    };
    let of = accepted * each(row);
    let missed = less(of, told)?;
    Ok((Missed { missed, of }, tracer))
}

/// Measures the tracer with a server of one thread: the one that runs, or it is started.
fn with_one_server<'a>(
    row: &'a Row,
    connections: u32,
    runs: u32,
    running: Option<Tracer<'a>>,
) -> Result<Vec<Figure>> {
    settle()?;
    // The server ends with the value.
    let (_server, tracer) = server_and_tracer(row, running)?;
    let told_before = match row.starts_once() {
        true => tracer.told_in_out()?,
        false => 0,
    };
    let mut client = Client::start()?;
    let mut figures = Vec::new();
    for run in 0..runs {
        if run > 0 {
            settle()?;
        }
        rest();
        let mut figure = one_run(&mut client, connections, &tracer)?;
        figure.ready = tracer.ready;
        figures.push(figure);
    }
    let connections = u64::from(connections + WARM_UP) * u64::from(runs);
    if let Some(told) = tracer.end()? {
        let told = told - told_before;
        let lost = less(connections * each(row), told)?;
        if let Some(last) = figures.last_mut() {
            last.told = Some((told, lost));
        }
    }
    Ok(figures)
}

/// A server of one thread, unless it is the tracer's own, and the tracer.
fn server_and_tracer<'a>(
    row: &'a Row,
    running: Option<Tracer<'a>>,
) -> Result<(Option<Started>, Tracer<'a>)> {
    if matches!(row.kind, Kind::Around { .. }) {
        return Ok((None, Tracer::around(row)?));
    }
    let mut server = Started::new(&work(""))?;
    server.wait_for_stdout()?;
    rest();
    let tracer = match running {
        Some(tracer) => tracer,
        None => Tracer::beside(row, server.id())?,
    };
    Ok((Some(server), tracer))
}

fn one_run(client: &mut Client, connections: u32, tracer: &Tracer<'_>) -> Result<Figure> {
    let resident = tracer.resident()?;
    client.connect(WARM_UP)?;
    rest();

    let before = executed()?;
    let elapsed = client.connect(connections)?;
    rest();
    Ok(Figure {
        all: (executed()? - before) / u64::from(connections),
        meanwhile: elapsed / u64::from(connections),
        resident,
        ..Figure::default()
    })
}

/// How often a row tells of each connection.
fn each(row: &Row) -> u64 {
    match row.told {
        Told::Lines { each, .. } => u64::from(each),
        _ => 1,
    }
}

/// What is not told of.
fn less(wanted: u64, told: u64) -> Result<u64> {
    let rest = wanted.checked_sub(told);
    rest.with_context(|| format!("it told of {told} instead of {wanted}"))
}
