//! Live tracing: from attaching to the summary.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use jiff::tz::TimeZone;

use crate::{
    cli::Args,
    connection::Connection,
    kernel::{self, Backend, Choice, Refusal, Settings, Totals, Tracer},
    output::{Clock, Json, Printer, Stdout, Summary, Text, account},
    stop::{Reason, Stop},
    tally::Tally,
};

/// Records handled before signals are looked at again.
const BATCH: usize = 1024;

/// The least time between two looks at the ring buffer: to wake up costs more than a record.
const PAUSE: Duration = Duration::from_millis(20);

/// How long records that were begun before the end are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Traces as `args` say, until it is stopped, and prints the summary.
///
/// # Errors
/// Why tracing cannot begin, or what the system refused on the way.
pub async fn trace(args: &Args) -> anyhow::Result<()> {
    kernel::require()?;
    let ports = args.port_set();
    let settings = Settings {
        ports: ports.bits(),
        emit_events: !args.quiet || args.count.is_some(),
        max_clients: args.max_clients,
        buffer_size: args.buffer_size,
        verbose: args.verbose,
    };
    // Before attaching: nothing shall end the process while probes are attached but unwatched.
    let mut stop = Stop::watch()?;
    let Choice {
        attached: mut tracer,
        passed_over,
    } = kernel::choose(args.probe, |backend| Tracer::attach(backend, &settings))
        .map_err(|refused| cannot_trace(&refused))?;
    kernel::drop_privileges()?;
    release_memory();
    if let Some(duration) = args.duration {
        stop.after(duration);
    }
    let begun = kernel::announcement(&ports, tracer.backend(), &passed_over);
    eprintln!("{begun}");

    let mut screen = Screen::new(args, ports.is_single());
    let reason = tokio::select! {
        biased;
        reason = stop.wait() => reason,
        reason = follow(&mut tracer, &mut screen) => reason?,
    };
    tracer.detach();
    tokio::select! {
        biased;
        () = stop.insisted() => std::process::exit(130),
        result = finish(&mut tracer, &mut screen, reason) => result,
    }
}

/// Gives back what loading took: aya reads all of the kernel's BTF, tens of megabytes.
fn release_memory() {
    // SAFETY: malloc_trim only returns pages that hold nothing, and no other thread runs.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A line for each hook that was tried.
fn cannot_trace(refused: &[(Backend, Refusal)]) -> anyhow::Error {
    let line = |(backend, refusal): &(_, _)| format!("cannot use {backend}: {refusal}");
    anyhow!(refused.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// The live lines: what to print, and what has been.
struct Screen {
    printer: Printer,
    stdout: Stdout,
    quiet: bool,
    /// Connections that came out of the ring buffer.
    arrived: u64,
    limit: Option<u64>,
    /// Kept with a limit only: the summary is then of what arrived up to it.
    tally: Tally,
}

impl Screen {
    fn new(args: &Args, single_port: bool) -> Self {
        let zone = match args.utc {
            true => TimeZone::UTC,
            false => TimeZone::system(),
        };
        let clock = Clock::new(zone);
        let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
            && io::stdout().is_terminal();
        Self {
            printer: match args.json {
                true => Printer::Json(Json::new(clock)),
                false => Printer::Text(Text::new(clock, !single_port, colour)),
            },
            stdout: Stdout::new(),
            quiet: args.quiet,
            arrived: 0,
            limit: args.count,
            tally: Tally::default(),
        }
    }

    /// Whether no records are expected: the kernel was told not to write any.
    fn only_counts(&self) -> bool {
        self.quiet && self.limit.is_none()
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.arrived >= limit)
    }

    fn show(&mut self, connection: &Connection) {
        let too_late = self.is_full();
        self.arrived += 1;
        if too_late {
            return;
        }
        if self.limit.is_some() {
            let client = connection.remote.ip();
            self.tally.add(client, connection.local.port(), 1);
        }
        if !self.quiet {
            self.printer.connection(self.stdout.buffer(), connection);
            self.stdout.count_line();
        }
    }
}

/// Shows connections as they come, until the limit is reached or nobody reads.
async fn follow(tracer: &mut Tracer, screen: &mut Screen) -> anyhow::Result<Reason> {
    loop {
        let batch = tracer.read(BATCH, |connection| screen.show(connection));
        match screen.stdout.send().await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Reason::OutputClosed);
            }
            sent => sent.context("cannot write to standard output")?,
        }
        if screen.is_full() {
            return Ok(Reason::Asked);
        }
        if batch.more {
            tokio::task::yield_now().await;
        } else if batch.records > 0 {
            tokio::time::sleep(PAUSE).await;
        } else {
            tracer.readable().await?;
        }
    }
}

/// Reads what is left, then the totals, and prints the summary and the account.
async fn finish(tracer: &mut Tracer, screen: &mut Screen, reason: Reason) -> anyhow::Result<()> {
    let totals = settle(tracer, screen).await?;
    let Totals {
        tally,
        ring_full: _,
        second_hook_only,
        doubts,
    } = totals;
    let counted = tally.connections();
    let tally = match screen.limit {
        Some(_) => std::mem::take(&mut screen.tally),
        None => tally,
    };
    let mut summary = Summary {
        backend: tracer.backend(),
        connections: tally.connections(),
        other_clients: tally.other(),
        clients: tally.ranked(),
        second_hook_only,
        lines_not_shown: 0,
        elapsed: tracer.elapsed(),
    };
    if reason == Reason::Asked {
        // The summary says how many lines were not shown: of those not yet written it is
        // assumed that they will be, or the summary will not be read either.
        summary.lines_not_shown = not_shown(screen, &summary, screen.arrived);
        screen.printer.summary(screen.stdout.buffer(), &summary);
        match screen.stdout.send().await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => (),
            sent => sent.context("cannot write to standard output")?,
        }
    }
    summary.lines_not_shown = not_shown(screen, &summary, screen.stdout.lines_sent());
    for line in account(&summary, screen.quiet, &doubts) {
        eprintln!("{line}");
    }
    if screen.limit.is_some() && counted > summary.connections {
        let more = counted - summary.connections;
        eprintln!("{more} more came before the probes were detached");
    }
    Ok(())
}

/// Reads the ring until all that was counted has arrived or is known to be lost. A program
/// that ran while its probe was detached may still be writing.
async fn settle(tracer: &mut Tracer, screen: &mut Screen) -> anyhow::Result<Totals> {
    let begun = tokio::time::Instant::now();
    loop {
        while tracer
            .read(BATCH, |connection| screen.show(connection))
            .more
        {}
        let mut totals = tracer.totals()?;
        let expected = totals.tally.connections() - totals.ring_full;
        let missing = expected.saturating_sub(screen.arrived);
        if screen.only_counts() || missing == 0 || begun.elapsed() > PATIENCE {
            totals.doubts.unaccounted = if screen.only_counts() { 0 } else { missing };
            return Ok(totals);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn not_shown(screen: &Screen, summary: &Summary, shown: u64) -> u64 {
    match screen.quiet {
        true => 0,
        false => summary.connections.saturating_sub(shown),
    }
}
