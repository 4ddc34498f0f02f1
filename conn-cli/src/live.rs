//! Live tracing: from attaching to the summary.

use std::{convert::Infallible, io, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::time::{Instant, sleep};

use crate::{
    cli::Args,
    kernel::{self, Choice, Doubts, Settings, Totals, Tracer},
    output::{Summary, account, say},
    screen::Screen,
    stop::Stop,
};

/// Records handled before signals are looked at again.
const BATCH: usize = 1024;

/// The least time between two looks at the ring buffer: to wake up costs more than a record.
const PAUSE: Duration = Duration::from_millis(20);

/// How often it is looked whether anybody still reads.
const TICK: Duration = Duration::from_millis(500);

/// How long records that were begun before the end are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a run ended.
#[derive(Debug)]
enum End {
    /// It was asked to, or has shown as many connections as it was to show.
    Asked,
    /// Standard output takes no more: its reader is gone, or this error.
    Output(Option<io::Error>),
}

/// Traces as `args` say, until it is stopped, and prints the summary.
///
/// # Errors
/// Why tracing cannot begin, or what the system refused on the way.
pub async fn trace(args: &Args) -> anyhow::Result<()> {
    kernel::require()?;
    let ports = args.port_set();
    let settings = Settings {
        ports: ports.bits(),
        offsets: kernel::offsets(),
        emit_events: Screen::wants_events(args),
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
        .map_err(|refused| anyhow!(kernel::complaint(&refused)))?;
    kernel::drop_privileges()?;
    release_memory();
    if let Some(duration) = args.duration {
        stop.after(duration);
    }
    say(kernel::announcement(
        &ports,
        tracer.backend(),
        &settings.offsets,
        &passed_over,
    ));

    let mut screen = Screen::new(args, ports.is_single());
    let end = tokio::select! {
        biased;
        () = stop.wait() => End::Asked,
        end = follow(&mut tracer, &mut screen) => end?,
    };
    tracer.detach();
    finish(&mut tracer, &mut screen, &mut stop, end).await
}

/// Gives back what loading took: aya reads all of the kernel's BTF, tens of megabytes.
fn release_memory() {
    // SAFETY: malloc_trim only returns pages that hold nothing.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Shows connections as they come, until the limit is reached or nobody reads.
async fn follow(tracer: &mut Tracer, screen: &mut Screen) -> anyhow::Result<End> {
    loop {
        let batch = tracer.read(BATCH, |connection| screen.show(connection));
        if let Err(error) = screen.stdout.send().await {
            return Ok(output_ended(error));
        }
        if screen.is_full() {
            return Ok(End::Asked);
        }
        if batch.more {
            tokio::task::yield_now().await;
        } else if batch.records > 0 {
            sleep(PAUSE).await;
        } else {
            tokio::select! {
                ready = tracer.readable() => ready?,
                () = sleep(TICK) => if screen.stdout.is_closed() {
                    return Ok(End::Output(None));
                },
            }
        }
    }
}

fn output_ended(error: io::Error) -> End {
    match error.kind() {
        io::ErrorKind::BrokenPipe => End::Output(None),
        _ => End::Output(Some(error)),
    }
}

/// Reads what is left, then the totals, and prints the summary and the account.
async fn finish(
    tracer: &mut Tracer,
    screen: &mut Screen,
    stop: &mut Stop,
    end: End,
) -> anyhow::Result<()> {
    let totals = settle(tracer, screen).await?;
    let counted = totals.tally.connections();
    let doubts = totals.doubts;
    let mut summary = summary(tracer, screen, totals);

    let (insisted, end) = match end {
        End::Asked => {
            // Of the lines not yet written it is assumed that they will be: otherwise nobody
            // reads this either.
            summary.lines_not_shown = not_shown(screen, &summary, screen.arrived);
            screen
                .printer
                .summary(screen.stdout.buffer(), &summary, &doubts);
            tokio::select! {
                biased;
                sent = screen.stdout.send() => (false, sent.map_or_else(output_ended, |()| end)),
                () = stop.insisted() => (true, end),
                never = explain_the_wait() => match never {},
            }
        }
        End::Output(_) => (false, end),
    };

    summary.lines_not_shown = not_shown(screen, &summary, screen.stdout.lines_sent());
    for line in account(&summary, screen.quiet, &doubts) {
        say(line);
    }
    if counted > summary.connections {
        let more = counted - summary.connections;
        say(format_args!(
            "{more} more were accepted before the probes were detached"
        ));
    }
    match end {
        // What waits to be written holds a thread, which only this ends.
        _ if insisted => std::process::exit(130),
        End::Output(Some(error)) => Err(error).context("cannot write to standard output"),
        End::Output(None) | End::Asked => Ok(()),
    }
}

/// Says, if it takes long, what is waited for.
async fn explain_the_wait() -> Infallible {
    sleep(PATIENCE).await;
    say("waiting for the reader of standard output; another Ctrl-C ends it without the rest");
    std::future::pending().await
}

fn summary(tracer: &Tracer, screen: &Screen, totals: Totals) -> Summary {
    let (tally, second_hook_only) = match screen.first_ones() {
        Some(first) => (first.tally, first.second_hook_only),
        None => (totals.tally, totals.second_hook_only),
    };
    Summary {
        backend: tracer.backend(),
        connections: tally.connections(),
        other_clients: tally.other(),
        clients: tally.ranked(),
        second_hook_only,
        lines_not_shown: 0,
        elapsed: tracer.elapsed(),
    }
}

/// Reads the ring until all that was counted has arrived or is known to be lost. A program
/// that ran while its probe was detached may still be writing.
async fn settle(tracer: &mut Tracer, screen: &mut Screen) -> anyhow::Result<Totals> {
    let begun = Instant::now();
    loop {
        while tracer
            .read(BATCH, |connection| screen.show(connection))
            .more
        {
            tokio::task::yield_now().await;
        }
        let totals = tracer.totals()?;
        let reported = totals.tally.connections() - totals.ring_full;
        let unaccounted = match tracer.reports() {
            true => reported.saturating_sub(screen.arrived),
            false => 0,
        };
        if unaccounted == 0 || begun.elapsed() > PATIENCE {
            let doubts = Doubts {
                unaccounted,
                ..totals.doubts
            };
            return Ok(Totals { doubts, ..totals });
        }
        sleep(PAUSE).await;
    }
}

/// Connections that are in the summary and have no line though one was asked for.
fn not_shown(screen: &Screen, summary: &Summary, shown: u64) -> u64 {
    match screen.quiet {
        true => 0,
        false => summary.connections.saturating_sub(shown),
    }
}
