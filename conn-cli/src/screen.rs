//! What a run shows: the live lines, what is known of them, and the summary that ends it.

use std::{
    convert::Infallible,
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use tokio::time::sleep;

use crate::{
    cli::ShowArgs,
    connection::{Connection, Hook, Source},
    output::{Clock, Json, Printer, Stdout, Summary, Text, TimeFormat, account, say},
    stop::Stop,
    tally::Tally,
};

/// How often it is looked whether anybody still reads.
pub const TICK: Duration = Duration::from_millis(500);

/// How long the reader of standard output may take before it is said that it is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The live lines: what is to be printed, and what has been.
#[derive(Debug)]
pub struct Screen {
    /// Where lines go.
    pub stdout: Stdout,
    /// Connections that came to be shown.
    pub arrived: u64,
    printer: Printer,
    quiet: bool,
    limit: Option<u64>,
    first: FirstOnes,
}

/// The connections up to the limit of `--count`. With a limit that was reached, the summary
/// is of these and of no other.
#[derive(Clone, Debug, Default)]
pub struct FirstOnes {
    /// By client.
    pub tally: Tally,
    /// Those that only the second hook of the pair saw.
    pub second_hook_only: u64,
}

/// Why a run ended.
#[derive(Debug)]
pub enum End {
    /// It was asked to, or there is no more to show.
    Asked,
    /// Standard output takes no more: its reader is gone, or this error.
    Output(Option<io::Error>),
}

impl Screen {
    /// As `args` say. `single_port`: lines need not name the port.
    #[must_use]
    pub fn new(args: &ShowArgs, single_port: bool) -> Self {
        let zone = match args.utc {
            true => TimeZone::UTC,
            false => TimeZone::system(),
        };
        let clock = Clock::new(zone, TimeFormat::default());
        let stdout = io::stdout();
        let colour = stdout.is_terminal()
            && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Self {
            printer: match args.json {
                true => Printer::Json(Json::new(clock)),
                false => Printer::Text(Text::new(clock, !single_port, colour)),
            },
            stdout: Stdout::new(),
            quiet: args.quiet,
            arrived: 0,
            limit: args.count,
            first: FirstOnes::default(),
        }
    }

    /// Whether the limit of `--count` is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.arrived >= limit)
    }

    /// The connections up to the limit, if that is reached.
    #[must_use]
    pub fn first_ones(&self) -> Option<FirstOnes> {
        self.is_full().then(|| self.first.clone())
    }

    /// Whether the kernel is to report connections, or only to count them.
    #[must_use]
    pub fn wants_events(args: &ShowArgs) -> bool {
        !args.quiet || args.count.is_some()
    }

    /// Appends a connection's line, unless the limit is reached.
    pub fn show(&mut self, connection: &Connection) {
        let too_late = self.is_full();
        self.arrived += 1;
        if too_late {
            return;
        }
        if self.limit.is_some() {
            let (client, port) = (&connection.remote, connection.local_port);
            self.first.tally.add(client, port, 1);
            let by_second_hook = connection.source == Source::Hook(Hook::Kprobe);
            self.first.second_hook_only += u64::from(by_second_hook);
        }
        if !self.quiet {
            self.printer.connection(self.stdout.buffer(), connection);
            self.stdout.count_line();
        }
    }

    /// Prints the summary and says the account.
    ///
    /// # Errors
    /// Why standard output takes no more, unless its reader is gone.
    pub async fn conclude(
        &mut self,
        mut summary: Summary,
        stop: &mut Stop,
        end: End,
    ) -> anyhow::Result<()> {
        let (insisted, end) = match end {
            End::Asked => {
                // Of the lines not yet written it is assumed that they will be: otherwise
                // nobody reads this either.
                self.count_lines(&mut summary, self.arrived);
                self.printer.summary(self.stdout.buffer(), &summary);
                tokio::select! {
                    biased;
                    sent = self.stdout.send() => (false, sent.map_or_else(End::output, |()| end)),
                    () = stop.insisted() => (true, end),
                    never = explain_the_wait() => match never {},
                }
            }
            End::Output(_) => (false, end),
        };
        self.count_lines(&mut summary, self.stdout.lines_sent());
        for line in account(&summary, self.quiet) {
            say(line);
        }
        match end {
            // What waits to be written holds a thread, which only this ends.
            _ if insisted => std::process::exit(130),
            End::Output(Some(error)) => Err(error).context("cannot write to standard output"),
            End::Output(None) | End::Asked => Ok(()),
        }
    }

    /// Says in the summary how many of its connections have a line, and how many have none
    /// though one was asked for.
    fn count_lines(&self, summary: &mut Summary, shown: u64) {
        if !self.quiet {
            summary.lines_shown = summary.connections.min(shown);
            summary.lines_not_shown = summary.connections - summary.lines_shown;
        }
    }
}

impl End {
    /// The end that an error of standard output is.
    #[must_use]
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Output(None),
            _ => Self::Output(Some(error)),
        }
    }
}

/// Says, if it takes long, what is waited for.
async fn explain_the_wait() -> Infallible {
    sleep(PATIENCE).await;
    say("waiting for the reader of standard output; another Ctrl-C ends it without the rest");
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use jiff::Timestamp;

    use super::*;
    use crate::{
        cli::Args,
        connection::{Host, When},
    };

    fn connection(client: u8, hook: Hook) -> Connection {
        Connection {
            time: When::At(Timestamp::UNIX_EPOCH),
            remote: Host::at([192, 0, 2, client]),
            remote_port: Some(40000),
            local: Host::at([192, 0, 2, 100]),
            local_port: Some(80),
            family: None,
            process: None,
            netns: None,
            source: Source::Hook(hook),
        }
    }

    fn screen(args: &[&str]) -> Screen {
        let args = Args::parse_from([&["conn-cli", "--utc"], args].concat());
        Screen::new(&args.trace.show, true)
    }

    fn lines(screen: &mut Screen) -> usize {
        let text = String::from_utf8(screen.stdout.buffer().clone()).unwrap();
        text.lines().count()
    }

    #[test]
    fn the_limit_cuts_lines_and_summary_alike() {
        let mut screen = screen(&["--count", "2"]);
        screen.show(&connection(1, Hook::Kretprobe));
        assert!(screen.first_ones().is_none());
        screen.show(&connection(2, Hook::Kprobe));
        screen.show(&connection(3, Hook::Kprobe));
        assert_eq!(lines(&mut screen), 2);
        assert_eq!(screen.arrived, 3);
        let first = screen.first_ones().unwrap();
        assert_eq!(first.tally.connections(), 2);
        assert_eq!(first.second_hook_only, 1);
    }

    #[test]
    fn quiet_counts_without_lines() {
        let mut screen = screen(&["--quiet", "--count", "2"]);
        screen.show(&connection(1, Hook::Fentry));
        assert_eq!(lines(&mut screen), 0);
        assert_eq!(screen.arrived, 1);
    }

    #[test]
    fn without_a_limit_everything_is_shown() {
        let mut screen = screen(&[]);
        for client in 0..100 {
            screen.show(&connection(client, Hook::Fentry));
        }
        assert_eq!(lines(&mut screen), 100);
        assert!(screen.first_ones().is_none());
    }
}
