//! The guest's side: runs each row in turn and prints its cost and what it missed.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::clock::{executed, settle, wait_until_idle};
use super::ends::{Client, WaitingServer, work_command};
use super::plan::Plan;
use super::process::Started;
use super::rows::{Kind, ROWS, Reports, Row, WAITING_THREADS};
use super::said::{Body, Figure, Message, Missed};
use super::tracer::Tracer;

/// Whether processes get huge pages that they did not ask for.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Connections made before those that are measured.
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
    // Otherwise the kernel makes huge pages for some processes, in some runs only, at two million
    // instructions each.
    fs::write(HUGE_PAGES, "never").context("cannot turn off huge pages")?;
    // All runs of a row are consecutive, and conn-cli's rows come first: what other tracers leave
    // behind can add to the cost of later rows.
    for number in plan.turns() {
        let row = &ROWS[number];
        let (starts, runs) = if row.starts_once() {
            (1, plan.runs)
        } else {
            (plan.runs, 1)
        };
        for start in 0..starts {
            let send = |body| println!("{}", Message { row: number, body });
            if let Err(error) = measure_start(row, plan.connections, runs, start == 0, send) {
                send(Body::Failed(format!("{error:#}")));
                break;
            }
        }
    }
    Ok(())
}

/// Measures the runs of one start of a tracer; what it misses is counted only the first time.
fn measure_start(
    row: &Row,
    connections: u32,
    runs: u32,
    first: bool,
    send: impl Fn(Body),
) -> Result<()> {
    let mut running = None;
    if first && row.can_miss() {
        let (missed, tracer) = with_threads_waiting(row, connections)?;
        send(Body::Missed(missed));
        running = tracer;
    }
    for figure in with_one_server(row, connections, runs, running)? {
        send(Body::Figure(figure));
    }
    Ok(())
}

/// Starts the tracer while many threads of a server wait, and counts the accepted connections that
/// it does not report. Returns the tracer if it is not started again.
fn with_threads_waiting(row: &Row, connections: u32) -> Result<(Missed, Option<Tracer<'_>>)> {
    settle()?;
    let mut server = WaitingServer::start(WAITING_THREADS)?;
    let tracer = Tracer::beside(row, server.id())?;
    wait_until_idle();
    Client::start()?.connect(connections)?;
    wait_until_idle();
    let accepted = server.accepted()?;
    ensure!(
        accepted == u64::from(connections),
        "the server accepted {accepted} of {connections}"
    );
    let (reported, tracer) = if row.starts_once() {
        (tracer.count_in_output()?, Some(tracer))
    } else {
        (tracer.end()?.context("it reports no connections")?, None)
    };
    let of = accepted * reports_per_connection(row);
    let missed = missing(of, reported)?;
    Ok((Missed { missed, of }, tracer))
}

/// Measures the tracer with a server of one thread; starts the tracer unless it is `running`.
fn with_one_server<'a>(
    row: &'a Row,
    connections: u32,
    runs: u32,
    running: Option<Tracer<'a>>,
) -> Result<Vec<Figure>> {
    settle()?;
    // Dropping `_server` ends the server.
    let (_server, tracer) = server_and_tracer(row, running)?;
    let reported_before = if row.starts_once() {
        tracer.count_in_output()?
    } else {
        0
    };
    let mut client = Client::start()?;
    let mut figures = Vec::new();
    for run in 0..runs {
        if run > 0 {
            settle()?;
        }
        wait_until_idle();
        let mut figure = one_run(&mut client, connections, &tracer)?;
        figure.ready = tracer.ready;
        figures.push(figure);
    }
    let connections = u64::from(connections + WARM_UP) * u64::from(runs);
    if let Some(reported) = tracer.end()? {
        let reported = reported - reported_before;
        let lost = missing(connections * reports_per_connection(row), reported)?;
        if let Some(last) = figures.last_mut() {
            last.reported = Some((reported, lost));
        }
    }
    Ok(figures)
}

/// Starts a server of one thread, unless the tracer starts it, and the tracer.
fn server_and_tracer<'a>(
    row: &'a Row,
    running: Option<Tracer<'a>>,
) -> Result<(Option<Started>, Tracer<'a>)> {
    if matches!(row.kind, Kind::Around { .. }) {
        return Ok((None, Tracer::around(row)?));
    }
    let mut server = Started::new(&work_command(""))?;
    server.wait_for_stdout()?;
    wait_until_idle();
    let tracer = match running {
        Some(tracer) => tracer,
        None => Tracer::beside(row, server.id())?,
    };
    Ok((Some(server), tracer))
}

fn one_run(client: &mut Client, connections: u32, tracer: &Tracer<'_>) -> Result<Figure> {
    let resident = tracer.resident()?;
    client.connect(WARM_UP)?;
    wait_until_idle();

    let before = executed()?;
    let elapsed = client.connect(connections)?;
    wait_until_idle();
    Ok(Figure {
        all: (executed()? - before) / u64::from(connections),
        meanwhile: elapsed / u64::from(connections),
        resident,
        ..Figure::default()
    })
}

/// How often a row reports each connection.
fn reports_per_connection(row: &Row) -> u64 {
    match row.reports {
        Reports::Lines { each, .. } => u64::from(each),
        _ => 1,
    }
}

/// How many are not reported.
fn missing(expected: u64, reported: u64) -> Result<u64> {
    let missing = expected.checked_sub(reported);
    missing.with_context(|| format!("it reported {reported} instead of {expected}"))
}
