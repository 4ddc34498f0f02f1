//! Live tracing: from attaching to the summary.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep};

use crate::{
    cli::TraceArgs,
    kernel::{self, Choice, Doubts, Settings, Totals, Tracer},
    output::{Origin, Summary, say},
    screen::{End, Screen, TICK},
    stop::Stop,
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
pub async fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    kernel::require()?;
    let ports = args.show.port_set();
    let settings = Settings {
        ports: ports.bits(),
        offsets: kernel::offsets(),
        emit_events: Screen::wants_events(&args.show),
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
    if let Some(duration) = args.show.duration {
        stop.after(duration);
    }
    say(kernel::announcement(
        &ports,
        tracer.backend(),
        &settings.offsets,
        &passed_over,
    ));

    let mut screen = Screen::new(&args.show, ports.is_single());
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
            return Ok(End::output(error));
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

/// Reads what is left, then the totals, and prints the summary and the account.
async fn finish(
    tracer: &mut Tracer,
    screen: &mut Screen,
    stop: &mut Stop,
    end: End,
) -> anyhow::Result<()> {
    let totals = settle(tracer, screen).await?;
    let counted = totals.tally.connections();
    let (tally, second_hook_only) = match screen.first_ones() {
        Some(first) => (first.tally, first.second_hook_only),
        None => (totals.tally, totals.second_hook_only),
    };
    let origin = Origin::Kernel {
        backend: tracer.backend(),
        elapsed: tracer.elapsed(),
        second_hook_only,
        beyond_limit: counted.saturating_sub(tally.connections()),
    };
    let summary = Summary::new(tally, totals.doubts, origin);
    screen.conclude(summary, stop, end).await
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
